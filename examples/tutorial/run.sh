#!/usr/bin/env bash
# The tutorial, command by command: roles, a Fargate pool, rotation and drift, a hard revocation, the archive. Prints each command
# before it runs it, fails if an outcome differs, and takes everything down at the end.
#
#   cargo build --locked
#   examples/tutorial/run.sh
#
# docs/tutorial.md quotes these commands, and `scripts/check-docs` compares. By hand, set the path first, and take it down
# yourself:
#
#   export PATH=$PWD/target/debug:$PATH
#   sealfleet-local down
#   rm -r "$work"
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=${CARGO_TARGET_DIR:-$PWD/target}/debug:$PATH

# refused COMMAND...: runs a command that must not succeed.
refused() {
  if "$@"; then
    echo "run.sh: this should have failed: $*" >&2
    exit 1
  fi
}

cleanup() {
  set +v
  sealfleet-local down
  rm -rf "$work"
}

set -v
#
# 1. A tenant with a Fargate pool
#
sealfleet-local up
. examples/local.sh
work=$(mktemp -d)
trap cleanup EXIT
sealfleet token bootstrap --out "$work/operator"
sealfleet-local project retail
sealfleet --token-file "$work/operator" project create retail --fargate-pool fargate --image "$SANDBOX_IMAGE"
for role in admin member viewer; do
  sealfleet --token-file "$work/operator" token create --project retail --role $role --out "$work/$role"
done
#
# 2. Who may do what
#
refused sealfleet --token-file "$work/operator" run list
refused sealfleet --token-file "$work/viewer" run enqueue -f examples/tutorial/long.json
refused sealfleet --token-file "$work/member" audit list
#
# 3. A secret and a profile
#
export SEALFLEET_TOKEN_FILE=$work/admin
printf %s "the-first-key" | sealfleet secret put --project retail crm api-key
sealfleet profile apply -f examples/tutorial/profile.yaml
sealfleet profile resolve --workflow report --profile crm --tool reporter
refused sealfleet profile resolve --workflow billing --profile crm --tool reporter
#
# 4. Rotation and drift: the key changes while the first step runs
#
sealfleet run enqueue -f examples/tutorial/drift.json
run=$(sealfleet run list --output json | sed -n 's/.*"run_id": "\([^"]*\)".*/\1/p')
printf %s "the-second-key" | sealfleet secret put --project retail crm api-key
refused sealfleet run watch "$run"
sealfleet audit list --run "$run" --type profile.drift_at_injection
#
# 5. A hard revocation: what runs is aborted
#
sealfleet run enqueue -f examples/tutorial/long.json --idempotency-key tutorial
run=$(sealfleet run enqueue -f examples/tutorial/long.json --idempotency-key tutorial --output json | sed -n 's/.*"run_id": "\([^"]*\)".*/\1/p')
until sealfleet run list --state running | grep -q "$run"; do sleep 1; done
sealfleet revocation preview --key crm/CRM_KEY
sealfleet revocation create --key crm/CRM_KEY --hard --wait --reason "left with a laptop"
sealfleet run show "$run"
refused sealfleet run enqueue -f examples/tutorial/long.json
#
# 6. Lift it after the key was rotated at its source
#
revocation=$(sealfleet revocation list --output json | sed -n 's/.*"revocation_id": "\([^"]*\)".*/\1/p')
printf %s "the-third-key" | sealfleet secret put --project retail crm api-key
sealfleet revocation lift "$revocation"
#
# 7. The archive: export, sign, verify
#
sealfleet audit re-export --project retail --from "$(date -u -d '1 hour ago' +%FT%TZ)" --to "$(date -u +%FT%TZ)"
sealfleet audit verify --bucket "$AUDIT_BUCKET"
