"""Set-up of a measurement over the JetStream API: one plain blocking connection, one request at a time."""

from __future__ import annotations

import json
import secrets
import socket
from typing import Any, Final

from millpond.bench.process import ServerError
from millpond.bench.secure import context

TIMEOUT_S: Final = 20.0


class Control:
    """Raises ServerError for a refusal, OSError when the server does not answer."""

    def __init__(self, host: str, port: int, tls: bool = False) -> None:
        self._sock = socket.create_connection((host, port), TIMEOUT_S)
        with self._sock.makefile("rb", buffering=0) as in_the_clear:
            in_the_clear.readline()
        if tls:
            self._sock = context().wrap_socket(self._sock)
        self._lines = self._sock.makefile("rb")
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._asked = 0
        options = '{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1,"name":"control"}'
        self._sock.sendall(f"CONNECT {options}\r\nSUB {self._inbox}.* 1\r\n".encode())

    def request(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request to $JS.API."""
        self._asked += 1
        data = json.dumps(body).encode()
        head = f"PUB $JS.API.{subject} {self._inbox}.{self._asked} {len(data)}\r\n"
        self._sock.sendall(head.encode() + data + b"\r\n")
        answer: dict[str, Any] = json.loads(self._answer(subject))
        if "error" in answer:
            raise ServerError(f"{subject} was refused: {answer['error'].get('description')}")
        return answer

    def _answer(self, subject: str) -> bytes:
        while True:
            line = self._lines.readline()
            if not line:
                raise ServerError(f"the server closed the connection while {subject} was asked")
            words = line.split()
            if line == b"PING\r\n":
                self._sock.sendall(b"PONG\r\n")
            elif words[0] in (b"MSG", b"HMSG"):
                payload = self._lines.read(int(words[-1]) + 2)[:-2]
                if words[0] == b"HMSG":
                    raise ServerError(f"nobody answers {subject}; start the server with JetStream (-js)")
                if words[1].endswith(f".{self._asked}".encode()):
                    return payload
            elif words[0] == b"-ERR":
                raise ServerError(f"the server says {line.decode().strip()}")

    def close(self) -> None:
        self._lines.close()
        self._sock.close()
