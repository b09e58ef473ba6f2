"""The auth callout: what a service is asked, and what becomes of its answers, is the same on both servers."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from millpond.accounts import claims as c
from millpond.accounts import jwt, xkey
from millpond.accounts.signing import KeyPair, base64_text
from millpond.base.ids import ACCOUNT_PREFIX, CURVE_PREFIX, USER_PREFIX, encode_key
from tests.jwt_rig import Account, answer, answered_user

from .operator_rig import Visitor, World, both_with, same
from .tls_rig import TlsTarget

pytestmark = pytest.mark.reference

NOW = int(time.time())
WORLD = World()
ISSUER = WORLD.key(ACCOUNT_PREFIX, "issuer")
OTHER = WORLD.key(ACCOUNT_PREFIX, "other issuer")
SECRET = bytes(range(1, 33))


def _curve() -> str:
    from nacl.public import PrivateKey

    return encode_key(CURVE_PREFIX, bytes(PrivateKey(SECRET).public_key))


XKEY = _curve()
NKEY = WORLD.key(USER_PREFIX, "an nkey")
CONFIG = """
accounts {
  AUTH { users: [{user: auth, password: auth}, {user: plain, password: plain}] }
  APP { users: [{user: app, password: app}], default_permissions: {publish: "ok.>"} }
  FREE { users: [{user: free, password: free}, {nkey: %s}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
authorization { timeout: 1, auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sys] %s } }
"""
CONFIGS = {
    "all": "", "sealed": f", xkey: {XKEY}", "some": ", allowed_accounts: [APP]",
}  # fmt: skip

Answer = Callable[[c.AuthRequestClaims, bool], bytes]
"""What the service says to a request; sealed: it was."""


class Service:
    """Answers requests on one server; `asked` is what it was asked."""

    def __init__(self, target: TlsTarget, peer: Visitor | None = None) -> None:
        """peer: whose it is, when it is in already."""
        self.peer = peer or Visitor(target, WORLD.names).info().show(headers=True, user="auth", **{"pass": "auth"})
        self.names = self.peer.names
        self.peer.send(b"SUB $SYS.REQ.USER.AUTH 1\r\nPING\r\n")
        assert self.peer.line() == b"PONG\r\n"
        self.asked: list[str] = []

    def answer(self, make: Answer) -> None:
        """One request."""
        line = self.peer.line()
        while not line.startswith((b"MSG", b"HMSG")):
            assert line, "the service was disconnected"
            line = self.peer.line()
        words = line.split()
        data, header = self.peer.body(line), int(words[-2]) if line.startswith(b"HMSG") else 0
        headers, body = data[:header].decode(), data[header:]
        sealed = not body.startswith(b"eyJ")
        if sealed:
            body = xkey.unseal(body, SECRET, headers.split(": ")[1].split("\r\n")[0])
        request = jwt.decode(body.decode(), c.AuthRequestClaims)
        self.server_xkey = request.nats.server_id.xkey
        self.asked.append(self._shown(headers, body, request))
        made = make(request, sealed)
        self.peer.send(b"PUB %s %d\r\n%s\r\n" % (words[3], len(made), made))

    def _shown(self, headers: str, body: bytes, request: c.AuthRequestClaims) -> str:
        claims = json.loads(jwt._bytes(body.decode().split(".")[1]))
        for name in ("jti", "iat", "iss"):
            del claims[name]
        claims["exp"] -= request.issued_s
        assert request.issuer == request.nats.server_id.id
        claims["nats"]["client_info"]["id"] = 0
        text = json.dumps({"headers": re.sub(r"X[A-Z2-7]{55}", "<xkey>", headers), **claims})
        text = text.replace(request.nats.user_nkey, "<user>").replace(request.nats.server_id.id, "<server>")
        for name in ("nonce", "sig", "xkey"):
            text = re.sub(rf'"{name}": "[^"]*"', f'"{name}": "<{name}>"', text)
        return self.names.named(text)


def signed(request: c.AuthRequestClaims, *, by: KeyPair = ISSUER, **changes: Any) -> bytes:
    """A response; `user` and further fields change what it says."""
    body = changes.pop("body", None) or c.AuthResponseBody(jwt=user_of(request, **changes.pop("user", {})))
    return answer(request, body, by=by, **changes)


def user_of(request: c.AuthRequestClaims, *, by: KeyPair = ISSUER, place: str = "APP", **changes: Any) -> str:
    return answered_user(request, by=by, place=place, **changes)


def lets_in(**user: Any) -> Answer:
    return lambda request, sealed: signed(request, user=user)


def says(**changes: Any) -> Answer:
    return lambda request, sealed: signed(request, **changes)


def sealed_for_the_server(request: c.AuthRequestClaims, sealed: bool) -> bytes:
    return xkey.seal(signed(request), SECRET, str(request.nats.server_id.xkey))


DENY = c.Subjects(deny=("no",))
ANSWERS: dict[str, Answer] = {
    "in": lets_in(), "in_auth": lets_in(place="AUTH"), "in_global": lets_in(place="$G"),
    "named": lets_in(name="bob"), "with_rights": lets_in(pub=DENY, tags=("a",), subs=1, payload=3),
    "nowhere": lets_in(place="NOWHERE"), "no_place": lets_in(place=""),
    "by_other": lets_in(by=OTHER), "with_account": lets_in(issuer_account=ISSUER.public),
    "expired": lets_in(expires_s=NOW - 5), "early": lets_in(not_before_s=NOW + 3600),
    "another_user": lambda request, sealed: signed(request, user={"subject": NKEY.public}),
    "other_subject": says(subject=NKEY.public), "no_user_subject": says(subject="x"),
    "other_server": says(audience=KeyPair.create(13 << 3).public), "no_server": says(audience="x"),
    "error": says(body=c.AuthResponseBody(error="not today")),
    "both": says(body=c.AuthResponseBody(error="x", jwt="y")), "neither": says(body=c.AuthResponseBody()),
    "no_jwt": says(body=c.AuthResponseBody(jwt="eyJ")), "empty": lambda request, sealed: b"",
    "garbage": lambda request, sealed: b"garbage", "late_response": says(expires_s=NOW - 5),
    "wrong_type": lambda request, sealed: user_of(request).encode(), "signed_by_other": says(by=OTHER),
    "proxy": lets_in(proxy_required=True), "types": lets_in(allowed_connection_types=("FUTURE",)),
    "websocket": lets_in(allowed_connection_types=("WEBSOCKET",)), "networks": lets_in(src=("1.2.3.4/32",)),
    "no_hours": lets_in(times=(c.TimeRange(start="00:00:00", end="00:00:00"),)),
}  # fmt: skip


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], list[TlsTarget]]]:
    running: dict[str, list[TlsTarget]] = {}
    with contextlib.ExitStack() as stack:

        def get(name: str) -> list[TlsTarget]:
            if name not in running:
                config = CONFIG % (NKEY.public, ISSUER.public, CONFIGS[name])
                running[name] = stack.enter_context(both_with(lambda target: config))
            return running[name]

        yield get


def visit(target: TlsTarget, service: Service | None, answer: Answer, *frames: bytes, **fields: Any) -> list[str]:
    """A client that the service is asked about: what it sees, and what is shown of it."""
    peer = Visitor(target, WORLD.names).info()
    before = len(target.log())
    signature = {"sig": base64_text(NKEY.sign(peer.nonce.encode()))} if fields.get("nkey") else {}
    peer.send(b"CONNECT %s\r\nPING\r\n" % json.dumps({
        "verbose": False, "pedantic": False, "lang": "test", "protocol": 0, **fields, **signature}).encode())
    if service is not None:
        service.answer(answer)
    while (line := peer.line()) and line != b"PONG\r\n":
        peer.note(repr(line))
    inside = bool(line)
    if inside and frames:
        peer.act(*frames)
    elif not inside:
        peer.left()
    peer.shown(closed=not inside)
    warned = [text.partition("[WRN] ")[2] for text in target.log()[before:].splitlines() if "[WRN]" in text]
    peer.close()
    return [*peer.record, *(re.sub(r"U[A-Z2-7]{55}", "<user>", text) for text in warned)]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(servers: Callable[[str], list[TlsTarget]], name: str) -> None:
    frames = (b"PUB ok.1 1\r\n1", b"PUB no 1\r\n1", b"PUB $SYS.REQ.USER.AUTH 1\r\n1", b"SUB a 1", b"SUB b 2")
    records = []
    for target in servers("all"):
        service = Service(target)
        lines = visit(target, service, ANSWERS[name], *frames, user="u", **{"pass": "p"})
        records.append([*lines, *service.asked])
        service.peer.close()
    same(*records)


CLIENTS: dict[str, dict[str, Any]] = {
    "nobody": {}, "a_token": {"auth_token": "secret"}, "an_nkey": {"nkey": NKEY.public},
    "app": {"user": "app", "pass": "app", "name": "n", "version": "1"}, "app_wrong": {"user": "app", "pass": "x"},
    "free": {"user": "free", "pass": "free"}, "a_jwt": {"jwt": "eyJ", "sig": "x"},
    "in_auth": {"user": "plain", "pass": "plain"},
}  # fmt: skip


@pytest.mark.parametrize("name", CLIENTS)
def test_who_is_asked_about(servers: Callable[[str], list[TlsTarget]], name: str) -> None:
    records = []
    for target in servers("all"):
        service = Service(target)
        records.append([*visit(target, service, ANSWERS["in"], **CLIENTS[name]), *service.asked])
        service.peer.close()
    same(*records)


@pytest.mark.parametrize(("fields", "asks"), [
    ({"user": "app", "pass": "app"}, True), ({"user": "free", "pass": "free"}, False),
    ({"user": "free", "pass": "wrong"}, True), ({"nkey": NKEY.public}, False), ({"user": "x"}, True),
])  # fmt: skip
def test_some_accounts(servers: Callable[[str], list[TlsTarget]], fields: dict[str, Any], asks: bool) -> None:
    records = []
    for target in servers("some"):
        service = Service(target)
        records.append([*visit(target, service if asks else None, ANSWERS["named"], **fields), *service.asked])
        service.peer.close()
    same(*records)


@pytest.mark.parametrize("fields", [
    {"user": "auth", "pass": "auth"}, {"user": "auth", "pass": "x"}, {"user": "sys", "pass": "sys"},
])  # fmt: skip
def test_users_that_are_not_asked_about(servers: Callable[[str], list[TlsTarget]], fields: dict[str, Any]) -> None:
    frames = (b"PUB $SYS.REQ.USER.AUTH 1\r\n1", b"PUB a 1\r\n1")
    same(*(visit(target, None, ANSWERS["in"], *frames, **fields) for target in servers("all")))


def sealed_by_another(request: c.AuthRequestClaims, sealed: bool) -> bytes:
    return xkey.seal(signed(request), bytes(range(32)), str(request.nats.server_id.xkey))


def sealed_and_signed_by_another(request: c.AuthRequestClaims, sealed: bool) -> bytes:
    return xkey.seal(signed(request, by=OTHER), SECRET, str(request.nats.server_id.xkey))


@pytest.mark.parametrize("answer", [
    ANSWERS["in"], sealed_for_the_server, sealed_by_another, sealed_and_signed_by_another,
    lambda request, sealed: b"xkv1garbage",
])  # fmt: skip
def test_sealed(servers: Callable[[str], list[TlsTarget]], answer: Answer) -> None:
    records = []
    for target in servers("sealed"):
        service = Service(target)
        records.append([*visit(target, service, answer, user="u", **{"pass": "p"}), *service.asked])
        service.peer.close()
    same(*records)


def test_no_answer(servers: Callable[[str], list[TlsTarget]]) -> None:
    same(*(visit(target, None, ANSWERS["in"], user="u", **{"pass": "p"}) for target in servers("all")))


def test_it_expires(servers: Callable[[str], list[TlsTarget]]) -> None:
    records = []
    for target in servers("all"):
        service, peer = Service(target), Visitor(target, WORLD.names).info()
        peer.send(b'CONNECT {"user":"u","pass":"p","verbose":false,"protocol":0}\r\nPING\r\n')
        service.answer(lets_in(expires_s=int(time.time()) + 4))
        records.append(peer.until_end().record)
    same(*records)


def test_events(servers: Callable[[str], list[TlsTarget]]) -> None:
    """A refusal is told in the system account and in the service's."""
    records = []
    for target in servers("all"):
        listener = Visitor(target, WORLD.names).info().show(user="auth", **{"pass": "auth"})
        listener.send(b"SUB $SYS.ACCOUNT.CLIENT.AUTH.ERR 7\r\nPING\r\n")
        assert listener.line() == b"PONG\r\n"
        service = Service(target)
        visit(target, service, ANSWERS["error"], user="u", **{"pass": "p"})
        assert listener.line().startswith(b"MSG $SYS.ACCOUNT.CLIENT.AUTH.ERR 7")
        event = json.loads(listener.line())
        client = {name: value for name, value in event["client"].items() if name in ("acc", "user", "name_tag", "kind")}
        records.append([event["type"], event["reason"], json.dumps(client)])
        service.peer.close()
    same(*records)


# --- operator mode ---


class Operated(World):
    """An account whose users a service decides about, and another one that it may name."""

    def __init__(self) -> None:
        super().__init__()
        self.key_of_service = KeyPair.create(USER_PREFIX)
        self.auth = self.account("auth")
        self.app, self.closed = self.account("app"), self.account("closed")
        self.app.body["signing_keys"] = (self.app.signing.public,)
        self.service = self.auth.user("service", key=self.key_of_service)
        self.names.add(self.key_of_service.public, "service")
        self.auth.body["authorization"] = c.ExternalAuthorization(
            auth_users=(self.key_of_service.public,), allowed_accounts=(self.app.public,), xkey=XKEY
        )
        self.sentinel = self.user(self.auth, "sentinel", bearer_token=True, pub=c.Subjects(deny=(">",)))


OPERATED = Operated()


def operated(account: Account, *, by: KeyPair | None = None, **user: Any) -> Answer:
    def answer(request: c.AuthRequestClaims, sealed: bool) -> bytes:
        token = user_of(request, by=by or account.key, place="", **user)
        return signed(request, by=OPERATED.auth.key, body=c.AuthResponseBody(jwt=token))

    return answer


OPERATED_ANSWERS: dict[str, Answer] = {
    "in_app": operated(OPERATED.app), "in_auth": operated(OPERATED.auth, name="bob"),
    "in_closed": operated(OPERATED.closed),
    "by_signing_key": operated(OPERATED.app, by=OPERATED.app.signing, issuer_account=OPERATED.app.public),
    "by_unknown_key": operated(OPERATED.app, by=OPERATED.closed.signing, issuer_account=OPERATED.app.public),
    "signed_by_another": lambda request, sealed: signed(request, by=OTHER),
    "sealed": lambda request, sealed: xkey.seal(
        operated(OPERATED.app)(request, sealed), SECRET, str(request.nats.server_id.xkey)),
}  # fmt: skip


@pytest.fixture(scope="module")
def operated_pair() -> Iterator[list[TlsTarget]]:
    with both_with(lambda target: OPERATED.config("authorization { timeout: 1 }")) as found:
        yield found


@pytest.mark.parametrize("name", OPERATED_ANSWERS)
def test_operator_mode(operated_pair: list[TlsTarget], name: str) -> None:
    records = []
    for target in operated_pair:
        service = Visitor(target, OPERATED.names).info().enter(OPERATED.service, headers=True, protocol=0)
        room = Service(target, service)
        peer = Visitor(target, OPERATED.names).info()
        peer.send(b"CONNECT %s\r\nPING\r\n" % json.dumps({
            "jwt": OPERATED.sentinel.token, "user": "u", "pass": "p", "verbose": False, "protocol": 0}).encode())
        room.answer(OPERATED_ANSWERS[name])
        while (line := peer.line()) and line != b"PONG\r\n":
            peer.note(repr(line))
        if line:
            peer.act(b"PUB $SYS.REQ.USER.AUTH 1\r\n1", b"PUB a 1\r\n1").shown()
        else:
            peer.left()  # `callout-refused`: what is shown of it differs
        records.append([*peer.record, *room.asked])
        for each in (service, peer):
            each.close()
    same(*records)


def test_structs_are_plain() -> None:
    assert msgspec.json.decode(msgspec.json.encode(c.ServerId(name="n", host="h", id="i"))) == {
        "name": "n", "host": "h", "id": "i",
    }  # fmt: skip
