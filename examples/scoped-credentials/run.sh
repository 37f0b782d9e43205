#!/usr/bin/env bash
# A credential that only the sandbox holds: not the worker beside it, not its logs, not the output. And two runs are the same,
# byte for byte.
#
#   examples/scoped-credentials/run.sh
cd "$(dirname "$0")/../.." && . examples/shared.sh

value=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
tenant desk
profile desk examples/scoped-credentials/profile.yaml REFERENCE="$(printf %s "$value" | secret desk ticket-token)"
joined desk laptop
for turn in 1 2; do
  run=$(enqueued desk <examples/scoped-credentials/run.json)
  as desk run watch "$run" --timeout 60s
  printed desk "$run" main >"$work/printed.$turn"
done
cat "$work/printed.1"
# 1. The command had it.
grep -q "has 32 characters" "$work/printed.1" || wrong "the command did not have the credential"
# 2. It left the sandbox nowhere: not by the output, not by the worker's files, log or environment.
if grep -rqs "$value" "$work"/printed.* "$work/desk.output" "$work"/*.log "/proc/${workers[0]}/environ"; then
  wrong "the credential is outside of the sandbox"
fi
# 3. The second run printed the same.
cmp "$work/printed.1" "$work/printed.2"
