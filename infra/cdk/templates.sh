#!/bin/sh
# templates/*.json: the templates of infra/sam as plain CloudFormation, which is what the constructs include.
# PYTHON is a Python with aws-sam-translator (infra/requirements/checks.txt has its version).
set -eu
cd "$(dirname "$0")"
mkdir -p templates
for name in template project; do
  "${PYTHON:-python3}" ../sam/translate.py "../sam/$name.yaml" "templates/$name.json"
done
