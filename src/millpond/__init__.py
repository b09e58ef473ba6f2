"""Millpond: a NATS-compatible JetStream server for Python.

`Server` is imported on first use, so that `import millpond` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millpond.server.server import Server

__version__ = "0.1.0"
__all__ = ["Server", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Server":
        from millpond.server.server import Server

        return Server
    raise AttributeError(f"module 'millpond' has no attribute {name!r}")
