#!/usr/bin/env bash
# A clinic: only the intake workflow may use the records' credential, only the tool `records` sees it, and its steps reach the
# records' host alone. What they tried to reach is on record.
#
#   examples/industries/clinics/run.sh
cd "$(dirname "$0")/../../.." && . examples/shared.sh

tenant clinic
profile clinic examples/industries/clinics/profile.yaml REFERENCE="$(printf %s no-token-of-a-real-account | secret clinic ehr-token)"
joined clinic ward
run=$(enqueued clinic <examples/industries/clinics/intake.json)
as clinic run watch "$run" --timeout 60s
printed clinic "$run" fetch summarise | tee "$work/printed"
grep -q "records: the credential is there" "$work/printed" || wrong "the tool that may see the credential did not"
grep -q "assistant: no credential" "$work/printed" || wrong "a tool that may not see the credential did"
grep -q "elsewhere: refused" "$work/printed" || wrong "the step reached another host"
soon "elsewhere.example .*no_rule" as clinic egress denied
# Another workflow may not use the profile at all.
refused as clinic run enqueue -f examples/industries/clinics/billing.json
