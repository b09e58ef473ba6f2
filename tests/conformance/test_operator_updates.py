"""New claims of accounts while a server runs: what is answered, and who may stay, is the same on both servers."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from millpond.accounts import claims as c
from millpond.accounts import jwt
from millpond.base.ids import ACCOUNT_PREFIX
from tests.jwt_rig import Account, User

from .operator_rig import Visitor, World, both_with, same
from .tls_rig import TlsTarget

pytestmark = pytest.mark.reference

NOW = int(time.time())
WORLD = World()
VOLATILE = frozenset({"update_time", "sublist_stats", "subscriptions", "exports", "imports"})


def visitor(target: TlsTarget, user: User) -> Visitor:
    return Visitor(target, WORLD.names).info().enter(user)


class Room:
    """One server, and the system account's user on it."""

    def __init__(self, target: TlsTarget) -> None:
        self.target = target
        self.admin = visitor(target, WORLD.admin)

    def ask(self, subject: str, body: bytes = b"") -> Any:
        found = json.loads(WORLD.names.named(self.admin.ask(subject, body).decode()))
        found.pop("server", None)
        return found

    def update(self, account: Account, token: str = "", subject: str = "$SYS.REQ.ACCOUNT.%s.CLAIMS.UPDATE") -> str:
        return json.dumps(self.ask(subject % account.public, (token or account.token()).encode()))

    def enter(self, user: User) -> Visitor:
        return visitor(self.target, user)


Scenario = Callable[[Room, Account], list[str]]


def issued(account: Account, **head: Any) -> str:
    """A token that differs from the others, as it is issued at another time."""
    return account.token(head=head or None, tags=("again",))


def answers(room: Room, account: Account) -> list[str]:
    other = WORLD.operator.account("unheard of")
    stranger = World().operator.account("strange", exports=())
    user = WORLD.user(account, "inside")
    lines = [
        room.update(account, "garbage"), room.update(account, other.token()), room.update(other),
        room.update(account, user.token), room.update(account, account.token(by=account.key)),
        room.update(account, account.token(by=stranger.operator.key)),
        room.update(account, account.token(limits={"exports": 0}, exports=(c.Export(subject="a", type="stream"),))),
        room.update(account, account.token(head={"expires_s": NOW - 10})),
    ]  # fmt: skip
    room.enter(user)
    lines += [room.update(account), room.update(account, issued(account))]
    lines.append(room.update(account, "", "$SYS.ACCOUNT.%s.CLAIMS.UPDATE"))
    lines.append(json.dumps(room.ask(f"$SYS.REQ.ACCOUNT.{account.public}.CLAIMS.UPDATE")))
    return [WORLD.names.named(line).replace(other.public, "<other>") for line in lines]


def revoked(room: Room, account: Account) -> list[str]:
    old, kept = WORLD.user(account, "old", issued_s=NOW - 10), WORLD.user(account, "kept", issued_s=NOW)
    first, second = room.enter(old), room.enter(kept)
    room.update(account, account.token(revocations={"*": NOW - 5}))
    return [*first.until_end().record[-2:], *second.act(b"SUB a 1").record]


def revoked_by_key(room: Room, account: Account) -> list[str]:
    user = WORLD.user(account, "named", issued_s=NOW - 10)
    peer = room.enter(user)
    room.update(account, account.token(revocations={user.key.public: NOW - 5}))
    again = Visitor(room.target, WORLD.names).info().enter(user)
    return [*peer.until_end().record[-2:], *again.record]


def bearer(room: Room, account: Account) -> list[str]:
    peer = room.enter(WORLD.user(account, "bearing", bearer_token=True))
    room.update(account, account.token(limits={"disallow_bearer": True}))
    return peer.until_end().record[-2:]


def fewer_connections(room: Room, account: Account) -> list[str]:
    user = WORLD.user(account, "many")
    peers = [room.enter(user) for _ in range(3)]
    room.update(account, account.token(limits={"conn": 1}))
    return [*peers[0].act(b"SUB a 1").record, *peers[1].until_end().record[-2:], *peers[2].until_end().record[-2:]]


def fewer_subscriptions(room: Room, account: Account) -> list[str]:
    user = WORLD.user(account, "listener")
    one, two, three = (room.enter(user) for _ in range(3))
    for peer, count in ((one, 1), (two, 2), (three, 3)):
        peer.act(*(b"SUB a %d" % number for number in range(count)))
    room.update(account, account.token(limits={"subs": 2, "payload": 3}))
    first = one.act(b"SUB b 9", b"SUB b 10", b"PUB a 4\r\n1234").record
    return [*first, *two.until_end().record[-2:], *three.until_end().record[-2:]]


def defaults(room: Room, account: Account) -> list[str]:
    peer = room.enter(WORLD.user(account, "default"))
    peer.act(b"SUB no 1", b"SUB yes 2")
    permissions = c.Permissions(pub=c.Subjects(allow=("p",)), sub=c.Subjects(allow=("yes",)))
    room.update(account, account.token(default_permissions=permissions))
    return peer.act(b"PUB p 1\r\n1", b"PUB q 1\r\n1", b"SUB no 3").record


def signing_key_gone(room: Room, account: Account) -> list[str]:
    room.update(account, account.token(signing_keys=(account.signing.public,)))
    signed, own = (WORLD.user(account, name, by=by) for name, by in (("by key", account.signing), ("by own", None)))
    first, second = room.enter(signed), room.enter(own)
    room.update(account, account.token(signing_keys=()))
    return [*first.until_end().record[-2:], *second.act(b"SUB a 1").record]


def scope_altered(room: Room, account: Account) -> list[str]:
    key = WORLD.key(ACCOUNT_PREFIX, "a scope")

    def scope(subs: int) -> c.Scope:
        return msgspec.convert({"kind": "user_scope", "key": key.public, "template": {"subs": subs}}, c.Scope)

    room.update(account, account.token(signing_keys=(scope(5),)))
    peer = room.enter(WORLD.user(account, "in scope", by=key, scoped=True))
    room.update(account, account.token(signing_keys=(scope(5),), tags=("other",)))
    peer.act(b"SUB a 1")
    room.update(account, account.token(signing_keys=(scope(6),)))
    return peer.until_end().record


def account_expires(room: Room, account: Account) -> list[str]:
    user = WORLD.user(account, "in time")
    peer = room.enter(user)
    room.update(account, account.token(head={"expires_s": int(time.time()) + 3}))
    # Three seconds are about when a server sends its first PING.
    return [line.replace(r"PING\r\n", "") for line in peer.until_end().record[-2:]]


def limits_raised(room: Room, account: Account) -> list[str]:
    user = WORLD.user(account, "again")
    room.enter(user)
    room.update(account, account.token(limits={"conn": 0}))
    refused = Visitor(room.target, WORLD.names).info().enter(user).record
    room.update(account, account.token(limits={"conn": 1}))
    return [*refused, *Visitor(room.target, WORLD.names).info().enter(user).record]


def shown(room: Room, account: Account) -> list[str]:
    room.enter(WORLD.user(account, "seen"))
    room.update(account, account.token(
        tags=("x:1", "y"), signing_keys=(account.signing.public,), revocations={account.public: NOW - 5},
        mappings={"m": (c.WeightedMapping(subject="n", weight=40),)}, description="d",
    ))  # fmt: skip
    page = room.target.page(f"/accountz?acc={account.public}")["account_detail"]
    page["decoded_jwt"] |= {"iat": 0, "jti": ""}
    text = json.dumps({name: value for name, value in page.items() if name not in VOLATILE})
    return [WORLD.names.named(text)]


SCENARIOS: tuple[Scenario, ...] = (
    answers, revoked, revoked_by_key, bearer, fewer_connections, fewer_subscriptions, defaults, signing_key_gone,
    scope_altered, account_expires, limits_raised, shown,
)  # fmt: skip
ACCOUNTS = {each.__name__: WORLD.account(each.__name__) for each in SCENARIOS}


# --- exports and imports by claims ---


def _exchange() -> tuple[Account, Account]:
    exports = (
        c.Export(subject="open.>", type="stream"), c.Export(subject="closed.>", type="stream", token_req=True),
        c.Export(subject="ask", type="service"), c.Export(subject="ask.closed", type="service", token_req=True),
        c.Export(subject="for.*", type="stream", account_token_position=2),
    )  # fmt: skip
    exporter = WORLD.account("exporter", exports=exports)
    importer = WORLD.account("importer")

    def activation(subject: str, kind: Any, **head: Any) -> str:
        body = c.ActivationBody(subject=subject, kind=kind)
        return jwt.encode(c.ActivationClaims(subject=importer.public, nats=body, **head), exporter.key)

    def wanted(subject: str, local: str, kind: Any = "stream", token: str = "") -> c.Import:
        return c.Import(subject=subject, account=exporter.public, local_subject=local, type=kind, token=token)

    importer.body["imports"] = (
        wanted("open.>", "o.>"), wanted("closed.a", "c.a", token=activation("closed.a", "stream")),
        wanted("closed.b", "c.b"), wanted("ask", "q", "service"),
        wanted("ask.closed", "qc", "service", activation("ask.closed", "service")),
        wanted("closed.late", "c.late", token=activation("closed.late", "stream", expires_s=NOW - 5)),
        wanted(f"for.{importer.public}", "mine"),
        c.Import(subject="open.x", account=exporter.public, to="pre", type="stream"),
    )  # fmt: skip
    return exporter, importer


EXPORTER, IMPORTER = _exchange()


def _traced() -> tuple[Account, Account]:
    """One that says where it is told of messages, and one that imports of it; some say that they may be followed."""
    traced = WORLD.account("traced", trace=c.Trace(dest="sampled"), exports=(
        c.Export(subject="open.*", type="service", allow_trace=True), c.Export(subject="shut.*", type="service"),
        c.Export(subject="far.*", type="stream"),
    ))  # fmt: skip
    tracing = WORLD.account("tracing", imports=(
        *(c.Import(subject=f"{name}.*", account=traced.public, type="service") for name in ("open", "shut")),
        c.Import(subject="far.yes", account=traced.public, type="stream", allow_trace=True),
        c.Import(subject="far.no", account=traced.public, type="stream"),
    ))  # fmt: skip
    return traced, tracing


TRACED, TRACING = _traced()


def _measured() -> tuple[Account, Account]:
    """One that is told how long its services take, where its claims are such that it can be, and who asks it."""
    def export(subject: str, results: str, sampling: int | str = 100, response_type: str = "") -> c.Export:
        latency = c.Latency(sampling=sampling, results=results)
        return c.Export(subject=subject, type="service", service_latency=latency, response_type=response_type)

    exports = (
        export("all", "lat.all"), export("traced", "lat.traced", "headers"), export("itself", "itself"),
        export("many", "lat.many", response_type="Stream"),
    )  # fmt: skip
    measured = WORLD.account("measured", exports=exports)
    measuring = WORLD.account("measuring", imports=tuple(
        c.Import(subject=each.subject, account=measured.public, type="service", share=each.subject == "all")
        for each in exports
    ))  # fmt: skip
    return measured, measuring


MEASURED, MEASURING = _measured()


def imports(room: Room) -> list[str]:
    gives, takes = room.enter(WORLD.user(EXPORTER, "gives")), room.enter(WORLD.user(IMPORTER, "takes"))
    takes.act(*(b"SUB %s %d" % (subject, number) for number, subject in enumerate(
        (b"o.>", b"c.a", b"c.b", b"c.late", b"mine", b"pre.open.x"))))  # fmt: skip
    gives.act(b"SUB ask 1", b"SUB ask.closed 2")
    subjects = (b"open.x", b"closed.a", b"closed.b", b"closed.late", b"for." + IMPORTER.public.encode())
    gives.act(*(b"PUB %s 1\r\n1" % subject for subject in subjects))
    takes.act(b"PUB q 1\r\n1", b"PUB qc 1\r\n1")
    gives.act()
    page = room.target.page(f"/accountz?acc={IMPORTER.public}")["account_detail"]
    return [*sorted(takes.record), *sorted(gives.record), str(page["complete"])]


def activation_revoked(room: Room) -> list[str]:
    """The importer is told nothing; it does not get any more."""
    gives, takes = room.enter(WORLD.user(EXPORTER, "gives2")), room.enter(WORLD.user(IMPORTER, "takes2"))
    takes.act(b"SUB c.a 1")
    gives.act(b"PUB closed.a 1\r\n1")
    exports = tuple(
        msgspec.structs.replace(each, revocations={IMPORTER.public: NOW + 100}) if each.token_req else each
        for each in EXPORTER.body["exports"]
    )
    room.update(EXPORTER, EXPORTER.token(exports=exports))
    gives.act(b"PUB closed.a 1\r\n2")
    return takes.act().record


def pages(room: Room) -> list[str]:
    """What is told of operators, and of exports and imports by claims."""
    for account, name in ((EXPORTER, "shows"), (IMPORTER, "shown too")):
        room.enter(WORLD.user(account, name))
    varz = room.target.page("/varz")
    lines = [json.dumps({name: varz[name] for name in varz if "operator" in name or name == "system_account"})]
    for account in (EXPORTER, IMPORTER):
        page = room.target.page(f"/accountz?acc={account.public}")["account_detail"]
        lines += sorted(json.dumps(row) for row in (*page.get("exports", ()), *page.get("imports", ())))
    return [WORLD.names.named(line) for line in lines]


def traces(room: Room) -> list[str]:
    """Who is told what of a message's way, by the claims of those whom it comes to."""
    serves, asks, told = (
        Visitor(room.target, WORLD.names).info().enter(WORLD.user(account, name), headers=True)
        for account, name in ((TRACED, "serves"), (TRACING, "asks"), (TRACED, "is told"))
    )
    serves.act(b"SUB open.> 1", b"SUB shut.> 2", b"SUB own 3")
    asks.act(b"SUB told 1", b"SUB far.* 2")
    told.act(b"SUB told 1", b"SUB sampled 2")
    lines = []
    for peer, hears, subject, header in (
        (asks, asks, "open.a", "Nats-Trace-Dest: told"), (asks, asks, "shut.a", "Nats-Trace-Dest: told"),
        (serves, told, "own", "Nats-Trace-Dest: told"), (serves, told, "far.yes", "Nats-Trace-Dest: told"),
        (serves, told, "far.no", "Nats-Trace-Dest: told"), (serves, told, "own", "traceparent: 00-a-b-01"),
    ):  # fmt: skip
        head = f"NATS/1.0\r\n{header}\r\n\r\n".encode()
        peer.send(b"HPUB %s %d %d\r\n%s\r\n" % (subject.encode(), len(head), len(head), head))
        lines.append(f"{subject} {header}: {told_of(hears)}")
    return [WORLD.names.named(line) for line in lines]


def latencies(room: Room) -> list[str]:
    """What is told of requests that nobody can answer, and of one that is answered."""
    serves, asks, told = (
        Visitor(room.target, WORLD.names).info().enter(WORLD.user(account, name), headers=True)
        for account, name in ((MEASURED, "works"), (MEASURING, "wants"), (MEASURED, "measures"))
    )
    serves.act(b"SUB all 1", b"SUB many 2")
    asks.act(b"SUB inbox 1")
    told.act(b"SUB lat.> 1", b"SUB itself 2")
    head = b"NATS/1.0\r\nB3: 1\r\n\r\n"
    lines = []
    for subject in (b"traced", b"itself", b"many", b"all"):
        asks.act(b"HPUB %s %d %d\r\n%s" % (subject, len(head), len(head), head))
    # Who tells of requests is beside whoever delivers them: these three come in any order.
    lines += sorted(measured_by(told) for _ in ("traced", "itself", "all"))
    asks.act(b"PUB all inbox 0\r\n")
    while not (line := serves.line()).startswith(b"HMSG all 1 _R_."):
        assert line, "the server hung up"
    serves.act(b"PUB %s 0\r\n" % line.split()[3])
    lines.append(measured_by(told))
    return [WORLD.names.named(line) for line in lines]


def measured_by(peer: Visitor) -> str:
    """The next event, or the request that came to where events could have been."""
    while not (line := peer.line()).startswith((b"MSG ", b"HMSG ")):
        assert line, "the server hung up"
    words, data = line.split(), peer.body(line)
    if words[1] == b"itself":
        return f"{words[:2]}"
    event = json.loads(data)
    for side in ("requestor", "responder"):
        event[side] = {name: value for name, value in event.get(side, {}).items()
                       if name not in ("start", "id", "rtt", "server")}  # fmt: skip
    return f"{words[1].decode()} {json.dumps({k: event[k] for k in event if k in SHOWN_OF_LATENCY})}"


SHOWN_OF_LATENCY = frozenset({"type", "status", "description", "requestor", "responder", "header"})


def told_of(peer: Visitor) -> str:
    """The next trace: where the message came in, and went."""
    while True:
        line = peer.line()
        words = line.split()
        assert words, "the server hung up"
        if words[0] not in (b"MSG", b"HMSG"):
            continue
        data = peer.body(line)[int(words[-2]) if words[0] == b"HMSG" else 0 :]
        if words[1] in (b"told", b"sampled"):
            break
    rows = json.loads(data)["events"]
    names = ("type", "acc", "subj", "to")
    shown = sorted(json.dumps({name: row[name] for name in names if name in row}) for row in rows)
    return f"{words[1].decode()} {' '.join(shown)}"


@pytest.fixture(scope="module")
def both() -> Iterator[list[Room]]:
    with both_with(lambda target: WORLD.config()) as found:
        yield [Room(target) for target in found]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_same(both: list[Room], scenario: Scenario) -> None:
    account = ACCOUNTS[scenario.__name__]
    same(*(scenario(room, account) for room in both))


EXCHANGES = (imports, activation_revoked, pages, traces, latencies)


@pytest.mark.parametrize("scenario", EXCHANGES, ids=lambda each: each.__name__)
def test_same_exchange(both: list[Room], scenario: Callable[[Room], list[str]]) -> None:
    same(*(scenario(room) for room in both))


# --- a configuration that is read again ---


def test_same_reload() -> None:
    """One account stays, one has other limits, one is gone."""
    world = World()
    stays, changed, gone = (world.account(name) for name in ("stays", "changed", "gone"))
    users = [world.user(account, f"u {account.name}") for account in (stays, changed, gone)]
    before = "server_name: conformance\n" + world.config()
    world.accounts.remove(gone)
    after = "server_name: conformance\n" + world.config(tokens={changed.public: changed.token(limits={"conn": 0})})
    records = []
    with both_with(lambda target: before) as found:
        for target in found:
            peers = [Visitor(target, world.names).info().enter(user) for user in users]
            target.config.write_text(after)
            assert target.process is not None
            target.process.send_signal(signal.SIGHUP)
            lines = [*peers[1].until_end().record[-2:], *peers[2].until_end().record[-2:]]
            lines += peers[0].act(b"SUB a 1").record
            for user in users:
                lines += Visitor(target, world.names).info().enter(user).record
            records.append(lines)
    same(*records)
