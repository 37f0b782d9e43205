#!/usr/bin/env bash
# The first five minutes of four readers, command by command, after one `sealfleet-local up --project demo`: who runs the platform,
# who calls the API, who runs workers, who reviews the security. Prints each command before it runs it, fails if an outcome
# differs, and takes everything down at the end.
#
#   cargo build --locked
#   examples/start/run.sh
#
# The pages of docs/start quote these commands, and `scripts/check-docs` compares.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=${CARGO_TARGET_DIR:-$PWD/target}/debug:$PATH
# Your own contexts stay as they are.
XDG_CONFIG_HOME=$(mktemp -d)
export XDG_CONFIG_HOME
place=$(mktemp -d)
chmod 711 "$place"

cleanup() {
  local code=$?
  set +v
  [ "$code" -eq 0 ] || tail -n 5 .sealfleet-local/logs/worker.log "$place"/*.log >&2 || true
  sealfleet-local down
  rm -rf "$XDG_CONFIG_HOME" "$place"
}
trap cleanup EXIT

# refused COMMAND...: runs a command that must not succeed.
refused() {
  if "$@"; then
    echo "run.sh: this should have failed: $*" >&2
    exit 1
  fi
}

set -v
sealfleet-local up --project demo
. examples/local.sh
ln -s "$PWD/examples" "$PWD/.sealfleet-local" "$place"
cd "$place"
#
# 1. Who runs the platform: a tenant, its limits and its first token
#
sealfleet token bootstrap --out operator.token
sealfleet-local project retail
sealfleet --token-file operator.token project create retail --pull-pool workers
sealfleet --token-file operator.token project limits retail --requests-per-second 20 --burst 40
sealfleet --token-file operator.token token create --project retail --role admin --out retail.token
sealfleet --token-file operator.token status
sealfleet --token-file retail.token whoami
refused sealfleet --token-file operator.token run list
#
# 2. Who calls the API: a run, its end and its output, and what a refusal looks like
#
sealfleet token create --role member --out member.token
(umask 077; printf 'Authorization: Bearer %s\n' "$(cat member.token)" >header)
cat >run.json <<'JSON'
{ "workflow": "hello", "steps": [{ "id": "main", "pool": "workers", "mode": "sandboxed", "command": ["echo", "hello"] }] }
JSON
curl -sS -H @header -H 'Content-Type: application/json' -H 'Idempotency-Key: first' -d @run.json "$SEALFLEET_API_URL/v1/runs" | tee answer.json
run=$(python3 -c 'import json; print(json.load(open("answer.json"))["run_id"])')
until curl -sS -H @header "$SEALFLEET_API_URL/v1/runs/$run" | grep -q '"state": *"succeeded"'; do sleep 1; done
curl -sS -H @header "$SEALFLEET_API_URL/v1/runs/$run/steps/main/output"
curl -sS -H @header -H 'Content-Type: application/json' -H 'Idempotency-Key: first' -d @run.json "$SEALFLEET_API_URL/v1/runs" | grep "$run"
curl -sS -H @header -H 'Content-Type: application/json' -d '{"workflow": "hello"}' "$SEALFLEET_API_URL/v1/runs" | grep invalid_request
#
# 3. Who runs workers: one registers, waits, is approved, works and drains
#
sealfleet-worker register --project demo --pool workers --name desk --label room=west --credential-file desk.worker
worker=$(sealfleet worker list --output json | python3 -c 'import json, sys; print(next(one["worker_id"] for one in json.load(sys.stdin)["items"] if one["name"] == "desk"))')
sealfleet worker approve "$worker"
sealfleet-worker run --credential-file desk.worker --rootfs .sealfleet-local/rootfs --init "$(command -v sealfleet-init)" --log-dir output 2>desk.log &
cat >west.json <<'JSON'
{ "workflow": "hello", "steps": [{ "id": "main", "pool": "workers", "mode": "sandboxed", "requires": { "room": "west" }, "command": ["echo", "hello from the west"] }] }
JSON
sealfleet run enqueue -f west.json --watch
cat output/*/main.1.log
sealfleet worker show "$worker"
kill -TERM %1 && wait %1
#
# 4. Who reviews the security: the way of one credential, and what a revocation stops
#
printf %s "demo-4711-secret" | sealfleet secret put token --profile demo --key TOKEN
sealfleet run exec --profile demo -- sh -c 'echo "my token is $TOKEN"'
until sealfleet audit path demo/TOKEN | grep "^end  *succeeded"; do sleep 1; done
sealfleet audit path demo/TOKEN
sealfleet revocation preview --key demo/TOKEN
sealfleet revocation create --key demo/TOKEN --hard --wait --reason "to see what it stops"
refused sealfleet run exec --profile demo -- true
sealfleet audit re-export --project demo --from "$(date -u -d '1 hour ago' +%FT%TZ)" --to "$(date -u +%FT%TZ)"
sealfleet audit verify --bucket "$AUDIT_BUCKET"
