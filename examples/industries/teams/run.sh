#!/usr/bin/env bash
# Teams of one company: each team's workflow and profile have sums of their own, another company's project sees none of them.
#
#   examples/industries/teams/run.sh
cd "$(dirname "$0")/../../.." && . examples/shared.sh

tenant company
tenant elsewhere
joined company host
for team in search ads; do
  as company profile apply -f "examples/industries/teams/$team.yaml"
done
runs=(search ads ads)
for team in "${runs[@]}"; do
  as company run exec --workflow "$team" --profile "$team" -- true
done
as company usage --by profile
as company --output json usage --by profile >"$work/usage"
of() { python3 -c 'import json, sys; print(sum(row["used"]["attempts"] for row in json.load(open(sys.argv[1]))["items"] if row.get("profile") == sys.argv[2]))' "$work/usage" "$1"; }
[ "$(of search)" = 1 ] || wrong "team search has $(of search) attempts, not 1"
[ "$(of ads)" = 2 ] || wrong "team ads has $(of ads) attempts, not 2"
# Another project's sums hold nothing of them.
as elsewhere --output json usage --by profile >"$work/usage"
[ "$(of ads)" = 0 ] || wrong "another project reads this one's usage"
