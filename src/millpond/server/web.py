"""One request to a web server, by the loop: nobody waits for it but who asks."""

from __future__ import annotations

import asyncio
import binascii
import ssl
from typing import Final
from urllib.parse import unquote, urlsplit

import h11

from millpond.accounts.claims_rules import quoted

READ_BYTES: Final = 65_536
PROBLEMS: Final = (OSError, h11.ProtocolError, ValueError)
"""What may come of it."""


async def get(url: str, context: ssl.SSLContext | None, bytes_max: int, referer: str = "") -> tuple[int, bytes, str]:
    """(status, body, where it is instead). context: for https. Raises one of PROBLEMS. Has no deadline of its own."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"unsupported protocol scheme {quoted(parts.scheme)}")
    secure = context if parts.scheme == "https" else None
    port = parts.port or (443 if secure is not None else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = h11.Connection(h11.CLIENT)
        headers = [("Host", parts.netloc.rpartition("@")[2]), ("Accept", "*/*"), ("Connection", "close")]
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers.append(("Authorization", f"Basic {binascii.b2a_base64(secret, newline=False).decode()}"))
        if referer:
            headers.append(("Referer", referer))
        writer.write(connection.send(h11.Request(method="GET", target=path, headers=headers)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        return await _answer(connection, reader, bytes_max)
    finally:
        writer.close()


async def _answer(
    connection: h11.Connection, reader: asyncio.StreamReader, bytes_max: int
) -> tuple[int, bytes, str]:
    status, body, location = 0, bytearray(), ""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response):
            status = event.status_code
            location = next((value.decode("latin-1") for key, value in event.headers if key == b"location"), "")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > bytes_max:
                raise ValueError("the answer is too long")
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return status, bytes(body), location
