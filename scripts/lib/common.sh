# What the scripts share. Sourced by bash with the repository as the working directory.
# shellcheck shell=bash

# A build that is made once is quicker without.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0

# say MESSAGE: progress, on stderr.
say() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# fail MESSAGE: says what is missing and ends the script.
fail() {
  say "$*"
  exit 1
}

# version: that of the workspace.
version() {
  sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml
}

# ensure_packages: the Debian packages and programs that the scripts need. bubblewrap, which runs the sandboxes, and mmdebstrap,
# which makes their root, are installed by apt when they are missing; so are a C compiler and Python's venv module.
ensure_packages() {
  command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
  command -v python3 >/dev/null || fail "python3 is missing: apt-get install python3 python3-venv"
  local missing=()
  command -v bwrap >/dev/null || missing+=(bubblewrap)
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  # Without root, mmdebstrap works in a user namespace.
  [ "$(id -u)" -eq 0 ] || command -v newuidmap >/dev/null || missing+=(uidmap)
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  install_packages "${missing[@]}"
}

# ensure_engine: a container engine.
ensure_engine() {
  command -v dockerd >/dev/null && command -v docker >/dev/null || install_packages docker.io
}

# install_packages PACKAGE...: by apt, as root or with sudo.
install_packages() {
  local missing=("$@")
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || fail "install these packages first: ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "run this as root once: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# ensure_node: Node.js and npm, which infra/cdk and the generated TypeScript client are compiled and tested with. Debian 12's own is too old.
ensure_node() {
  local advice="install Node.js 20 or newer with npm from https://nodejs.org"
  command -v node >/dev/null || fail "node is missing: $advice"
  command -v npm >/dev/null || fail "npm is missing: $advice"
  local version
  version=$(node --version)
  version=${version#v}
  [ "${version%%.*}" -ge 20 ] || fail "node $version is too old: $advice"
}

# beside COMMAND...: starts something that waits for the network, beside the build; `$!` is its process. A group of its own,
# so that nothing of it outlives this script.
beside() {
  set -m
  "$@" &
  set +m
  groups+=("$!")
  trap 'for group in "${groups[@]}"; do kill -- -"$group" 2>/dev/null || true; done' EXIT
}
groups=()

# build [ARGUMENT...]: programs, in target/debug, and what the local stack needs. Without arguments: what the demo runs,
# with the features that a build of the whole workspace has (tests/support/stack/Cargo.toml), so that nothing is compiled twice.
build() {
  say "building (the first time takes some minutes)"
  beside emulator
  local emulator=$!
  beside sandbox_root
  local root=$!
  cargo build --locked "$@" >&2
  wait "$emulator"
  wait "$root"
  "${CARGO_TARGET_DIR:-target}/debug/sealfleet-local" prepare >&2
}

# emulator: the Python environment of the local stack. `sealfleet-local prepare` would make the same
# (local/stack/src/python.rs); made here, it is fetched while Rust compiles.
emulator() {
  local requirements=infra/requirements/local.txt digest venv
  digest=$(sha256sum "$requirements" | cut -d' ' -f1)
  venv=$HOME/.cache/sealfleet/local-${digest:0:12}
  [ "$(cat "$venv/sealfleet-requirements.sha256" 2>/dev/null)" != "$digest" ] || return 0
  say "installing the emulator in $venv (once)"
  mkdir -p "$venv"
  (
    flock 9
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
    printf %s "$digest" >"$venv/sealfleet-requirements.sha256"
  ) 9>"$venv/lock"
}

# sandbox_root: the files of the local stack's sandboxes, which `sealfleet-local prepare` would make, too (local/stack/src/root.rs).
sandbox_root() {
  local digest tar
  digest=$(sha256sum images/base | cut -d' ' -f1)
  tar=$HOME/.cache/sealfleet/sandbox-${digest:0:12}.tar
  [ ! -e "$tar" ] || return 0
  say "making the root of sandboxes, $tar (once)"
  mkdir -p "${tar%/*}"
  (
    flock 9
    [ -e "$tar" ] || images/base "$tar" ca-certificates python3
  ) 9>"$tar.lock"
}

# python_venv NAME: a Python environment in target/venv/NAME with infra/requirements/NAME.txt; made anew when that changes.
python_venv() {
  local venv=target/venv/$1 requirements=infra/requirements/$1.txt
  cmp -s "$requirements" "$venv/requirements.txt" && return
  say "installing $1 (once)"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
  cp "$requirements" "$venv/requirements.txt"
}

# agents PACKAGE...: CLI agents, in images/agents/node_modules, as images/agents pins them. Needs no Node.js.
agents() {
  python3 scripts/lib/npm_packages.py images/agents images/agents/node_modules "$@"
}

# node_modules DIRECTORY: what its package-lock.json pins; made anew when that changes.
node_modules() {
  local lock=$1/package-lock.json stamp=$1/node_modules/.package-lock.stamp
  cmp -s "$lock" "$stamp" && return
  say "installing packages of $1 (once)"
  npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  cp "$lock" "$stamp"
}

# ensure_chromium: the browser that the console is tested in, Debian's own.
ensure_chromium() {
  command -v chromium >/dev/null || install_packages chromium
}
