#!/usr/bin/env bash
# Each customer brings the key of its own model account. The agent works with a placeholder: the egress proxy alone holds the key,
# and gives it to the model's host and to no other. Not even the agent can print it.
#
#   examples/industries/own-model-key/run.sh
cd "$(dirname "$0")/../../.." && . examples/shared.sh

for one in first second; do
  value=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  hash=$(printf %s "$value" | sha256sum | cut -d ' ' -f 1)
  tenant "$one"
  profile "$one" examples/industries/own-model-key/profile.yaml REFERENCE="$(printf %s "$value" | secret "$one" model-key)"
  joined "$one" agent
  run=$(enqueued "$one" <examples/industries/own-model-key/run.json)
  as "$one" run watch "$run" --timeout 60s
  printed "$one" "$run" main | tee "$work/printed"
  grep -q "^the agent holds [0-9a-f]" "$work/printed" || wrong "the agent holds nothing"
  if grep -q -e "$value" -e "$hash" "$work/printed"; then wrong "the agent could read the key"; fi
done
