#!/usr/bin/env bash
# Callers run what others approved: a workflow is registered, denied, approved by somebody else, and run with a parameter that
# tries to be a command. Prints each command before it runs it, fails if an outcome differs, and takes everything down
# at the end.
#
#   cargo build --locked
#   examples/governance/run.sh
#
# By hand, set the path first, and take it down yourself:
#
#   export PATH=$PWD/target/debug:$PATH
#   sealfleet-local down; rm -r "$work"
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=${CARGO_TARGET_DIR:-$PWD/target}/debug:$PATH
# Your own contexts stay as they are.
work=$(mktemp -d)
export XDG_CONFIG_HOME=$work

# refused COMMAND...: runs a command that the control plane must refuse.
refused() {
  local code=0
  "$@" || code=$?
  [ "$code" -eq 3 ] || { echo "run.sh: exit code $code, not a refusal: $*" >&2; exit 1; }
}

# review_token APPROVAL: what the admin saw.
review_token() { sealfleet approval show "$1" | awk '/^review token/ { print $3 }'; }

cleanup() {
  local code=$?
  set +v
  [ "$code" -eq 0 ] || tail -n 5 .sealfleet-local/logs/worker.log >&2 || true
  sealfleet-local down
  rm -rf "$work"
}
trap cleanup EXIT

set -v
#
# 1. The control plane with the project `demo`, and a member beside its admin
#
sealfleet-local up --project demo
sealfleet token create --role member --out "$work/member"
member="sealfleet --token-file $work/member"
#
# 2. From now on, callers of the project run registered workflows only
#
sealfleet approval set-rules --require-registered-workflows true
refused $member run exec --pool workers -- echo hello
#
# 3. The member registers one. Nothing of it runs before somebody else approves it
#
$member workflow register count -f examples/governance/workflow.yaml
refused $member workflow run count -p ticket=hello
refused $member approval approve workflow:count@1 --review-token "$(review_token workflow:count@1)"
#
# 4. The admin denies the first version, and approves the second
#
sealfleet approval deny workflow:count@1 --reason "say what it is for"
sed "s/of a ticket/of a ticket, for the report/" examples/governance/workflow.yaml | $member workflow register count -f -
sealfleet approval list
sealfleet approval approve workflow:count@2 --review-token "$(review_token workflow:count@2)"
sealfleet workflow show count
#
# 5. The member runs it. What looks like a command is seven words of a ticket
#
$member workflow run count@2 -p ticket='$(touch x); cat /etc/passwd --help && true' --watch
#
# 6. An admin's own workflow is for somebody else to approve
#
sealfleet workflow register own -f examples/governance/workflow.yaml
refused sealfleet approval approve workflow:own@1 --review-token "$(review_token workflow:own@1)"
#
# 7. All of it is on record
#
sealfleet audit list | tee "$work/trail"
set +v
grep -qx "the ticket has 7 words" .sealfleet-local/project/output/*/count.*.log
for event in governance.set workflow.registered approval.requested approval.denied approval.approved workflow.promoted run.denied; do
  grep -q "$event" "$work/trail" || { echo "run.sh: no $event in the trail" >&2; exit 1; }
done
