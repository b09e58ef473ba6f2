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
        self._host = view.options.http_host or view.options.host
        self._http = HttpServer(Pages(view, view.options.http_base_path))
        self.port = 0

    async def start(self, port: int) -> None:
        """Bind; -1 is any free port. Raises OSError."""
        try:
            self.port = await self._http.listen(self._host, port)
        except OSError as error:
            what = f"can't listen to the monitor port {self._host}:{port}: {error.strerror or error}"
            raise OSError(error.errno, what) from None
        log.info("Starting http monitor on %s:%d", f"[{self._host}]" if ":" in self._host else self._host, self.port)

    @property
    def url(self) -> str:
        """http://host:port for this machine."""
        host = "127.0.0.1" if self._host in ("0.0.0.0", "::", "") else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def close(self) -> None:
        """Stop listening, cut what is open."""
        self._http.close()
