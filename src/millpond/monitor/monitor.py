"""Monitoring over HTTP as a part of a server: listening before the streams are recovered, closed last."""

from __future__ import annotations

import logging

from millpond.monitor.http import HttpServer
from millpond.monitor.pages import Pages
from millpond.monitor.view import View

log = logging.getLogger("millpond")


class Monitor:
    """The monitoring port of one server."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._host = view.options.http_host or view.options.host
        self._http = HttpServer(Pages(view, view.options.http_base_path))
        self._scheme = "https" if view.options.https_port else "http"
        self.port = 0

    async def start(self, port: int) -> None:
        """Bind; -1 is any free port. Raises OSError, OptionError."""
        self.use_certificate()
        try:
            self.port = await self._http.listen(self._host, port)
        except OSError as error:
            what = f"can't listen to the monitor port {self._host}:{port}: {error.strerror or error}"
            raise OSError(error.errno, what) from None
        where = f"[{self._host}]" if ":" in self._host else self._host
        log.info("Starting %s monitor on %s:%d", self._scheme, where, self.port)

    def use_certificate(self) -> None:
        """The one that the options name, from now on. Raises OptionError."""
        tls = self._view.options.tls
        if self._scheme == "https" and tls is not None:
            from millpond.monitor import https  # and OpenSSL with it

            context = https.context(tls)
            self._http.wrap = lambda inner, fronts: https.TlsFront(context, inner, fronts)

    @property
    def url(self) -> str:
        """http://host:port (or https) for this machine."""
        host = "127.0.0.1" if self._host in ("0.0.0.0", "::", "") else self._host
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def close(self) -> None:
        """Stop listening, cut what is open."""
        self._http.close()
