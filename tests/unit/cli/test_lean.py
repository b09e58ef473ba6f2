"""A server process leaves out what it does not use, and what it left out can still be had."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc, sys
from millpond.cli import lean
lean.load()
assert not gc.isenabled()
import asyncio, msgspec
import millpond.cli.serve, millpond.server.lifecycle
for name in ("urllib.parse", "random", "base64"):
    assert name not in sys.modules, name
import millpond.monitor.monitor
for name in ("ssl", "_ssl", "_hashlib", "hashlib", "typing_extensions", "ctypes", "tempfile", "html", "uvloop"):
    assert name not in sys.modules, name
import ssl
assert ssl.create_default_context()
import pathlib
assert pathlib.PurePosixPath("/a b").as_uri() == "file:///a%20b"
print("well")
"""


def test_imports_of_a_server() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout == "well\n", done.stderr


ALREADY = """
import ssl, sys, asyncio, msgspec
from millpond.cli import lean
lean.load()
assert sys.modules["ssl"] is ssl
"""


def test_what_is_there_already_is_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", ALREADY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
