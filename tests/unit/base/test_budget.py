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


# --- fair shares ---


def test_a_kept_part_that_is_alone_has_the_whole() -> None:
    whole = Budget("output", 1000)
    first, second = Budget("a", 0, whole), Budget("b", 0, whole)
    first.keep(True)
    first.charge(999)
    assert not first.over_share
    second.keep(True)
    assert first.over_share and first.share == 250
    second.charge(249)
    assert not second.over_share
    second.charge(1)
    assert second.over_share
    second.keep(False)
    assert whole.holders == 2, "it still holds something"
    second.release(250)
    assert whole.holders == 1 and not first.over_share


def test_a_part_that_is_not_kept_leaves_half_to_those_who_may_come() -> None:
    whole = Budget("output", 1000)
    account = Budget("account", 0, whole)
    account.keep(True)
    connection = Budget("connection", 0, account)
    connection.charge(499)
    assert not connection.over_share
    connection.charge(1)
    assert connection.over_share and not account.over_share
    other = Budget("connection", 0, account)
    other.charge(10)
    assert (other.share, other.over_share, account.holders) == (250, False, 2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(-60, 60)), max_size=300))
def test_who_keeps_to_the_shares_stays_within_the_bound_and_none_is_left_out(steps: list[tuple[int, int]]) -> None:
    whole = Budget("output", 1600)
    parts = [Budget("part", 0, whole) for _ in range(8)]
    for part in parts:
        part.keep(True)
    for number, size in steps:
        part = parts[number]
        if size < 0:
            part.release(min(-size, part.used))
        elif not part.over_share:
            part.charge(min(size, part.share - part.used))
        assert whole.used == sum(each.used for each in parts) <= 1600
        assert all(each.used >= 1600 // 2 // 8 for each in parts if each.over_share), "its equal share is sure"


def test_a_part_moves_with_all_it_holds() -> None:
    budgets = Budgets(1000)
    output = budgets.named("output", 500)
    first, second = Budget("a", 0, output), Budget("b", 0, output)
    connection = Budget("c", 0, first)
    connection.charge(70)
    connection.move(second)
    assert (first.used, first.holders, second.used, second.holders) == (0, 0, 70, 1)
    assert (output.used, output.holders, budgets.total.used) == (70, 1, 70)
    connection.release(70)
    assert (second.holders, output.holders, budgets.total.used) == (0, 0, 0)
