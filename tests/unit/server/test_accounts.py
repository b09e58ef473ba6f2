"""Accounts in a running server: streams and directories of their own, limits, the API across accounts, reload."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import accounts_rig
import nats
import pytest
from accounts_rig import asked, client, options
from nats.aio.client import Client

import millpond
from millpond.base.errors import OptionError
from millpond.server import reload

CONFIG = """
jetstream { store_dir: "STORE" }
accounts {
  A {
    users: [ { user: a, pass: x } ], jetstream: enabled
    exports: [ { service: "$JS.API.>", response: stream }, { service: "$JS.ACK.>" } ]
  }
  B { users: [ { user: b, pass: x } ], jetstream { max_streams: 1, max_mem: 1000 } }
  C {
    users: [ { user: c, pass: x } ]
    imports: [ { service: { account: A, subject: "$JS.API.>" }, to: "JS.A.API.>" }
               { service: { account: A, subject: "$JS.ACK.>" } } ]
  }
}
""".replace('}\n               {', '},\n               {')


def run(tmp_path: Path, scenario: Callable[[millpond.Server], Awaitable[None]], text: str = CONFIG) -> None:
    accounts_rig.run(tmp_path, text, scenario)


async def made(nc: Client, name: str, **config: Any) -> dict[str, Any]:
    return await asked(nc, f"$JS.API.STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], **config})


def test_streams_of_one_account_are_not_seen_by_another(tmp_path: Path) -> None:
    async def first(server: millpond.Server) -> None:
        a, b = await client(server, "a"), await client(server, "b")
        assert "error" not in await made(a, "S")
        assert "error" not in await made(b, "S", storage="memory", max_bytes=500)
        await a.jetstream().publish("S.1", b"of a")
        assert (await asked(b, "$JS.API.STREAM.INFO.S"))["state"]["messages"] == 0
        await a.close()
        await b.close()

    async def second(server: millpond.Server) -> None:
        a, b = await client(server, "a"), await client(server, "b")
        assert (await asked(a, "$JS.API.STREAM.INFO.S"))["state"]["messages"] == 1
        assert (await asked(b, "$JS.API.STREAM.INFO.S"))["error"]["err_code"] == 10059
        await a.close()
        await b.close()

    run(tmp_path, first)
    assert {path.name for path in (tmp_path / "store" / "jetstream").iterdir() if path.is_dir()} == {"$G", "A", "B"}
    run(tmp_path, second)


def test_limits_have_their_error_codes(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        b, c = await client(server, "b"), await client(server, "c")
        assert (await made(b, "M", storage="memory", max_bytes=1001))["error"]["err_code"] == 10028
        assert "error" not in await made(b, "M", storage="memory")
        assert (await asked(b, "M.1", {"k": "x" * 700}))["seq"] == 1
        for _ in range(2):
            refused = await asked(b, "M.2", {"k": "x" * 400})
            assert (refused["error"]["err_code"], refused["seq"]) == (10002, 0)
        await asked(b, "$JS.API.STREAM.PURGE.M")
        assert (await asked(b, "M.2", {"k": "x" * 400}))["seq"] == 2
        assert (await made(b, "N"))["error"]["err_code"] == 10027
        limits = (await asked(b, "$JS.API.INFO"))["limits"]
        assert (limits["max_streams"], limits["max_memory"], limits["max_storage"]) == (1, 1000, -1)
        assert (await asked(c, "$JS.API.INFO"))["error"]["err_code"] == 10039
        await b.close()
        await c.close()

    run(tmp_path, scenario)


def test_the_api_of_another_account(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        a, c = await client(server, "a"), await client(server, "c")
        assert "error" not in await made(a, "S")
        for number in range(3):
            await a.jetstream().publish(f"S.{number}", b"%d" % number)
        assert (await asked(c, "JS.A.API.STREAM.NAMES"))["streams"] == ["S"]
        config = {"durable_name": "D", "ack_policy": "explicit"}
        created = await asked(c, "JS.A.API.CONSUMER.CREATE.S.D", {"stream_name": "S", "config": config})
        assert created["name"] == "D"
        inbox = await c.subscribe("inbox")
        await c.publish("JS.A.API.CONSUMER.MSG.NEXT.S.D", b'{"batch":3}', reply="inbox")
        for number in range(3):
            msg = await inbox.next_msg(10)
            assert (msg.data, msg.reply.split(".")[:2]) == (b"%d" % number, ["$JS", "ACK"])
            await c.request(msg.reply, b"+ACK", timeout=10)
        state = await asked(a, "$JS.API.CONSUMER.INFO.S.D")
        assert (state["ack_floor"]["stream_seq"], state["num_ack_pending"]) == (3, 0)
        await a.close()
        await c.close()

    run(tmp_path, scenario)


EVERYTHING = """
jetstream { store_dir: "STORE" }
accounts {
  A { users: [ { user: a, pass: x } ], jetstream: enabled
      imports: [ { stream: { account: B, subject: ">" } }, { service: { account: C, subject: "help" } } ] }
  B { users: [ { user: b, pass: x } ], exports: [ { stream: ">" } ] }
  C { users: [ { user: c, pass: x } ], exports: [ { service: "help" } ] }
}
"""


def test_who_imports_a_stream_lends_the_exporter_nothing(tmp_path: Path) -> None:
    """Neither its own API nor the services that it imports."""

    async def scenario(server: millpond.Server) -> None:
        a, b, c = await client(server, "a"), await client(server, "b"), await client(server, "c")
        assert "error" not in await made(a, "S")
        asked_for_help = await c.subscribe("help")
        heard = await a.subscribe("news")
        await asyncio.gather(a.flush(), c.flush())
        await b.publish("$JS.API.STREAM.DELETE.S")
        await b.publish("help", b"from b")
        await b.publish("news", b"of b")
        assert (await heard.next_msg(10)).data == b"of b"
        await a.publish("help", b"from a")
        assert (await asked_for_help.next_msg(10)).data == b"from a"
        assert (await asked(a, "$JS.API.STREAM.NAMES"))["streams"] == ["S"]
        for nc in (a, b, c):
            await nc.close()

    run(tmp_path, scenario, EVERYTHING)


def test_what_is_sent_of_an_imported_stream_counts_for_the_exporter(tmp_path: Path) -> None:
    text = """
    accounts {
      A { users: [ { user: a, pass: x } ], exports: [ { stream: "s.>" } ] }
      B { users: [ { user: b, pass: x } ], imports: [ { stream: { account: A, subject: "s.>" } } ] }
    }
    """

    async def scenario(server: millpond.Server) -> None:
        a, b = await client(server, "a"), await client(server, "b")
        heard = await b.subscribe(">")
        await b.flush()
        for subject in ("s.1", "s.2", "mine"):
            await a.publish(subject, b"x")
        await a.flush()
        await b.publish("of.b", b"x")
        assert [(await heard.next_msg(5)).subject for _ in range(3)] == ["s.1", "s.2", "of.b"]
        sent = {name: server.broker.accounts[name].statistics()["out_msgs"] for name in "AB"}
        assert sent == {"A": 2, "B": 1}
        await a.close()
        await b.close()

    run(tmp_path, scenario, text)


def test_a_line_that_a_reload_overtakes_lets_nobody_in(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert (await reader.readline()).startswith(b"INFO ")
        writer.write(b"SUB > 1")
        await writer.drain()
        other = await nats.connect(server.client_url)
        await other.flush()                          # the server has read what came before
        await other.close()
        reload.apply(server, options(tmp_path, EVERYTHING))
        writer.write(b"\r\nPING\r\n")
        assert b"PONG" not in await reader.read()
        writer.close()

    run(tmp_path, scenario, 'jetstream { store_dir: "STORE" }')


def test_a_reload_brings_accounts_and_takes_them(tmp_path: Path) -> None:
    less = CONFIG.replace('{ user: b, pass: x }', '{ user: b, pass: x, permissions { subscribe: "no" } }')
    less = less.replace("  B {", "  D { users: [ { user: d, pass: x } ], jetstream: enabled }\n  B {")
    gone = CONFIG[: CONFIG.index("  C {")] + "}\n"

    async def scenario(server: millpond.Server) -> None:
        a, b, c = await client(server, "a"), await client(server, "b"), await client(server, "c")
        heard: list[Exception] = []

        async def on_error(error: Exception) -> None:
            heard.append(error)

        b.options["error_cb"] = b._error_cb = on_error
        await b.subscribe("x")
        await b.flush()
        reload.apply(server, options(tmp_path, less))
        await b.flush()
        assert 'permissions violation for subscription to "x"' in str(heard[0]).lower()
        d = await client(server, "d")
        assert "error" not in await made(d, "S")
        reload.apply(server, options(tmp_path, gone))
        await asyncio.wait_for(_closed(c), 10)
        assert (await asked(a, "$JS.API.STREAM.NAMES"))["streams"] is None
        assert set(server.broker.accounts) == {"$G", "$SYS", "A", "B"}
        await a.close()

    run(tmp_path, scenario)


def test_a_password_that_a_reload_overtakes_lets_nobody_in(tmp_path: Path) -> None:
    hashed = "$2b$04$IFJkPdE8mp0GuT7uqL./BeLdyN2I1xucdJqXUqhWeo077UgWZY5Na"
    before = f'authorization {{ users = [ {{ user: h, pass: "{hashed}" }}, {{ user: b, pass: x }} ] }}'
    after = "authorization { users = [ { user: b, pass: x } ] }"

    class Later:
        """Verifies when it is told to."""

        def verify(self, attempt: Any, ip: str, done: Callable[[bool | None], None]) -> Later:
            self.done, self.begun = done, True
            return self

        def close(self) -> None: ...

    async def scenario(server: millpond.Server) -> None:
        server.broker.verifier.close()
        server.broker.verifier = later = Later()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b'CONNECT {"user":"h","pass":"s3cr3t"}\r\nPING\r\n')
        while not hasattr(later, "done"):
            await asyncio.sleep(0)
        reload.apply(server, options(tmp_path, after))
        later.done(True)
        assert (await reader.read()).endswith(b"-ERR 'Authorization Violation'\r\n")
        writer.close()

    run(tmp_path, scenario, before)


def grown(server: millpond.Server) -> dict[str, int]:
    """What may not grow with the number of accounts that have been."""
    broker = server.broker
    gc.collect()
    kinds = Counter(type(each).__name__ for each in gc.get_objects())
    return {
        "commits": len(broker.turn.commits), "pumps": len(broker.turn.pumps), "timers": len(broker.turn.timers),
        "accounts": len(broker.accounts), "sessions": len(broker.sessions),
        "answers": broker.answers.used, "output": broker.output.used, "holders": broker.output.holders,
        "descriptors": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        **{name: kinds[name] for name in ("Account", "Engine", "Router", "Api", "Stream", "Responses", "Session")},
    }  # fmt: skip


def test_accounts_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    less = CONFIG[: CONFIG.index("    exports")] + "  }\n}\n"

    async def round_trip(server: millpond.Server) -> None:
        reload.apply(server, options(tmp_path, CONFIG))
        a, b, c = await client(server, "a"), await client(server, "b"), await client(server, "c")
        if (await asked(b, "$JS.API.STREAM.NAMES"))["streams"] is None:
            await made(b, "S", storage="memory")
        await asked(b, "S.1", {"k": "v"})
        await asked(c, "JS.A.API.STREAM.NAMES")
        inbox = await c.subscribe("inbox")
        await c.publish("JS.A.API.STREAM.NAMES", b"", reply="inbox")
        await inbox.next_msg(10)
        await a.close()
        reload.apply(server, options(tmp_path, less))
        await asyncio.gather(_closed(b), _closed(c))
        while server.broker.sessions:
            await asyncio.sleep(0)

    async def scenario(server: millpond.Server) -> None:
        for _ in range(3):
            await round_trip(server)
        before = grown(server)
        for _ in range(8):
            await round_trip(server)
        assert grown(server) == before

    run(tmp_path, scenario, less)


def test_a_guest_of_an_account_does_not_stay_in_it_when_the_server_opens(tmp_path: Path) -> None:
    guests = "accounts { A { users: [ { user: guest, pass: x } ] } }\nno_auth_user: guest"

    async def scenario(server: millpond.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PING\r\n")
        await reader.readuntil(b"PONG\r\n")
        reload.apply(server, options(tmp_path, ""))
        assert not server.broker.sessions
        assert await reader.read() == b""
        writer.close()

    run(tmp_path, scenario, guests)


def test_an_import_that_a_reload_brings_is_answered_by_its_exporter_alone(tmp_path: Path) -> None:
    without = CONFIG[: CONFIG.index("    imports:")] + "  }\n}\n"
    narrow = CONFIG.replace('subject: "$JS.API.>" }, to: "JS.A.API.>"', 'subject: "$JS.API.>" }, to: "$JS.API.>"')

    async def scenario(server: millpond.Server) -> None:
        c = await client(server, "c")
        assert (await asked(c, "$JS.API.STREAM.NAMES"))["error"]["err_code"] == 10039
        reload.apply(server, options(tmp_path, narrow))
        inbox = await c.subscribe("inbox")
        await c.publish("$JS.API.STREAM.NAMES", b"", reply="inbox")
        assert b"error" not in (await inbox.next_msg(10)).data
        await c.flush()
        assert inbox.pending_msgs == 0
        await c.close()

    run(tmp_path, scenario, without)


def test_users_of_the_system_account_alone_may_come_with_a_reload(tmp_path: Path) -> None:
    """Guests get a user of our own making, which is no setting that has changed."""
    system = "accounts { $SYS { users: [ { user: admin, pass: x } ] } }"

    async def scenario(server: millpond.Server) -> None:
        guest = await nats.connect(server.client_url, allow_reconnect=False)
        reload.apply(server, options(tmp_path, system))
        await guest.flush()
        admin = await client(server, "admin")
        await asyncio.gather(guest.close(), admin.close())
        reload.apply(server, options(tmp_path, ""))

    run(tmp_path, scenario, "")


def test_a_lower_limit_of_an_account_closes_its_newest_connections(tmp_path: Path) -> None:
    limited = "accounts {{ A {{ users: [ {{ user: a, pass: x }} ], limits {{ max_connections: {} }} }}\n" \
        "B {{ users: [ {{ user: b, pass: x }} ] }} }}"

    async def scenario(server: millpond.Server) -> None:
        peers = []
        for user in (b"a", b"b", b"a", b"a"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b'CONNECT {"user":"%b","pass":"x","verbose":false}\r\nPING\r\n' % user)
            await reader.readuntil(b"PONG\r\n")
            peers.append((reader, writer))
        first, of_b, *newest = peers
        reload.apply(server, options(tmp_path, limited.format(1)))
        for reader, _ in newest:
            assert (await reader.read()).endswith(b"-ERR 'maximum account active connections exceeded'\r\n")
        for reader, writer in (first, of_b):
            writer.write(b"PING\r\n")
            await reader.readuntil(b"PONG\r\n")
        assert server.broker.closed[-1].reason == "Maximum Account Connections Exceeded"
        for _, writer in peers:
            writer.close()

    run(tmp_path, scenario, limited.format(5))


async def _closed(nc: Client) -> None:
    while not nc.is_closed:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("exports", "imports", "words"),
    [
        ("{ service: s, accounts: [ NOBODY ] }", "", "not defined for service export"),
        ("{ stream: s, accounts: [ A ] }", "{ stream: { account: A, subject: s } }", "not authorized"),
        ("{ stream: s }", "{ service: { account: A, subject: s } }", "not authorized"),
        ("{ stream: 's.*' }", "{ stream: { account: A, subject: 's.>' } }", "not authorized"),
        ("{ stream: s }", "{ stream: { account: NOBODY, subject: s } }", "not defined for stream import"),
        ("{ stream: '*', account_token_position: 1 }", "{ stream: { account: A, subject: X } }", "not authorized"),
        ("{ stream: 's.*.*' }", "{ stream: { account: A, subject: 's.*.*' }, to: 't.$1' }", "mapping transform"),
    ],
)
def test_imports_that_cannot_be(tmp_path: Path, exports: str, imports: str, words: str) -> None:
    text = f"accounts {{ A {{ exports: [ {exports} ] }}, B {{ imports: [ {imports} ] }} }}"
    with pytest.raises(OptionError, match=words):
        options(tmp_path, text)


def test_imports_do_not_go_in_circles(tmp_path: Path) -> None:
    one = "{0} {{ exports: [ {{ service: s }} ], imports: [ {{ service: {{ account: {1}, subject: s }} }} ] }}"
    with pytest.raises(OptionError, match="forms a cycle"):
        options(tmp_path, f"accounts {{ {one.format('A', 'B')}, {one.format('B', 'A')} }}")
