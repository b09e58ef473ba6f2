"""`-sl, --signal name[=pid]`: tell a running server to stop, reload or reopen its log (reference 08.3)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from millpond.base.errors import OptionError

COMMANDS: Final = {
    "stop": signal.SIGKILL,
    "quit": signal.SIGINT,
    "term": signal.SIGTERM,
    "reopen": signal.SIGUSR1,
    "reload": signal.SIGHUP,
    "ldm": signal.SIGUSR2,
}
PROGRAMS: Final = ("millpond", "nats-server")
PID_FILE_BYTES_MAX: Final = 64


def send(text: str) -> None:
    """Carry out `name`, `name=123`, `name=/path/of/pid` or `name=12*`. Raises OptionError."""
    name, _, target = text.partition("=")
    if "=" in target:
        raise OptionError(f"invalid signal parameters: {target.split('=')[1:]}")
    if name not in COMMANDS:
        raise OptionError(f'unknown signal "{name}"; there are {", ".join(COMMANDS)}')
    failures = []
    for pid in _pids(_from_file(target)):
        try:
            os.kill(pid, COMMANDS[name])
        except OSError as error:
            failures.append(f'signal "{name}" {pid}: {(error.strerror or str(error)).lower()}')
    if failures:
        raise OptionError("\n".join(failures))


def _from_file(target: str) -> str:
    """The content of a PID file, when `target` is the path of one."""
    try:
        with open(target) as file:
            return file.read(PID_FILE_BYTES_MAX).strip()
    except (OSError, ValueError):
        return target


def _pids(target: str) -> list[int]:
    prefix = target.removesuffix("*")
    if prefix and not (prefix.isascii() and prefix.isdecimal() and int(prefix) > 0):
        raise OptionError(f"invalid pid: {prefix}")
    if prefix == target and target:
        return [int(target)]
    running = sorted(pid for pid in servers() if str(pid).startswith(prefix))
    if not running:
        raise OptionError(f"no {' or '.join(PROGRAMS)} processes running")
    if len(running) > 1 and not target:
        raise OptionError("multiple processes running, name one of them: " + ", ".join(map(str, running)))
    return running


def servers(proc: Path = Path("/proc")) -> Iterator[int]:
    """Process ids of the servers on this machine, this process left out. Needs /proc; finds nothing without it."""
    for entry in proc.glob("[0-9]*/cmdline"):
        pid = int(entry.parent.name)
        try:
            words = entry.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if pid != os.getpid() and _is_server(words):
            yield pid


def _is_server(words: list[str]) -> bool:
    """`nats-server ...`, `millpond serve ...`, and the same behind `python`, `python -IS` or `python -m`."""
    if Path(words[0]).name.startswith("python"):
        words = words[2:] if words[1:2] in (["-m"], ["-I"], ["-IS"]) else words[1:]
    if not words:
        return False
    program = Path(words[0]).name
    if program == "nats-server":
        return True
    return program == "millpond" and words[1:2] != [] and (words[1] == "serve" or words[1].startswith("-"))
