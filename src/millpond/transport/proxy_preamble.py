"""The header of the PROXY protocol, versions 1 and 2: what a load balancer tells of the client behind it.

    version 1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 4222\\r\\n            107 bytes at most, with its end
    version 2   signature (12) | version, command (1) | family, protocol (1) | length (2) | addresses | anything else

It is read from the socket to its last byte, and nothing behind it: what follows is the client's, a handshake perhaps.
Source: https://www.haproxy.org/download/3.3/doc/proxy-protocol.txt
"""

from __future__ import annotations

import ipaddress
import re
import select
import socket
from typing import Final

import msgspec

LINE: Final = b"PROXY "
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIRST_BYTES: Final = 6
"""They tell which of both it is, or that it is none."""
LINE_BYTES_MAX: Final = 107
HEAD_BYTES: Final = 16
SKIPPED_AT_ONCE: Final = 4096
ADDRESS_BYTES: Final = {0x10: 4, 0x20: 16}
"""Of one address, by family."""
LOCAL: Final = 0x20
PROXY: Final = 0x21
UNSPECIFIED: Final = 0x00
STREAM: Final = 0x01
NUMBER: Final = re.compile(rb"[0-9]{1,9}")
PORT_MAX: Final = 65_535


class PreambleError(ValueError):
    """The text says what is wrong with it."""


class Introduction(msgspec.Struct, frozen=True):
    """Where the client is; "": where the connection comes from, as there was no header, or one that says so."""

    ip: str = ""
    port: int = 0


class Preamble:
    """Of one socket, which does not block."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._head = b""
        self._version = 0
        self._skip = -1
        """Bytes of version 2 that are still to be read and mean nothing; -1: its length is not known."""
        self._found = Introduction()
        self.is_short = False
        """There are bytes, but too few to say what they are; the socket goes on to be readable."""

    def look(self) -> Introduction | None:
        """None: more has to come. Raises PreambleError; OSError."""
        try:
            if not self._version and not self._recognise():
                return None if self.is_short else self._found
            return self._line() if self._version == 1 else self._block()
        except BlockingIOError:
            return None

    def _recognise(self) -> bool:
        first = self._sock.recv(FIRST_BYTES, socket.MSG_PEEK)
        if not first:
            raise PreambleError("EOF")
        start = LINE if first[:1] == LINE[:1] else SIGNATURE
        may_be = start.startswith(first)
        self.is_short = may_be and len(first) < FIRST_BYTES
        if self.is_short and self._is_over():
            raise PreambleError("unexpected EOF")
        if may_be and not self.is_short:
            self._version = 1 if start is LINE else 2
        return bool(self._version)

    def _is_over(self) -> bool:
        """Will nothing more come? Where the kernel cannot say so, its deadline does."""
        poll = select.poll()
        poll.register(self._sock, getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))

    def _take(self, size: int) -> bytes:
        found = self._sock.recv(size)
        if not found:
            raise PreambleError("EOF")
        return found

    # --- version 1 ---

    def _line(self) -> Introduction:
        while True:
            more = self._sock.recv(LINE_BYTES_MAX - len(self._head), socket.MSG_PEEK)
            if not more:
                raise PreambleError("EOF")
            known = len(self._head)
            self._head += more
            end = self._head.find(b"\r\n")
            self._take(len(more) if end < 0 else end + 2 - known)
            if end >= 0:
                return _introduction(self._head[len(LINE) : end])
            if len(self._head) >= LINE_BYTES_MAX:
                raise PreambleError("the line is too long")

    # --- version 2 ---

    def _block(self) -> Introduction:
        while len(self._head) < HEAD_BYTES:
            self._head += self._take(HEAD_BYTES - len(self._head))
        if self._skip < 0:
            self._address()
        while self._skip:
            self._skip -= len(self._take(min(self._skip, SKIPPED_AT_ONCE)))
        return self._found

    def _address(self) -> None:
        if not self._head.startswith(SIGNATURE):
            raise PreambleError("the signature is wrong")
        command, kind = self._head[12], self._head[13]
        length = int.from_bytes(self._head[14:HEAD_BYTES])
        if command & 0xF0 != LOCAL:
            raise PreambleError(f"the version is wrong: 0x{command & 0xF0:02x}")
        if command not in (LOCAL, PROXY):
            raise PreambleError(f"the command is unknown: 0x{command & 0x0F:02x}")
        if command == PROXY and kind & 0x0F != STREAM:
            raise PreambleError("it is not about a stream")
        family = kind & 0xF0
        if command == LOCAL or family == UNSPECIFIED:
            self._skip = length
            return
        if family not in ADDRESS_BYTES:
            raise PreambleError(f"the family of addresses is unknown: 0x{family:02x}")
        size = ADDRESS_BYTES[family]
        wanted = 2 * size + 4
        if length < wanted:
            raise PreambleError(f"the addresses are too short: {length} bytes")
        while len(self._head) < HEAD_BYTES + wanted:
            self._head += self._take(HEAD_BYTES + wanted - len(self._head))
        addresses = self._head[HEAD_BYTES:]
        port = int.from_bytes(addresses[2 * size : 2 * size + 2])
        self._found = Introduction(_shown(ipaddress.ip_address(addresses[:size])), port)
        self._skip = length - wanted


def _introduction(line: bytes) -> Introduction:
    """What version 1 says behind its first word."""
    words = line.split()
    if words[:1] == [b"UNKNOWN"]:
        return Introduction()
    if len(words) != 5 or words[0] not in (b"TCP4", b"TCP6"):
        raise PreambleError("it names no protocol that is known, two addresses and two ports")
    source, target = _address(words[1]), _address(words[2])
    if any((b":" in word) != (words[0] == b"TCP6") for word in words[1:3]):
        raise PreambleError("the addresses are of another kind than it says")
    ports = [int(word) if NUMBER.fullmatch(word) else PORT_MAX + 1 for word in words[3:]]
    if max(ports) > PORT_MAX:
        raise PreambleError("a port is wrong")
    assert target, "it has been read"
    return Introduction(source, ports[0])


def _address(word: bytes) -> str:
    try:
        if b"%" in word:
            raise ValueError("a zone")
        return _shown(ipaddress.ip_address(word.decode("ascii")))
    except ValueError:
        raise PreambleError("an address is wrong") from None


def _shown(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
