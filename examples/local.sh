# Points a shell at the local stack of this directory: source it after `sealfleet-local up`.
#
# It sets the API's address for `sealfleet` and `sealfleet-worker`, the emulator's well-known AWS key for the commands that go to
# AWS directly (`token bootstrap`, `secret put`), and the names of the stack's sandbox image and audit bucket.
# shellcheck shell=bash
_stack() { grep -o "\"$1\": *\"[^\"]*\"" .sealfleet-local/stack.json | cut -d '"' -f 4; }
SEALFLEET_API_URL=$(_stack api_url)
AWS_ENDPOINT_URL=$(_stack endpoint)
SANDBOX_IMAGE=$(_stack sandbox_image)
AUDIT_BUCKET=$(_stack audit_bucket)
export SEALFLEET_API_URL SANDBOX_IMAGE AUDIT_BUCKET AWS_ENDPOINT_URL AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
