# What most examples share: a local stack, tenants, workers, secrets. Source it from the repository's root.
#
# An example uses the stack that is up in .sealfleet-local, or starts one and takes it down at its end. Its projects have new
# names each time, so it can be run again. It needs the programs: cargo build --locked
# shellcheck shell=bash
set -euo pipefail
export PATH=${CARGO_TARGET_DIR:-$PWD/target}/debug:$PATH
work=$(mktemp -d)
chmod 711 "$work"
# Your own contexts stay as they are.
export XDG_CONFIG_HOME=$work/config
workers=()
started=

finish() {
  local code=$? one
  set +x
  [ "$code" -eq 0 ] || tail -n 3 "$work"/*.log >&2 2>/dev/null || true
  for one in "${workers[@]}"; do
    kill "$one" 2>/dev/null && wait "$one" || true
  done
  [ -z "$started" ] || sealfleet-local down
  rm -rf "$work"
  [ "$code" -eq 0 ] && echo "$0: as promised" >&2
  exit "$code"
}
trap finish EXIT
trap 'exit 143' INT TERM

wrong() {
  echo "$0: $*" >&2
  exit 1
}

if [ ! -e .sealfleet-local/stack.json ]; then
  sealfleet-local up
  started=yes
fi
. examples/local.sh
operator=.sealfleet-local/operator
[ -e "$operator" ] || sealfleet token bootstrap --out "$operator"
tag=$(od -An -N3 -tx1 /dev/urandom | tr -d ' \n')

# as TENANT COMMAND...: the command line with the tenant's admin token.
as() {
  sealfleet --token-file "$work/$1.token" "${@:2}"
}

# refused COMMAND...: a command that the control plane must refuse.
refused() {
  local code=0
  "$@" || code=$?
  [ "$code" -eq 3 ] || wrong "exit code $code, not a refusal: $*"
}

# soon TEXT COMMAND...: waits until the command prints the text, for a minute.
soon() {
  local turn
  for turn in {1..60}; do
    if "${@:2}" | tee "$work/soon" | grep -q -e "$1"; then return; fi
    sleep 1
  done
  cat "$work/soon" >&2
  wrong "\`$1\` did not come in a minute: ${*:2}"
}

# tenant NAME [OPTION...]: a project with a pool for workers, and an admin's token.
tenant() {
  sealfleet-local project "$1-$tag"
  sealfleet --token-file "$operator" project create "$1-$tag" --pull-pool workers "${@:2}"
  sealfleet --token-file "$operator" token create --project "$1-$tag" --role admin --out "$work/$1.token"
  sealfleet-init builtin create --store "$work/$1.store" --key-file "$work/$1.key" --project "$1-$tag" >/dev/null
}

# secret TENANT NAME < VALUE: puts a value into the tenant's encrypted store, and prints the reference to it.
secret() {
  local stored
  stored=$(sealfleet-init builtin put --store "$work/$1.store" --key-file "$work/$1.key" "$2")
  echo "builtin://$2@$(sed 's/.*"version":"\([^"]*\)".*/\1/' <<<"$stored")"
}

# profile TENANT FILE [NAME=TEXT...]: applies a profile, with each @NAME@ replaced.
profile() {
  local text pair
  text=$(cat "$2")
  for pair in "${@:3}"; do
    text=${text//@${pair%%=*}@/${pair#*=}}
  done
  as "$1" profile apply -f - <<<"$text"
}

# joined TENANT NAME [OPTION...]: a worker that an admin has approved.
joined() {
  registered "$@"
  as "$1" worker approve "$(worker_id "$1" "$2")" >/dev/null
}

# registered TENANT NAME [OPTION...]: a worker that waits for an admin's approval, unless it has an enrolment key.
registered() {
  sealfleet-worker register --project "$1-$tag" --pool workers --name "$2" --credential-file "$work/$1.$2" "${@:3}"
  # The host's own programs are good enough for an example.
  sealfleet-worker run --credential-file "$work/$1.$2" --rootfs .sealfleet-local/rootfs --init "$(command -v sealfleet-init)" \
    --log-dir "$work/$1.output" --network policy --builtin-store "$work/$1.store" --builtin-key-file "$work/$1.key" 2>"$work/$1.$2.log" &
  workers+=("$!")
}

# enqueued TENANT < RUN: the id of a new run.
enqueued() {
  as "$1" --output json run enqueue -f - | field run_id
}

# state TENANT RUN: the state of a run.
state() {
  as "$1" --output json run show "$2" | field state
}

# printed TENANT RUN STEP...: what these steps have printed.
printed() {
  local step
  for step in "${@:3}"; do
    as "$1" run logs "$2" --step "$step"
  done
}

# untaken TENANT RUN WORDS: nobody takes the run's step. A worker that may would have taken it by then.
untaken() {
  sleep 10
  [ "$(state "$1" "$2")" = queued ] || wrong "$3"
}

# ran_on TENANT RUN: the id of the worker that had the run's first step.
ran_on() {
  as "$1" --output json run show "$2" | field steps 0 worker_id
}

# worker_id TENANT NAME: the id of a worker.
worker_id() {
  as "$1" --output json worker list | python3 -c 'import json, sys
print(next(worker["worker_id"] for worker in json.load(sys.stdin)["items"] if worker["name"] == sys.argv[1]))' "$2"
}

# field NAME...: what stands there in JSON.
field() {
  python3 -c 'import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = value[int(name) if name.isdigit() else name]
print(value)' "$@"
}
