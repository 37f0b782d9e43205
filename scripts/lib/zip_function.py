"""Packs the functions' program as Lambda wants it: scripts/lib/zip_function.py PROGRAM ZIP

The program is called `bootstrap` and can be executed. SOURCE_DATE_EPOCH is its time.
"""

import os
import pathlib
import sys
import time
import zipfile

program, zipped = map(pathlib.Path, sys.argv[1:])
moment = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))
entry = zipfile.ZipInfo("bootstrap", moment[:6])
entry.external_attr = 0o100755 << 16
entry.compress_type = zipfile.ZIP_DEFLATED
with zipfile.ZipFile(zipped, "w") as packed:
    packed.writestr(entry, program.read_bytes(), compresslevel=9)
