#!/usr/bin/env bash
# The quickstart of the README: three commands from nothing to a run that uses a secret, and then an agent. Prints each command before it runs it,
# fails if an outcome differs, and takes everything down at the end.
#
#   cargo build --locked
#   examples/quickstart/run.sh
#
# The README quotes these commands, and `scripts/check-docs` compares. By hand, set the path first, and take it down yourself:
#
#   export PATH=$PWD/target/debug:$PATH
#   sealfleet-local down
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=${CARGO_TARGET_DIR:-$PWD/target}/debug:$PATH
# Your own contexts stay as they are.
XDG_CONFIG_HOME=$(mktemp -d)
export XDG_CONFIG_HOME

cleanup() {
  local code=$?
  set +v
  [ "$code" -eq 0 ] || tail -n 5 .sealfleet-local/logs/worker.log >&2 || true
  sealfleet-local down
  rm -rf "$XDG_CONFIG_HOME"
}
trap cleanup EXIT

set -v
#
# 1. The control plane on this machine, with the project `demo`: a worker, a secret store, a profile and a context
#
sealfleet-local up --project demo
#
# 2. A secret of the project, in the worker's encrypted store, and the profile's key that refers to it
#
printf %s "demo-4711-secret" | sealfleet secret put token --profile demo --key TOKEN
#
# 3. A command that sees it
#
sealfleet run exec --profile demo -- sh -c 'echo "TOKEN has ${#TOKEN} characters: $TOKEN"'
#
# 4. Codex with a key, and a stand-in of its model
#
sealfleet-local agent
printf %s "no-key-of-a-real-account" | sealfleet secret put openai --profile demo --key OPENAI_API_KEY
sealfleet run exec --profile demo --agent codex --model gpt-5.1-codex --prompt "Which Python is here?" --budget-usd 1 \
  --env OPENAI_BASE_URL=http://127.0.0.1:8790/v1
set +v
grep -q "my key is <redacted:OPENAI_API_KEY>" .sealfleet-local/project/output/*/main.*.log
if grep -rq "no-key-of-a-real-account" .sealfleet-local/project/output; then
  echo "the key is in the output" >&2
  exit 1
fi
grep -qx "TOKEN has 16 characters: <redacted:TOKEN>" .sealfleet-local/project/output/*/main.*.log
# The context goes with the stack.
sealfleet-local down
[ -z "$(sealfleet context list | tail -n +2)" ]
