"""The memory store beside the obvious one, in random steps."""

from __future__ import annotations

from hypothesis import given, settings
from millpond.store.memory_store import MemoryStore
from store_model import Model, operations


@given(operations)
@settings(deadline=None, max_examples=120)
def test_agrees_with_the_model(steps: list[tuple]) -> None:
    model = Model(MemoryStore())
    for step in steps:
        model.apply(step)
        model.check_state()
        assert model.store.committed_position == model.store.position
        assert model.store.committed_seq <= model.last_seq
    model.check_told()
    model.check_messages()
    model.check_queries()
    model.store.close()
