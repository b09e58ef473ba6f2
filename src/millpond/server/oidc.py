"""Keeps the keys of an OpenID Connect issuer (OpenID Connect Discovery 1.0, section 4).

    <issuer>/.well-known/openid-configuration  ->  jwks_uri  ->  the keys

They are fetched at the start, once an hour, and when a token's key is not among them, but then not twice within
`OIDC_PAUSE_S`: who makes up names of keys makes nobody busy. Where it fails the keys stay as they are.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from millpond.accounts.oidc import Issuer
from millpond.base import limits
from millpond.config.tls import TlsClientOptions
from millpond.config.tls_context import client_context
from millpond.server import web
from millpond.server.logs import log

DISCOVERY: Final = "/.well-known/openid-configuration"


class IssuerKeys:
    """Of a running server; begins to fetch at once. Raises OptionError for a ca_file that cannot be used."""

    def __init__(self, issuer: Issuer, loop: asyncio.AbstractEventLoop) -> None:
        self._issuer = issuer
        self._asked = asyncio.Event()
        if issuer.options.ca_file:
            client_context(TlsClientOptions(ca_file=issuer.options.ca_file))
        issuer.ask = self._asked.set
        self._task = loop.create_task(self._keep())

    def close(self) -> None:
        """No more fetching; who waits is judged by what is known."""
        self._issuer.ask = None
        self._task.cancel()
        self._issuer.fetched()

    async def _keep(self) -> None:
        failed = False
        while True:
            self._asked.clear()
            try:
                count = await asyncio.wait_for(self._fetch(), limits.OIDC_FETCH_S)
                log.debug("%d keys of the issuer %s", count, self._issuer.options.issuer)
                failed = False
            except Exception as error:  # whatever it is: who waits gets an answer, and it is tried again
                why = "time out" if isinstance(error, TimeoutError) else error
                log.error("The keys of the issuer %s cannot be fetched: %s", self._issuer.options.issuer, why)
                failed = True
            self._issuer.fetched()
            await asyncio.sleep(limits.OIDC_PAUSE_S)
            await self._wait(limits.OIDC_RETRY_S if failed else limits.OIDC_REFRESH_S)

    async def _wait(self, longest_s: float) -> None:
        """Until somebody asks for keys, or it is time."""
        try:
            await asyncio.wait_for(self._asked.wait(), longest_s)
        except TimeoutError:
            return

    async def _fetch(self) -> int:
        # The authorities are read anew each time, by a thread: it takes a while.
        options = self._issuer.options
        context = await asyncio.to_thread(client_context, TlsClientOptions(ca_file=options.ca_file))
        text = await self._get(options.issuer.rstrip("/") + DISCOVERY, context)
        try:
            found = msgspec.json.decode(text)
        except msgspec.MsgspecError:
            raise ValueError("its description is no JSON") from None
        place: Any = found.get("jwks_uri") if isinstance(found, dict) else None
        if not isinstance(place, str) or not place.startswith("https://"):
            raise ValueError("it does not say where its keys are, or not by https")
        if found.get("issuer") != options.issuer:
            raise ValueError("it calls itself by another name")
        return self._issuer.take(await self._get(place, context))

    @staticmethod
    async def _get(url: str, context: Any) -> bytes:
        status, body, _location = await web.get(url, context, limits.OIDC_DOCUMENT_BYTES_MAX)
        if status != 200:
            raise ValueError(f"{url} answers {status}")
        return body
