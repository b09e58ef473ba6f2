"""Accounts in a directory, in a cache, behind a URL: requests about claims, files, who is let in, on both servers."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millpond.accounts import claims as c
from millpond.accounts import jwt
from millpond.accounts.signing import KeyPair, base64_text
from tests.jwt_rig import Account, Operator

from .operator_rig import Visitor, World, both_with, same
from .target import MILLPOND, REFERENCE, why_missing
from .tls_rig import Pki, TlsTarget

pytestmark = pytest.mark.reference

NOW = int(time.time())
WORLD = World()
A, B, GONE, LATE = (WORLD.account(name) for name in ("A", "B", "gone", "late"))
STRANGER = World().operator.account("stranger")
WORLD.names.add(STRANGER.public, "stranger")
RESOLVERS = {
    "full": "resolver { type: full, dir: DIR, allow_delete: true, interval: '1h' }",
    "hard": "resolver { type: full, dir: DIR, allow_delete: true, hard_delete: true, limit: 3 }",
    "kept": "resolver { type: full, dir: DIR }",
    "cache": "resolver { type: cache, dir: DIR, timeout: '300ms' }",
}


def config(kind: str, operator: Operator = WORLD.operator) -> str:
    preload = f"resolver_preload {{ {operator.system.public}: {operator.system.token()} }}\n"
    return f"operator: {operator.token()}\n{RESOLVERS[kind]}\n{preload}"


class Room:
    """One server with a directory, and the system account's user on it."""

    def __init__(self, target: TlsTarget) -> None:
        self.target = target
        self.dir = target.root / "jwt"
        self.admin = Visitor(target, WORLD.names).info().enter(WORLD.admin)

    def ask(self, subject: str, body: str = "") -> str:
        text = self.admin.ask(subject, body.encode()).decode()
        if not text.startswith("{"):
            return WORLD.names.named(text)
        found = json.loads(text)
        found["server"] = len(found["server"])
        if isinstance(found.get("data"), list):
            found["data"] = sorted(WORLD.names.named(each) for each in found["data"])
        return WORLD.names.named(json.dumps(found))

    def files(self) -> list[str]:
        return sorted(WORLD.names.named(path.name) for path in self.dir.iterdir())

    def enter(self, account: Account, name: str = "u") -> Visitor:
        return Visitor(self.target, WORLD.names).info().enter(WORLD.user(account, name))

    def push(self, account: Account, **changes: Any) -> str:
        return self.ask("$SYS.REQ.CLAIMS.UPDATE", account.token(**changes))

    def packed(self, digest: bytes = b"") -> list[str]:
        self.admin.send(b"SUB _INBOX.p 950\r\nPUB $SYS.REQ.CLAIMS.PACK _INBOX.p %d\r\n%s\r\n" % (len(digest), digest))
        found = []
        while True:
            text = self.admin.body(self.admin.line()).decode()
            if not text:
                self.admin.send(b"UNSUB 950\r\n")
                return sorted(found)
            found.append(WORLD.names.named(text))


def deletion(*accounts: str, by: KeyPair | None = None, subject: str = "", data: Any = None) -> str:
    key = by or WORLD.operator.key
    claims = {"iss": key.public, "sub": subject or key.public, "nats": data or {"accounts": list(accounts)}}
    signed = f"{base64_text(jwt._HEADER)}.{base64_text(json.dumps(claims).encode())}"
    return f"{signed}.{base64_text(key.sign(signed.encode()))}"


Scenario = Callable[[Room], list[str]]


def updates(room: Room) -> list[str]:
    lookup, update = "$SYS.REQ.ACCOUNT.%s.CLAIMS.LOOKUP", "$SYS.REQ.ACCOUNT.%s.CLAIMS.UPDATE"
    lines = [*room.enter(A).record, room.push(A), room.push(A), *room.enter(A).record]
    lines += [room.push(STRANGER), room.push(LATE, head={"expires_s": NOW - 5}), room.ask("$SYS.REQ.CLAIMS.UPDATE")]
    lines.append(room.push(B, limits={"exports": 0}, exports=(c.Export(subject="a", type="stream"),)))
    lines += [room.ask(update % B.public, B.token()), room.ask(update % B.public, A.token())]
    lines += [room.ask(update % B.public, "x"), room.ask(update % B.public)]
    lines.append(room.ask(f"$SYS.ACCOUNT.{B.public}.CLAIMS.UPDATE", B.token(tags=("t",))))
    if "cache" not in room.target.config.read_text():
        lines += [room.ask(lookup % A.public), room.ask(lookup % GONE.public)]
    lines += [room.ask("$SYS.REQ.CLAIMS.LIST"), *room.files()]
    return [*lines, *room.enter(STRANGER).record, *room.enter(B).record]


def effect(room: Room) -> list[str]:
    room.push(A)
    peer = room.enter(A)
    return [room.push(A, limits={"conn": 0}), *peer.until_end().record[-2:], *room.enter(A).record]


def deletions(room: Room) -> list[str]:
    room.push(A), room.push(B), room.push(GONE)
    peer = room.enter(GONE)
    wrong = (
        "x", deletion(GONE.public, by=A.key), deletion(GONE.public, subject=A.public), deletion("x"),
        deletion(WORLD.operator.system.public), deletion(data={"other": 1}), deletion(data={"accounts": "x"}),
        deletion(GONE.public, by=STRANGER.operator.key),
    )  # fmt: skip
    lines = [room.ask("$SYS.REQ.CLAIMS.DELETE", each) for each in wrong]
    lines.append(room.ask("$SYS.REQ.CLAIMS.DELETE", deletion(GONE.public, LATE.public)))
    if "deleted 2" in lines[-1]:
        lines += peer.until_end().record[-2:]
        lines += room.enter(GONE).record
    text = "\n".join(lines).replace(STRANGER.operator.key.public, "<strange operator>")
    return [*text.splitlines(), room.ask("$SYS.REQ.CLAIMS.LIST"), *room.files()]


def packing(room: Room) -> list[str]:
    for account in (A, B):
        room.push(account)
    return [*(line.partition("|")[0] for line in room.packed()), str(len(room.packed(bytes(32))))]


def full_store(room: Room) -> list[str]:
    return [room.push(each) for each in (A, B, GONE, A)]


SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    "full": (updates, effect, deletions, packing), "hard": (deletions, full_store), "kept": (deletions,),
    "cache": (updates,),
}  # fmt: skip
ROWS = [(kind, each) for kind, scenarios in SCENARIOS.items() for each in scenarios]


@pytest.fixture
def start() -> Iterator[Callable[[str], list[TlsTarget]]]:
    with contextlib.ExitStack() as stack:

        def both(text: str) -> list[TlsTarget]:
            found = both_with(lambda target: text.replace("DIR", f"'{target.root}/jwt'"))
            return stack.enter_context(found)

        yield both


@pytest.mark.parametrize(("kind", "scenario"), ROWS, ids=[f"{kind}-{each.__name__}" for kind, each in ROWS])
def test_same(start: Callable[[str], list[TlsTarget]], kind: str, scenario: Scenario) -> None:
    same(*(scenario(Room(target)) for target in start(config(kind))))


def test_a_directory_is_read_again(start: Callable[[str], list[TlsTarget]]) -> None:
    records = []
    for target in start(config("full")):
        Room(target).push(A)
        target.restart()
        records.append([*Room(target).enter(A).record, Room(target).ask("$SYS.REQ.CLAIMS.LIST")])
    same(*records)


def test_a_cache_asks_others(start: Callable[[str], list[TlsTarget]]) -> None:
    """Somebody in the system account who knows the claims."""
    records = []
    for target in start(config("cache")):
        room = Room(target)
        room.admin.send(b"SUB $SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP 5\r\nPING\r\n")
        while room.admin.line() != b"PONG\r\n":
            pass
        peer, user = Visitor(target, WORLD.names).info(), WORLD.user(A, "cached")
        peer.send(b"CONNECT %s\r\nPING\r\n" % json.dumps({**user.connect(peer.nonce), "verbose": False}).encode())
        words = room.admin.line().split()
        assert words[1].decode() == f"$SYS.REQ.ACCOUNT.{A.public}.CLAIMS.LOOKUP"
        token = A.token().encode()
        room.admin.send(b"PUB %s %d\r\n%s\r\n" % (words[3], len(token), token))
        line = peer.line()
        while line.startswith(b"INFO"):
            line = peer.line()
        records.append([repr(line), *room.files()])
    same(*records)


def said(text: str) -> Callable[[TlsTarget], str]:
    return lambda target: text


def test_a_url() -> None:
    """The same with one web server for both."""
    tokens = {each.public: each.token() for each in (A, B, WORLD.operator.system)}
    tokens[B.public] = "garbage"
    asked: list[str] = []

    class Accounts(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            asked.append(f"{WORLD.names.named(self.path)} {self.headers['Authorization']}")
            if "accounts" in self.path and name in moved:
                self.send_response(302)
                self.send_header("Location", moved[name])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            tell(self, tokens)

        def log_message(self, *unused: object) -> None:
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Accounts)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    records = []
    moved = {
        LATE.public: f"/elsewhere/{A.public}", STRANGER.public: f"/jwt/v1/accounts/{STRANGER.public}",
        A.public: f"http://127.0.0.1:{web.server_port}/elsewhere/{A.public}",
    }  # fmt: skip
    for url in ("resolver", "operator"):
        address = f"http://127.0.0.1:{web.server_port}/jwt/v1"
        body = {} if url == "resolver" else {"account_server_url": address}
        text = f"operator: {WORLD.operator.token(**body)}\n"
        known = address.replace("//", "//us%40er:se%2Fcret@")
        text += f"resolver: URL({known}/accounts/)\n" if url == "resolver" else ""
        with both_with(said(text)) as found:
            for target in found:
                room = Room(target)
                asked.clear()
                lines = [line for who in (A, B, GONE, LATE, STRANGER) for line in room.enter(who).record]
                lines += asked
                update = f"$SYS.REQ.ACCOUNT.{A.public}.CLAIMS.UPDATE"
                records.append([*lines, room.ask(update, A.token(limits={"conn": 0}))])
    web.shutdown()
    web.server_close()
    thread.join(10)
    same(records[0], records[1])
    same(records[2], records[3])


TOKENS = {each.public: each.token() for each in (A, WORLD.operator.system)}


def tell(asked: http.server.BaseHTTPRequestHandler, tokens: dict[str, str]) -> None:
    """The token of the account that the path ends with; who asks for none is told that somebody is here."""
    name = asked.path.rpartition("/")[2]
    body = tokens.get(name, "" if name else "here").encode()
    asked.send_response(200 if body else 404)
    asked.send_header("Content-Length", str(len(body)))
    asked.end_headers()
    asked.wfile.write(body)


class TlsAccounts(http.server.BaseHTTPRequestHandler):
    """Tells tokens to who shows a certificate."""

    def do_GET(self) -> None:
        tell(self, TOKENS)

    def log_message(self, *unused: object) -> None:
        pass


@contextlib.contextmanager
def tls_web(pki: Pki, cert: str, key: str) -> Iterator[str]:
    """The address of a web server that asks for certificates of its authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(pki.authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    web = QuietServer(("127.0.0.1", 0), TlsAccounts)
    web.socket = context.wrap_socket(web.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{web.server_port}/jwt/v1/accounts/"
    finally:
        web.shutdown()
        web.server_close()
        thread.join(10)


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, *unused: object) -> None:
        """Handshakes that fail are what is tested."""


def test_a_url_over_tls(tmp_path: Path) -> None:
    """Whom the resolver believes, and which certificate it shows. Where it fails, a server does not start."""
    pki = Pki(tmp_path / "pki")
    mine, ca = pki.client("me"), pki.authority.ca_file
    shown = f"cert_file: '{mine.cert_file}', key_file: '{mine.key_file}'"
    stranger = pki.stranger.server("imposter")
    server = (str(pki.server.cert_file), str(pki.server.key_file))
    imposter = (str(stranger.cert_file), str(stranger.key_file))
    rows = [
        (server, f"{shown}, ca_file: '{ca}'", True), (server, f"ca_file: '{ca}'", False), (server, shown, False),
        (server, f"{shown}, insecure: true", True), (imposter, f"{shown}, ca_file: '{ca}'", False),
        (imposter, f"{shown}, insecure: true", True), (server, f"{shown}, ca_file: '{ca}', min_version: '1.3'", True),
    ]  # fmt: skip
    for pair, block, starts in rows:
        with tls_web(pki, *pair) as address:
            text = f"operator: {WORLD.operator.token()}\nresolver: URL({address})\nresolver_tls {{ {block} }}\n"
            records = []
            for kind in (REFERENCE, MILLPOND):
                if (reason := why_missing(kind)) is not None:
                    pytest.skip(reason)
                target = TlsTarget(kind, text)
                try:
                    target.start()
                    records.append(Visitor(target, WORLD.names).info().enter(WORLD.user(A, "over tls")).record)
                except RuntimeError as error:
                    assert "could not fetch" in str(error)
                    records.append(["it does not start"])
                finally:
                    target.discard()
        same(*records)
        assert (records[0] != ["it does not start"]) == starts, block
