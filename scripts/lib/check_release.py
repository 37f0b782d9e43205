"""Checks a release: scripts/lib/check_release.py DIRECTORY

Its files are those that a release has for its architectures, SHA256SUMS names all of them and is right, the archives hold what they
should, and the bill of materials names every locked package and the C library. With --try-faults, it also makes faults in copies, and must find each.
"""

import hashlib
import json
import pathlib
import shutil
import sys
import tarfile
import tempfile
import tomllib
import zipfile

root = pathlib.Path(__file__).resolve().parent.parent.parent
VERSION = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["version"]
PROGRAMS = {"sealfleet", "sealfleet-worker", "sealfleet-init"}
SUMS, BILL = "SHA256SUMS", f"sealfleet-{VERSION}.cdx.json"


def archive(architecture):
    return f"sealfleet-{VERSION}-linux-{architecture}.tar.gz"


def functions(architecture):
    return f"sealfleet-functions-{VERSION}-{architecture}.zip"


def of_architecture(architecture):
    return {archive(architecture), functions(architecture), f"sealfleet-worker_{VERSION}_{architecture}.deb"}


def faults(release):
    names = {path.name for path in release.iterdir()}
    architectures = [architecture for architecture in ("amd64", "arm64") if archive(architecture) in names]
    if not architectures:
        yield "no architecture"
        return
    expected = {SUMS, BILL}.union(*map(of_architecture, architectures))
    names_of_images = ("sandbox", "node", "python", "agents", "worker")
    images = {f"sealfleet-{name}-image_{VERSION}.{kind}" for name in names_of_images for kind in ("tar", "cdx.json")}
    for name in sorted(expected - names):
        yield f"{name} is missing"
    for name in sorted(names - expected - images):
        yield f"{name} is no part of a release"
    if images & names:
        for name in sorted(images - names):
            yield f"{name} is missing: a release has all images and their bills, or none"

    if SUMS in names:
        lines = (release / SUMS).read_text().splitlines()
        sums = dict(reversed(line.split("  ", 1)) for line in lines)
        for name in sorted(names - {SUMS}):
            if sums.pop(name, None) != hashlib.sha256((release / name).read_bytes()).hexdigest():
                yield f"{SUMS} is wrong about {name}"
        for name in sums:
            yield f"{SUMS} names {name}, which is not there"

    for architecture in architectures:
        with tarfile.open(release / archive(architecture)) as packed:
            programs = {pathlib.PurePath(member.name).name: member for member in packed if member.isfile()}
            for name in sorted(PROGRAMS):
                if name not in programs or programs[name].mode != 0o755:
                    yield f"{archive(architecture)} has no program {name}"
        if functions(architecture) in names:
            with zipfile.ZipFile(release / functions(architecture)) as packed:
                held = [(entry.filename, entry.external_attr >> 16 & 0o777) for entry in packed.infolist()]
                if held != [("bootstrap", 0o755)]:
                    yield f"{functions(architecture)} does not hold `bootstrap` alone: {held}"

    if BILL in names:
        components = json.loads((release / BILL).read_text())["components"]
        named = {(component["name"], component["version"]): component for component in components}
        for library in sorted({"glibc", "rust-std"} - {name for name, _ in named}):
            yield f"{BILL} does not name {library}"
        for package in tomllib.loads((root / "Cargo.lock").read_text())["package"]:
            component = named.get((package["name"], package["version"]))
            if component is None:
                yield f"{BILL} does not name {package['name']} {package['version']}"
            elif "checksum" in package and package["checksum"] not in str(component.get("hashes")):
                yield f"{BILL} has another checksum of {package['name']}"


def try_faults(release):
    """Faults that `faults` must find."""
    architecture = next(name for name in ("amd64", "arm64") if (release / archive(name)).exists())

    def without_a_package(copy):
        bill = json.loads((copy / BILL).read_text())
        del bill["components"][7]
        (copy / BILL).write_text(json.dumps(bill))

    def without_the_c_library(copy):
        bill = json.loads((copy / BILL).read_text())
        bill["components"] = [component for component in bill["components"] if component["name"] != "glibc"]
        (copy / BILL).write_text(json.dumps(bill))

    for fault, told in [
        (lambda copy: (copy / functions(architecture)).unlink(), "is missing"),
        (lambda copy: (copy / "notes.txt").write_text("more"), "is no part"),
        (lambda copy: (copy / f"sealfleet-sandbox-image_{VERSION}.tar").touch(), "all images and their bills"),
        (lambda copy: (copy / functions(architecture)).open("ab").write(b"x"), "is wrong about"),
        (lambda copy: (copy / SUMS).open("a").write("0  gone\n"), "names gone, which"),
        (without_a_package, "does not name"),
        (without_the_c_library, "does not name glibc"),
        (lambda copy: (copy / archive(architecture)).unlink(), "no architecture"),
    ]:
        with tempfile.TemporaryDirectory() as place:
            # Images are large, and stand in no check of their own.
            copy = shutil.copytree(release, pathlib.Path(place) / "copy", ignore=shutil.ignore_patterns("*-image_*"))
            fault(copy)
            if not any(told in found for found in faults(copy)):
                yield f"a fault was not found: {told}"


if __name__ == "__main__":
    release = pathlib.Path(sys.argv[-1])
    wrong = list(faults(release))
    if "--try-faults" in sys.argv[1:-1]:
        wrong += try_faults(release)
    sys.exit("\n".join(wrong) or None)
