"""Imports of a server process without what it does not use (docs/decisions/0001).

Some modules of others are imported by what we need, cost memory and time, and are optional for it. They are hidden
while that is imported, and only then: a later import of theirs works.

    ssl                 asyncio would load OpenSSL                                              4.5 MiB
    typing_extensions   msgspec would read it, and needs it below Python 3.11 only              1.0 MiB
    inspect             asyncio asks it when something is wrong; it brings ast and dis          0.8 MiB
    uuid                msgspec knows its type; it brings platform                              0.5 MiB
    urllib.parse        pathlib takes one function of it, for the URI of a path                 0.4 MiB
    decimal             msgspec knows its type                                                  0.3 MiB
    subprocess          asyncio starts processes with it; it brings locale                      0.2 MiB
    asyncio.sslproto    asyncio speaks TLS with it; we do without                               0.1 MiB
    msgspec.inspect     describes types                                                         0.1 MiB
    msgspec._json_schema    the same as JSON; it brings textwrap                                0.1 MiB
    tokenize            traceback finds the encoding of a source with it                        0.1 MiB
    array               socket hands descriptors over with it                                   0.1 MiB

msgspec in such a process takes no uuid.UUID and no decimal.Decimal; no message has one. `datetime` is its C part
from the beginning, as it is since Python 3.12: 3.11 makes everything in Python first and throws it away (0.2 MiB).
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Final

CO_COROUTINE: Final = 0x80
"""inspect's, of a function's code."""


def _stand_in(name: str, *functions: str, **ready: object) -> ModuleType:
    """A module that imports the real one when something of it is asked for.

    functions: names that are taken of it while it is imported; they ask the real one when they are called.
    ready: what it has itself, without the real one.
    """
    module = ModuleType(name)

    def real(attribute: str) -> Any:
        if attribute.startswith("__"):  # the import system asks, for a __path__
            raise AttributeError(attribute)
        if sys.modules.get(name) is module:
            del sys.modules[name]
        return getattr(import_module(name), attribute)

    def function(attribute: str) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            return real(attribute)(*given, **named)

        return call

    module.__dict__["__getattr__"] = real
    module.__dict__.update(ready)
    module.__dict__.update({attribute: function(attribute) for attribute in functions})
    return module


def _is_coroutine_function(function: Any) -> bool:
    """As inspect's, for functions and methods of Python: what asyncio asks of each signal's handler."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)


HIDDEN: Final[dict[str, dict[str, ModuleType | None]]] = {
    "msgspec": {
        "typing_extensions": None,
        "uuid": _stand_in("uuid", UUID=type("UUID", (), {}), SafeUUID=type("SafeUUID", (), {"unknown": None})),
        "decimal": _stand_in("decimal", Decimal=type("Decimal", (), {})),
        "msgspec.inspect": _stand_in("msgspec.inspect"),
        "msgspec._json_schema": _stand_in("msgspec._json_schema", "schema", "schema_components"),
    },
    "pathlib": {"urllib.parse": _stand_in("urllib.parse", "quote_from_bytes")},
    "socket": {"array": _stand_in("array")},
    "asyncio": {
        "ssl": None,
        "subprocess": _stand_in("subprocess", PIPE=-1, STDOUT=-2, DEVNULL=-3),
        "inspect": _stand_in("inspect", iscoroutinefunction=_is_coroutine_function),
        "tokenize": _stand_in("tokenize"),
        "asyncio.sslproto": _stand_in("asyncio.sslproto"),
    },
}
"""Who is imported, and what it sees instead of a module: None is what is not installed."""


def load(*importers: str) -> None:
    """Import those of HIDDEN that are named, all when none is. What this process has already is left as it is."""
    sys.modules.setdefault("datetime", import_module("_datetime"))
    for importer in importers or HIDDEN:
        if importer in sys.modules:
            continue
        hidden = {name: module for name, module in HIDDEN[importer].items() if name not in sys.modules}
        sys.modules.update(hidden)  # type: ignore[arg-type]
        try:
            import_module(importer)
        finally:
            for name, module in hidden.items():
                if name in sys.modules and sys.modules[name] is module:
                    del sys.modules[name]
