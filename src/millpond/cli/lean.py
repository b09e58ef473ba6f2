"""Imports of a server process without what it does not use (docs/decisions/0001).

Three modules of others are imported by what we need, cost much memory, and are optional for it. They are hidden
while that is imported, and only then: a later import of theirs works.

    ssl                 asyncio would load OpenSSL                                          4.5 MiB
    typing_extensions   msgspec would read it, and needs it below Python 3.11 only          1.0 MiB
    urllib.parse        pathlib takes one function of it, for the URI of a path             0.4 MiB
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Final


def _stand_in() -> ModuleType:
    """For urllib.parse: what pathlib takes of it, which asks the real one when it is called."""

    def quote_from_bytes(text: bytes) -> str:
        from urllib.parse import quote_from_bytes as real

        return real(text)

    module = ModuleType("urllib.parse")
    module.__dict__["quote_from_bytes"] = quote_from_bytes
    return module


HIDDEN: Final = (
    ("typing_extensions", ("msgspec",), None),
    ("ssl", ("asyncio",), None),
    ("urllib.parse", ("pathlib",), _stand_in()),
)
"""(what is hidden, who is imported meanwhile, what those see: None is what is not installed)."""


def load() -> None:
    """Import the second ones without the first. What this process has already is left as it is.

    The collector rests until the server is ready (server.lifecycle): what imports make stays, and to look
    through it again and again takes 8 ms of the start.
    """
    gc.disable()
    for hidden, importers, stand_in in HIDDEN:
        if hidden in sys.modules or any(importer in sys.modules for importer in importers):
            continue
        sys.modules[hidden] = stand_in  # type: ignore[assignment]
        try:
            for importer in importers:
                import_module(importer)
        finally:
            del sys.modules[hidden]
