"""Translates a SAM template to plain CloudFormation JSON, offline.

The local emulator implements the SAM transform less completely than AWS, so `sealfleet-local` applies AWS's own translator
first. `scripts/check-templates` lints the result, because cfn-lint checks more there than in the SAM form.

    translate.py TEMPLATE.yaml OUT.json [--code-bucket BUCKET --code-key KEY]
"""

import argparse
import json
import os
import sys

from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    """Stands in for the lookup of AWS managed policies by name: the templates name none, so nothing must be fetched."""

    def load(self):
        return {}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("template")
    arguments.add_argument("out")
    arguments.add_argument("--region", default="us-east-1")
    arguments.add_argument("--code-bucket")
    arguments.add_argument("--code-key")
    options = arguments.parse_args()

    with open(options.template, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    defaults = template.get("Globals", {}).get("Function")
    if defaults and "CodeUri" in defaults:
        # As `sam package` does: replace the built directory by an object in S3.
        defaults["CodeUri"] = {"Bucket": options.code_bucket or "code", "Key": options.code_key or "bootstrap.zip"}
    os.environ["AWS_DEFAULT_REGION"] = options.region
    try:
        translated = transform(template, {}, NoManagedPolicies())
    except InvalidDocumentException as error:
        sys.exit("\n".join(cause.message for cause in error.causes))
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(translated, file, separators=(",", ":"))


if __name__ == "__main__":
    main()
