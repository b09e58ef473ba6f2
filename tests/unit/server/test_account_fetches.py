"""Clients that wait for the claims of their account: every one of them gets an answer, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from millpond.broker.sink import CallableSink
from nacl.public import PrivateKey
from tests.jwt_rig import Account, Operator, User

import millpond
from millpond.accounts import callout, jwt, xkey
from millpond.accounts import claims as c
from millpond.accounts.book import AccountBook
from millpond.accounts.operator import AccountAwaited
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.base.ids import CURVE_PREFIX, encode_key
from millpond.config.build import build
from millpond.config.file import read
from millpond.config.options import Options
from millpond.server import reload
from millpond.server.account_fetches import AccountFetches
from millpond.server.directory import DirectoryResolver
from millpond.server.operator import OperatorRoom, with_defaults
from millpond.server.resolvers import MemoryResolver
from millpond.server.server import Server

OPERATOR = Operator()


def read_from(path: Path, text: str) -> Options:
    file = path / "operator.conf"
    file.write_text(text)
    return build({**read(file).settings, "host": "127.0.0.1", "port": -1})


def configured(path: Path, operator: Operator, *accounts: Account, more: str = "") -> Options:
    return read_from(path, operator.config(*accounts, more=more))


def started(path: Path, operator: Operator, *accounts: Account, more: str = "") -> Server:
    return millpond.Server.from_options(configured(path, operator, *accounts, more=more))


class Client:
    """Says what it is told to, and hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.nonce = ""

    @classmethod
    async def at(cls, server: Server) -> Client:
        found = cls(*await asyncio.open_connection("127.0.0.1", server.port))
        found.nonce = json.loads((await found._reader.readline())[5:])["nonce"]
        return found

    def show(self, user: User, **fields: Any) -> None:
        options = {**user.connect(self.nonce), "verbose": False, "protocol": 0, **fields}
        self._writer.write(b"CONNECT %s\r\nPING\r\n" % json.dumps(options).encode())

    async def verdict(self) -> str:
        """The first line that comes back, but INFO."""
        while (line := await self._reader.readline()).startswith(b"INFO"):
            pass
        return line.decode().strip()

    def close(self) -> None:
        self._writer.close()


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


class Held(MemoryResolver):
    """Answers when it is told to."""

    def __init__(self, tokens: dict[str, str]) -> None:
        super().__init__()
        self.tokens = tokens
        self.asked, self.go = asyncio.Queue[str](), asyncio.Event()

    async def fetch(self, name: str) -> str:
        self.asked.put_nowait(name)
        await self.go.wait()
        return await super().fetch(name)


def held(server: Server, *accounts: Account) -> Held:
    assert server._operator is not None
    found = Held({each.public: each.token() for each in accounts})
    server._operator.resolver = found
    return found


WRONG: dict[str, c.Template] = {
    "hours": c.Template(times=(c.TimeRange(start="25:00:00", end="26:00:00"),)),
    "zone": c.Template(times=(c.TimeRange(start="00:00:00", end="23:59:59"),), times_location="No/Where"),
    "network": c.Template(src=("here",)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_template_that_is_wrong_refuses(tmp_path: Path, name: str) -> None:
    account = OPERATOR.account("A")
    account.body["signing_keys"] = (c.Scope(kind="user_scope", key=account.signing.public, template=WRONG[name]),)

    async def scenario() -> None:
        async with started(tmp_path, OPERATOR, account) as server:
            bad, good = await Client.at(server), await Client.at(server)
            bad.show(account.user("u", by=account.signing, scoped=True))
            good.show(account.user("v"))
            assert await bad.verdict() == "-ERR 'Authorization Violation'"
            assert await good.verdict() == "PONG", "who waits for the same account is not forgotten"
            bad.close(), good.close()

    run(scenario())


def test_one_that_fails_leaves_nobody_waiting(tmp_path: Path) -> None:
    account = OPERATOR.account("A")

    async def scenario() -> None:
        async with started(tmp_path, OPERATOR, account) as server:
            heard: asyncio.Queue[str] = asyncio.Queue()

            def fail() -> None:
                raise RuntimeError("somebody's bug")

            assert server._operator is not None
            server._operator.fetch(account.public, fail)
            server._operator.fetch(account.public, lambda: heard.put_nowait("told"))
            assert await heard.get() == "told"

    run(scenario())


def test_a_judge_that_fails_refuses() -> None:
    def judge() -> None:
        raise RuntimeError("a bug")

    class Here:
        def fetch(self, name: str, done: Callable[[], None], address: str = "") -> None:
            done()

    verdicts: list[Any] = []
    AccountAwaited(Here(), "A", judge).begin(verdicts.append)
    assert verdicts == [None]


# --- strangers ---


def test_strangers_take_turns_and_are_bounded() -> None:
    """Whoever names many accounts keeps nobody at another address waiting, and fills no memory."""

    async def scenario() -> None:
        started: list[str] = []
        go = asyncio.Event()

        async def get(name: str) -> None:
            started.append(name)
            await go.wait()

        fetches, told = AccountFetches(asyncio.get_running_loop(), get), asyncio.Queue[str]()
        count = limits.ACCOUNT_FETCHES_MAX + limits.ACCOUNTS_WAITING_MAX
        for number in range(count + 5):
            fetches.ask(f"{number}", "10.0.0.7", partial(told.put_nowait, f"{number}"))
        for _ in range(2):  # who wants the same waits for the same
            fetches.ask("genuine", "10.0.0.8", partial(told.put_nowait, "genuine"))
        given_up = [await told.get() for _ in range(6)]
        assert given_up == [f"{count - 1 + each}" for each in (1, 2, 3, 4, 5, 0)], "the last ones, at once"
        assert len(started) == limits.ACCOUNT_FETCHES_MAX
        go.set()
        rest = [await told.get() for _ in range(count - 1 + 2)]
        assert told.empty() and len(started) == count and len(set(rest)) == count
        assert started.index("genuine") == limits.ACCOUNT_FETCHES_MAX + 1

    run(scenario())


def test_an_account_that_has_expired_is_not_fetched_for_every_client(tmp_path: Path) -> None:
    account = OPERATOR.account("A")
    other = OPERATOR.account("B")

    async def scenario() -> None:
        async with started(tmp_path, OPERATOR, account, other) as server:
            room = server._operator
            assert room is not None
            await fetched(room, account)
            known = room.book.known[account.public]
            ended = msgspec.structs.replace(known.claims, expires_s=int(known.updated_s) - 100)
            known.claims, known.updated_s = ended, known.updated_s - 1000
            waits = held(server, account)
            waits.go.set()
            for _ in range(5):
                await fetched(room, account)
            assert waits.asked.qsize() == 1

    run(scenario())


async def fetched(room: OperatorRoom, account: Account) -> None:
    there = asyncio.Event()
    room.fetch(account.public, there.set)
    await there.wait()


# --- what is known of accounts ---


def test_activations_are_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = OPERATOR.account("E", exports=(c.Export(subject="a", type="stream", token_req=True),))
    importers = [OPERATOR.account(f"I{number}") for number in range(3)]
    book = AccountBook([OPERATOR.key.public])
    book.put(exporter.token())
    for importer in importers:
        token = jwt.encode(
            c.ActivationClaims(subject=importer.public, nats=c.ActivationBody(subject="a", kind="stream")), exporter.key
        )
        wanted = c.Import(subject="a", account=exporter.public, token=token, type="stream")
        book.put(importer.token(imports=(wanted,)))
    before = book.options()
    assert [len(each.imports) for each in before] == [0, 1, 1, 1]

    def signed(*unused: object) -> bool:
        raise AssertionError("it was verified before")

    monkeypatch.setattr(jwt, "is_signed", signed)
    assert book.options() == before
    revoked = msgspec.structs.replace(exporter.body["exports"][0], revocations={importers[0].public: 2**40})
    monkeypatch.undo()
    book.put(exporter.token(exports=(revoked,)), exporter.public)
    assert [len(each.imports) for each in book.options()] == [0, 0, 1, 1], "times are looked at each time"


# --- requests about claims ---


def test_a_request_that_fails_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = OPERATOR.account("A")
    text = OPERATOR.config(account).replace("resolver: MEMORY", f"resolver {{ type: full, dir: '{tmp_path}/jwt' }}")

    async def scenario() -> None:
        async with millpond.Server.from_options(read_from(tmp_path, text)) as server:
            room = server._operator
            assert room is not None

            def fail(self: Any) -> Any:
                raise RuntimeError("a bug")

            monkeypatch.setattr(DirectoryResolver, "rows", fail)
            system, answers = server.broker.system.router, asyncio.Queue[bytes]()
            system.subscribe(b"answers.*", CallableSink(lambda subject, *rest: answers.put_nowait(subject)))
            system.publish(b"$SYS.REQ.CLAIMS.LIST", b"", b"answers.list")
            lookup = f"$SYS.REQ.ACCOUNT.{account.public}.CLAIMS.LOOKUP".encode()
            system.publish(lookup, b"", b"answers.lookup")
            assert await answers.get() == b"answers.lookup"

    run(scenario())


def test_requests_about_claims_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = OPERATOR.account("A")
    monkeypatch.setattr(limits, "CLAIMS_REQUESTS_MAX", 3)
    text = OPERATOR.config(account).replace("resolver: MEMORY", f"resolver {{ type: full, dir: '{tmp_path}/jwt' }}")

    async def scenario() -> None:
        async with millpond.Server.from_options(read_from(tmp_path, text)) as server:
            system, answers = server.broker.system.router, asyncio.Queue[bytes]()
            system.subscribe(b"answers.*", CallableSink(lambda subject, *rest: answers.put_nowait(subject)))
            for number in range(6):
                system.publish(b"$SYS.REQ.CLAIMS.LIST", b"", b"answers.%d" % number)
            assert [await answers.get() for _ in range(3)] == [b"answers.%d" % number for number in range(3)]
            system.publish(b"$SYS.REQ.CLAIMS.LIST", b"", b"answers.later")
            assert await answers.get() == b"answers.later"

    run(scenario())


# --- a reload in between ---


def test_a_reload_while_an_account_is_fetched(tmp_path: Path) -> None:
    """The accounts that are let in are others when it is there."""
    account, other = OPERATOR.account("A"), OPERATOR.account("B")

    async def scenario() -> None:
        async with started(tmp_path, OPERATOR, account, other) as server:
            waits = held(server, account, other)
            client, second = await Client.at(server), await Client.at(server)
            client.show(account.user("u"))
            assert await waits.asked.get() == account.public
            pinned = f"resolver_pinned_accounts: [{other.public}]"
            reload.apply(server, configured(tmp_path, OPERATOR, account, other, more=pinned))
            second.show(other.user("v"))
            waits.go.set()
            assert await client.verdict() == "-ERR 'Authorization Violation'"
            assert await second.verdict() == "PONG"
            client.close(), second.close()

    run(scenario())


def test_a_reload_that_is_refused_is_not_taken(tmp_path: Path) -> None:
    account = OPERATOR.account("A")

    async def scenario() -> None:
        async with started(tmp_path, OPERATOR, account) as server:
            before, options = server.asked, server.options
            bad = configured(tmp_path, OPERATOR, account, more="default_sentinel: none")
            for _ in range(2):  # nor is it found to be in force already
                with pytest.raises(OptionError, match="sentinel"):
                    reload.apply(server, bad)
            assert server.asked is before and server.options is options

    run(scenario())


def test_a_reload_with_a_preload_that_cannot_be_stored(tmp_path: Path) -> None:
    directory = f"resolver {{ type: full, dir: '{tmp_path}/jwt' }}"
    account, other = OPERATOR.account("A"), OPERATOR.account("B")

    def options(*accounts: Account, **tokens: str) -> Options:
        text = OPERATOR.config(*accounts, tokens=tokens).replace("resolver: MEMORY", directory)
        return read_from(tmp_path, text)

    async def scenario() -> None:
        async with millpond.Server.from_options(options(account)) as server:
            before = server.asked
            for wrong in ({other.public: account.token()}, {"nobody": account.token()}):
                with pytest.raises(OptionError, match="preload account error"):
                    reload.apply(server, options(account, **wrong))
                assert server.asked is before
            reload.apply(server, options(account, other))
            assert server._operator is not None and server._operator._preloading is not None
            await server._operator._preloading
            assert (tmp_path / "jwt" / f"{other.public}.jwt").exists()

    run(scenario())


# --- an auth callout's users ---


@pytest.mark.parametrize("known", [False, True], ids=["after a fetch", "at once"])
def test_a_request_that_cannot_be_made_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    """Such as one that is to be sealed where the library is missing."""
    service, account = OPERATOR.account("S"), OPERATOR.account("A")
    key = service.user("service").key.public
    curve = encode_key(CURVE_PREFIX, bytes(PrivateKey(bytes(range(32))).public_key))
    service.body["authorization"] = c.ExternalAuthorization(auth_users=(key,), xkey=curve)

    def seal(*unused: object) -> bytes:
        raise ImportError("No module named 'nacl'")

    monkeypatch.setattr(xkey, "seal", seal)

    async def scenario() -> None:
        async with started(tmp_path, OPERATOR, service, account, more="authorization { timeout: 25 }") as server:
            if known:
                assert server._operator is not None
                await fetched(server._operator, service)
            bad, good = await Client.at(server), await Client.at(server)
            bad.show(service.user("u"))
            assert await bad.verdict() == "-ERR 'Authorization Violation'", "before there is no time left"
            good.show(account.user("v"))
            assert await good.verdict() == "PONG"
            bad.close(), good.close()

    run(scenario())


def test_the_guard_of_a_callouts_user_stays_with_other_defaults() -> None:
    """Who is placed in the service's account may not ask in the server's place, whatever the account gives."""
    account = OPERATOR.account("A")
    book = AccountBook([OPERATOR.key.public])
    known = book.put(account.token())
    user = c.UserClaims(subject=account.user("u").key.public, issuer=account.public)
    found = callout.guarded(callout.identity(user, "u", account.public, known))
    rights = c.Permissions(pub=c.Subjects(allow=(">",)))
    now = book.put(account.token(default_permissions=rights), account.public)
    assert now is not None
    found = with_defaults(found, now)
    assert found.user is not None and found.user.permissions is not None, "these are the new ones"
    assert found.permissions is not None
    assert found.permissions.allows_publish(b"a") and not found.permissions.allows_publish(callout.SUBJECT.encode())


@pytest.mark.parametrize("name", WRONG)
def test_the_hours_of_a_scope_hold_after_a_callout(name: str) -> None:
    account = OPERATOR.account("A")
    account.body["signing_keys"] = (c.Scope(kind="user_scope", key=account.signing.public, template=WRONG[name]),)
    book = AccountBook([OPERATOR.key.public])
    known = book.put(account.token())
    user = c.UserClaims(
        subject=account.user("u").key.public, issuer=account.signing.public,
        nats=c.UserBody(issuer_account=account.public),
    )  # fmt: skip
    if name == "network":  # which has no effect here
        assert callout.identity(user, "u", account.public, known).account == account.public
        return
    with pytest.raises(callout.Denied, match="outside of valid connect times"):
        callout.identity(user, "u", account.public, known)
