#!/usr/bin/env bash
# A payment that is called off: the run is cancelled, and its key is revoked hard, so that nothing else that holds it goes on and
# nothing starts with it. After the key was rotated at the bank, the revocation is lifted.
#
#   examples/industries/fintech/run.sh
cd "$(dirname "$0")/../../.." && . examples/shared.sh

tenant bank
profile bank examples/industries/fintech/profile.yaml REFERENCE="$(printf %s the-first-signing-key | secret bank signing)"
joined bank first
joined bank second
payment=$(enqueued bank <examples/industries/fintech/payment.json)
batch=$(enqueued bank <examples/industries/fintech/payment.json)
for run in "$payment" "$batch"; do
  soon running state bank "$run"
done
# 1. Called off: this run, and all others that hold the key.
as bank run cancel "$payment"
as bank revocation create --key payments/SIGNING_KEY --hard --wait --reason "a payment was called off"
[ "$(state bank "$payment")" = aborted ] || wrong "the cancelled run goes on"
[ "$(state bank "$batch")" = aborted ] || wrong "another run goes on with the key"
# 2. Nothing starts with it.
refused as bank run enqueue -f examples/industries/fintech/payment.json
# 3. Rotated and lifted.
profile bank examples/industries/fintech/profile.yaml REFERENCE="$(printf %s the-second-signing-key | secret bank signing)"
as bank revocation lift "$(as bank --output json revocation list | field items 0 revocation_id)"
as bank run cancel "$(enqueued bank <examples/industries/fintech/payment.json)"
# 4. On record.
soon "$batch" as bank audit list --type run.aborted_by_revocation
