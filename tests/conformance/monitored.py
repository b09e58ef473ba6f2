"""Situations in which both servers are asked for every page: what runs in them, and the queries of every page.

A situation is made on one server at a time by the same script; after it nothing changes any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

from .target import Target
from .wire_client import Client

PLAIN = "server_name: conformance\n"
MANY = 40
"""Connections, each one with other numbers than all others."""
LOOKS_MAX = 10_000
"""At a page that will show something soon."""

ACCOUNTS = """
server_name: conformance
max_connections: 200
max_subscriptions: 500
max_payload: 100k
max_pending: 8M
max_control_line: 2k
ping_interval: "1m"
ping_max: 5
write_deadline: "5s"
server_tags: [ "a:b", c ]
server_metadata: { rack: r1 }
jetstream { max_mem: 64M, max_file: 128M, limits { max_ack_pending: 900, duplicate_window: "1m" } }
accounts {
  A {
    jetstream { max_mem: 8M, max_file: 16M, max_streams: 20, max_consumers: 30 }
    limits { max_conn: 50, max_subs: 100, max_payload: 50k }
    users: [
      { user: a, password: a }
      { user: few, password: few, permissions { publish: "s.>", subscribe: { allow: "_INBOX.>", deny: "no" } } }
    ]
    exports: [
      { stream: "s.>" }, { service: "q.*", response_type: stream, accounts: [ B ] }
      { service: timed, latency: { sampling: 40, subject: lat } }
      { service: "followed.*", latency: { sampling: headers, subject: lat } }
    ]
    mappings: { "m.1": "n.1", w: [ { destination: x, weight: 40% } ] }
  }
  B {
    jetstream: enabled
    users: [ { user: b, password: b } ]
    imports: [
      { stream: { account: A, subject: "s.t" }, prefix: pre }, { service: { account: A, subject: "q.1" }, to: k }
      { service: { account: A, subject: timed } }, { service: { account: A, subject: "followed.*" }, to: "f.*" }
    ]
  }
  NONE { users: [ { user: none, password: none } ] }
  SYS { users: [ { user: sys, password: sys } ] }
}
system_account: SYS
"""


class Situation:
    """One server in it, and the clients that are still connected. `users`: whoever may be asked for pages as."""

    def __init__(self, target: Target, settle: Callable[[Situation], None]) -> None:
        self.target = target
        self.clients: list[Client] = []
        settle(self)

    def client(self, name: str, user: str = "", **options: Any) -> Client:
        login = {"user": user, "pass": user} if user else {}
        client = self.target.connect(name=name, at_once=True, **login, **options)
        self.clients.append(client)
        return client

    def await_closed(self, count: int) -> None:
        """A server notices the end of a connection a moment later: the page says when it has."""
        for _ in range(LOOKS_MAX):
            if json.loads(self.target.http("/connz?state=closed&limit=1")[1])["total"] >= count:
                return
        raise AssertionError(f"{self.target.kind}: {count} closed connections never showed")

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.target.discard()


def api(client: Client, verb: str, body: Any = None) -> Any:
    answer = json.loads(client.request(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"").payload)
    assert "error" not in answer, (verb, answer)
    return answer


def nobody(here: Situation) -> None:
    """Nobody was ever there."""


def streams_of_a(client: Client) -> None:
    """Every kind of stream and of consumer that pages tell of."""
    api(client, "STREAM.CREATE.S", {
        "name": "S", "subjects": ["s.>"], "max_msgs": 100, "description": "a <b> & c", "metadata": {"k": "v"},
        "allow_direct": True, "duplicate_window": 60_000_000_000,
    })  # fmt: skip
    api(client, "STREAM.CREATE.W", {"name": "W", "subjects": ["w"], "storage": "memory", "retention": "workqueue"})
    api(client, "STREAM.CREATE.KV_b", {
        "name": "KV_b", "subjects": ["$KV.b.>"], "max_msgs_per_subject": 1, "max_bytes": 100_000,
        "discard": "new", "allow_rollup_hdrs": True, "deny_delete": True, "duplicate_window": 60_000_000_000,
    })  # fmt: skip
    for number in range(3):
        client.request("s.a", b"x" * number, {"H": "v"})
        client.request(f"$KV.b.{number}", b"value")
    rules: dict[str, dict[str, Any]] = {
        "PULL": {"ack_policy": "explicit", "max_ack_pending": 100, "filter_subject": "s.a", "description": "of <s>"},
        "PUSH": {"ack_policy": "none", "deliver_subject": "to.me", "deliver_policy": "last"},
        "PAUSED": {"ack_policy": "explicit", "pause_until": "2099-01-01T00:00:00Z", "filter_subjects": ["s.b", "s.c"]},
        "GROUP": {"ack_policy": "explicit", "priority_policy": "pinned_client", "priority_groups": ["g"]},
    }
    for name, config in rules.items():
        api(client, f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": {"durable_name": name, **config}})
    client.publish("$JS.API.CONSUMER.MSG.NEXT.S.PULL", b'{"batch":2}', "_INBOX.me.pull")
    first = client.next_message(sid="1")
    client.next_message(sid="1")
    client.request(first.reply, b"+ACK")
    api(client, "STREAM.DELETE.W")
    api(client, "STREAM.CREATE.W", {"name": "W", "subjects": ["w"], "storage": "memory", "retention": "workqueue"})


def followers(client: Client) -> None:
    """A mirror and a stream with a source."""
    api(client, "STREAM.CREATE.MIRROR", {"name": "MIRROR", "mirror": {"name": "S"}})
    api(client, "STREAM.CREATE.SOURCED", {"name": "SOURCED", "sources": [{"name": "S", "filter_subject": "s.a"}]})


def await_followers(here: Situation) -> None:
    """They have taken what there is. Asked by HTTP, which counts for nobody."""
    counts: dict[str, int] = {}
    for _ in range(LOOKS_MAX):
        (found,) = json.loads(here.target.http("/jsz?acc=A&streams=1")[1])["account_details"]
        counts = {row["name"]: row["state"]["messages"] for row in found["stream_detail"]}
        if (counts.get("MIRROR"), counts.get("SOURCED")) == (4, 3):
            return
    raise AssertionError(f"{here.target.kind}: the followers took {counts}")


def accounts(here: Situation) -> None:
    """Accounts, users, limits, exports, streams."""
    a = here.client("api", "a")
    streams_of_a(a)
    followers(a)
    b = here.client("b's", "b", lang="", version="")
    api(b, "STREAM.CREATE.ONLY", {"name": "ONLY", "subjects": ["only"], "storage": "memory"})
    b.request("only", b"1")
    b.subscribe("pre.>")
    b.flush()
    few = here.client("few's", "few")
    few.subscribe("_INBOX.>", "")
    few.publish("s.t", b"to both")
    few.flush()
    b.flush()
    nothing = here.client("nothing's", "none")
    for number in range(3):
        nothing.subscribe(f"s.{number}")
        b.subscribe(f"pre.{number}")
    nothing.flush()
    b.flush()
    await_followers(here)
    for user in ("few", "b", "none"):
        here.client(f"passing {user}", user).close()
    here.await_closed(3)


def crowd(here: Situation) -> None:
    """Connections of which no two have the same numbers; some are gone."""
    clients = [here.client(f"c{number:02}", lang="abc"[number % 3], version=str(number % 2)) for number in range(MANY)]
    for number, client in enumerate(clients):
        for each in range(number):
            client.subscribe(f"s.{number}.{each}", "q" if each % 2 else "")
        client.flush()
    feeder = here.client("feeder")
    for number, client in enumerate(clients):
        for each in range(number):
            feeder.publish(f"s.{number}.{each}", b"y" * number)
            client.publish("nobody.listens", b"z" * (MANY - number))
        feeder.flush()
        client.flush()
    for number in range(3, MANY, 9):
        clients[number].flush()  # who closes with something unread resets the connection
        clients[number].close()
    here.await_closed(len(range(3, MANY, 9)))


SYSTEM = PLAIN + "accounts { SYS { users: [ { user: sys, password: sys } ] } }\nsystem_account: SYS\n"

SITUATIONS: dict[str, tuple[str, bool, Callable[[Situation], None]]] = {
    "idle": (PLAIN, True, nobody),
    "without JetStream": (PLAIN, False, nobody),
    "system account": (SYSTEM, True, nobody),
    "system account without JetStream": (SYSTEM, False, nobody),
    "accounts": (ACCOUNTS, True, accounts),
    "crowd": (PLAIN, False, crowd),
}
"""By name: a configuration, whether there is JetStream, what happens."""
WITH_SYSTEM_ACCOUNT = ("system account", "system account without JetStream", "accounts")
"""Those in which somebody is in the system account."""
USERS = ("a", "few", "b", "none", "sys")
"""Of ACCOUNTS."""


def begin(kind: str, name: str, directory: Path) -> Situation:
    config, jetstream, settle = SITUATIONS[name]
    file = directory / f"{kind}.conf"
    file.write_text(config)
    target = Target(kind, jetstream=jetstream, flags=("-c", str(file))).start()
    try:
        return Situation(target, settle)
    except BaseException:
        target.discard()
        raise


# --- queries ---

SORTS = (
    "cid", "start", "subs", "pending", "msgs_to", "msgs_from", "bytes_to", "bytes_from", "last", "idle", "uptime",
    "stop", "reason", "rtt",
)  # fmt: skip
BAD = ("x", "-1", "1.5", "99999999999999999999", "TRUE", "yes", "%20", "")


def each(name: str, values: Iterable[str]) -> list[str]:
    return [f"{name}={value}" for value in values]


def together(names: Iterable[str], most: int) -> list[str]:
    """Every choice of up to so many of these, switched on."""
    known = list(names)
    choices = [chosen for count in range(most + 1) for chosen in combinations(known, count)]
    return ["&".join(f"{name}=1" for name in chosen) for chosen in choices]


JSZ_FLAGS = (
    "accounts", "streams", "consumers", "config", "raft", "direct-consumers", "leader-only", "stream-leader-only",
)  # fmt: skip
HEALTHZ_FLAGS = ("js-enabled", "js-enabled-only", "js-server-only", "js-meta-only", "details")
QUERIES: dict[str, list[str]] = {
    "/varz": ["", "x=1"],
    "/connz": [
        "", *each("auth", ("1", "0", "true", "false", *BAD)),
        *each("subs", ("1", "0", "true", "detail", "DETAIL", *BAD)),
        *each("state", ("open", "closed", "any", "all", "ANY", "Closed", "x", "0", "")),
        *each("cid", ("999999", *BAD)), *each("offset", ("0", "1", "3", "1000", *BAD)),
        *each("limit", ("0", "1", "3", "1000", *BAD)), *each("acc", ("$G", "A", "B", "SYS", "$SYS", "nobody", "")),
        *each("user", ("a", "b", "few", "nobody")), *each("mqtt_client", ("x", "")),
        *each("filter_subject", ("s.>", ">", "s..x", "")),
        "acc=A&filter_subject=_INBOX.>", "acc=A&filter_subject=s.*&subs=1", "acc=$G&filter_subject=s.3.>&subs=1",
        "acc=A&user=few&auth=1", "acc=B&user=few", "state=any&acc=A&auth=1&subs=detail", "offset=2&limit=3&sort=subs",
        "offset=5&limit=5&sort=msgs_from", "state=any&sort=cid&limit=7&offset=3", "state=any&acc=A",
        "state=closed&acc=A", "sort=cid&sort=subs", "SORT=subs", "callback=f", "a=b;c=d&auth=1",
    ],
    "/routez": ["", *each("subs", ("1", "detail", *BAD))],
    "/gatewayz": ["", "accs=1", "gw_name=x", "acc_name=A", "accs=1&acc_name=A&subs=1&gw_name=x", "subs=detail",
                  *each("accs", BAD), *each("subs", BAD)],
    "/leafz": ["", "subs=1", "acc=A", "acc=nobody&subs=1", *each("subs", BAD)],
    "/subsz": ["", "test=s.a", "test=a..b", "test=a.*", "test=>", "test=", *each("offset", ("0", "1", "1000", *BAD)),
               *each("limit", ("0", "1", "1000", *BAD)), *each("subs", BAD), *each("acc", ("$G", "A", "nobody"))],
    "/subscriptionsz": ["", "test=s.a"],
    "/accountz": ["", *each("acc", ("$G", "$SYS", "A", "B", "SYS", "NONE", "nobody", ""))],
    "/accstatz": ["", *each("unused", ("1", "0", "true", *BAD))],
    "/jsz": [
        *together(JSZ_FLAGS, 2), "accounts=1&streams=1&consumers=1&config=1&raft=1&direct-consumers=1",
        *each("acc", ("$G", "A", "B", "NONE", "SYS", "nobody", "")),
        "acc=A&streams=1", "streams=1&limit=-1&offset=1", "acc=A&consumers=1&config=1&raft=1&direct-consumers=1",
        "acc=nobody&streams=1", "acc=nobody&accounts=1", "acc=nobody&accounts=1&streams=1", "acc=A&accounts=1&offset=5",
        *(f"accounts=1&{more}" for more in each("offset", ("0", "1", "9", "-1"))),
        *(f"accounts=1&{more}" for more in each("limit", ("0", "1", "9", "-1"))), "accounts=1&limit=1&offset=1",
        *(query for name in JSZ_FLAGS for query in each(name, ("x", "TRUE", "2"))), *each("limit", BAD),
        *each("offset", BAD),
    ],
    "/healthz": [
        *together(HEALTHZ_FLAGS, 2), "account=A", "account=A&stream=S", "account=A&stream=S&consumer=PULL",
        "account=A&stream=S&consumer=NO", "account=A&stream=NO", "account=A&consumer=PULL", "stream=S", "stream=NO",
        "consumer=C", "account=nobody", "account=$G", "account=SYS", "account=nobody&details=1",
        "account=A&stream=S&consumer=NO&details=1", "stream=NO&details=1", "consumer=x&details=1",
        *(f"{name}={value}" for name in HEALTHZ_FLAGS for value in ("x", "TRUE", "no")),
    ],
    "/raftz": ["", "acc=A", "acc=nobody", "group=x", "acc=A&group=x"],
    "/ipqueuesz": each("all", ("x", "yes", "1.5")),
    "/": [],
}
"""The queries of each page, a value of no use among them for each option."""


# --- requests of the system account ---

FLAGS_AND_ODD = (True, "x", 1, None)


def body(**options: Any) -> bytes:
    return json.dumps(options).encode()


def flags(*names: str) -> list[bytes]:
    """Each one, and with values of another kind."""
    return [body(**{name: value}) for name in names for value in FLAGS_AND_ODD]


def switched_on(names: Iterable[str], most: int) -> list[bytes]:
    known = list(names)
    choices = [chosen for count in range(most + 1) for chosen in combinations(known, count)]
    return [body(**dict.fromkeys(chosen, True)) for chosen in choices]


PAGING = [body(offset=offset, limit=limit) for offset in (-1, 0, 1, 9) for limit in (-1, 0, 1, 9)]
WHOLE = [body(offset=offset, limit=limit) for offset in (-1, 0) for limit in (-1, 0)]
"""Pages of less than everything differ by the servers' own subscriptions."""
CONNZ = [
    *flags("auth", "subscriptions", "subscriptions_detail"), *PAGING, *(body(sort=sort) for sort in ("cid", "x", 3)),
    *(body(state=state) for state in (0, 1, 2, 3, -1, "open", None)),
    *(body(acc=account, auth=True) for account in ("A", "B", "SYS", "nobody", 1)), body(cid=999_999), body(cid="x"),
    body(acc="A", filter_subject="_INBOX.>", subscriptions=True), body(filter_subject="a"), body(user="few", auth=True),
    body(acc="A", state=2, auth=True), body(acc="B", state=1), body(mqtt_client="x"),
]  # fmt: skip
JSZ = [
    *switched_on(("accounts", "streams", "consumer", "config", "raft", "direct_consumer", "leader_only"), 2),
    *(body(accounts=True, offset=offset, limit=limit) for offset in (-1, 0, 1, 9) for limit in (0, 1, 9)),
    *(body(account=account, streams=True) for account in ("A", "B", "NONE", "SYS", "nobody", "")),
    body(account="A", consumer=True, config=True, direct_consumer=True, raft=True), *flags("accounts", "raft"),
    body(stream_leader_only=True, streams=True),
]  # fmt: skip
HEALTHZ = [
    *switched_on(("js-enabled", "js-enabled-only", "js-server-only", "js-meta-only", "details"), 2),
    *(body(account="A", stream=stream, details=details) for stream in ("S", "NO") for details in (False, True)),
    body(account="A", stream="S", consumer="PULL"), body(account="A", stream="S", consumer="NO"), body(stream="S"),
    body(account="A", consumer="PULL"), body(consumer="x"), body(account="nobody"), *flags("details"),
]  # fmt: skip
SUBSZ = [*PAGING, body(test="s.a"), body(test="a..b"), body(test="a.*"), body(account="nobody"), *flags("test")]
REQUESTS: dict[str, list[bytes]] = {
    "SERVER.PING.VARZ": [b"", b"{}", b"x", b"null"],
    "SERVER.PING.CONNZ": CONNZ,
    "SERVER.PING.SUBSZ": SUBSZ,
    "SERVER.PING.JSZ": JSZ,
    "SERVER.PING.HEALTHZ": HEALTHZ,
    "SERVER.PING.ACCOUNTZ": [b"", *(body(account=name) for name in ("A", "B", "NONE", "SYS", "$G", "nobody", 1))],
    "SERVER.PING.ROUTEZ": [b"", *flags("subscriptions", "subscriptions_detail")],
    "SERVER.PING.GATEWAYZ": [b"", *flags("accounts", "subscriptions"), body(name="x", account_name="A")],
    "SERVER.PING.LEAFZ": [b"", *flags("subscriptions"), body(account="A")],
    "SERVER.PING.RAFTZ": [b"", body(account="A"), body(account="nobody", group="x"), *flags("account")],
    "SERVER.PING.IDZ": [b"", b"{}"],
    "SERVER.PING.STATSZ": [b"", b"{}", b"x"],
    "SERVER.PING": [b"", b"{}"],
    **{f"ACCOUNT.{name}.CONNZ": [b"", *CONNZ] for name in ("A", "nobody", "PING")},
    **{f"ACCOUNT.{name}.JSZ": [b"", *JSZ] for name in ("A", "B", "NONE", "nobody")},
    "ACCOUNT.A.SUBSZ": [each for each in SUBSZ if each in WHOLE or each not in PAGING],
    "ACCOUNT.nobody.SUBSZ": SUBSZ,
    **{f"ACCOUNT.{name}.INFO": [b"", b"{}", b"x"] for name in ("A", "B", "NONE", "SYS", "nobody")},
    **{f"ACCOUNT.{name}.LEAFZ": [b"", b"{}"] for name in ("A", "nobody")},
    **{
        f"ACCOUNT.{name}.STATZ": [b"", body(include_unused=True), body(accounts=["A", "B"]), *flags("accounts")]
        for name in ("A", "NONE", "PING", "nobody")
    },
    "ACCOUNT.A.CONNS": [b"", b"{}", b"x"],
    "ACCOUNT.NSUBS": [body(acc="A", subject="s.a"), body(acc="nobody", subject="a"), b"", b"x"],
    "USER.INFO": [b"", b"x"],
    "NOTHING": [b""],
}
"""The bodies of each request; who gets none, gets none."""
