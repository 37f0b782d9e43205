"""Finds comment lines of Rust that are longer than 100 columns; rustfmt leaves comments alone.

Left alone as well: tables, fenced blocks of doc comments, and lines that an address makes long.
"""

import pathlib
import re
import subprocess
import sys

WIDTH = 100
COMMENT = re.compile(r"\s*(//[/!]?) ?(.*)")


def too_long(text):
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        comment = COMMENT.fullmatch(line)
        if not comment:
            fenced = False
            continue
        said = comment[2].strip()
        if said.startswith("```"):
            fenced = not fenced
        elif len(line) > WIDTH and not (fenced or said.startswith("|") or "://" in said):
            yield number, len(line)


# New files as well, before git knows them.
listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs"]
files = subprocess.run(listing, check=True, capture_output=True, text=True)
wrong = [
    f"{name}:{number}: a comment of {length} columns, {WIDTH} at most"
    for name in files.stdout.split("\0")
    if name and pathlib.Path(name).is_file()
    for number, length in too_long(pathlib.Path(name).read_text(encoding="utf-8"))
]
sys.exit("\n".join(wrong) or None)
