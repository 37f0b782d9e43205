#!/usr/bin/env bash
# Some steps in the cloud, some in the customer's own network: the key of the machine on premises lies in a store there, and no
# step in the cloud can be given it.
#
#   examples/industries/on-premises/run.sh
cd "$(dirname "$0")/../../.." && . examples/shared.sh

tenant plant --fargate-pool fargate --image "$SANDBOX_IMAGE"
profile plant examples/industries/on-premises/profile.yaml REFERENCE="$(printf %s no-key-of-a-real-machine | secret plant machine)"
joined plant hall
# 1. In the cloud without a key, then on premises with it.
run=$(enqueued plant <examples/industries/on-premises/both.json)
as plant run watch "$run" --timeout 120s
grep -rq "^hall: the key is there" "$work/plant.output" || wrong "the step on premises did not have its key"
# 2. The key is refused to a step in the cloud before it is queued.
refused as plant run enqueue -f examples/industries/on-premises/cloud.json
