"""TLS in front of the monitoring pages. It does not need asyncio's own TLS, which `millpond serve` leaves out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any

from millpond.base import limits
from millpond.config import tls_context
from millpond.config.tls import TlsOptions
from millpond.transport.tls_errors import explained

log = logging.getLogger("millpond")

READ_BYTES = 65536


def context(options: TlsOptions) -> ssl.SSLContext:
    """For pages nobody is asked for a certificate. Raises OptionError."""
    made = tls_context.server_context(options)
    made.verify_mode = ssl.CERT_NONE
    return made


class TlsFront(asyncio.Protocol):
    """One peer: shakes hands within HTTP_READ_HEAD_S, then passes bytes between it and `inner`."""

    def __init__(self, made: ssl.SSLContext, inner: asyncio.Protocol, fronts: set[TlsFront]) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = made.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._inner = inner
        self._fronts = fronts
        self._shaken = False
        self._came = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._fronts) >= limits.HTTP_CONNECTIONS_MAX:
            transport.abort()
            return
        self._fronts.add(self)
        self._timer = asyncio.get_running_loop().call_later(limits.HTTP_READ_HEAD_S, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._fronts.discard(self)
        self._end_deadline()
        if self._shaken:
            self._inner.connection_lost(error)

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if not self._shaken and not self._shake(len(data)):
            return
        plain = bytearray()
        try:
            while piece := self._ssl.read(READ_BYTES):
                plain += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._pass_on(plain)
            self._inner.eof_received()
            return
        except ssl.SSLError:
            self.abort()
            return
        self._pass_on(plain)

    def _pass_on(self, plain: bytearray) -> None:
        if plain:
            self._inner.data_received(bytes(plain))

    def _shake(self, size: int) -> bool:
        self._came += size
        try:
            if self._came > limits.TLS_HANDSHAKE_BYTES_MAX:
                raise ssl.SSLError(1, "the handshake is too long")
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._tell()
            return False
        except ssl.SSLError as error:
            self._tell()
            log.error("monitoring: TLS handshake error: %s", explained(error))
            self._transport.close()
            return False
        self._tell()
        self._end_deadline()
        self._shaken = True
        self._inner.connection_made(TlsTransport(self._transport, self.send, self.close))
        return True

    def _end_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        said = self._outgoing.read()
        if said:
            self._transport.write(said)

    def send(self, data: bytes) -> None:
        """Plain bytes of `inner`."""
        self._ssl.write(data)
        self._tell()

    def close(self) -> None:
        """When everything has left, with a last word."""
        with contextlib.suppress(ssl.SSLError, ValueError):  # it waits for the peer's
            self._ssl.unwrap()
        self._tell()
        self._transport.close()

    def eof_received(self) -> bool:
        return bool(self._inner.eof_received()) if self._shaken else False

    def pause_writing(self) -> None:
        if self._shaken:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._shaken:
            self._inner.resume_writing()


class TlsTransport(asyncio.Transport):
    """What `inner` sees."""

    def __init__(
        self, below: asyncio.Transport, send: Callable[[bytes], None], close: Callable[[], None]
    ) -> None:
        super().__init__()
        self._below, self._send, self._close = below, send, close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def write(self, data: Any) -> None:
        self._send(bytes(data))

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def close(self) -> None:
        self._close()

    def abort(self) -> None:
        self._below.abort()
