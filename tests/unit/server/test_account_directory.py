"""A directory of accounts: what it keeps, what it gives up, and what is left of a write that was cut short."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.jwt_rig import Account, Operator

from millpond.accounts import jwt
from millpond.accounts.book import AccountError
from millpond.base.errors import OptionError
from millpond.config.operator import ResolverOptions
from millpond.server.directory import DirectoryResolver

OPERATOR = Operator()
ACCOUNTS = [OPERATOR.account(name) for name in "abcd"]


async def nobody(name: str) -> str:
    raise AccountError("nobody knows")


def store(path: Path, kind: Any = "full", **options: Any) -> DirectoryResolver:
    return DirectoryResolver(ResolverOptions(kind=kind, directory=str(path), **options), nobody)


def put(found: DirectoryResolver, *accounts: Account) -> None:
    for account in accounts:
        save(found, account.public, account.token())


def save(found: DirectoryResolver, name: str, token: str) -> bool:
    return asyncio.run(found.save(name, token))


def test_it_is_read_again(tmp_path: Path) -> None:
    first = store(tmp_path / "new" / "dir")
    put(first, *ACCOUNTS[:2])
    assert not save(first, ACCOUNTS[0].public, first.load(ACCOUNTS[0].public)), "nothing has changed"
    (first.path / f"{ACCOUNTS[2].public}.jwt.new").write_text("half a tok")
    again = store(first.path)
    assert again.names() == sorted(each.public for each in ACCOUNTS[:2]) and again.hash == first.hash
    with pytest.raises(AccountError, match="not found"):
        asyncio.run(again.fetch(ACCOUNTS[2].public))


def test_the_newer_one_stays(tmp_path: Path) -> None:
    found, account = store(tmp_path), ACCOUNTS[0]
    put(found, account)
    kept = found.load(account.public)
    old = account.token(head={"issued_s": 5})
    asyncio.run(found.store(account.public, kept))
    save(found, account.public, old)
    asyncio.run(found.store(account.public, kept))
    assert found.load(account.public) == kept
    asyncio.run(found.store(account.public, old))
    assert found.load(account.public) == kept
    with pytest.raises(AccountError, match="do not match"):
        asyncio.run(found.store(account.public, ACCOUNTS[1].token()))
    with pytest.raises(AccountError):
        asyncio.run(found.store(account.public, "garbage"))


def test_limits(tmp_path: Path) -> None:
    full = store(tmp_path / "full", limit=2)
    put(full, *ACCOUNTS[:2])
    with pytest.raises(AccountError, match="full"):
        put(full, ACCOUNTS[2])
    put(full, ACCOUNTS[0])
    cache = store(tmp_path / "cache", "cache", limit=2)
    put(cache, *ACCOUNTS[:2])
    cache.load(ACCOUNTS[0].public)
    put(cache, ACCOUNTS[2])
    assert cache.names() == sorted((ACCOUNTS[0].public, ACCOUNTS[2].public)), "who was not asked for gives way"
    assert len(list(cache.path.iterdir())) == 2


def test_a_cache_forgets(tmp_path: Path) -> None:
    cache = store(tmp_path, "cache", ttl_ns=1)
    put(cache, ACCOUNTS[0])
    assert cache.load(ACCOUNTS[0].public) == "" and not list(tmp_path.iterdir())
    with pytest.raises(AccountError, match="nobody knows"):
        asyncio.run(cache.fetch(ACCOUNTS[0].public))


def test_a_list_uses_nobody(tmp_path: Path) -> None:
    """Who is listed is not thereby asked for, and gives way as before."""
    cache = store(tmp_path, "cache", limit=2)
    put(cache, ACCOUNTS[0])
    put(cache, ACCOUNTS[1])
    assert len(cache.names()) == 2
    cache.load(ACCOUNTS[0].public)
    assert len(cache.names()) == 2
    put(cache, ACCOUNTS[2])
    assert cache.names() == sorted((ACCOUNTS[0].public, ACCOUNTS[2].public))


def test_a_list_verifies_each_token_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = store(tmp_path)
    put(found, *ACCOUNTS)
    late = ACCOUNTS[0]
    save(found, late.public, late.token(head={"expires_s": 5}))
    names = sorted(each.public for each in ACCOUNTS[1:])
    assert found.names() == names

    def signed(*unused: object) -> bool:
        raise AssertionError("it was verified before")

    monkeypatch.setattr(jwt, "is_signed", signed)
    assert found.names() == names
    monkeypatch.undo()
    save(found, late.public, late.token())
    assert late.public in found.names(), "it is another one now"


def test_what_is_no_account_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a list nor a pack stumbles over it."""
    first = store(tmp_path)
    put(first, ACCOUNTS[0])
    before = first.hash
    (tmp_path / "notes.jwt").write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f"{ACCOUNTS[1].public}.jwt").write_text(ACCOUNTS[1].token())
    (tmp_path / f"{ACCOUNTS[2].public}.jwt").mkdir()
    (tmp_path / f"{ACCOUNTS[3].public}.jwt").write_bytes(b"\xff")
    again = store(tmp_path)
    assert again.names() == [ACCOUNTS[0].public] and again.hash == before
    assert again.load(ACCOUNTS[1].public) == ""
    assert caplog.text.count("holds no account") == 3
    with pytest.raises(AccountError):
        put(again, ACCOUNTS[2])
    put(again, ACCOUNTS[3])
    assert again.load(ACCOUNTS[3].public), "a file that was none is written over"


def test_nothing_is_synced_on_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing, synced = os.fsync, []

    def sync(fd: int) -> None:
        synced.append(threading.current_thread())
        syncing(fd)

    found = store(tmp_path, allow_delete=True)
    monkeypatch.setattr(os, "fsync", sync)
    put(found, ACCOUNTS[0])
    asyncio.run(found.delete(ACCOUNTS[0].public))
    assert len(synced) == 3 and threading.main_thread() not in synced


def test_writes_of_one_account_keep_their_order(tmp_path: Path) -> None:
    found, account = store(tmp_path), ACCOUNTS[0]
    tokens = [account.token(tags=(f"t{number}",)) for number in range(20)]

    async def scenario() -> None:
        await asyncio.gather(*(found.save(account.public, token) for token in tokens))

    asyncio.run(scenario())
    assert found.load(account.public) == tokens[-1] and found.names() == [account.public]


def test_deleting(tmp_path: Path) -> None:
    soft, hard = store(tmp_path / "s", allow_delete=True), store(tmp_path / "h", allow_delete=True, hard_delete=True)
    for found, left in ((soft, 1), (hard, 0)):
        put(found, ACCOUNTS[0])
        asyncio.run(found.delete(ACCOUNTS[0].public))
        asyncio.run(found.delete(ACCOUNTS[0].public))
        assert found.names() == [] and len(list(found.path.iterdir())) == left and found.hash == bytes(32)


@pytest.mark.parametrize("name", ["", "x", "../" * 18 + "etc", "A" * 55 + "B", "KEY/x"])
def test_no_name_leaves_the_directory(tmp_path: Path, name: str) -> None:
    name = name.replace("KEY", ACCOUNTS[0].public)
    found = store(tmp_path, allow_delete=True)
    acts = (
        lambda: save(found, name, "x"), lambda: asyncio.run(found.delete(name)), lambda: found.load(name),
    )  # fmt: skip
    for act in acts:
        with pytest.raises(AccountError, match="public key"):
            act()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OptionError, match="resolver"):
        store(tmp_path / "x")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="resolver"):
        store(tmp_path / "file")
