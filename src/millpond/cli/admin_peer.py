"""A server at its admin socket, spoken to as a client speaks."""

from __future__ import annotations

import json
import socket
from typing import Final

from millpond.base.errors import MillpondError

ANSWER_S: Final = 10.0
"""How long an answer may take."""
CONNECT: Final = {
    "verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "millpond",
    "name": "millpond admin",
}  # fmt: skip


class AdminError(MillpondError):
    """The text says what is wrong and what to do."""


def connected(path: str) -> socket.socket:
    """Raises AdminError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_S)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise AdminError(f"cannot reach a server at {path}: {error.strerror or error}") from None
    return sock


class Peer:
    """A server, spoken to as a client speaks."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self._file = sock.makefile("rwb")
        line = self._line()
        if not line.startswith(b"INFO "):
            raise AdminError(f"what listens at {path} is no NATS server")
        self.server_id: str = json.loads(line[5:])["server_id"]
        self._file.write(b"CONNECT %s\r\n" % json.dumps(CONNECT).encode())

    def request(self, subject: str, body: bytes) -> tuple[bytes, bytes]:
        """(headers, body) of the first answer. Raises AdminError."""
        self._file.write(b"SUB _INBOX.admin 1\r\n")
        self._file.write(b"PUB %s _INBOX.admin %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        self._file.flush()
        while True:
            line = self._line()
            if line.startswith(b"-ERR"):
                raise AdminError(f"the server says {line.decode('utf-8', 'replace').strip()}")
            if line.startswith(b"PING"):
                self._file.write(b"PONG\r\n")
                self._file.flush()
            if line.startswith((b"MSG ", b"HMSG ")):
                words = line.split()
                head = int(words[-2]) if words[0] == b"HMSG" else 0
                data = self._file.read(int(words[-1]) + 2)
                return data[:head], data[head:-2]

    def _line(self) -> bytes:
        try:
            line = self._file.readline()
        except TimeoutError:
            raise AdminError(f"no answer within {ANSWER_S:g} s") from None
        if not line.endswith(b"\n"):
            raise AdminError("the server ended the connection: it lets in its own user and root, see its log")
        return line
