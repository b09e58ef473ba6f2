"""A reload changes who clients are: both servers keep, move, restrict or close the same ones."""

from __future__ import annotations

import pytest

from .compare import differences
from .conftest import DEFAULT_TARGET
from .core_target import Settings, start
from .known import KNOWN
from .raw import CoreRecord, Raw
from .scenarios_permissions import HASH, connect, pub
from .target import MILLPOND, REFERENCE, why_missing

pytestmark = pytest.mark.reference

OTHER_HASH = "$2b$04$YAaW1YG8Cb0uvVKOyOQxfObGsBAGURwi1NnOlLQSzn4eISwFUzESi"
"""bcrypt of `0ther`."""
HASH_AGAIN = "$2b$04$770JMCC0PdxBu7JJk0eBt.q8kDmPoIv/wc/qZDq1y9lMP.8VwcVWS"
"""bcrypt of `s3cr3t`, with another salt."""


NAME = "server_name: conformance\n"
"""Which the command line gives at the start, and a reload compares."""


def users(*rows: str) -> Settings:
    return {"config": NAME + "authorization { users = [\n" + "\n".join(rows) + "\n] }\n"}


def accounts(**members: str) -> Settings:
    text = "\n".join(f"{name} {{ users: [ {rows} ] }}" for name, rows in members.items())
    return {"config": f"{NAME}accounts {{ {text} }}"}


def hashed(value: str) -> str:
    return f'{{ user: h, pass: "{value}" }}'


PLAIN = "{ user: p, pass: x }"
KEEPER = "{ user: k, pass: x }"
OPEN: Settings = {"config": NAME}
GUEST_IN_A: Settings = {"config": NAME + """
accounts { A { users: [ { user: guest, pass: x } ] }, B { users: [ { user: b, pass: x } ] } }
no_auth_user: guest
"""}

Client = dict[str, object]
H: Client = {"user": "h", "pass": "s3cr3t"}
P: Client = {"user": "p", "pass": "x"}

CASES: dict[str, tuple[Settings, Settings, list[Client | None]]] = {
    "the hash of another password": (users(hashed(HASH), KEEPER), users(hashed(OTHER_HASH), KEEPER), [H]),
    "another hash of the same password": (users(hashed(HASH), KEEPER), users(hashed(HASH_AGAIN), KEEPER), [H]),
    "another plain password": (users(PLAIN, KEEPER), users("{ user: p, pass: y }", KEEPER), [P]),
    "plain becomes a hash": (users("{ user: h, pass: s3cr3t }", KEEPER), users(hashed(HASH), KEEPER), [H]),
    "a user that is gone": (users(PLAIN, hashed(HASH), KEEPER), users(KEEPER), [P, H]),
    "a user in another account": (accounts(A=PLAIN, B=KEEPER), accounts(A=KEEPER, B=PLAIN), [P]),
    "an account that is gone": (accounts(A=PLAIN, B=KEEPER), accounts(B=KEEPER), [P]),
    "a single user's password": (
        {"config": NAME + "authorization { user: p, password: x }"},
        {"config": NAME + "authorization { user: p, password: y }"}, [P],
    ),
    "another token": (
        {"config": NAME + "authorization { token: x }"}, {"config": NAME + "authorization { token: y }"},
        [{"auth_token": "x"}],
    ),
    "fewer rights": (
        users(PLAIN, KEEPER), users("{ user: p, pass: x, permissions { subscribe: b, publish: b } }", KEEPER), [P],
    ),
    "no authorization any more": (users(PLAIN, KEEPER), OPEN, [P]),
    "no authorization any more, with guests": (
        GUEST_IN_A, OPEN, [None, {}, {"user": "b", "pass": "x"}, {"user": "guest", "pass": "x"}],
    ),
    "guests in another account": (
        GUEST_IN_A, {"config": str(GUEST_IN_A["config"]).replace("B {", "C {").replace("A {", "B {")}, [None, {}],
    ),
    "guests with fewer rights": (
        GUEST_IN_A,
        {"config": str(GUEST_IN_A["config"]).replace("guest, pass: x", "guest, pass: x, permissions { subscribe: b }")},
        [None, {}],
    ),
    "authorization from now on": (OPEN, users(PLAIN, KEEPER), [None, {}, P]),
}  # fmt: skip


def after_a_reload(s: CoreRecord, settings: Settings, clients: list[Client | None]) -> None:
    raws: list[tuple[str, Raw]] = []
    for fields in clients:
        raw = s.open(connect(**fields) if fields is not None else b"")
        s.say(raw, b"SUB a 1\r\nSUB b 2\r\n" + pub(b"a"), label=f"{fields} before")
        raws.append((str(fields), raw))
    s.target.reload(settings)
    for label, raw in raws:
        s.say(raw, pub(b"a") + pub(b"b"), label=f"{label} after")
        if s.lines[-1].endswith(" closed"):        # its reason may come a moment later
            s.note(f"{label} closed because {s.target.closed_reason(raw.cid)}")
    listener = s.open(connect(user="k", **{"pass": "x"}) + b"SUB > 1\r\n")
    s.say(listener, pub(b"of.the.keeper"), label="somebody new")
    for label, raw in raws:
        s.say(raw, pub(b"c"), label=f"{label} once more")
    s.heard_so_far(listener)


@pytest.mark.parametrize("name", CASES)
def test_same_clients_stay(request: pytest.FixtureRequest, name: str) -> None:
    if (reason := why_missing(REFERENCE)) is not None:
        pytest.skip(reason)
    chosen = request.config.getoption("--target", default=DEFAULT_TARGET)
    before, after, clients = CASES[name]
    records = []
    for kind in (REFERENCE, REFERENCE if chosen == REFERENCE else MILLPOND):
        target = start(kind, before)
        record = CoreRecord(target)
        try:
            after_a_reload(record, after, clients)
        finally:
            record.close()
            target.stop()
        records.append(record)
    diff = differences(*records)
    known = KNOWN.get(name) if chosen != REFERENCE else None
    if known is None:
        assert not diff, "\n".join(diff)
    else:
        assert diff, f"{name} agrees now: remove it from known.py ({known})"
        pytest.xfail(f"docs/differences.md {known}")
