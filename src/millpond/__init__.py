"""Millpond: a NATS-compatible JetStream server for Python.

    async with millpond.Server() as server:                 # any free port, in this program's loop
        nc = await nats.connect(server.client_url)

    server = await millpond.run(port=0, jetstream=True)     # the same as nats-io's test server is started

Everything but the version is imported on first use, so that `import millpond` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millpond.base import compiled

if TYPE_CHECKING:
    from millpond.server.run import ServerError, run
    from millpond.server.server import Server

compiled.install()
__version__ = "0.1.0"
__all__ = ["Server", "ServerError", "__version__", "run"]


def __getattr__(name: str) -> Any:
    if name == "Server":
        from millpond.server.server import Server

        return Server
    if name in ("run", "ServerError"):
        from millpond.server import run as module

        return getattr(module, name)
    raise AttributeError(f"module 'millpond' has no attribute {name!r}")
