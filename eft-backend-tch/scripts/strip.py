#!/usr/bin/env python3
"""Removes debug information from TorchScript modules: it holds the paths of the machine that made them.

usage: strip.py MODULE...
"""

import io
import sys
import zipfile


def stripped(module):
    """The bytes of a module without its debug information."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(module)) as old, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as new:
        for record in old.infolist():
            if not record.filename.endswith(".debug_pkl"):
                new.writestr(record, old.read(record))
    return kept.getvalue()


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            module = stripped(file.read())
        with open(path, "wb") as file:
            file.write(module)
