"""Servers with a `tls` block, and clients that record what they see of a handshake and behind it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.certificates import Authority, Pair, client_context

from .raw import show_info
from .target import MILLPOND, READY_SECONDS, REFERENCE, Target, why_missing

AnyTarget = TypeVar("AnyTarget", bound="TlsTarget")
WAIT_SECONDS = 10.0
PREFIX = re.compile(r"^.*?\[(\w+)\] (?:\S+ - cid:\d+ - )?")
CLOSE_ENDS = (ConnectionResetError, BrokenPipeError)


class Pki:
    """All certificates of one run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.authority = Authority(folder)
        self.stranger = Authority(folder, "stranger")
        self.server = self.authority.server()
        self.clients: dict[str, Pair] = {}

    def client(self, name: str, **settings: Any) -> Pair:
        """Made once."""
        if name not in self.clients:
            self.clients[name] = self.authority.client(name, **settings)
        return self.clients[name]

    def block(self, more: str = "") -> str:
        """A tls block."""
        files = f'cert_file: "{self.server.cert_file}", key_file: "{self.server.key_file}"'
        return f'tls {{ {files}, ca_file: "{self.authority.ca_file}", {more} }}\n'

    def context(self, pair: Pair | None = None, **settings: object) -> ssl.SSLContext:
        return client_context(self.authority.ca_file, pair, **settings)


class TlsTarget(Target):
    """A server with a configuration file, and the last words of its log."""

    def __init__(self, kind: str, config: str) -> None:
        super().__init__(kind, jetstream=False)
        self.config = self.root / "tls.conf"
        self.config.write_text(config)
        self.flags = ("-c", str(self.config), "-D")

    def page(self, path: str) -> Any:
        return json.loads(self.http(path)[1])

    def closed(self, cid: int) -> str:
        """The reason of a close; waits until the server knows it."""
        return str(self._closed_row(cid)["reason"])

    def _closed_row(self, cid: int) -> Any:
        for _ in range(int(READY_SECONDS * 500)):
            rows = self.page(f"/connz?state=closed&cid={cid}")["connections"]
            if rows:
                return rows[0]
            time.sleep(0.002)
        raise TimeoutError(f"connection {cid} is not closed")

    def newest_cid(self) -> int:
        """Of the connection that came last; it said nothing that would tell."""
        rows = self.page("/connz?state=any&limit=5000")["connections"]
        return max(int(row["cid"]) for row in rows)

    def said(self, cid: int) -> list[str]:
        """Levels and texts about TLS in the log of one connection."""
        lines = [line for line in self.log().splitlines() if f" - cid:{cid} - " in line and "TLS handshake" in line]
        return [PREFIX.sub(r"\1 ", line) for line in lines]


class Peer:
    """A client. `record` has one line for everything it saw."""

    def __init__(self, target: TlsTarget) -> None:
        self.target = target
        self.record: list[str] = []
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", target.port), WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cid = 0
        self.buffer = b""

    def note(self, text: str) -> None:
        self.record.append(text)

    def info(self) -> Peer:
        """Reads INFO."""
        line = self.line()
        self.note(show_info(line))
        self.cid = int(json.loads(line[5:])["client_id"])
        return self

    def secure(self, context: ssl.SSLContext) -> bool:
        """The handshake; True: it was done."""
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        except (OSError, ssl.SSLError) as error:
            self.note(f"handshake: {type(error).__name__}")
            return False
        assert isinstance(self.socket, ssl.SSLSocket)
        self.note(f"handshake: {self.socket.version()}")
        return True

    def line(self) -> bytes:
        while b"\n" not in self.buffer:
            data = self.receive()
            if not data:
                break
            self.buffer += data
        line, self.buffer = self.buffer[: self.buffer.find(b"\n") + 1], self.buffer[self.buffer.find(b"\n") + 1 :]
        return line

    def body(self, line: bytes) -> bytes:
        """Headers and body behind this line of a message, of which the sizes are the last words."""
        size = int(line.split()[-1])
        while len(self.buffer) < size + 2:
            data = self.receive()
            assert data, "the server hung up"
            self.buffer += data
        found, self.buffer = self.buffer[:size], self.buffer[size + 2 :]
        return found

    def receive(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except TimeoutError as error:
            raise AssertionError(f"{self.target.kind} is silent; before: {self.record[-3:]}") from error
        except CLOSE_ENDS:
            return b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(*CLOSE_ENDS):
            self.socket.sendall(data)

    def connect(self, **fields: Any) -> Peer:
        """CONNECT and PING, up to the PONG or the end."""
        options = {"verbose": False, "pedantic": False, "protocol": 0, "lang": "test", **fields}
        self.send(b"CONNECT %s\r\nPING\r\n" % json.dumps(options).encode())
        while line := self.line():
            self.note(repr(line))
            if line == b"PONG\r\n":
                return self
        self.note("the end")
        return self

    def until_end(self) -> Peer:
        """Everything up to the end, and why it came."""
        data = self.buffer
        try:
            while more := self.receive():
                data += more
            self.note(f"{data!r}, the end")
        except ssl.SSLError as error:
            self.note(f"{data!r}, {error.reason}")
        if self.cid:
            self.note(self.target.closed(self.cid))
        return self

    def row(self) -> Peer:
        """What /connz says of this connection about TLS and users."""
        row = self.target.page(f"/connz?cid={self.cid}&auth=1")["connections"][0]
        shown = {name: value for name, value in row.items() if name.startswith("tls_") or name == "authorized_user"}
        if shown.get("tls_version") == "1.3":
            shown["tls_cipher_suite"] = "<any of TLS 1.3>"  # OpenSSL prefers another one
        self.note(json.dumps(shown))
        return self

    def close(self) -> None:
        self.socket.close()


def started(
    configs: dict[str, Callable[[Pki], str]], make: Callable[[str, str], AnyTarget], pki: Pki
) -> Iterator[Callable[[str], list[AnyTarget]]]:
    """Both servers with one of these configurations, by its name; each is started once."""
    if (reason := why_missing(REFERENCE) or why_missing(MILLPOND)) is not None:
        pytest.skip(reason)
    running: dict[str, list[AnyTarget]] = {}

    def get(name: str) -> list[AnyTarget]:
        if name not in running:
            config = configs[name](pki)
            running[name] = [make(kind, config) for kind in (REFERENCE, MILLPOND)]
            for target in running[name]:
                target.start()
        return running[name]

    yield get
    for pair in running.values():
        for target in pair:
            target.discard()
