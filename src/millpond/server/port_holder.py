"""Who listens on a port: for the message that says that it is taken. Linux only, and only what /proc lets us see."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LISTENING: Final = "0A"
TABLES: Final = ("net/tcp", "net/tcp6")
NAME_BYTES_MAX: Final = 64


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """`process 123 (name)`, or "" when that cannot be seen."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not sockets:
        return ""
    for folder in proc.glob("[0-9]*/fd"):
        try:
            links = [os.readlink(entry) for entry in folder.iterdir()]
        except OSError:
            continue
        if not sockets.isdisjoint(links):
            return f"process {folder.parent.name} ({_name(folder.parent)})"
    return ""


def _inodes(port: int, proc: Path) -> list[str]:
    found = []
    for table in TABLES:
        try:
            rows = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                found.append(words[9])
    return found


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()[:NAME_BYTES_MAX]
    except OSError:
        return "?"
