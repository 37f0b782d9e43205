#!/usr/bin/env bash
# Three tenants, 24 workers, and runs of all of them at once. Each step prints a hash of the credential that it sees; leaks are
# counted: steps that saw another tenant's, and steps of a tool that may see none.
#
#   examples/load/run.sh [RUNS OF EACH TENANT]
cd "$(dirname "$0")/../.." && . examples/shared.sh

each=${1:-6}
tenants=(red green blue)
for one in "${tenants[@]}"; do
  tenant "$one"
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$work/$one.value"
  profile "$one" examples/load/profile.yaml REFERENCE="$(secret "$one" token <"$work/$one.value")"
  as "$one" enrolment-key create --pool workers --max-uses 8 --out "$work/$one.enrolment"
  for number in 1 2 3 4 5 6 7 8; do
    registered "$one" "worker-$number" --enrolment-key-file "$work/$one.enrolment"
  done
done
for ((number = 0; number < each; number++)); do
  for one in "${tenants[@]}"; do
    enqueued "$one" <examples/load/run.json >>"$work/$one.runs"
  done
done
seen=0 leaks=0
for one in "${tenants[@]}"; do
  own=$(sha256sum <"$work/$one.value" | cut -d ' ' -f 1)
  while read -r run; do
    as "$one" run watch "$run" --timeout 180s >/dev/null
    printed "$one" "$run" read write >"$work/printed"
    seen=$((seen + $(grep -c "reader sees $own" "$work/printed" || true)))
    leaks=$((leaks + $(grep "sees" "$work/printed" | grep -vc -e "reader sees $own" -e "writer sees nothing" || true)))
  done <"$work/$one.runs"
done
echo "tenants: ${#tenants[@]}, workers: ${#workers[@]}, runs: $((each * ${#tenants[@]})), steps that saw their own credential: $seen, leaks: $leaks"
[ "$seen" -eq $((each * ${#tenants[@]})) ] || wrong "some step did not see its credential"
[ "$leaks" -eq 0 ] || wrong "$leaks leaks"
