"""Imports of a server process without what it does not use (docs/decisions/0001).

Two modules of others are imported by what we need, cost megabytes, and are optional for it: each has a
path without them. They are hidden while that is imported, and only then: a later import of theirs works.

    ssl                 asyncio would load OpenSSL                                          4.5 MiB
    typing_extensions   msgspec would read it, and needs it below Python 3.11 only          1.0 MiB
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import Final

HIDDEN: Final = (
    ("typing_extensions", ("msgspec",)),
    ("ssl", ("asyncio",)),
)
"""(what is hidden, who is imported meanwhile)."""


def load() -> None:
    """Import the second ones without the first. What this process has already is left as it is.

    The collector rests until the server is ready (server.lifecycle): what imports make stays, and to look
    through it again and again takes 8 ms of the start.
    """
    gc.disable()
    for hidden, importers in HIDDEN:
        if hidden in sys.modules or any(importer in sys.modules for importer in importers):
            continue
        sys.modules[hidden] = None  # type: ignore[assignment]
        try:
            for importer in importers:
                import_module(importer)
        finally:
            del sys.modules[hidden]
