"""Users known by their tokens: who is let in, as what, and until when, is the same on both servers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from millpond.accounts import claims as c
from millpond.accounts.signing import base64_text
from millpond.base.ids import ACCOUNT_PREFIX
from tests.jwt_rig import User

from .operator_rig import Visitor, World, both_with, same
from .tls_rig import TlsTarget

pytestmark = pytest.mark.reference

NOW = int(time.time())
YEAR = 365 * 86_400


WRONG_TEMPLATES: dict[str, dict[str, Any]] = {
    "hours": {"times": [{"start": "25:00:00", "end": "26:00:00"}]},
    "hours_after_good_ones": {"times": [{"start": "00:00:00", "end": "23:59:59"}, {"start": "", "end": ""}]},
    "zone": {"times": [{"start": "00:00:00", "end": "23:59:59"}], "times_location": "No/Where"},
    "network": {"src": ["127.0.0.1"]}, "no_network": {"src": ["here"]},
    "network_after_a_good_one": {"src": ["127.0.0.0/8", "here"]},
}  # fmt: skip


class Cast(World):
    """The operator, accounts and users of this module."""

    def __init__(self) -> None:
        super().__init__()
        scope = {"pub": {"allow": ["a.{{name()}}.>", "t.{{tag(team)}}", "{{account-name()}}.{{subject()}}"]},
                 "sub": {"allow": ["_INBOX.>", "x.{{account-tag(where)}}"], "deny": ["no.{{account-subject()}}"]},
                 "subs": 2, "payload": 10}  # fmt: skip
        self.a = self.account("A", tags=("where:here", "where:there"), revocations={})
        self.scope_key = _keyed(self, "scope key")
        scoped = msgspec_scope(scope, self.scope_key.public)
        self.bad_scope = _keyed(self, "bad scope key")
        bad = msgspec_scope({"pub": {"deny": ["t.{{tag(nothing)}}"]}}, self.bad_scope.public)
        unknown = _keyed(self, "odd scope key")
        odd = msgspec_scope({"pub": {"allow": ["{{what()}}"]}}, unknown.public)
        self.odd_scope = unknown
        self.wrong_scopes = {name: _keyed(self, f"scope of wrong {name}") for name in WRONG_TEMPLATES}
        wrong = [msgspec_scope(WRONG_TEMPLATES[name], key.public) for name, key in self.wrong_scopes.items()]
        self.a.body["signing_keys"] = (self.a.signing.public, scoped, bad, odd, *wrong)
        self.revoked = self.user(self.a, "revoked", issued_s=NOW - 10)
        self.a.body["revocations"] = {self.revoked.key.public: NOW - 5}
        self.few = self.account("few", limits={"conn": 1, "subs": 3, "payload": 100, "disallow_bearer": True})
        self.defaults = self.account("defaults", default_permissions=c.Permissions(
            pub=c.Subjects(allow=("ok.>",)), sub=c.Subjects(deny=("secret",))))  # fmt: skip
        self.late = self.account("late")
        self.all_revoked = self.account("all revoked", revocations={"*": NOW - 5})
        self.foreign = self.account("foreign")
        self.stranger = World().operator.account("stranger")


def _keyed(cast: World, name: str) -> Any:
    return cast.key(ACCOUNT_PREFIX, name)


def msgspec_scope(template: dict[str, Any], key: str) -> c.Scope:
    import msgspec

    return msgspec.convert({"kind": "user_scope", "key": key, "template": template}, c.Scope)


CAST = Cast()
OTHER_OPERATOR = World().operator


def visitor(target: TlsTarget) -> Visitor:
    return Visitor(target, CAST.names).info()


# --- who is let in: a name, the user, and what CONNECT says besides ---

Case = tuple[User, dict[str, Any]]


def cases() -> dict[str, Case]:
    a, names = CAST.a, CAST
    plain = names.user(a, "plain")
    other_key = names.user(a, "other")
    found: dict[str, Case] = {
        "plain": (plain, {}),
        "plain_with_name": (plain, {"name": "n", "user": "somebody", "pass": "x"}),
        "no_signature": (plain, {"sig": ""}),
        "signature_of_another": (plain, {"sig": base64_text(other_key.key.sign(b"x"))}),
        "signature_no_base64": (plain, {"sig": "!!!"}),
        "no_token": (plain, {"jwt": ""}),
        "garbage": (plain, {"jwt": "eyJ.x.y"}),
        "an_account_token": (plain, {"jwt": a.token()}),
        "changed": (plain, {"jwt": plain.token[:-4] + "AAAA"}),
        "password_only": (plain, {"jwt": "", "sig": "", "user": "u", "pass": "p"}),
        "token_only": (plain, {"jwt": "", "sig": "", "auth_token": "t"}),
        "by_signing_key": (names.user(a, "signed", by=a.signing), {}),
        "by_signing_key_without_account": (names.user(a, "signed2", by=a.signing, issuer_account=""), {}),
        "by_unknown_key": (names.user(a, "unknown", by=names.key(ACCOUNT_PREFIX, "nobody's")), {}),
        "by_the_operator": (names.user(a, "operated", by=names.operator.key), {}),
        "of_an_unknown_account": (names.operator.account("nowhere").user("lost"), {}),
        "of_another_operator": (CAST.stranger.user("strange"), {}),
        "of_an_expired_account": (names.user(CAST.late, "late"), {}),
        "bearer": (names.user(a, "bearer", bearer_token=True), {"sig": ""}),
        "bearer_where_not_allowed": (names.user(CAST.few, "bearer2", bearer_token=True), {"sig": ""}),
        "expired": (names.user(a, "expired", head={"expires_s": NOW - 100}), {}),
        "not_yet": (names.user(a, "early", head={"not_before_s": NOW + 3600}), {}),
        "valid_for_a_year": (names.user(a, "year", head={"expires_s": NOW + YEAR, "not_before_s": NOW - 5}), {}),
        "revoked": (CAST.revoked, {}),
        "all_revoked": (names.user(CAST.all_revoked, "gone", issued_s=NOW - 10), {}),
        "issued_later_than_revoked": (names.user(CAST.all_revoked, "new", issued_s=NOW), {}),
        "from_elsewhere": (names.user(a, "elsewhere", src=("10.0.0.0/8",)), {}),
        "from_here": (names.user(a, "here", src=("10.0.0.0/8", "127.0.0.0/8")), {}),
        "bad_network": (names.user(a, "badnet", src=("127.0.0.1",)), {}),
        "websocket_only": (names.user(a, "ws", allowed_connection_types=("WEBSOCKET",)), {}),
        "standard": (names.user(a, "std", allowed_connection_types=("standard", "FUTURE")), {}),
        "unknown_type_only": (names.user(a, "future", allowed_connection_types=("FUTURE",)), {}),
        "all_day": (names.user(a, "day", times=(c.TimeRange(start="00:00:00", end="23:59:59"),)), {}),
        "bad_times": (names.user(a, "badtimes", times=(c.TimeRange(start="25:00:00", end="23:59:59"),)), {}),
        "bad_zone": (names.user(a, "badzone", times_location="Nowhere/City"), {}),
        "scoped": (names.user(a, "scoped", by=CAST.scope_key, scoped=True, tags=("team:red", "team:blue")), {}),
        "scoped_without_tags": (names.user(a, "untagged", by=CAST.scope_key, scoped=True), {}),
        "scoped_with_rights": (names.user(a, "righted", by=CAST.scope_key), {}),
        "bad_scope": (names.user(a, "badscope", by=CAST.bad_scope, scoped=True), {}),
        "odd_scope": (names.user(a, "oddscope", by=CAST.odd_scope, scoped=True), {}),
        "bad_permissions": (names.user(a, "badperm", pub=c.Subjects(allow=("a..b",))), {}),
        "queue_to_publish": (names.user(a, "queuepub", pub=c.Subjects(allow=("a b",))), {}),
        "wrong_account_id": (names.user(a, "wrongid", issuer_account="nobody"), {}),
        "with_tags": (names.user(a, "tagged", tags=("x:1", "y")), {}),
        "proxy": (names.user(a, "proxied", proxy_required=True), {}),
    }
    for name, key in CAST.wrong_scopes.items():
        found[f"wrong_{name}"] = names.user(a, f"wrong {name}", by=key, scoped=True), {}
    return found


CASES = cases()


# --- what they may do ---


def scoped_rights(target: TlsTarget) -> list[str]:
    user = CASES["scoped"][0]
    peer = visitor(target).enter(user)
    subject = user.key.public
    tries = [b"PUB a.scoped.x 1\r\n1", b"PUB a.other.x 1\r\n1", b"PUB t.red 1\r\n1", b"PUB t.green 1\r\n1",
             b"PUB A.%s 1\r\n1" % subject.encode(), b"SUB x.here 1", b"SUB x.nowhere 2", b"SUB x.there 3",
             b"SUB _INBOX.1 4", b"PUB t.blue 11\r\n12345678901"]  # fmt: skip
    return peer.act(*tries).record


def limits_of_a_user(target: TlsTarget) -> list[str]:
    user = CAST.user(CAST.a, "limited", subs=1, payload=5, pub=c.Subjects(deny=("no",)), resp=c.Responses(max=1))
    peer = visitor(target).enter(user)
    return peer.act(b"SUB a 1", b"SUB b 2", b"PUB a 1\r\n1", b"PUB no 1\r\n1", b"PUB a 6\r\n123456").record


def no_limits_named(target: TlsTarget) -> list[str]:
    """0 is not unlimited."""
    peer = visitor(target)
    peer.enter(CAST.user(CAST.a, "nothing", subs=0, payload=0, data=0))
    return [target.closed(peer.cid)]


def limits_of_an_account(target: TlsTarget) -> list[str]:
    user = CAST.user(CAST.few, "first")
    first, second = visitor(target).enter(user), visitor(target)
    second.enter(user)
    first.act(*(b"SUB a %d" % number for number in range(5)), b"PUB a 101\r\n" + b"x" * 101)
    return [*first.record, *second.record]


def default_permissions(target: TlsTarget) -> list[str]:
    free, own = CAST.user(CAST.defaults, "free"), CAST.user(CAST.defaults, "own", pub=c.Subjects(allow=("mine",)))
    lines = []
    for user in (free, own):
        peer = visitor(target).enter(user)
        lines += peer.act(b"PUB ok.1 1\r\n1", b"PUB mine 1\r\n1", b"SUB secret 1", b"SUB other 2").record
    return lines


def no_connect(target: TlsTarget) -> list[str]:
    peer = visitor(target)
    return peer.act(b"SUB a 1").record


def user_expires(target: TlsTarget) -> list[str]:
    user = CAST.user(CAST.a, "brief", head={"expires_s": int(time.time()) + 4})
    peer = visitor(target).enter(user)
    peer.until_end()
    return [*peer.record[:1], peer.record[-2].partition("-ERR")[2], peer.record[-1]]


def shown_info(target: TlsTarget) -> list[str]:
    ends = int(time.time()) + YEAR
    user = CAST.user(CAST.a, "informed", head={"expires_s": ends}, pub=c.Subjects(deny=("no",)), tags=("a",))
    peer = visitor(target).enter(user)
    document = json.loads(peer.ask("$SYS.REQ.USER.INFO"))
    del document["server"]
    document["data"]["expires"] //= 10**13
    return [CAST.names.named(json.dumps(document))]


SCENARIOS: tuple[Callable[[TlsTarget], list[str]], ...] = (
    scoped_rights, limits_of_a_user, no_limits_named, limits_of_an_account, default_permissions, no_connect,
    user_expires, shown_info,
)  # fmt: skip


@pytest.fixture(scope="module")
def both() -> Iterator[list[TlsTarget]]:
    tokens = {CAST.stranger.public: CAST.stranger.token(), CAST.late.public: CAST.late.token(head={"expires_s": NOW})}
    config = CAST.config(tokens=tokens)
    with both_with(lambda target: config) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_who_is_let_in(both: list[TlsTarget], name: str) -> None:
    user, fields = CASES[name]
    records = []
    for target in both:
        peer = visitor(target).enter(user, **fields)
        inside = peer.record[-1] == "b'PONG\\r\\n'"
        records.append(peer.shown(closed=not inside).record)
        peer.close()
    same(*records)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_same(both: list[TlsTarget], scenario: Callable[[TlsTarget], list[str]]) -> None:
    same(*(scenario(target) for target in both))


def test_a_client_library_with_credentials(both: list[TlsTarget], tmp_path: Path) -> None:
    """nats-py, with a file as tools write it: it is let in, and refused, with the same words."""
    good, bad = CAST.user(CAST.a, "library"), CASES["expired"][0]

    async def visit(target: TlsTarget) -> list[str]:
        lines: list[str] = []

        async def told(error: Exception) -> None:
            lines.append(str(error))

        for user in (good, bad):
            (tmp_path / "user.creds").write_text(user.creds)
            options = {"user_credentials": str(tmp_path / "user.creds"), "allow_reconnect": False, "error_cb": told}
            try:
                client = await nats.connect(target.url, **options)
            except Exception as error:  # whatever it is, it is compared
                lines.append(f"{type(error).__name__}: {error}")
                continue
            inbox = await client.subscribe("a")
            await client.publish("a", b"1")
            lines.append(str((await inbox.next_msg(5)).data))
            await client.close()
        return lines

    same(*(asyncio.run(asyncio.wait_for(visit(target), 30)) for target in both))
