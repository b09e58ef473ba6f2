"""Budgets count exactly, refuse what does not fit, and never go below zero."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.base.budget import Budget, Budgets


def test_charge_counts_here_and_in_the_total() -> None:
    budgets = Budgets(1000)
    cache, index = budgets.named("read_cache", 100), budgets.named("subjects")
    cache.charge(60)
    index.charge(500)
    assert budgets.report() == {"read_cache": (60, 100), "subjects": (500, 0)}
    assert budgets.total.used == 560
    index.release(200)
    assert (index.used, index.used_peak, budgets.total.used) == (300, 500, 360)


def test_a_full_budget_refuses_and_counts_nothing() -> None:
    budgets = Budgets(1000)
    cache = budgets.named("read_cache", 100)
    assert cache.try_charge(100)
    assert not cache.fits(1)
    assert not cache.try_charge(1)
    assert (cache.used, budgets.total.used) == (100, 100)


def test_a_full_total_refuses_in_every_part() -> None:
    budgets = Budgets(1000)
    index, cache = budgets.named("subjects"), budgets.named("read_cache", 100)
    index.charge(950)
    assert cache.try_charge(50)
    assert not cache.try_charge(1)
    assert not index.try_charge(1)


def test_charge_beyond_the_bound_is_counted() -> None:
    budget = Budget("replies", 10)
    budget.charge(25)
    assert budget.used == 25
    assert not budget.fits(1)
    assert budget.fits(0)


def test_without_bounds_everything_fits() -> None:
    assert Budgets().named("connections").try_charge(1 << 60)


def test_release_of_more_than_was_charged_is_a_programming_error() -> None:
    budget = Budget("dedupe", 10)
    budget.charge(3)
    with pytest.raises(AssertionError, match="release of 4 bytes, 3 are charged"):
        budget.release(4)
    with pytest.raises(AssertionError):
        budget.charge(-1)
    with pytest.raises(AssertionError):
        budget.try_charge(-1)
    assert budget.used == 3


def test_a_name_means_one_budget_with_one_bound() -> None:
    budgets = Budgets()
    first = budgets.named("read_cache", 4096)
    assert budgets.named("read_cache") is first
    assert budgets.named("read_cache", 4096) is first
    with pytest.raises(AssertionError, match="bound is 4096, not 1"):
        budgets.named("read_cache", 1)
    assert [budget.name for budget in budgets] == ["read_cache"]
    assert len(budgets) == 1


def test_two_servers_do_not_share() -> None:
    Budgets().named("subjects").charge(7)
    assert Budgets().named("subjects").used == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400)), max_size=60))
def test_against_a_plain_sum(steps: list[tuple[str, int]]) -> None:
    budgets = Budgets(1000)
    bounds = {"a": 300, "b": 600, "c": 0}
    kept: dict[str, list[int]] = {name: [] for name in bounds}
    for name, n in steps:
        budget = budgets.named(name, bounds[name])
        here = sum(kept[name]) + n <= (bounds[name] or 10**9)
        above = sum(map(sum, kept.values())) + n <= 1000
        assert budget.try_charge(n) == (n == 0 or (here and above))
        if here and above:
            kept[name].append(n)
        elif kept[name]:
            budget.release(kept[name].pop())
        assert budget.used == sum(kept[name])
        assert budgets.total.used == sum(map(sum, kept.values()))
