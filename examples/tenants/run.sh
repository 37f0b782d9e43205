#!/usr/bin/env bash
# Two tenants on this machine, command by command: one secret, one step that sees it, one that does not, and a neighbour that
# finds nothing. Prints each command before it runs it, fails if an outcome differs, and takes
# everything down at the end.
#
#   cargo build --locked
#   examples/tenants/run.sh
#
# By hand, set the path first, and take it down yourself:
#
#   export PATH=$PWD/target/debug:$PATH
#   kill %1; sealfleet-local down; rm -r "$work"
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=${CARGO_TARGET_DIR:-$PWD/target}/debug:$PATH

# refused COMMAND...: runs a command that the control plane must refuse.
refused() {
  local code=0
  "$@" || code=$?
  [ "$code" -eq 3 ] || { echo "run.sh: exit code $code, not a refusal: $*" >&2; exit 1; }
}

cleanup() {
  local code=$?
  set +v
  [ "$code" -eq 0 ] || tail -n 5 "$work/worker.log" >&2 || true
  [ -z "$worker" ] || { kill "$worker" && wait "$worker"; } || true
  sealfleet-local down
  rm -rf "$work"
}

set -v
#
# 1. The control plane, on this machine
#
sealfleet-local up
. examples/local.sh
work=$(mktemp -d) && chmod 711 "$work"
worker= && trap cleanup EXIT
#
# 2. Two tenants, onboarded by an operator
#
sealfleet token bootstrap --out "$work/operator"
for project in healthcare finance; do
  sealfleet-local project "$project"
  sealfleet --token-file "$work/operator" project create "$project" --pull-pool workers
  sealfleet --token-file "$work/operator" token create --project "$project" --role admin --out "$work/$project"
done
#
# 3. A secret of healthcare, in an encrypted file on the worker's host, and a profile that refers to it
#
export SEALFLEET_TOKEN_FILE=$work/healthcare
sealfleet-init builtin create --store "$work/store" --key-file "$work/key" --project healthcare
stored=$(printf %s "demo-4711-secret" | sealfleet-init builtin put --store "$work/store" --key-file "$work/key" ehr-token)
echo "$stored"
version=$(echo "$stored" | sed 's/.*"version":"\([^"]*\)".*/\1/')
sed "s/VERSION/$version/" examples/tenants/profile.yaml | sealfleet profile apply -f -
#
# 4. A worker beside it
#
sealfleet enrolment-key create --pool workers --out "$work/enrolment-key"
sealfleet-worker register --project healthcare --pool workers --name laptop \
  --enrolment-key-file "$work/enrolment-key" --credential-file "$work/worker"
sealfleet-worker run --credential-file "$work/worker" \
  --rootfs .sealfleet-local/rootfs --init "$(command -v sealfleet-init)" --log-dir "$work/output" \
  --builtin-store "$work/store" --builtin-key-file "$work/key" 2>"$work/worker.log" &
worker=$!
#
# 5. Allowed: the step of the tool `records` sees the secret. Denied: the step of the tool `writer` does not
#
sealfleet run enqueue -f examples/tenants/run.json --watch
cat "$work"/output/*/*.log
grep -qx "fetch: EHR_TOKEN has 16 characters" "$work"/output/*/fetch.*.log
grep -qx "summarise: EHR_TOKEN is not there" "$work"/output/*/summarise.*.log
run=$(sealfleet run list --output json | sed -n 's/.*"run_id": "\([^"]*\)".*/\1/p')
#
# 6. Denied: for finance, this run does not exist
#
refused sealfleet --token-file "$work/finance" run show "$run"
#
# 7. Denied: nothing starts with a revoked key
#
sealfleet revocation create --key ehr/EHR_TOKEN --reason "found in a log"
refused sealfleet run enqueue -f examples/tenants/run.json
#
# 8. All of it is on record
#
sealfleet audit list
