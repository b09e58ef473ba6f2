"""A server process leaves out what it does not use, and what it left out can still be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 60


def done_by(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, to its end."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


SCRIPT = """
import sys
from millpond.cli import lean
lean.load()
import asyncio, msgspec
import millpond.cli.serve, millpond.server.lifecycle
for name in (
    "urllib.parse", "random", "base64", "inspect", "ast", "subprocess", "locale", "dataclasses", "uuid", "platform",
    "decimal", "numbers", "tokenize", "array", "asyncio.sslproto", "msgspec.inspect",
):
    assert name not in sys.modules, name
import millpond.monitor.monitor
for name in ("ssl", "_ssl", "_hashlib", "hashlib", "typing_extensions", "ctypes", "tempfile", "html", "uvloop"):
    assert name not in sys.modules, name
for name in ("jwt", "claims", "operator", "book", "signing", "callout", "credential"):
    assert f"millpond.accounts.{name}" not in sys.modules, name
for name in ("millpond.config.operator", "millpond.config.operator_file", "millpond.server.operator", "cryptography",
             "nacl"):
    assert name not in sys.modules, name
import ssl
assert ssl.create_default_context()
import pathlib
assert pathlib.PurePosixPath("/a b").as_uri() == "file:///a%20b"
async def started():
    program = (sys.executable, "-c", "print(7, end=str())")
    child = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    return await child.communicate()
assert asyncio.iscoroutinefunction(started)
assert asyncio.run(started()) == (b"7", None)
import inspect, subprocess
assert inspect.iscoroutinefunction(started) and subprocess.PIPE == asyncio.subprocess.PIPE == -1
import asyncio.sslproto, datetime
assert asyncio.sslproto.SSLProtocol and datetime.datetime.strptime("2026", "%Y").year == 2026
assert msgspec.json.encode(datetime.date(2026, 1, 2)) == b'"2026-01-02"'
assert msgspec.json.schema(list[int]) == {"type": "array", "items": {"type": "integer"}}
print("well")
"""


def test_imports_of_a_server() -> None:
    done = done_by(SCRIPT)
    assert done.stdout == "well\n", done.stderr


RUNNING = """
import os, signal, sys
from millpond.cli import lean, main
lean.load()
from millpond.server.server import Server
def ready(server):
    asked = [name for name in ("inspect", "ast", "tokenize", "uuid", "decimal", "subprocess") if name in sys.modules]
    print(asked, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)
Server.say_ready = ready
sys.exit(main.main(["serve", "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", sys.argv[1]]))
"""


def test_a_server_that_runs_has_not_asked_for_them(tmp_path: Path) -> None:
    done = done_by(RUNNING, str(tmp_path))
    assert (done.stdout, done.returncode) == ("[] False\n", 0), done.stderr
    assert 'Trapped "interrupt" signal' in done.stderr


ALREADY = """
import ssl, sys, asyncio, msgspec
from millpond.cli import lean
lean.load()
assert sys.modules["ssl"] is ssl
"""


def test_what_is_there_already_is_left_alone() -> None:
    done = done_by(ALREADY)
    assert done.returncode == 0, done.stderr
