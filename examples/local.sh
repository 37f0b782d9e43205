# Points a shell at the local stack in `.sealfleet-local`: source it after `sealfleet-local up`.
#
# It sets the API's address for `sealfleet` and `sealfleet-worker`, and the emulator's well-known AWS key for the commands that
# go to AWS directly (`token bootstrap`, `secret put`).
# shellcheck shell=bash
SEALFLEET_API_URL=$(sealfleet-local status --output json | sed -n 's/.*"api_url": "\(.*\)".*/\1/p')
AWS_ENDPOINT_URL=$(sealfleet-local status --output json | sed -n 's/.*"endpoint": "\(.*\)".*/\1/p')
export SEALFLEET_API_URL AWS_ENDPOINT_URL
export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
