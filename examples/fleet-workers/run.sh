#!/usr/bin/env bash
# A fleet of workers: who registers gets nothing until an admin approves; steps go to workers that have what they need; who is
# revoked gets nothing more.
#
#   examples/fleet-workers/run.sh
cd "$(dirname "$0")/../.." && . examples/shared.sh

tenant fleet
# 1. A worker that nobody has approved takes no step.
registered fleet plain
run=$(enqueued fleet <examples/fleet-workers/hello.json)
untaken fleet "$run" "a worker that nobody approved took a step"
as fleet worker approve "$(worker_id fleet plain)"
as fleet run watch "$run" --timeout 60s

# 2. A step that needs a label runs where it is, and nowhere else.
run=$(enqueued fleet <examples/fleet-workers/gpu.json)
untaken fleet "$run" "a worker without the label took the step"
as fleet run cancel "$run"
joined fleet accelerated --label gpu=a100
run=$(enqueued fleet <examples/fleet-workers/gpu.json)
as fleet run watch "$run" --timeout 60s
[ "$(ran_on fleet "$run")" = "$(worker_id fleet accelerated)" ] || wrong "another worker took the step"

# 3. A revoked worker gets nothing more.
as fleet worker revoke "$(worker_id fleet accelerated)"
run=$(enqueued fleet <examples/fleet-workers/gpu.json)
untaken fleet "$run" "a revoked worker took a step"
