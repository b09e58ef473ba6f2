"""Lines of the protocol trace, as nats-server writes them: `127.0.0.1:5000 - cid:5 - <<- [PUB a 5]` (reference 08.3).

Secrets in a CONNECT are replaced; payloads are quoted, and cut at `max_traced_msg_len`.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from millpond.config.options import Options
from millpond.wire.quote import quote

log = logging.getLogger("millpond")

TRACE: Final = 5
"""The log's level."""
SECRETS: Final = (
    re.compile(rb'"?\s*(?:auth_token\S*?|pass\S*?)"?\s*[:=]\s*"?([^",\r\n}]*)'),
    re.compile(rb'(?:^|[^A-Za-z0-9_])"?\s*(?:proxy_sig|nkey|sig)"?\s*[:=]\s*"?([^",\r\n}]*)'),
)
"""What follows such a name is a secret, in nats-server's judgement."""
NO_RESPONDERS: Final = b"NATS/1.0 503\r\nNats-Subject: "


class TraceLines:
    """Of one connection. `label` is what its lines begin with."""

    def __init__(self, label: str, options: Options) -> None:
        self.label = label
        self._payload_max = options.max_traced_msg_len
        self._headers_only = options.trace_headers

    def _write(self, text: str) -> None:
        log.log(TRACE, "%s - %s", self.label, text)

    def incoming(self, verb: str, argument: bytes, payload: bytes, header_bytes: int) -> None:
        """A frame: what follows the verb in its line, and what follows the line."""
        argument = argument.removesuffix(b"\r").lstrip(b" \t")
        if verb == "CONNECT":
            argument = redacted(argument)
        self._write(f"<<- [{verb}]" if verb in ("PING", "PONG") else f"<<- [{verb} {_text(argument)}]")
        self._payload("<<-", payload, header_bytes)

    def outgoing(self, frames: bytes) -> None:
        """Whole frames that wait in the outbox."""
        at = 0
        while at < len(frames):
            end = frames.index(b"\r\n", at)
            line, at = frames[at:end], end + 2
            if not line.startswith((b"MSG ", b"HMSG ")):
                self._control(line)
                continue
            words = line.rsplit(b" ", 2)
            size, header_bytes = int(words[-1]), int(words[-2]) if line.startswith(b"H") else 0
            payload, at = frames[at : at + size], at + size + 2
            if not payload.startswith(NO_RESPONDERS) or size != header_bytes:  # that is no message to nats-server
                self._write(f"->> [{_text(line)}]")
                self._payload("->>", payload, header_bytes)

    def _control(self, line: bytes) -> None:
        if line == b"+OK":
            self._write("->> [OK]")
        elif line.startswith(b"-ERR "):
            self._write(f"->> [-ERR {_text(line[6:-1])}]")
        elif line in (b"PING", b"PONG"):
            self._write(f"->> [{line.decode()}]")

    def dropped(self, sid: bytes) -> None:
        """A subscription has ended."""
        self._write(f"<-> [DELSUB {_text(sid)}]")

    def _payload(self, arrow: str, payload: bytes, header_bytes: int) -> None:
        if self._headers_only:
            payload = payload[: max(0, header_bytes - 4)]
        if not payload:
            return
        if 0 < self._payload_max < len(payload):
            self._write(f'{arrow} MSG_PAYLOAD: ["{quote(payload[: self._payload_max])[1:-1]}..."]')
        else:
            self._write(f"{arrow} MSG_PAYLOAD: [{quote(payload)}]")


def redacted(connect: bytes) -> bytes:
    """The argument of a CONNECT without its secrets."""
    for pattern in SECRETS:
        for match in reversed(list(pattern.finditer(connect))):
            connect = connect[: match.start(1)] + b"[REDACTED]" + connect[match.end(1) :]
    return connect


def label(address: str, connect_names: str, identity: str) -> str:
    """`address`, and behind it what a CONNECT said and who it was, if that is known."""
    return " - ".join([address, *(quote(part.encode()) for part in (connect_names, identity) if part)])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
