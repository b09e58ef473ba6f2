"""What a power cut may leave: the rules by themselves."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from millpond.testing.disk_image import SURVIVALS, DiskImage
from millpond.testing.simulated_disk import GONE, MOVED, NAME, SIZE, SYNCED, UNSYNCED, WRITE, File

A, B = File(), File()
PAGE = 4096


def images(steps: list[Any], seeds: int = 200) -> list[dict[str, bytes | None]]:
    """What may be left after these steps; before them there is the file /a with two pages of `.`."""
    found = []
    for seed in range(seeds):
        rng = Random(seed)
        disk = DiskImage({"": None, "/a": A}, {"/a": b"." * 2 * PAGE}, rng)
        for step in steps:
            disk.feed(step)
        found.append(disk.image(rng, SURVIVALS[seed % len(SURVIVALS)]))
    return found


def contents(steps: list[Any]) -> set[bytes | None]:
    return {image["/a"] for image in images(steps)}


def test_what_was_synced_is_there() -> None:
    assert contents([(WRITE, A, 0, b"x" * PAGE), (SYNCED, A, 1)]) == {b"x" * PAGE + b"." * PAGE}


def test_a_sync_covers_what_was_done_before_it_was_asked_for() -> None:
    found = contents([(WRITE, A, 0, b"x"), (WRITE, A, PAGE, b"y"), (SYNCED, A, 1)])
    assert {one[:1] for one in found} == {b"x"} and {one[PAGE : PAGE + 1] for one in found} == {b".", b"y"}


def test_of_two_writes_either_may_be_missing() -> None:
    found = contents([(WRITE, A, 0, b"x"), (WRITE, A, PAGE, b"y")])
    assert {(one[:1], one[PAGE : PAGE + 1]) for one in found} == {(x, y) for x in (b".", b"x") for y in (b".", b"y")}


def test_a_write_may_be_torn_between_sectors_and_not_within() -> None:
    found = contents([(WRITE, A, 0, b"x" * PAGE)])
    sectors = {one[at : at + 512] for one in found for at in range(0, PAGE, 512)}
    assert sectors == {b"x" * 512, b"." * 512} and len(found) > 10


def test_a_file_may_have_grown_without_its_bytes() -> None:
    found = contents([(SIZE, A, 3 * PAGE), (WRITE, A, 2 * PAGE, b"x" * PAGE)])
    assert b"." * 2 * PAGE + bytes(PAGE) in found


def test_what_follows_a_cut_off_needs_it() -> None:
    found = contents([(SIZE, A, 0), (WRITE, A, 0, b"new")])
    assert found == {b"." * 2 * PAGE, b"", b"new"}


def test_after_a_failed_sync_nothing_more_makes_its_pages_certain() -> None:
    found = contents([(WRITE, A, 0, b"x"), (UNSYNCED, A, 1), (SYNCED, A, 2)])
    assert {one[:1] for one in found} == {b".", b"x"}


@pytest.mark.parametrize("synced", [False, True])
def test_a_new_name_is_certain_when_its_directory_is(synced: bool) -> None:
    steps = [(NAME, "/b", B), (WRITE, B, 0, b"x"), (SYNCED, B, 2), *([(SYNCED, "", 3)] if synced else [])]
    found = {image.get("/b") for image in images(steps)}
    assert found == ({b"x"} if synced else {b"x", None})


def test_names_change_in_their_order_or_not_at_all() -> None:
    steps = [(NAME, "/b", B), (WRITE, B, 0, b"x"), (SYNCED, B, 2), (MOVED, "/b", "/a"), (GONE, "/a")]
    found = {(image.get("/a", b"")[:1], image.get("/b")) for image in images(steps)}
    assert (b".", None) in found and (b"x", None) in found and (b"", None) in found and (b".", b"x") in found


def test_what_is_moved_is_the_file_that_had_the_name_then() -> None:
    c = File()
    steps = [(NAME, "/b", B), (WRITE, B, 0, b"x"), (SYNCED, B, 2), (SYNCED, "", 3), (MOVED, "/b", "/a"),
             (NAME, "/b", c), (WRITE, c, 0, b"y"), (SYNCED, c, 7), (MOVED, "/b", "/d")]  # fmt: skip
    assert {image["/d"] for image in images(steps) if "/d" in image} == {b"y"}


def test_after_a_kill_everything_is_read_and_what_was_uncertain_stays_so() -> None:
    steps = [(WRITE, A, 0, b"x"), (NAME, "/b", B), (WRITE, B, 0, b"y")]
    found = set()
    for seed in range(100):
        rng = Random(seed)
        disk = DiskImage({"": None, "/a": A}, {"/a": b"." * PAGE}, rng)
        for step in steps:
            disk.feed(step)
        files, known = disk.memory()
        assert files == {"": None, "/a": b"x" + b"." * (PAGE - 1), "/b": b"y"} and known == {"/a": A, "/b": B}
        later = disk.copy(rng)
        for step in ((WRITE, A, 1, b"z"), (SYNCED, A, 4)):
            later.feed(step)
        left = later.image(rng, "nothing")
        assert left == {"": None, "/a": b"xz" + b"." * (PAGE - 2)}
        found.add(disk.image(rng, "nothing")["/a"][:1])
    assert found == {b"."}, "the copy's steps are its own"


def test_what_a_failed_sync_has_left_out_is_read_after_a_kill() -> None:
    for seed in range(20):
        disk = DiskImage({"": None, "/a": A}, {"/a": b"."}, Random(seed))
        for step in ((WRITE, A, 0, b"x"), (UNSYNCED, A, 1)):
            disk.feed(step)
        assert disk.memory()[0]["/a"] == b"x"


def test_what_is_in_a_lost_directory_is_lost() -> None:
    steps = [(NAME, "/d", None), (NAME, "/d/b", B), (SYNCED, "/d", 2)]
    assert {"/d" in image for image in images(steps)} == {True, False}
    assert all("/d" in image or "/d/b" not in image for image in images(steps))
