"""Installs npm packages without Node.js and npm: scripts/lib/npm_packages.py FOLDER DIRECTORY [PACKAGE...]

FOLDER/package-lock.json pins them. The packages that are named, or all that FOLDER/package.json asks for, and what they need on this
machine come to DIRECTORY, as `npm ci --ignore-scripts` lays out `node_modules`. What is there already stays if it is the same.

Each archive must have the digest of the lock file; it is unpacked once, into ~/.cache/sealfleet/npm, and linked from there. No
script of a package runs. npm's own cache, which names what it holds by digest, is looked at before the registry is asked.
"""

import base64
import hashlib
import io
import json
import os
import pathlib
import platform
import shutil
import sys
import tarfile
import tempfile
import urllib.request

REGISTRY = os.environ.get("npm_config_registry", "https://registry.npmjs.org").rstrip("/")
CACHE = pathlib.Path.home() / ".cache/sealfleet/npm"
OF_NPM = pathlib.Path(os.environ.get("npm_config_cache", pathlib.Path.home() / ".npm")) / "_cacache/content-v2"
CPU = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
HERE = {"os": "linux", "cpu": CPU, "libc": "glibc"}


def is_for_here(entry):
    lists = {key: [entry[key]] if isinstance(entry[key], str) else entry[key] for key in HERE if key in entry}
    return all(HERE[key] in allowed for key, allowed in lists.items())


def needed(lock, names):
    """Entries of the lock file by their path: the packages of these names, and what they depend on."""
    packages, found = lock["packages"], {}
    waiting = [("", name) for name in names]
    while waiting:
        place, name = waiting.pop()
        # The nearest one wins, from the package's own folder outwards.
        folders = [place]
        while folders[-1]:
            folders.append(folders[-1].rpartition("node_modules/")[0].rstrip("/"))
        paths = [f"{folder}/node_modules/{name}".lstrip("/") for folder in folders]
        path = next((path for path in paths if path in packages), None)
        if path is None or path in found or packages[path].get("inBundle") or not is_for_here(packages[path]):
            continue
        found[path] = packages[path]
        for kind in ("dependencies", "optionalDependencies"):
            waiting += [(path, other) for other in packages[path].get(kind, {})]
    return found


def fetched(name, version, digest):
    """The bytes of a package, which have this SHA-512."""
    kept = OF_NPM / "sha512" / digest[:2] / digest[2:4] / digest[4:]
    if kept.exists():
        data = kept.read_bytes()
    else:
        url = f"{REGISTRY}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        print(f"fetching {url}", file=sys.stderr)
        with urllib.request.urlopen(url, timeout=120) as answer:
            data = answer.read()
    if hashlib.sha512(data).hexdigest() != digest:
        sys.exit(f"npm_packages: {name} {version} is not what the lock file pins: its digest is another one")
    return data


def unpacked(path, entry):
    """The directory of a package in the cache."""
    name = entry.get("name", path.rpartition("node_modules/")[2])
    kind, _, digest = entry["integrity"].partition("-")
    if kind != "sha512":
        sys.exit(f"npm_packages: the lock file has no SHA-512 of {name}")
    digest = base64.b64decode(digest).hex()
    directory = CACHE / f"{name.replace('/', '+')}-{entry['version']}-{digest[:16]}"
    if directory.exists():
        return directory
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = pathlib.Path(tempfile.mkdtemp(prefix=".fresh-", dir=CACHE))
    fresh.chmod(0o755)
    try:
        with tarfile.open(fileobj=io.BytesIO(fetched(name, entry["version"], digest))) as archive:
            for member in archive:
                # The first folder is `package`, or whatever its author chose.
                parts = pathlib.PurePosixPath(member.name).parts[1:]
                if not member.isfile() or not parts:
                    continue
                if ".." in parts or member.name.startswith("/"):
                    sys.exit(f"npm_packages: {name} has a file outside of its folder")
                file = fresh.joinpath(*parts)
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.extractfile(member) as content, file.open("wb") as into:
                    shutil.copyfileobj(content, into)
                file.chmod(0o755 if member.mode & 0o111 else 0o644)
        fresh.rename(directory)
    except OSError:
        # Another process may have been quicker.
        if not directory.exists():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return directory


def linked(source, target):
    """A tree of hard links, or a copy where links cannot be made."""
    def link(one, other):
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)
    shutil.copytree(source, target, copy_function=link)


def install(folder, into, names):
    lock = json.loads((folder / "package-lock.json").read_text())
    asked = lock["packages"][""]
    names = names or [*asked.get("dependencies", {}), *asked.get("optionalDependencies", {})]
    packages = needed(lock, names)
    for name in names:
        if f"node_modules/{name}" not in packages and name not in asked.get("optionalDependencies", {}):
            sys.exit(f"npm_packages: `{folder}` pins no `{name}` for this machine")
    for path, entry in sorted(packages.items()):
        target = into / path.removeprefix("node_modules/")
        stamp = target / ".integrity"
        if stamp.exists() and stamp.read_text() == entry["integrity"]:
            continue
        source = unpacked(path, entry)
        shutil.rmtree(target, ignore_errors=True)
        linked(source, target)
        stamp.write_text(entry["integrity"])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    install(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:])
