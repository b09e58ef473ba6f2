"""`millpond shim DIR`: an executable DIR/nats-server that starts this Millpond, for programs that start one by name.

Test suites and tools look for `nats-server` on PATH. With DIR first on PATH they get Millpond, from the same
Python that made the file. Exit codes: 0 written and tried, 1 could not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import shlex
import site
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import millpond
from millpond.base.errors import OptionError

NAME: Final = "nats-server"
MARK: Final = "Written by `millpond shim`"
START_S_MAX: Final = 30
"""The new executable has to print its version within this time; a cold disk is slow, a hang is not waited for."""

EXAMPLES: Final = """examples:
  millpond shim ./bin && PATH="$PWD/bin:$PATH" pytest
  ./bin/nats-server -p 4333 -js
"""
FIRST_LINE_MAX: Final = 127
"""Bytes that every kernel reads of the line that names the interpreter; it splits at blanks and passes one argument."""
# `-I`: what a test suite sets for its own Python (PYTHONPATH, PYTHONHOME) is not for this one. `-S`: to look for what
# is installed takes 3 ms, and is known here.
BY_KERNEL: Final = "#!{python} -IS\n# {mark}: starts Millpond in the place of nats-server.\n"
# A shell script, where the kernel cannot name this Python, and a Python program for that Python.
BY_SHELL: Final = """#!/bin/sh
''':' # {mark}: starts Millpond in the place of nats-server.
exec {python} -IS "$0" "$@"
'''
"""
PROGRAM: Final = """import sys

sys.path += {places}
from millpond.cli.main import main

sys.exit(main())
"""


def main(argv: Sequence[str]) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        path = write(options.directory, options.force)
        version = tried(path)
    except (OptionError, OSError) as error:
        print(f"millpond: {error}", file=sys.stderr)
        return 1
    print(f"{path}\n  starts Millpond with all its arguments, by {sys.executable}\n  -v prints: {version}")
    print(f"  first on PATH: export PATH={shlex.quote(str(path.parent))}:$PATH")
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("millpond shim", description=__doc__, epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write nats-server; made when missing")
    parser.add_argument("--force", action="store_true", help="also over a nats-server that is not such a file")
    return parser


def write(directory: Path, force: bool = False) -> Path:
    """The path of the executable, absolute. Raises OptionError when another nats-server is there, OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory.resolve() / NAME
    if os.path.lexists(path) and not force and not _is_ours(path):
        raise OptionError(f"{path} is there and was not written by this command; --force replaces it")
    # Renamed into place: a suite that starts it at this moment sees the old file or the new one.
    new = path.with_name(f".{NAME}.{os.getpid()}")
    new.write_text(script(sys.executable))
    new.chmod(0o755)
    new.replace(path)
    return path


def script(python: str) -> str:
    """The text of the executable."""
    direct = f"#!{python} -IS"
    if len(os.fsencode(direct)) < FIRST_LINE_MAX and not any(character.isspace() for character in python):
        head = BY_KERNEL.format(mark=MARK, python=python)
    else:
        head = BY_SHELL.format(mark=MARK, python=shlex.quote(python))
    return head + PROGRAM.format(places=places())


def places() -> list[str]:
    """Where this Python finds Millpond and what is installed beside it."""
    found = [str(Path(millpond.__file__).parents[1]), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    return list(dict.fromkeys(found))


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(200)


def tried(path: Path) -> str:
    """What `path -v` prints, such as `nats-server: v2.15.1`. Raises OptionError when it does not start."""
    try:
        done = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=START_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        raise OptionError(f"{path} was written, but `-v` printed nothing within {START_S_MAX} s") from None
    if done.returncode != 0 or not done.stdout.startswith(f"{NAME}: v"):
        raise OptionError(f"{path} was written, but does not start: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
