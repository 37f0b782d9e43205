"""Tries npm_packages.py with a registry of this test's own, below a directory: what is pinned comes, and nothing else does."""

import base64
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).with_name("npm_packages.py")


def archive(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as packed:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


class Fetches(unittest.TestCase):
    def setUp(self):
        self.place = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.packages = {"": {"dependencies": {"tool": "1.0.0"}}}
        self.add("tool", {"package/bin/tool": "tool", "package/package.json": "{}"}, dependencies={"@scope/part": "1.0.0"},
                 optionalDependencies={"of-windows": "1.0.0"})
        self.add("@scope/part", {"package/part.js": "part"}, os=["linux"], cpu=["x64", "arm64"])
        self.add("of-windows", {"package/exe": "exe"}, os=["win32"])
        self.add("unasked", {"package/file": "file"})

    def add(self, name, files, **more):
        data = archive(files)
        file = self.place / "registry" / name / "-" / f"{name.rpartition('/')[2]}-1.0.0.tgz"
        file.parent.mkdir(parents=True)
        file.write_bytes(data)
        digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
        self.packages[f"node_modules/{name}"] = {"version": "1.0.0", "integrity": f"sha512-{digest}", **more}
        return file

    def install(self, *names):
        (self.place / "package-lock.json").write_text(json.dumps({"packages": self.packages}))
        own = {"HOME": str(self.place), "npm_config_registry": (self.place / "registry").as_uri()}
        into = self.place / "into"
        done = subprocess.run([sys.executable, PROGRAM, self.place, into, *names], env=os.environ | own, capture_output=True, text=True)
        found = {str(file.relative_to(into)) for file in into.rglob("*") if file.is_file() and file.name != ".integrity"}
        return done.returncode, done.stderr, found

    def test_what_is_asked_for_comes_with_what_it_needs_on_this_machine(self):
        code, told, found = self.install()
        self.assertEqual((code, found), (0, {"tool/bin/tool", "tool/package.json", "@scope/part/part.js"}), told)
        # Once more: nothing is fetched.
        self.assertEqual(self.install()[1], "")

    def test_another_archive_than_the_pinned_one_is_refused(self):
        file = self.add("other", {"package/file": "good"})
        file.write_bytes(archive({"package/file": "evil"}))
        code, told, found = self.install("other")
        self.assertEqual((code, found), (1, set()))
        self.assertIn("not what the lock file pins", told)

    def test_a_weaker_digest_is_refused(self):
        self.add("old", {"package/file": "file"})
        self.packages["node_modules/old"]["integrity"] = "sha1-AAAA"
        code, told, found = self.install("old")
        self.assertEqual((code, found), (1, set()))
        self.assertIn("no SHA-512", told)

    def test_no_file_leaves_its_folder(self):
        for number, name in enumerate(["package/../../../out", "/package/out"]):
            self.add(f"hostile{number}", {name: "out"})
            code, told, found = self.install(f"hostile{number}")
            self.assertEqual((code, found), (1, set()), name)
            self.assertIn("outside of its folder", told)

    def test_a_package_that_is_not_pinned_is_refused(self):
        code, told, _ = self.install("absent")
        self.assertEqual(code, 1)
        self.assertIn("pins no `absent`", told)


if __name__ == "__main__":
    unittest.main()
