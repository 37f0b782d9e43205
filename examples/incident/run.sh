#!/usr/bin/env bash
# An incident: one command stops everything of a project, after it has shown what that would be. Then nothing of it runs, nothing
# can be started with its keys, no worker claims, and doing it again finds nothing left.
#
#   examples/incident/run.sh
cd "$(dirname "$0")/../.." && . examples/shared.sh

tenant shop
profile shop examples/incident/profile.yaml REFERENCE="$(printf %s no-key-of-a-real-account | secret shop mail-key)"
joined shop office
working=$(enqueued shop <examples/incident/mail.json)
soon running state shop "$working"
waiting=$(enqueued shop <examples/incident/mail.json)
as shop token create --role member --out "$work/member.token"
# 1. What it would stop. Nothing is changed yet.
as shop contain --tokens --reason "mail that nobody wrote" | tee "$work/preview"
grep -q "^runs ended  *2$" "$work/preview" || wrong "the preview does not tell of both runs"
[ "$(state shop "$working")" = running ] || wrong "the preview stopped something"
# 2. All of it.
as shop contain --tokens --reason "mail that nobody wrote" --yes | tee "$work/done"
for run in "$working" "$waiting"; do
  [ "$(state shop "$run")" = aborted ] || wrong "a run goes on"
done
refused sealfleet --token-file "$work/member.token" run list
refused as shop run enqueue -f examples/incident/mail.json
[ "$(as shop --output json worker show "$(worker_id shop office)" | field status)" = revoked ] || wrong "a worker goes on"
# 3. Again: there is nothing left.
if as shop contain --tokens --reason "to be sure" --yes | grep -v ^containment | grep "[1-9]$"; then wrong "something was left"; fi
# 4. On record, with the reason, as one containment.
id=$(sed -n 's/^containment  *//p' "$work/done")
soon project.containment_ended as shop audit list --containment "$id"
soon "mail that nobody wrote" as shop --output json audit list --type secret.revoked
