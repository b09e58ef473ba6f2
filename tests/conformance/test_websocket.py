"""WebSocket: upgrades, frames and what follows from them, byte for byte on both servers."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import socket
import ssl
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.ws_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, deflated, frame, request, split

from .operator_rig import World
from .raw import show_info
from .target import MILLPOND, REFERENCE
from .tls_rig import Pki, TlsTarget, started

pytestmark = pytest.mark.reference

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"lang":"test","protocol":0}\r\n'
PROTOCOL_ERROR = struct.pack(">H", 1002)
HEAD_HIDDEN = re.compile(r"Date: [^\r]*\r\n|Connection: close\r\n")
USERS = """authorization { users: [
    {user: a, password: b}, {user: guest}, {user: c, password: d, connection_types: [WEBSOCKET ]},
    {user: e, password: f, connection_types: [STANDARD ]}
] }\n"""
OPEN = "websocket { listen: '127.0.0.1:-1', no_tls: true, %s }\n"
OPERATED = World()
BEARERS = OPERATED.account("A")
TOKENS = {name: BEARERS.user(name, **body).token for name, body in (
    ("bearer", {"bearer_token": True}), ("ws", {"bearer_token": True, "allowed_connection_types": ("WEBSOCKET",)}),
    ("tcp", {"bearer_token": True, "allowed_connection_types": ("STANDARD",)}), ("signer", {}),
)}  # fmt: skip
CONFIGS: dict[str, Callable[[Pki], str]] = {
    "operator": lambda pki: OPEN % "jwt_cookie: j" + OPERATED.config(),
    "open": lambda pki: OPEN % "",
    "deflate": lambda pki: OPEN % "compression: true" + "max_payload: 20000\n",
    "origins": lambda pki: OPEN % "allowed_origins: ['http://good.example', 'https://other.example:8080' ]",
    "same": lambda pki: OPEN % "same_origin: true",
    "secure": lambda pki: f"websocket {{ listen: '127.0.0.1:-1', {pki.block().rstrip()} }}\n",
    "verify": lambda pki: f"websocket {{ listen: '127.0.0.1:-1', {pki.block('verify_and_map: true').rstrip()} }}\n"
    + 'authorization { users: [{user: "CN=mapped"}, {user: other}] }\n',
    "users": lambda pki: OPEN % "user_cookie: u, pass_cookie: p, headers: {X-Own: 'one two'}" + USERS,
    "guest": lambda pki: OPEN % "no_auth_user: guest" + USERS,
    "own": lambda pki: OPEN % "authorization {user: w, password: x, timeout: 0.5}",
    "browser": lambda pki: OPEN % "compression: true",
    "token": lambda pki: OPEN % "token_cookie: t" + "authorization { token: secret }\n",
    "small": lambda pki: OPEN % "" + "max_payload: 1000\nmax_control_line: 100\nmax_connections: 3\n",
}


class WsPeer:
    """A client. `record` has one line for everything it saw."""

    def __init__(self, target: TlsTarget, context: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.record: list[str] = []
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", target.ws_port), 10)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""
        self.cid = 0

    def note(self, text: str) -> None:
        self.record.append(text)

    def receive(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        self.buffer += data
        return bool(data)

    def ask(self, data: bytes) -> WsPeer:
        """The head of the answer to this request, and its body."""
        self.send(data)
        while b"\r\n\r\n" not in self.buffer and self.receive():
            pass
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.note(HEAD_HIDDEN.sub("", (head + b"\r\n").decode("latin-1")))
        if b" 101 " not in head.split(b"\r\n")[0] and b"Content-Length: " in head:
            size = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
            while len(self.buffer) < size and self.receive():
                pass
            self.note(repr(self.buffer))
        return self

    def open(self, **headers: str | None) -> WsPeer:
        """An upgrade, and INFO."""
        self.ask(request(**headers))
        first = self.frames(1)
        line, _, behind = self.inflated(first[0]).partition(b"\n")
        line += b"\n"
        if behind:
            self.buffer = frame(behind, mask=None) + self.buffer
        self.note(show_info(line))
        self.cid = json.loads(line[5:])["client_id"]
        self.record[-1] += f" bits={first[0].bits} opcode={first[0].opcode} {json.loads(line[5:])['client_ip']}"
        return self

    @staticmethod
    def inflated(got: Any) -> bytes:
        packed = got.payload + b"\x00\x00\xff\xff"
        return zlib.decompressobj(-15).decompress(packed) if got.bits & 4 else bytes(got.payload)

    def frames(self, count: int) -> list[Any]:
        while len(split(self.buffer)[0]) < count:
            assert self.receive(), f"the end after {self.buffer!r}"
        found, rest = split(self.buffer)
        self.buffer = b"".join(self._again(each) for each in found[count:]) + rest
        return found[:count]

    @staticmethod
    def _again(each: Any) -> bytes:
        return frame(each.payload, each.opcode, bits=each.bits, mask=None)

    def send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def until_pong(self, data: bytes) -> WsPeer:
        """What comes for these bytes and the PING behind them."""
        self.send(data + frame(b"PING\r\n"))
        return self.read_pong()

    def read_pong(self) -> WsPeer:
        text, shapes = b"", []
        while not text.endswith(b"PONG\r\n"):
            each = self.frames(1)[0]
            if each.opcode in (BINARY, CONTINUATION):
                text += self.inflated(each) if each.opcode == BINARY else each.payload
            else:
                shapes.append(each.shown)
        self.note(f"{text!r} {shapes}")
        return self

    def until_end(self) -> WsPeer:
        """All frames up to the end of the connection; data joined."""
        while self.receive():
            pass
        found, rest = split(self.buffer)
        data = b"".join(self.inflated(each) for each in found if each.opcode < CLOSE)
        # nats-server prepares a close frame for whoever breaks a rule of WebSocket, and rarely sends it.
        closes = [each.shown for each in found if each.opcode >= CLOSE and each.payload[:2] != PROTOCOL_ERROR]
        self.note(f"{data!r} {closes} {rest!r}")
        if self.cid:
            # To nats-server it is a read error when the client protocol is broken inside of frames.
            reason = self.target.closed(self.cid)
            self.note("Read Error" if reason == "Protocol Violation" else reason)
        return self

    def row(self) -> WsPeer:
        row = self.target.page(f"/connz?cid={self.cid}&auth=1")["connections"][0]
        names = ("kind", "type", "ip", "tls_version", "authorized_user", "account", "in_msgs", "out_msgs")
        self.note(json.dumps({name: row[name] for name in names if name in row}))
        return self


# --- scenarios: the first part of a name is the configuration ---


def open__messages(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open()
    peer.until_pong(frame(CONNECT + b"SUB a 1\r\n") + frame(b"PUB a 2\r\nhi\r\n", TEXT))
    return [*peer.row().record, json.dumps(hidden(target.page("/varz")["websocket"]))]


def open__frames_cut_anywhere(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open()
    sent = CONNECT + b"SUB a 1\r\n" + b"".join(b"PUB a %d\r\n%s\r\n" % (n, bytes([65 + n]) * n) for n in range(20))
    parts = [sent[at : at + 7] for at in range(0, len(sent), 7)]
    frames = [
        frame(part, CONTINUATION if at else BINARY, bits=8 * (at == len(parts) - 1), mask=bytes([at % 256, 7, 0, 255]))
        for at, part in enumerate(parts)
    ]
    frames.insert(3, frame(b"between", PING))
    for byte in b"".join(frames):
        peer.send(bytes([byte]))
    return peer.until_pong(b"").record


def open__lengths_written_wide(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open()
    wide = frame(CONNECT, wide=2) + frame(b"SUB a 1\r\n", wide=8)
    return peer.until_pong(wide + frame(b"") + frame(b"", TEXT)).record


def open__large(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open()
    body = bytes(range(256)) * 1200
    peer.send(frame(CONNECT + b"SUB a 1\r\n") + frame(b"PUB a %d\r\n%s\r\n" % (len(body), body)))
    peer.until_pong(b"")
    expected = b"MSG a 1 %d\r\n%s\r\nPONG\r\n" % (len(body), body)
    return [*peer.record[:-1], str(peer.record[-1] == f"{expected!r} []")]


def open__control(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open()
    peer.until_pong(frame(b"", PING) + frame(b"x" * 125, PING) + frame(b"ignored", PONG) + frame(CONNECT))
    return peer.record


BAD = {
    "rsv2": frame(b"PING\r\n", bits=10), "rsv3": frame(b"PING\r\n", bits=9), "rsv1": frame(b"PING\r\n", bits=12),
    "unmasked": frame(b"PING\r\n", mask=None), "opcode": frame(b"PING\r\n", 3), "control_opcode": frame(b"", 11),
    "long_ping": frame(b"x" * 126, PING), "long_close": frame(b"x" * 200, CLOSE),
    "split_ping": frame(b"x", PING, bits=0),
    "compressed_ping": frame(b"x", PING, bits=12), "not_begun": frame(b"PING\r\n", CONTINUATION),
    "begun_twice": frame(b"PI", bits=0) + frame(b"NG\r\n"),
    "length": struct.pack(">BBQ", 0x82, 0xFF, 1 << 63) + b"mask",
    "close": frame(struct.pack(">H", 1000) + b"bye", CLOSE), "close_empty": frame(b"", CLOSE),
    "close_status": frame(struct.pack(">H", 1001), CLOSE), "close_one": frame(b"\x03", CLOSE),
    "close_1005": frame(struct.pack(">H", 1005), CLOSE), "close_999": frame(struct.pack(">H", 999), CLOSE),
    "close_2000": frame(struct.pack(">H", 2000), CLOSE),
    "close_3000": frame(struct.pack(">H", 3000) + b"x" * 123, CLOSE),
    "close_utf8": frame(struct.pack(">H", 1000) + b"\xff", CLOSE),
    "close_behind": frame(b"PING\r\n") + frame(struct.pack(">H", 1000), CLOSE) + frame(b"PING\r\n"),
    "info": frame(b"INFO nothing\r\n"), "peer_error": frame(b"-ERR 'x'\r\n"),
}  # fmt: skip


def ended(what: bytes) -> Callable[[TlsTarget, Pki], list[str]]:
    def run(target: TlsTarget, pki: Pki) -> list[str]:
        peer = WsPeer(target).open().until_pong(frame(CONNECT))
        peer.send(what)
        return peer.until_end().record

    return run


def open__nonsense(target: TlsTarget, pki: Pki) -> list[str]:
    """nats-server may close before its -ERR has left."""
    peer = WsPeer(target).open().until_pong(frame(CONNECT))
    peer.send(frame(b"NONSENSE\r\n"))
    return [*peer.record, peer.until_end().record[-1]]


def open__hangs_up(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open()
    peer.socket.close()
    return [target.closed(peer.cid)]


def open__forwarded(target: TlsTarget, pki: Pki) -> list[str]:
    lines = WsPeer(target).open(X_Forwarded_For="10.1.2.3").until_pong(frame(CONNECT)).row().record
    return [*lines, *WsPeer(target).open(X_Forwarded_For="nobody").record]


def open__without_masking(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open(Nats_No_Masking="true")
    peer.send(frame(CONNECT + b"PING\r\n", mask=None))
    return peer.read_pong().record


REFUSED: dict[str, dict[str, Any]] = {
    "method": {"method": "POST"}, "no_upgrade": {"Upgrade": None},
    "upgrade": {"Upgrade": "h2c"}, "connection": {"Connection": "close"}, "no_key": {"Sec-WebSocket-Key": None},
    "key": {"Sec-WebSocket-Key": "AAAA"}, "key_text": {"Sec-WebSocket-Key": "not base64 at all!"},
    "version": {"Sec-WebSocket-Version": "8"}, "no_version": {"Sec-WebSocket-Version": None},
    "mqtt": {"path": "/mqtt"},
}  # fmt: skip
ACCEPTED: dict[str, dict[str, Any]] = {
    "words": {"Connection": "keep-alive, upgrade", "Upgrade": "WebSocket"}, "path": {"path": "/any/where?x=1"},
    "two_versions": {"Sec-WebSocket-Version": "8, 13"}, "protocol": {"Sec-WebSocket-Protocol": "nats"},
    "deflate_unwanted": {"Sec-WebSocket-Extensions": "permessage-deflate"}, "origin": {"Origin": "http://any.example"},
}  # fmt: skip


def asked(headers: dict[str, Any]) -> Callable[[TlsTarget, Pki], list[str]]:
    return lambda target, pki: WsPeer(target).ask(request(**headers)).record


def deflate__both_ways(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open(Sec_WebSocket_Extensions="foo, permessage-deflate; client_max_window_bits")
    peer.until_pong(frame(deflated(CONNECT + b"SUB a 1\r\n"), bits=12))
    packed = deflated(b"PUB a 9000\r\n" + b"z" * 9000 + b"\r\n")
    peer.until_pong(frame(packed[:10], bits=4) + frame(b"p", PING) + frame(packed[10:], CONTINUATION))
    peer.until_pong(frame(b"PUB a 2\r\nhi\r\n"))
    return [*peer.record, str(len(peer.record[-2]))]


def deflate__too_large_when_inflated(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open(Sec_WebSocket_Extensions="permessage-deflate")
    peer.until_pong(frame(CONNECT))
    peer.send(frame(deflated(b"PUB a 30000\r\n" + b"z" * 30000 + b"\r\n"), bits=12))
    return peer.until_end().record


def deflate__no_deflate(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target).open(Sec_WebSocket_Extensions="permessage-deflate")
    peer.until_pong(frame(CONNECT))
    peer.send(frame(b"\xff\xff\xff\xff", bits=12))
    return peer.until_end().record


def browser__small_frames(target: TlsTarget, pki: Pki) -> list[str]:
    """No frame above 4 KiB; of a compressed message several make one. How they are cut is not the same."""
    lines = []
    for agent in ("Mozilla/5.0 Chrome/1", "Mozilla/5.0 Version/1 Safari/1"):
        for extension in (None, "permessage-deflate"):
            peer = WsPeer(target).open(User_Agent=agent, Sec_WebSocket_Extensions=extension)
            body = os.urandom(15_000).hex().encode()
            peer.send(frame(CONNECT + b"SUB a 1\r\nPUB a 30000\r\n" + body + b"\r\nPING\r\n"))
            data, packed, sizes = b"", b"", []
            while not data.endswith(b"PONG\r\n"):
                each = peer.frames(1)[0]
                sizes.append(len(each.payload))
                if each.bits & 4 or packed:
                    packed += each.payload
                    if each.bits & 8:
                        data += zlib.decompressobj(-15).decompress(packed + b"\x00\x00\xff\xff")
                        packed = b""
                else:
                    data += each.payload
            lines += [str(data == b"MSG a 1 30000\r\n" + body + b"\r\nPONG\r\n"), str(max(sizes) <= 4096)]
    return lines


def origins__some(target: TlsTarget, pki: Pki) -> list[str]:
    lines = []
    for origin in ("http://good.example", "http://good.example:80", "https://good.example", "https://OTHER.example:8080",
                   "http://bad.example", "null", "good.example", "http://good.example/path"):  # fmt: skip
        lines += WsPeer(target).ask(request(Origin=origin)).record[:1]
    return lines + WsPeer(target).ask(request()).record


def same__origin(target: TlsTarget, pki: Pki) -> list[str]:
    lines = []
    hosts = ("http://localhost:99", "http://LOCALHOST:99", "https://localhost:99", "http://localhost", "http://x:99")
    for origin in hosts:
        lines += WsPeer(target).ask(request(Origin=origin, Host="localhost:99")).record[:1]
    return lines + WsPeer(target).ask(request(Origin="http://localhost", Host="localhost")).record


def secure__messages(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target, pki.context()).open()
    peer.until_pong(frame(CONNECT + b"SUB a 1\r\nPUB a 2\r\nhi\r\n"))
    body = b"y" * 300_000
    peer.until_pong(frame(b"PUB a %d\r\n%s\r\n" % (len(body), body)))
    peer.record[-1] = str(len(peer.record[-1]))
    page = hidden(target.page("/varz")["websocket"])
    return [*peer.row().record, json.dumps(page)]


def secure__in_the_clear(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target)
    peer.send(request())
    peer.receive()
    return [str(b"101" in peer.buffer)]


def verify__mapped(target: TlsTarget, pki: Pki) -> list[str]:
    peer = WsPeer(target, pki.context(pki.client("mapped"))).open()
    lines = peer.until_pong(frame(CONNECT)).row().record
    other = WsPeer(target, pki.context(pki.client("nobody"))).open()
    other.send(frame(CONNECT + b"PING\r\n"))
    return [*lines, *other.until_end().record]


def signed_in(target: TlsTarget, headers: dict[str, str], **fields: str) -> list[str]:
    peer = WsPeer(target).open(**headers)
    peer.send(frame(b"CONNECT %s\r\nPING\r\n" % json.dumps({"verbose": False, **fields}).encode()))
    each = peer.frames(1)[0]
    peer.note(repr(each.payload))
    return peer.row().record if each.payload == b"PONG\r\n" else peer.until_end().record


def users__cookies_and_types(target: TlsTarget, pki: Pki) -> list[str]:
    lines: list[str] = []
    for cookie in ("u=a; p=b", "u=a; p=wrong", "x=1; u=c;p=d", 'u="a"; p="b"', "u=e; p=f", "none"):
        lines += signed_in(target, {"Cookie": cookie})
    lines += signed_in(target, {"Cookie": "u=a; p=wrong"}, **{"pass": "b"})
    return lines + signed_in(target, {}, user="a", **{"pass": "b"})


def guest__comes_in(target: TlsTarget, pki: Pki) -> list[str]:
    lines = signed_in(target, {}) + signed_in(target, {}, user="a", **{"pass": "b"}) + signed_in(target, {}, user="x")
    return lines + WsPeer(target).open().until_pong(frame(b"PUB a 0\r\n\r\n")).row().record


def own__user(target: TlsTarget, pki: Pki) -> list[str]:
    lines = signed_in(target, {}, user="w", **{"pass": "x"}) + signed_in(target, {}, user="w") + signed_in(target, {})
    return lines + WsPeer(target).open().until_end().record


def token__cookie(target: TlsTarget, pki: Pki) -> list[str]:
    return signed_in(target, {"Cookie": "t=secret"}) + signed_in(target, {"Cookie": "t=other"})


def operator__cookies(target: TlsTarget, pki: Pki) -> list[str]:
    lines: list[str] = []
    for token in TOKENS.values():
        lines += signed_in(target, {"Cookie": f"j={token}"}) + signed_in(target, {}, jwt=token)
    lines += signed_in(target, {"Cookie": "j=x"}) + signed_in(target, {"Cookie": "j=x"}, jwt=TOKENS["bearer"])
    return [re.sub(r'"nonce":"[^"]*"', '"nonce":""', OPERATED.names.named(line)) for line in lines]


def small__limits(target: TlsTarget, pki: Pki) -> list[str]:
    lines = []
    for bad in (frame(b"PUB a 2000\r\n"), frame(b"SUB " + b"a" * 200 + b" 1\r\n")):
        peer = WsPeer(target).open().until_pong(frame(CONNECT))
        peer.send(bad)
        lines += peer.until_end().record
    inside = [WsPeer(target).open().until_pong(frame(CONNECT)) for _ in range(3)]
    return [*lines, *WsPeer(target).open().until_end().record, str(len(inside))]


def hidden(page: Any) -> Any:
    return {**page, "port": "<port>"}


SCENARIOS: dict[str, Callable[[TlsTarget, Pki], list[str]]] = {
    **{name: function for name, function in list(globals().items()) if "__" in name[1:-2] and callable(function)},
    **{f"open__bad_{name}": ended(what) for name, what in BAD.items()},
    **{f"open__refused_{name}": asked(headers) for name, headers in REFUSED.items()},
    **{f"open__accepted_{name}": asked(headers) for name, headers in ACCEPTED.items()},
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def servers(pki: Pki) -> Iterator[Callable[[str], list[TlsTarget]]]:
    yield from started(CONFIGS, TlsTarget, pki)


@pytest.mark.parametrize("name", SCENARIOS)
def test_same(name: str, servers: Callable[[str], list[TlsTarget]], pki: Pki) -> None:
    reference, other = (SCENARIOS[name](target, pki) for target in servers(name.partition("__")[0]))
    diff = list(difflib.unified_diff(reference, other, REFERENCE, MILLPOND, lineterm="", n=9))
    assert not diff, "\n" + "\n".join(diff)
