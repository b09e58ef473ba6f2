"""The upgrade of an HTTP request to WebSocket (RFC 6455, section 4), judged as nats-server does."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import h11
import msgspec

from millpond.accounts.origin import Cookies
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.base.http_date import http_date
from millpond.base.sha1 import sha1
from millpond.config.websocket import WebsocketOptions
from millpond.config.websocket_file import SCHEME_PORTS, origin_parts

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
REASONS: Final = {
    400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 413: "Request Entity Too Large",
    431: "Request Header Fields Too Large",
}  # fmt: skip
ELSEWHERE: Final = ("/leafnode", "/mqtt")
"""Ends of paths that are for others than clients."""
DEFLATE: Final = "permessage-deflate"
NO_CONTEXT: Final = "server_no_context_takeover; client_no_context_takeover"
DEFLATE_ANSWER: Final = f"Sec-WebSocket-Extensions: {DEFLATE}; {NO_CONTEXT}\r\n"
NO_MASKING_ANSWER: Final = "Nats-No-Masking: true\r\n"
KEY_BYTES: Final = 16


class Refused(Exception):
    """`str()` is for the log; `answer` goes to the peer, which is closed then."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"websocket handshake error: {why}")
        body = f"{REASONS[status]}\n"
        self.answer = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Sec-Websocket-Version: 13\r\nX-Content-Type-Options: nosniff\r\n"
            f"Date: {http_date(time.gmtime())}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        ).encode()


class Upgrade(msgspec.Struct, frozen=True):
    """An accepted one. `ip` is what a proxy said, "" when none did."""

    answer: bytes
    compress: bool
    masked: bool
    browser: bool
    whole: bool
    """A compressed message must be one frame."""
    ip: str
    cookies: Cookies | None


class Reader:
    """Takes bytes until a request is whole; holds HTTP_HEAD_BYTES_MAX."""

    def __init__(self, options: WebsocketOptions) -> None:
        self._options = options
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HTTP_HEAD_BYTES_MAX)

    def feed(self, data: bytes) -> Upgrade | None:
        """None: more bytes are needed. Raises Refused."""
        self._parser.receive_data(data)
        try:
            event = self._parser.next_event()
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            raise Refused(status if status in REASONS else 400, str(error)) from None
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.Request):
            raise Refused(400, "no request")
        upgrade = judged(event, self._options)
        if self._parser.trailing_data[0]:
            raise Refused(400, "client sent data before handshake is complete")
        return upgrade


def judged(request: h11.Request, options: WebsocketOptions) -> Upgrade:
    """Raises Refused."""
    headers = _Headers(request)
    path = request.target.decode("latin-1").partition("?")[0]
    if path.endswith(ELSEWHERE):
        raise Refused(404, f"{path.rpartition('/')[2]} websocket endpoint not enabled")
    if request.method != b"GET":
        raise Refused(405, "request method must be GET")
    if not headers.one("host"):
        raise Refused(400, "'Host' missing in request")
    if not headers.has("upgrade", "websocket"):
        raise Refused(400, "invalid value for header 'Upgrade'")
    if not headers.has("connection", "upgrade"):
        raise Refused(400, "invalid value for header 'Connection'")
    key = headers.one("sec-websocket-key")
    if not key:
        raise Refused(400, "key missing")
    if not _is_key(key):
        raise Refused(400, "invalid websocket key")
    if not headers.has("sec-websocket-version", "13"):
        raise Refused(400, "invalid version")
    why = _foreign(headers, options)
    if why:
        raise Refused(403, f"origin not allowed: {why}")
    return _accepted(headers, key, options)


def _accepted(headers: _Headers, key: str, options: WebsocketOptions) -> Upgrade:
    compress = options.compression and _offers_deflate(headers)
    masked = headers.one("nats-no-masking") != "true"
    agent = headers.one("user-agent")
    accept = base64.b64encode(sha1(key.encode("latin-1") + GUID)).decode()
    answer = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n"
        f"{DEFLATE_ANSWER if compress else ''}{'' if masked else NO_MASKING_ANSWER}"
        + "".join(f"{name}: {value}\r\n" for name, value in options.headers.items())
    )
    browser = agent.startswith("Mozilla/")
    return Upgrade(
        answer=f"{answer}\r\n".encode("utf-8", "surrogateescape"), compress=compress, masked=masked, browser=browser,
        whole=browser and "Version/" in agent and "Safari/" in agent,
        ip=_forwarded(headers.one("x-forwarded-for")), cookies=_cookies(headers, options),
    )  # fmt: skip


class _Headers:
    """Names are in lower case."""

    def __init__(self, request: h11.Request) -> None:
        self._rows = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]

    def all(self, name: str) -> Iterator[str]:
        return (value for key, value in self._rows if key == name)

    def one(self, name: str) -> str:
        return next(self.all(name), "")

    def words(self, name: str) -> Iterator[str]:
        """What stands between commas."""
        return (word.strip(" \t") for value in self.all(name) for word in value.split(","))

    def has(self, name: str, word: str) -> bool:
        return any(each.lower() == word for each in self.words(name))


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _offers_deflate(headers: _Headers) -> bool:
    offers = headers.words("sec-websocket-extensions")
    return any(part.strip(" \t").lower() == DEFLATE for offer in offers for part in offer.split(";"))


def _foreign(headers: _Headers, options: WebsocketOptions) -> str:
    """Why a page of this origin may not come in; "" when it may. Without an origin it is no page."""
    origin = headers.one("origin") or headers.one("sec-websocket-origin")
    if not origin or not (options.same_origin or options.allowed_origins):
        return ""
    try:
        scheme, host, port = origin_parts(origin)
    except OptionError:
        return f'"{origin}" is no origin'
    if options.same_origin:
        own_scheme = "http" if options.tls is None else "https"
        try:
            own = urlsplit(f"//{headers.one('host')}")
            own_port = str(own.port) if own.port is not None else SCHEME_PORTS[own_scheme]
        except ValueError as error:
            return str(error)
        if (scheme, host, port) != (own_scheme, own.hostname, own_port):
            return "not same origin"
    if options.allowed_origins and (scheme, host, port) not in map(origin_parts, options.allowed_origins):
        return "not in the allowed list"
    return ""


def _forwarded(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) and text
    except ValueError:
        return ""


def _cookies(headers: _Headers, options: WebsocketOptions) -> Cookies | None:
    """Of a name that is given twice the last one counts."""
    wanted = {
        options.user_cookie: "user", options.pass_cookie: "password", options.token_cookie: "token",
        options.jwt_cookie: "jwt",
    }  # fmt: skip
    found = {}
    for line in headers.all("cookie"):
        for part in line.split(";"):
            name, equals, value = part.strip(" \t").partition("=")
            if equals and name and name in wanted:
                found[wanted[name]] = _unquoted(value)
    return Cookies(**found) if found else None


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
