"""Compiled modules are found in one shared object, and in files of their own where there is none."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType

import millpond.broker.session
import millpond.jetstream.headers
import millpond.wire.headers
import pytest

from millpond.base import compiled

TOGETHER = sys.modules.get(compiled.TOGETHER)
needs_object = pytest.mark.skipif(TOGETHER is None, reason="this build has no shared object (setup.py)")


def test_a_module_is_itself_wherever_it_lies() -> None:
    for module in (millpond.broker.session, millpond.jetstream.headers, millpond.wire.headers):
        assert sys.modules[module.__name__] is module
        assert module.__file__ is not None
        assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES))
    assert millpond.wire.headers is not millpond.jetstream.headers  # of the same last name


@needs_object
def test_it_answers_for_its_modules_alone() -> None:
    finder = compiled.Compiled()
    spec = finder.find_spec("millpond.broker.session")
    assert spec is not None
    assert TOGETHER is not None
    assert (spec.loader, spec.origin) == (finder, TOGETHER.__file__)
    for name in ("millpond", "millpond.broker", "millpond.server.server", compiled.TOGETHER, "json", "session"):
        assert finder.find_spec(name) is None, name


@needs_object
def test_what_is_not_in_it_cannot_be_made() -> None:
    finder = compiled.Compiled()
    spec = finder.find_spec("millpond.broker.session")
    assert spec is not None
    spec.name = "millpond.broker.nothing"
    with pytest.raises(ImportError, match=r"no module millpond\.broker\.nothing here"):
        finder.create_module(spec)
    with pytest.raises(SystemError):
        finder.exec_module(ModuleType("not one of its own"))


def test_without_the_object_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(compiled, "import_module", missing)
    assert compiled.Compiled().find_spec("millpond.broker.session") is None


def test_it_is_asked_once() -> None:
    compiled.install()
    assert sum(isinstance(finder, compiled.Compiled) for finder in sys.meta_path) == 1
