"""Passwords that wait for bcrypt: whose turn it is, how many may wait, who shares an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from millpond.accounts import passwords
from millpond.accounts.passwords import Attempt, Job, Line, PasswordVerifier, origin_of


def job(origin: str, user: str, password: str = "p") -> Job:
    return Job(Attempt(None, user, password), origin, lambda right: None)


def order(jobs: list[Job]) -> list[int]:
    line = Line()
    for each in jobs:
        line.add(each)
    found = []
    while (taken := line.next()) is not None:
        found.append(jobs.index(taken))
    assert len(line) == 0 and not line._origins and not line._counts
    return found


def test_addresses_have_their_turns() -> None:
    assert order([job("a", "u"), job("a", "u"), job("a", "u"), job("b", "u"), job("c", "u")]) == [0, 3, 4, 1, 2]


def test_users_of_one_address_have_theirs() -> None:
    assert order([job("a", "u"), job("a", "u"), job("a", "u"), job("a", "v"), job("b", "u")]) == [0, 4, 3, 1, 2]


def test_what_is_given_up_leaves_nothing_behind() -> None:
    line = Line()
    jobs = [job("a", "u"), job("a", "v"), job("b", "u")]
    for each in jobs:
        line.add(each)
    assert line.crowded() == "a" and line.last_of("a") is jobs[1]
    for each in jobs:
        line.drop(each)
    assert len(line) == 0 and not line._origins and not line._counts


@pytest.mark.parametrize(
    ("ip", "origin"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8::1", "2001:0db8:0000:0000"),
        ("2001:db8:0:0:ffff::1", "2001:0db8:0000:0000"),
        ("2001:db8:0:1::1", "2001:0db8:0000:0001"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("no:address", "no:address"),
    ],
)
def test_a_network_of_ipv6_is_one_origin(ip: str, origin: str) -> None:
    assert origin_of(ip) == origin


class Rig:
    """A verifier whose comparisons end when they are told to; this test's thread is the loop's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: int) -> None:
        self.posted: SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = SimpleQueue()
        self.verdicts: SimpleQueue[bool] = SimpleQueue()
        self.compared: list[str] = []
        self.answers: list[tuple[str, bool | None]] = []

        def compare(hashed: str, password: str) -> bool:
            self.compared.append(f"{hashed} {password}")
            return self.verdicts.get()

        monkeypatch.setattr(passwords, "verify", compare)
        self.verifier = PasswordVerifier(lambda act, *rest: self.posted.put((act, rest)), threads=1, **settings)

    def ask(self, ip: str, user: str, password: str) -> Job | None:
        name = f"{ip} {user} {password}"
        return self.verifier.verify(
            Attempt(None, user, password), ip, lambda right: self.answers.append((name, right))
        )

    def end_one(self, right: bool) -> None:
        self.verdicts.put(right)
        act, rest = self.posted.get(timeout=10)
        act(*rest)

    def all_done(self) -> None:
        self.verifier.close()
        assert not self.verifier._same and not self.verifier._compares and not len(self.verifier._line)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def rig(**settings: int) -> Rig:
        made.append(Rig(monkeypatch, **settings))
        return made[-1]

    yield rig
    for each in made:                # a thread that is left over would compare with what the next test puts in place
        each.verifier.close()
        each.verdicts.put(False)
    for thread in threading.enumerate():
        if thread.name == "millpond-passwords":
            thread.join(10)
            assert not thread.is_alive()


def test_a_flood_from_one_address_delays_others_by_one_comparison(make: Callable[..., Rig]) -> None:
    rig = make()
    for number in range(500):
        assert rig.ask("10.0.0.9", "u", f"guess {number}") is not None
    assert rig.ask("10.0.0.7", "u", "right") is not None
    rig.end_one(False)
    rig.end_one(False)
    rig.end_one(True)
    assert ("10.0.0.7 u right", True) in rig.answers


def test_those_who_show_the_same_share_one_comparison(make: Callable[..., Rig]) -> None:
    rig = make()
    for number in range(300):
        assert rig.ask(f"10.0.{number // 250}.{number % 250}", "u", "same") is not None
    late = rig.ask("10.9.9.9", "u", "same")
    assert late is not None and late.begun
    assert rig.ask("10.9.9.9", "u", "other") is not None
    rig.end_one(True)
    assert len(rig.answers) == 301 and all(right for _, right in rig.answers)
    rig.end_one(False)
    assert rig.compared == ["u same", "u other"]
    assert rig.answers[-1] == ("10.9.9.9 u other", False)
    rig.all_done()


def test_there_is_room_for_so_many_and_the_crowd_gives_way(make: Callable[..., Rig]) -> None:
    rig = make(waiting_max=4)
    kept = [rig.ask("crowd", "u", str(number)) for number in range(5)]      # one of them is being compared
    assert None not in kept
    assert rig.ask("crowd", "u", "5") is None
    assert rig.ask("other", "u", "x") is not None
    assert rig.answers == [("crowd u 4", None)]
    for _ in range(5):
        rig.end_one(False)
    assert [name for name, right in rig.answers if right is False] == [
        "crowd u 0", "crowd u 1", "other u x", "crowd u 2", "crowd u 3",
    ]  # fmt: skip
    rig.all_done()


def test_nothing_is_compared_for_who_is_gone(make: Callable[..., Rig]) -> None:
    rig = make()
    jobs = [rig.ask("a", "u", str(number)) for number in range(4)]
    for each in jobs[:3]:
        assert each is not None
        rig.verifier.give_up(each)
        rig.verifier.give_up(each)
    rig.ask("a", "u", "0")                                                  # while its comparison goes on
    rig.end_one(False)
    rig.end_one(True)
    assert rig.compared == ["u 0", "u 3"]
    assert rig.answers == [("a u 0", False), ("a u 3", True)]
    rig.all_done()


def test_threads_start_as_they_are_needed(make: Callable[..., Rig]) -> None:
    rig = make()
    assert rig.verifier._threads == 0
    for number in range(10):
        rig.ask("a", "u", str(number))
    assert rig.verifier._threads == 1
    assert "millpond-passwords" in [thread.name for thread in threading.enumerate()]
    for _ in range(10):
        rig.end_one(False)
    rig.all_done()
