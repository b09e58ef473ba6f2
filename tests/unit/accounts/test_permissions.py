"""Compiled permissions, reply grants and mappings."""

from __future__ import annotations

import pytest
from millpond.accounts.mappings import Mappings
from millpond.accounts.reply_grants import ReplyGrants

from millpond.accounts.permissions import CompiledPermissions
from millpond.base import limits
from millpond.config.security import Destination, Mapping, Permissions, SubjectPermission


def publisher(allow: tuple[str, ...] | None, deny: tuple[str, ...] = ()) -> CompiledPermissions:
    return CompiledPermissions(Permissions(publish=SubjectPermission(allow, deny)))


@pytest.mark.parametrize(
    ("allow", "deny", "allowed", "denied"),
    [
        (None, (), ["a", "a.b"], []),
        (None, ("a.*",), ["a", "b", "a.b.c"], ["a.b"]),
        (("a.>",), ("a.b",), ["a.c", "a.b.c"], ["a", "a.b", "b"]),
        ((), (), [], ["a", "a.b"]),
        (("a",), (), ["a"], ["a..", ".a", "", "b"]),
    ],
)
def test_verdicts_stay_the_same_when_they_are_asked_for_again(
    allow: tuple[str, ...] | None, deny: tuple[str, ...], allowed: list[str], denied: list[str]
) -> None:
    permissions = publisher(allow, deny)
    for _ in range(3):
        for subject in allowed:
            assert permissions.allows_publish(subject.encode())
        for subject in denied:
            assert not permissions.allows_publish(subject.encode())


def test_many_subjects_share_a_small_table() -> None:
    permissions = publisher(("even.*",))
    for number in range(2000):
        assert permissions.allows_publish(b"even.%d" % number)
        assert not permissions.allows_publish(b"odd.%d" % number)
        assert not permissions.allows_publish(b"even.%d." % number + b"x" * 200)


def test_a_grant_is_used_up_and_grows_old() -> None:
    grants = ReplyGrants(2, 100)
    grants.add(b"r", 0)
    assert not grants.take(b"s", 0)
    assert grants.take(b"r", 100) and grants.take(b"r", 100) and not grants.take(b"r", 100)
    grants.add(b"r", 200)
    assert not grants.take(b"r", 301)


def test_grants_are_bounded_and_the_newest_are_kept() -> None:
    grants = ReplyGrants(1, -1)
    for number in range(3 * limits.REPLY_GRANTS_MAX):
        grants.add(b"inbox.%d" % number, number)
    assert grants.places == limits.REPLY_GRANTS_MAX
    newest = range(3 * limits.REPLY_GRANTS_MAX - 100, 3 * limits.REPLY_GRANTS_MAX)
    assert all(grants.take(b"inbox.%d" % number, 10**6) for number in newest)
    assert not grants.take(b"inbox.0", 10**6)


def test_mappings_by_weight() -> None:
    chance = 0
    mappings = Mappings(
        [Mapping("a.*", (Destination("b.$1", 30), Destination("c.$1", 50))), Mapping("x", (Destination("y"),))],
        lambda: chance,
    )
    assert mappings.of(b"x") == b"y" and mappings.of(b"z") is None
    found = []
    for each in (0, 19, 20, 49, 50, 99):
        chance = each
        found.append(mappings.of(b"a.1"))
    assert found == [b"a.1", b"a.1", b"b.1", b"b.1", b"c.1", b"c.1"]


def test_a_loss_that_was_asked_for() -> None:
    mappings = Mappings([Mapping("a", (Destination("a", 50),))], lambda: 70)
    assert mappings.of(b"a") == b""
