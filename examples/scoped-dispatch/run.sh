#!/usr/bin/env bash
# Two tenants with workers of the same pool name: a step goes to its own tenant's workers alone, and within them to the region
# that it asks for. The other tenant cannot even name the run.
#
#   examples/scoped-dispatch/run.sh
cd "$(dirname "$0")/../.." && . examples/shared.sh

tenant north
tenant south
joined south anywhere --label region=eu
joined north overseas --label region=us
# 1. Nobody of north has the region; south's worker has it and is idle.
run=$(enqueued north <examples/scoped-dispatch/run.json)
untaken north "$run" "a worker of another tenant or of another region took the step"
as north run cancel "$run"
# 2. The one that may.
joined north near --label region=eu
run=$(enqueued north <examples/scoped-dispatch/run.json)
as north run watch "$run" --timeout 60s
[ "$(ran_on north "$run")" = "$(worker_id north near)" ] || wrong "another worker took the step"
# 3. For south there is no such run, and its worker has written nothing.
refused as south run show "$run"
[ -z "$(find "$work/south.output" -type f 2>/dev/null)" ] || wrong "south's worker ran something"
