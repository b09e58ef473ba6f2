"""Catalog: two copies, repaired; a save is told when it is durable."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.store.catalog import Catalog, decode, encode
from millpond.store.committer import Committer

from millpond.base.errors import StoreError


def saved(tmp_path, *payloads, tier=1):
    committer = Committer(tier)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    told = []
    for payload in payloads:
        catalog.save(payload, lambda payload=payload: told.append(payload))
        committer.drain()
    assert told == list(payloads)
    catalog.close()
    committer.close()


def load(tmp_path):
    catalog = Catalog(str(tmp_path / "stream"), Committer(0))
    try:
        return catalog.load()
    finally:
        catalog.close()


@pytest.mark.parametrize("tier", [0, 1, "interval"])
def test_a_value_comes_back(tmp_path, tier):
    assert load(tmp_path) is None
    saved(tmp_path, b"one", b"a longer two", b"3", tier=tier)
    assert load(tmp_path) == b"3"
    for name in ("stream.0", "stream.1"):
        assert decode((tmp_path / name).read_bytes()) == (3, b"3")


def test_generations_go_on_after_reopening(tmp_path):
    saved(tmp_path, b"old" * 100)
    saved(tmp_path, b"new")
    assert load(tmp_path) == b"new"


@pytest.mark.parametrize("which", ["stream.0", "stream.1"])
def test_one_bad_copy_is_repaired(tmp_path, which):
    saved(tmp_path, b"value")
    good = (tmp_path / which).read_bytes()
    for damage in (b"", good[:10], good[:-1], bytes([good[0] ^ 1]) + good[1:], good[:-1] + b"x"):
        (tmp_path / which).write_bytes(damage)
        assert load(tmp_path) == b"value"
        assert (tmp_path / which).read_bytes() == good
    (tmp_path / which).unlink()
    assert load(tmp_path) == b"value"
    assert (tmp_path / which).read_bytes() == good


def test_a_torn_save_leaves_the_value_before(tmp_path):
    saved(tmp_path, b"before")
    image = encode(2, b"after that")
    for length in range(1, len(image)):
        before = (tmp_path / "stream.0").read_bytes()
        (tmp_path / "stream.0").write_bytes(image[:length] + before[length:])
        assert load(tmp_path) == b"before"
    (tmp_path / "stream.0").write_bytes(image)
    assert load(tmp_path) == b"after that"


def test_saves_during_a_sync_are_merged(tmp_path):
    committer = Committer(1)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    told = []
    catalog.save(b"1", lambda: (told.append(1), catalog.save(b"3", lambda: told.append(3))))
    catalog.save(b"2", lambda: told.append(2))
    committer.drain()
    assert told == [1, 2, 3]
    catalog.close()
    assert load(tmp_path) == b"3"


def test_a_write_that_fails_is_not_told_and_refuses_what_follows(tmp_path):
    committer = Committer(1)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    (tmp_path / "stream.0").mkdir()
    told = []
    with pytest.raises((StoreError, OSError)):
        catalog.save(b"1", lambda: told.append(1))
        committer.drain()
        catalog.save(b"2")
    assert told == []


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2**64 - 1), st.binary(max_size=200), st.integers(0, 10**6))
def test_one_flipped_bit_is_noticed(generation, payload, where):
    image = encode(generation, payload)
    assert decode(image) == (generation, payload)
    at = where % (len(image) * 8)
    flipped = bytearray(image)
    flipped[at // 8] ^= 1 << at % 8
    try:
        assert decode(bytes(flipped)) is None
    except StoreError:
        pytest.fail("a damaged version is damage, not another version")
