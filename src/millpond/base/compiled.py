"""Where the compiled modules are: nearly all in one shared object, `millpond._compiled`, which setup.py links.

A hundred files would each be mapped, bound to Python's symbols and given pages of their own. `import` asks the finder
here before it looks for files. Where there is no such object (a build for debugging makes none) each module has its
file.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

PACKAGE: Final = "millpond."
TOGETHER: Final = "millpond._compiled"


class Compiled:
    """Finder and loader. The object is loaded with the first module of the package, not with the package."""

    def __init__(self) -> None:
        self._object: Any = None
        self._names: frozenset[str] | None = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(PACKAGE) or name == TOGETHER:
            return None
        if name not in (self._load() if self._names is None else self._names):
            return None
        spec = ModuleSpec(name, self, origin=self._object.__file__)  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def _load(self) -> frozenset[str]:
        try:
            self._object = import_module(TOGETHER)
        except ModuleNotFoundError:
            self._names = frozenset()
        else:
            self._names = frozenset(self._object.names())
        return self._names

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        made: ModuleType = self._object.create(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._object.execute(module)


def install() -> None:
    """Let `import` ask here first; once."""
    if not any(isinstance(finder, Compiled) for finder in sys.meta_path):
        sys.meta_path.insert(0, Compiled())
