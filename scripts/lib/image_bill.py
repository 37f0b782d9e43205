"""Writes what an image is made of, as CycloneDX 1.6: scripts/lib/image_bill.py IMAGE FILE

It reads the image's files, not its recipe: packages of Debian (dpkg's list), of npm (each package.json below a node_modules) and of
PyPI (each dist-info), and Sealfleet's own programs, which the bill of the release takes apart. A file that no package brought is not
in it. Checked against the published schema, with cyclonedx-python-lib.
"""

import email
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import uuid

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

DOCKER = os.environ.get("SEALFLEET_DOCKER", "docker")
PROGRAM = re.compile(r"usr/local/bin/(sealfleet-[a-z]+)$")
NPM = re.compile(r"usr/local/(.*/)?node_modules/(?P<name>(@[^/]+/)?[^/]+)/(?P<file>package\.json|\.integrity)$")
PYPI = re.compile(r"usr/local/lib/python[^/]*/dist-packages/[^/]*\.dist-info/METADATA$")


def said(*words):
    return subprocess.run([DOCKER, *words], check=True, capture_output=True, text=True).stdout.strip()


def component(kind, name, version, purl, **more):
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl, **more}


def of_debian(text):
    """dpkg-query(1): one paragraph for each package."""
    for paragraph in text.strip().split("\n\n"):
        package = email.message_from_string(paragraph)
        if package["Status"].endswith(" installed"):
            purl = f"pkg:deb/debian/{package['Package'].replace('+', '%2B')}@{package['Version'].replace('+', '%2B').replace(':', '%3A')}"
            yield component("library", package["Package"], package["Version"], f"{purl}?arch={package['Architecture']}&distro=bookworm")


def of_npm(manifest, integrity):
    package = json.loads(manifest)
    name = package["name"].replace("@", "%40")
    more = {"licenses": [{"license": {"name": package["license"]}}]} if isinstance(package.get("license"), str) else {}
    if integrity:
        more["externalReferences"] = [{"type": "distribution", "url": f"https://registry.npmjs.org/{package['name']}", "comment": integrity}]
    return component("library", package["name"], package["version"], f"pkg:npm/{name}@{package['version']}", **more)


def of_pypi(text):
    package = email.message_from_string(text)
    return component("library", package["Name"], package["Version"], f"pkg:pypi/{package['Name'].lower()}@{package['Version']}")


def bill(image):
    version = image.rpartition(":")[2]
    components, manifests = [], {}
    container = said("create", "--network=none", image, "/")
    try:
        export = subprocess.Popen([DOCKER, "export", container], stdout=subprocess.PIPE)
        with tarfile.open(fileobj=export.stdout, mode="r|") as files:
            for member in files:
                read = lambda: files.extractfile(member).read()
                if not member.isfile():
                    continue
                if member.name == "var/lib/dpkg/status":
                    components += of_debian(read().decode())
                elif program := PROGRAM.match(member.name):
                    digest = hashlib.sha256(read()).hexdigest()
                    components.append(component(
                        "application", program[1], version, f"pkg:generic/{program[1]}@{version}",
                        hashes=[{"alg": "SHA-256", "content": digest}], licenses=[{"expression": "Apache-2.0"}],
                    ))
                elif PYPI.match(member.name):
                    components.append(of_pypi(read().decode()))
                elif package := NPM.match(member.name):
                    manifests.setdefault(pathlib.PurePath(member.name).parent, {})[package["file"]] = read().decode()
        if export.wait():
            sys.exit(f"image_bill: `{DOCKER} export` failed")
    finally:
        said("rm", container)
    for files in manifests.values():
        # A folder of a package may have a manifest that only says how its files are read.
        if {"name", "version"} <= json.loads(files.get("package.json", "{}")).keys():
            components.append(of_npm(files["package.json"], files.get(".integrity")))
    by_reference = {found["bom-ref"]: found for found in components}
    components = [by_reference[reference] for reference in sorted(by_reference)]
    content = json.dumps(components).encode()
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(content).hexdigest())}",
        "metadata": {"component": {"type": "container", "bom-ref": image, "name": image.rpartition(":")[0], "version": version}},
        "components": components,
    }


if __name__ == "__main__":
    text = json.dumps(bill(sys.argv[1]), indent=1) + "\n"
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        sys.exit(f"not CycloneDX 1.6: {wrong}")
    pathlib.Path(sys.argv[2]).write_text(text)
