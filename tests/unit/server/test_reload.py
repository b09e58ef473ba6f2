"""Which settings may change while a server runs."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

import millpond
from millpond.base.errors import OptionError
from millpond.config.operator import OperatorOptions, ResolverOptions
from millpond.config.options import JetStreamOptions, Options
from millpond.config.security import User
from millpond.config.tls import TlsOptions
from millpond.server import reload

JETSTREAM = JetStreamOptions(store_dir="/a", max_memory=100, max_file=-1)
BASE = Options(jetstream=JETSTREAM)


def changed(**settings: Any) -> Options:
    return msgspec.structs.replace(BASE, **settings)


def inner(**settings: Any) -> Options:
    return changed(jetstream=msgspec.structs.replace(JETSTREAM, **settings))


def test_every_reloadable_setting_exists() -> None:
    assert set(reload.RELOADABLE) <= set(Options.__struct_fields__)


def test_tls_is_told_at_each_reload_with_the_parts_that_changed() -> None:
    """Its files may have changed that keep their names."""
    tls = TlsOptions(cert_file="a", key_file="b")
    other = TlsOptions(
        cert_file="c", key_file="b", timeout_ns=3 * 10**9, pinned_certs=frozenset({"x"}), handshake_first=True,
        fallback_ns=3 * 10**8,
    )  # fmt: skip
    assert [str(change) for change in reload.changes(changed(tls=tls), changed(tls=tls))] == ["tls = enabled"]
    assert [str(change) for change in reload.changes(changed(tls=tls), changed(tls=other))] == [
        "tls timeout = 3", "tls = enabled", "1 pinned_certs", "Client TLS handshake first: true",
        "Client TLS handshake first fallback delay: 300ms",
    ]  # fmt: skip
    assert [str(change) for change in reload.changes(changed(tls=tls), BASE)] == ["tls = disabled"]
    assert reload.changes(BASE, BASE) == []
    with pytest.raises(OptionError, match="not supported for allow_non_tls"):
        reload.changes(changed(tls=tls), changed(tls=tls, allow_non_tls=True))


def test_changes_are_told_without_secrets() -> None:
    new = changed(max_payload=5, debug=True, password="hunter2", ping_interval_ns=1_500_000_000, auth_timeout_ns=10**9)
    assert [str(change) for change in reload.changes(BASE, new)] == [
        "authorization password", "authorization timeout = 1s", "max_payload = 5", "ping_interval = 1.5s",
        "debug = true",
    ]  # fmt: skip
    labelled = changed(server_tags=("a",), server_metadata={"b": "c"})
    assert [str(change) for change in reload.changes(BASE, labelled)] == ["tags", "metadata"]
    assert reload.changes(BASE, BASE) == []


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (changed(port=1), "config reload not supported for port: old=4222, new=1"),
        (changed(host="x"), "for host: old=0.0.0.0, new=x"),
        (changed(server_name="x"), "for server_name"),
        (changed(jetstream=None), "for jetstream: old=true, new=false"),
        (inner(store_dir="/b"), "for jetstream storage directory"),
        (inner(max_memory=99), "for decreasing jetstream max memory and store"),
        (inner(max_memory=-1), "for jetstream max memory and max store"),
        (inner(max_file=5), "for jetstream dynamic max memory and store"),
        (changed(no_auth_user="x"), "for no_auth_user: old=, new=x"),
        (inner(sync="never"), "for jetstream sync: old=always, new=never"),
    ],
)
def test_what_cannot_change(new: Options, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        reload.changes(BASE, new)


def test_guests_end_with_their_user() -> None:
    users = (User(name="guest", password="x"), User(name="b", password="x"))
    old = changed(users=users, no_auth_user="guest")
    with pytest.raises(OptionError, match="for no_auth_user: old=guest, new="):
        reload.changes(old, changed(users=users))
    assert "no_auth_user" in [change.name for change in reload.changes(old, changed(users=users[1:]))]


def test_all_or_nothing_and_limits_take_effect() -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False) as server:
            old = server.options
            with pytest.raises(OptionError):
                reload.apply(server, msgspec.structs.replace(old, max_payload=5, port=1))
            assert server.options is old
            reload.apply(server, msgspec.structs.replace(old, client_advertise="pond.example:99", max_payload=5))
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            info = await reader.readline()
            assert b'"host":"pond.example","port":99' in info
            assert b'"max_payload":5' in info
            writer.write(b"CONNECT {}\r\nPUB a 6\r\n123456\r\n")
            assert b"Maximum Payload Violation" in await reader.read()
            writer.close()

    asyncio.run(main())


def test_a_lower_max_connections_closes_the_newest() -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False) as server:
            pairs = []
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                await reader.readline()
                pairs.append((reader, writer))
            reload.apply(server, msgspec.structs.replace(server.options, max_connections=2))
            assert await pairs[2][0].read() == b"-ERR 'maximum connections exceeded'\r\n"
            pairs[0][1].write(b'CONNECT {"verbose":false}\r\nPING\r\n')
            assert await pairs[0][0].readuntil(b"PONG\r\n")
            for _, writer in pairs:
                writer.close()

    asyncio.run(main())


def test_who_is_not_let_in_any_more_is_disconnected() -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False, token="one") as server:
            answers = []
            for token, connects in (("one", True), ("two", False)):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                await reader.readline()
                connect = b'CONNECT {"verbose":false,"auth_token":"%s"}\r\nPING\r\n' % token.encode()
                if connects:
                    writer.write(connect)
                    await reader.readuntil(b"PONG\r\n")
                reload.apply(server, msgspec.structs.replace(server.options, token="two"))
                if not connects:
                    writer.write(connect + b"FOO\r\n")
                answers.append(await reader.read())
                writer.close()
            assert answers[0] == b"-ERR 'Authorization Violation'\r\n"
            assert b"PONG\r\n" in answers[1]

    asyncio.run(main())


@pytest.mark.parametrize("changes", [
    {"directory": "b"}, {"limit": 5}, {"allow_delete": True}, {"hard_delete": True}, {"timeout_ns": 5}, {"ttl_ns": 5},
    {"interval_ns": 5}, {"kind": "cache"}, None,
], ids=str)  # fmt: skip
def test_a_resolver_stays_as_it_is(changes: dict[str, Any] | None) -> None:
    resolver = ResolverOptions(kind="full", directory="a")
    operator = OperatorOptions(tokens=("t",), resolver=resolver)
    after = None if changes is None else msgspec.structs.replace(resolver, **changes)
    same = msgspec.structs.replace(operator, preload=(("A", "t"),))
    assert [str(each) for each in reload.changes(changed(operator=operator), changed(operator=same))] == ["accounts"]
    with pytest.raises(OptionError, match=r"not supported for .*resolver"):
        reload.changes(changed(operator=operator), changed(operator=msgspec.structs.replace(operator, resolver=after)))


def test_a_resolvers_url_is_not_told() -> None:
    before, after = (
        OperatorOptions(tokens=("t",), resolver=ResolverOptions(kind="url", url=f"http://u:{secret}@h/"))
        for secret in ("SECRET", "SECRET2")
    )
    with pytest.raises(OptionError, match="not supported for url of resolver") as caught:
        reload.changes(changed(operator=before), changed(operator=after))
    assert "SECRET" not in str(caught.value)
