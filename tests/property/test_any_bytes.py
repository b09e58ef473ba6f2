"""The fuzzers' checks with Hypothesis' bytes, and mutated examples with Hypothesis' choices."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from checks import CHECKS, mutate


@pytest.mark.parametrize("name", CHECKS)
def test_examples_are_well_formed_and_hold(name: str) -> None:
    check, examples = CHECKS[name]
    for example in examples:
        check(example)


@pytest.mark.parametrize("name", CHECKS)
@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=200))
def test_any_bytes(name: str, data: bytes) -> None:
    CHECKS[name][0](data)


@pytest.mark.parametrize("name", CHECKS)
@settings(deadline=None, max_examples=300)
@given(rng=st.randoms(use_true_random=False))
def test_mutated_examples(name: str, rng: random.Random) -> None:
    check, examples = CHECKS[name]
    check(mutate(rng, examples))
