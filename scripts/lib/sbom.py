"""Writes what the programs are made of, as CycloneDX 1.6: scripts/lib/sbom.py FILE

Every package of Cargo.lock is a component, with its checksum. What no shipped program links (build scripts, tests, other systems)
has the scope `excluded`. Rust's standard library and the C library, which the compiler links into static programs, are components,
too. The same sources and toolchain make the same file. Checked against the published schema, with cyclonedx-python-lib.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SHIPPED = ["sealfleet-functions", "sealfleet-init", "sealfleet-worker", "sealfleet-cli"]
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
root = pathlib.Path(__file__).resolve().parent.parent.parent


def metadata(*options):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", *options]
    return json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout)


def purl(name, version):
    return f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


def linked(graph):
    """References of what the shipped programs link, by the edges of a graph."""
    names = {package["id"]: purl(package["name"], package["version"]) for package in graph["packages"]}
    start = [package["id"] for package in graph["packages"] if package["name"] in SHIPPED]
    edges = {
        node["id"]: [edge["pkg"] for edge in node["deps"] if any(kind["kind"] is None for kind in edge["dep_kinds"])]
        for node in graph["resolve"]["nodes"]
    }
    reached = set()
    while start:
        package = start.pop()
        if package not in reached:
            reached.add(package)
            start += edges[package]
    return {names[package] for package in reached}


def component(package, licences, required):
    reference = purl(package["name"], package["version"])
    found = {
        "type": "library", "bom-ref": reference, "name": package["name"], "version": package["version"],
        "scope": "required" if reference in required else "excluded", "purl": reference,
    }
    if "checksum" in package:
        found["hashes"] = [{"alg": "SHA-256", "content": package["checksum"]}]
    if licences.get(reference):
        # Cargo once wrote `OR` as a stroke.
        found["licenses"] = [{"expression": licences[reference].replace("/", " OR ")}]
    return found


def said(*command):
    """What a command prints, or nothing if there is no such command or package."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


def toolchain():
    """What the compiler links into every static program: it is in no Cargo.lock."""
    rust = said("rustc", "--version").split()[1]
    debian = said("dpkg-query", "--show", "--showformat=${source:Version}", "libc6-dev")
    # Its first line ends with the version.
    glibc = debian or said("ldd", "--version").splitlines()[0].split()[-1]
    libraries = [
        ("rust-std", rust, f"pkg:generic/rust-std@{rust}", "MIT OR Apache-2.0"),
        ("glibc", glibc, f"pkg:{'deb/debian' if debian else 'generic'}/glibc@{glibc.replace('+', '%2B')}", "LGPL-2.1-or-later"),
    ]
    return [
        {
            "type": "library", "bom-ref": reference, "name": name, "version": version, "scope": "required", "purl": reference,
            "licenses": [{"expression": licence}],
        }
        for name, version, reference, licence in libraries
    ]


def bill():
    lock = (root / "Cargo.lock").read_bytes()
    packages = tomllib.loads(lock.decode())["package"]
    graph = metadata()
    licences = {purl(package["name"], package["version"]): package["license"] for package in graph["packages"]}
    required = set().union(*(linked(metadata("--filter-platform", target)) for target in TARGETS))
    version = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    names = {package["id"]: purl(package["name"], package["version"]) for package in graph["packages"]}
    libraries = toolchain()
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(lock).hexdigest())}",
        "metadata": {"component": {
            "type": "application", "bom-ref": "sealfleet", "name": "sealfleet", "version": version,
            "licenses": [{"expression": "Apache-2.0"}],
        }},
        "components": [*(component(package, licences, required) for package in packages), *libraries],
        "dependencies": [
            {
                "ref": "sealfleet",
                "dependsOn": sorted([*(purl(name, version) for name in SHIPPED), *(library["bom-ref"] for library in libraries)]),
            },
            *sorted(
                (
                    {"ref": names[node["id"]], "dependsOn": sorted({names[edge["pkg"]] for edge in node["deps"]})}
                    for node in graph["resolve"]["nodes"]
                ),
                key=lambda edges: edges["ref"],
            ),
        ],
    }


if __name__ == "__main__":
    text = json.dumps(bill(), indent=1) + "\n"
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        sys.exit(f"not CycloneDX 1.6: {wrong}")
    pathlib.Path(sys.argv[1]).write_text(text)
