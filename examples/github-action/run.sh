#!/usr/bin/env bash
# Enqueues the run of a file and waits until it ends, as the GitHub Actions job that this is: run.sh FILE
#
# Exits with 0 if the run succeeded, with 1 if not, and with 3 if the control plane refuses. A job that is started again enqueues a new
# run; a step that is repeated within one attempt does not.
set -euo pipefail

: "${ACTIONS_ID_TOKEN_REQUEST_URL:?the job needs the permission id-token: write}"
: "${SEALFLEET_API_URL:?set it to the address of the control plane}" "${SEALFLEET_AUDIENCE:?set it to the audience of OidcIssuers}"
export SEALFLEET_TOKEN_FILE=$RUNNER_TEMP/sealfleet-token
trap 'rm -f "$SEALFLEET_TOKEN_FILE"' EXIT

# field NAME: that field of the JSON on standard input.
field() {
  python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

# renew: asks GitHub for a token, which is valid for some minutes. No credential is in an argument: all processes of the machine see those.
renew() {
  local answer
  answer=$(curl --fail --silent --show-error --get --data-urlencode "audience=$SEALFLEET_AUDIENCE" --config - <<EOF
url = "$ACTIONS_ID_TOKEN_REQUEST_URL"
header = "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN"
EOF
  )
  (umask 077 && field value <<<"$answer" >"$SEALFLEET_TOKEN_FILE")
}

renew
enqueued=$(sealfleet run enqueue -f "$1" --idempotency-key "github-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT" \
  --label "github_run=$GITHUB_RUN_ID" --output json)
run=$(field run_id <<<"$enqueued")
echo "enqueued $run"
while :; do
  code=0
  timeout "${SEALFLEET_RENEW_SECONDS:-240}" sealfleet run watch "$run" || code=$?
  # 124: the token may soon be too old, and the run goes on.
  [ "$code" -eq 124 ] || break
  renew
done
sealfleet run show "$run"
exit "$code"
