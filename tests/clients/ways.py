"""Every way into a server, through every transport: what a client of any language is let in by, and is refused for.

A cell of the matrix is a way and a transport. Ways share servers where their configurations allow it, and one server
has two doors, TCP and WebSocket, with the same TLS: each server is started once, when its first cell is tried.

    way          its configuration and what is shown to it, right and wrong
    transport    the `tls` block of the server, and which of its doors is taken
    Spec         plain values for a client in a process of its own: where to, with which files, showing what

What clients do behind the door is the same for all: `done_by` says what they have to come back with.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import msgspec
import nats
import pytest
from nats.aio.client import Client, RawCredentials
from nats.aio.msg import Msg

from millpond.accounts import claims as c
from millpond.accounts import jwt
from millpond.accounts.signing import KeyPair
from millpond.base.ids import ACCOUNT_PREFIX, USER_PREFIX
from tests.certificates import client_context
from tests.conformance.target import MILLPOND, Target, why_missing
from tests.conformance.tls_rig import Pki
from tests.jwt_rig import Operator, answer, answered_user

OLD_AIOHTTP = pytest.mark.filterwarnings("ignore:parameter 'timeout' of type 'float':DeprecationWarning")
"""nats-py 2.16 asks aiohttp in a way that it warns of."""
VIOLATION = "Authorization Violation"
GLOBAL = "$G"
PASSWORD = "a password: $2a$ and \"quotes\""
CALLED = "caller"
Shown = dict[str, str]
"""What a client shows: `token`, `user` and `pass`, `seed`, or `creds` (the text of the file)."""


class Spec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For one client."""

    url: str
    name: str
    shown: Shown
    ca: str = ""
    cert: str = ""
    key: str = ""
    first: bool = False


class Transport(NamedTuple):
    """tls: of the server, by its name in BLOCKS."""

    scheme: str
    tls: str = ""
    certificate: bool = False
    first: bool = False


BLOCKS = {"": "", "tls": "", "verify": "verify: true", "first": "handshake_first: true"}
TRANSPORTS = {
    "tcp": Transport("nats"), "tls": Transport("tls", "tls"), "mutual": Transport("tls", "verify", certificate=True),
    "first": Transport("tls", "first", first=True), "ws": Transport("ws"), "wss": Transport("wss", "tls"),
    "wss-mutual": Transport("wss", "verify", certificate=True),
    "first-mapped": Transport("tls", "first", certificate=True, first=True),
}  # fmt: skip
WAYS = ("nothing", "token", "password", "bcrypt", "nkey", "guest", "creds", "callout", "certificate")
MAPPED = ("mutual", "wss-mutual", "first-mapped")


class Cell(NamedTuple):
    way: str
    transport: str

    def __str__(self) -> str:
        return f"{self.way}-{self.transport}"


CELLS = [
    Cell(way, transport)
    for way in WAYS
    for transport in (MAPPED if way == "certificate" else (name for name in TRANSPORTS if name != "first-mapped"))
]
REFUSED = [cell for cell in CELLS if cell.way != "nothing"]
SECURE = [name for name, transport in TRANSPORTS.items() if transport.tls and name != "first-mapped"]
MUTUAL = ["mutual", "wss-mutual"]


class Way(NamedTuple):
    """server: ways with the same one share it. user, account: who a client is behind the door."""

    server: str
    shown: Shown
    wrong: Shown
    user: str
    account: str = GLOBAL


class Servers:
    """All servers of one kind, their keys and certificates."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.pki = Pki(folder)
        self._running: dict[tuple[str, str], Target] = {}
        self._nkey, self._issuer = KeyPair.create(USER_PREFIX), KeyPair.create(ACCOUNT_PREFIX)
        self._operator = Operator()
        self._account = self._operator.account("A", limits={"mem_storage": -1, "disk_storage": -1, "streams": -1})
        self.ways = self._ways()

    def _ways(self) -> dict[str, Way]:
        user, stranger = self._account.user("u"), Operator().account("B").user("u")
        wrong = {"pass": "wrong"}
        return {
            "nothing": Way("open", {}, {}, ""),
            "token": Way("token", {"token": "a token"}, {"token": "wrong"}, "[REDACTED]"),
            "password": Way("users", {"user": "plain", "pass": PASSWORD}, {"user": "plain", **wrong}, "plain"),
            "bcrypt": Way("users", {"user": "crypt", "pass": PASSWORD}, {"user": "crypt", **wrong}, "crypt"),
            "nkey": Way("users", {"seed": self._nkey.seed}, {"seed": KeyPair.create(USER_PREFIX).seed},
                        self._nkey.public),
            "guest": Way("guest", {}, {"user": "plain", **wrong}, "guest"),
            "creds": Way("operator", {"creds": user.creds}, {"creds": stranger.creds}, user.key.public,
                         self._account.public),
            "callout": Way("callout", {"user": CALLED, "pass": PASSWORD}, {"user": CALLED, **wrong}, CALLED, "APP"),
            "certificate": Way("mapped", {}, {}, "CN=client"),
        }  # fmt: skip

    def _config(self, server: str) -> str:
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        plain = msgspec.json.encode(PASSWORD).decode()
        rows = f'{{user: plain, password: {plain}}}, {{user: crypt, password: "{hashed}"}}'
        match server:
            case "token":
                return 'authorization { token: "a token" }\n'
            case "users":
                return f"authorization {{ users: [{rows}, {{nkey: {self._nkey.public}}}] }}\n"
            case "guest":
                return f"authorization {{ users: [{rows}, {{user: guest, password: {plain}}}] }}\nno_auth_user: guest\n"
            case "operator":
                return self._operator.config(self._account)
            case "mapped":
                return 'authorization { users: [{user: "CN=client"}] }\n'
            case "callout":
                return f"""accounts {{
                    AUTH {{ users: [{{user: auth, password: auth}}] }}
                    APP {{ jetstream: enabled, users: [{{user: app, password: app}}] }}
                }}
                authorization {{ auth_callout {{ issuer: {self._issuer.public}, account: AUTH, auth_users: [auth] }} }}
                """
        assert server == "open", server
        return ""

    def _target(self, server: str, tls: str) -> Target:
        if (server, tls) not in self._running:
            settings = [BLOCKS[tls], "verify_and_map: true" if server == "mapped" else ""]
            block = self.pki.block(", ".join(filter(None, settings))) if tls else ""
            web = "" if tls == "first" else f"websocket {{ listen: '127.0.0.1:-1', {block or 'no_tls: true'} }}\n"
            path = self.pki.folder / f"{server}-{tls}.conf"
            path.write_text(block + web + self._config(server))
            self._running[server, tls] = Target(self.kind, flags=("-c", str(path))).start()
        return self._running[server, tls]

    def spec(self, cell: Cell, *, wrong: bool = False) -> Spec:
        """wrong: of a client that is refused."""
        way, transport = self.ways[cell.way], TRANSPORTS[cell.transport]
        found = self._door(way.server, transport)
        shown = way.wrong if wrong else way.shown
        if transport.certificate:
            pair = self.pki.client("unmapped" if wrong and way.server == "mapped" else "client")
            found = msgspec.structs.replace(found, cert=str(pair.cert_file), key=str(pair.key_file))
        return msgspec.structs.replace(found, name=f"{cell}{'-wrong' * wrong}", shown=shown)

    def _door(self, server: str, transport: Transport) -> Spec:
        target = self._target(server, transport.tls)
        port = target.ws_port if transport.scheme.startswith("ws") else target.port
        ca = str(self.pki.authority.ca_file) if transport.tls else ""
        return Spec(url=f"{transport.scheme}://127.0.0.1:{port}", name="", shown={}, ca=ca, first=transport.first)

    def distrusting(self, transport: str) -> Spec:
        """A client that trusts another authority."""
        return msgspec.structs.replace(
            self.spec(Cell("nothing", transport)), ca=str(self.pki.stranger.ca_file), name="distrusting"
        )

    def without_certificate(self, transport: str) -> Spec:
        return msgspec.structs.replace(self.spec(Cell("nothing", transport)), cert="", key="", name="bare")

    def done_by(self, cell: Cell) -> dict[str, Any]:
        """What a client comes back with that has done everything in this cell."""
        way = self.ways[cell.way]
        return {
            "who": [way.user, way.account], "message": ["a body", "a header"], "reply": "asked: a question",
            "stored": [1, "first", "a header"], "acknowledged": [1, 0], "value": ["one", 1],
        }  # fmt: skip

    @asynccontextmanager
    async def serving(self, cell: Cell) -> AsyncIterator[None]:
        """What a way needs besides the server: the service that decides about users."""
        if cell.way != "callout":
            yield
            return
        transport = TRANSPORTS[cell.transport]
        door = self._door("callout", transport)
        pair = self.pki.client("client")
        service = await connect(msgspec.structs.replace(
            door, shown={"user": "auth", "pass": "auth"}, cert=str(pair.cert_file), key=str(pair.key_file)))
        try:
            await service.subscribe("$SYS.REQ.USER.AUTH", cb=self._decide)
            await service.flush()
            yield
        finally:
            await service.close()

    async def _decide(self, message: Msg) -> None:
        request = jwt.decode(message.data.decode(), c.AuthRequestClaims)
        said = request.nats.connect_opts
        body = c.AuthResponseBody(error="no")
        if (said.user, said.password) == (CALLED, PASSWORD):
            body = c.AuthResponseBody(jwt=answered_user(request, by=self._issuer, place="APP", name=CALLED))
        await message.respond(answer(request, body, by=self._issuer))

    def stop(self) -> None:
        for target in self._running.values():
            target.discard()


async def connect(spec: Spec) -> Client:
    """nats-py, let in. Raises what it is told first when it is not."""
    told: list[Exception] = []

    async def hear(error: Exception) -> None:
        told.append(error)

    client = Client()
    try:
        await client.connect(
            spec.url, name=spec.name or None, error_cb=hear, allow_reconnect=False, max_reconnect_attempts=1,
            reconnect_time_wait=0, **_tls_options(spec), **_shown_options(spec.shown),
        )  # fmt: skip
    except nats.errors.Error:
        await client.close()
        raise told[0] from None
    return client


def _tls_options(spec: Spec) -> dict[str, Any]:
    if not spec.ca:
        return {}
    context = client_context(Path(spec.ca))
    if spec.cert:
        context.load_cert_chain(spec.cert, spec.key)
    return {"tls": context, "tls_handshake_first": spec.first}


def _shown_options(shown: Shown) -> dict[str, Any]:
    """In the client's names."""
    names = {"user": "user", "pass": "password", "token": "token", "seed": "nkeys_seed_str"}
    options: dict[str, Any] = {names[key]: text for key, text in shown.items() if key in names}
    return options | ({"user_credentials": RawCredentials(shown["creds"])} if "creds" in shown else {})


def target_kind() -> str:
    """Which server is under test (conftest.py); skips the test where it is missing."""
    kind = os.environ.get("MILLPOND_CLIENT_TARGET", MILLPOND)
    if (reason := why_missing(kind)) is not None:
        pytest.skip(reason)
    return kind


def running(folder: Path) -> Iterator[Servers]:
    servers = Servers(target_kind(), folder)
    try:
        yield servers
    finally:
        servers.stop()
