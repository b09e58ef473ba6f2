"""The client port before the server behind it.

Whoever starts a server and connects a moment later, once, shall wait for INFO and not be refused. So the command
listens as soon as it knows where, and imports and starts the rest then: the kernel takes the connections, the server
accepts them when it is ready. nats-server listens only when its streams are recovered, so that nobody waits for what
may take long; where there are many streams, this one does as well.

Whoever finds it listening may send a signal, which would end a process that has no handler yet: signals are held until
the server takes them (`server.lifecycle`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
from typing import TYPE_CHECKING, Final

from millpond.config.options import JetStreamOptions, Options
from millpond.transport.binding import listening

if TYPE_CHECKING:
    from _socket import socket

STREAMS_MAX: Final = 100
"""Recovered in a fraction of a second."""
HELD: Final = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2)


def hold_signals() -> None:
    """For the main thread, while there are no others. What comes from here on waits for `release_signals`."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, HELD)


def release_signals() -> None:
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, HELD)


def listen(options: Options) -> socket | None:
    """None where there is much to recover, or where it cannot be done: the server tries it itself then, and says why.
    """
    try:
        return listening(options.host, options.port) if _recovers_soon(options.jetstream) else None
    except OSError:
        return None


def _recovers_soon(options: JetStreamOptions | None) -> bool:
    """Are there few streams on the disk? Raises OSError."""
    if options is None or options.store_dir is None:
        return True
    count = 0
    try:
        accounts = [entry.path for entry in os.scandir(os.path.join(options.store_dir, "jetstream")) if entry.is_dir()]
    except FileNotFoundError:
        return True
    for account in accounts:
        count += len(os.listdir(os.path.join(account, "streams")))
    return count <= STREAMS_MAX
