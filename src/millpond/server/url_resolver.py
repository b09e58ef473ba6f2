"""Claims of accounts from a web server (reference 02.1, SEC-07): `GET <url><account>` answers with the token."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit

from millpond.accounts.book import AccountError
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config import tls_context
from millpond.config.operator import ResolverOptions
from millpond.config.tls import TlsClientOptions
from millpond.server import web

REDIRECTS: Final = (301, 302, 303, 307, 308)
REDIRECTS_MAX: Final = 10


class UrlResolver:
    """One connection for each account; what has credentials in its URL is named without them."""

    manages = False

    def __init__(self, options: ResolverOptions, tls: TlsClientOptions | None = None) -> None:
        self._url = options.url
        self._tls = tls
        self._timeout_s = options.timeout_ns / 1e9
        self._context: ssl.SSLContext | None = None

    def use_tls(self, tls: TlsClientOptions | None) -> None:
        """For connections from here on; what is under way stays as it is."""
        self._tls, self._context = tls, None

    async def check(self) -> None:
        """The URL itself has to be there."""
        await self.fetch("")

    async def fetch(self, name: str) -> str:
        """Raises AccountError."""
        shown = _without_credentials(self._url + name)
        try:
            status, body = await asyncio.wait_for(self._get(name), self._timeout_s)
        except TimeoutError:
            raise AccountError(f'could not fetch <"{shown}">: time out') from None
        except (*web.PROBLEMS, OptionError) as error:
            raise AccountError(f'could not fetch <"{shown}">: {error}') from None
        if status != HTTPStatus.OK:
            phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
            raise AccountError(f'could not fetch <"{shown}">: {status} {phrase}'.rstrip())
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise AccountError(f'could not fetch <"{shown}">: this is no token') from None

    async def store(self, name: str, token: str) -> None:
        """Nothing is kept."""
        self.check_preload(name, token)

    def check_preload(self, name: str, token: str) -> None:
        """Nothing can be."""
        raise AccountError("resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR")

    async def _get(self, name: str) -> tuple[int, bytes]:
        """Also from where the server says that it is. Credentials go where the URL itself is, as with Go's client."""
        url, referer = self._url + name, ""
        for _ in range(REDIRECTS_MAX):
            context = self._tls_context() if url.startswith("https:") else None
            status, body, location = await web.get(url, context, limits.JWT_BYTES_MAX, referer)
            if status not in REDIRECTS or not location:
                return status, body
            referer, url = _without_credentials(url), urljoin(url, location)
        raise ValueError(f"stopped after {REDIRECTS_MAX} redirects")

    def _tls_context(self) -> ssl.SSLContext:
        """Its files, or the machine's authorities, are read once, and again after a reload."""
        if self._context is None:
            if self._tls is None:
                self._context = ssl.create_default_context()
            else:
                self._context = tls_context.client_context(self._tls)
        return self._context


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
