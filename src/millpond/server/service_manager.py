"""Tells the service manager that started this process how far it is: sd_notify(3), `Type=notify-reload` of systemd.

Who started it names a datagram socket in NOTIFY_SOCKET: a path, or `@name` in the abstract namespace. Without one
nothing is said. A manager that does not listen is no reason to stop serving: that is logged.
"""

from __future__ import annotations

import os
import time
from typing import Final

from millpond.server.logs import log

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def ready() -> None:
    """It serves, for the first time or again after a reload."""
    _tell(READY)


def reloading() -> None:
    """A reload begins; `ready` must follow, whatever comes of it."""
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """It ends now. Not said of lame duck mode, which may last longer than a manager waits for the end."""
    _tell(STOPPING)


def _tell(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    import socket

    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.setblocking(False)  # a full queue of the manager must not stop the loop
            manager.sendto(state.encode(), address)
    except OSError as error:
        log.warning("Could not tell the service manager %s: %s", state.partition("\n")[0], error.strerror or error)
