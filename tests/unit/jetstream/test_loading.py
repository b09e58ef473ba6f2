"""Modules for backups and for streams that follow others come one in a turn, before the request that needs them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from millpond.jetstream import loading


class Queue:
    """Runs steps when told."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], bool]] = []

    def add(self, step: Callable[[], bool], size: int = 0) -> None:
        self.steps.append(step)


def test_what_is_missing_is_loaded_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(loading, "import_module", loaded.append)
    queue, done = Queue(), []
    names = ("json", "no.such.a", "no.such.b")
    loading.when_loaded(names, queue, 0, lambda: done.append(len(loaded)))  # type: ignore[arg-type]
    (step,) = queue.steps
    seen = []
    while step():
        seen.append(len(loaded))
    assert seen == [1, 2] and loaded == ["no.such.a", "no.such.b"] and done == [2]


def test_what_is_there_waits_for_nobody() -> None:
    queue, done = Queue(), []
    loading.when_loaded(("json", "sys"), queue, 0, lambda: done.append(True))  # type: ignore[arg-type]
    assert done and not queue.steps


def test_only_bodies_that_name_others_need_what_follows_them() -> None:
    assert loading.following(b'{"name":"S"}') == ()
    assert loading.following(b'{"name":"S","mirror":{"name":"O"}}') == loading.FOLLOWING
    assert loading.following(b'{"name":"S","sources":[]}') == loading.FOLLOWING


@pytest.mark.parametrize("names", [loading.BACKUPS, loading.FOLLOWING])
def test_each_module_comes_after_those_that_it_needs(names: tuple[str, ...]) -> None:
    import subprocess

    code = f"""
import sys, millpond.server.server, millpond.jetstream.api.registry
from importlib import import_module
for name in {names!r}:
    assert name not in sys.modules, name
    before = set(sys.modules)
    import_module(name)
    others = [new for new in set(sys.modules) - before if new in {names!r} and new != name]
    assert not others, (name, others)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
