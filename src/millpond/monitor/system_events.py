"""What the system account is told of clients and of the server: events under `$SYS` (reference 07.3).

Nothing is made that nobody listens to: each event asks first whether there is interest in its subject. An event may
end a connection (a listener that takes nothing), which is an event again; those wait until the outer one is out.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base.ids import nuid
from millpond.broker.connection_info import client_info
from millpond.jetstream.go_json import encode
from millpond.monitor.envelope import Envelopes
from millpond.monitor.view import GLOBAL_ACCOUNT

if TYPE_CHECKING:
    from millpond.broker.account import Account
    from millpond.broker.connection_info import ConnectionInfo
    from millpond.broker.router import Router

CONNECT: Final = "io.nats.server.advisory.v1.client_connect"
DISCONNECT: Final = "io.nats.server.advisory.v1.client_disconnect"
ACCOUNT_REFUSED: Final = b"$SYS.ACCOUNT.CLIENT.AUTH.ERR"
ACCOUNT_CONNECTIONS: Final = "io.nats.server.advisory.v1.account_connections"


class SystemEvents:
    """The broker tells of its clients here. `router` is the system account's."""

    def __init__(self, envelopes: Envelopes, router: Router) -> None:
        self._envelopes = envelopes
        self._router = router
        server_id = envelopes.identity()["id"]
        self._auth_error = f"$SYS.SERVER.{server_id}.CLIENT.AUTH.ERR".encode()
        self._statsz = f"$SYS.SERVER.{server_id}.STATSZ".encode()
        self._leaving = {kind: f"$SYS.SERVER.{server_id}.{kind}".encode() for kind in ("SHUTDOWN", "LAMEDUCK")}
        self._waiting: deque[tuple[Router, bytes, bytes]] = deque()
        self._publishing = False

    # --- clients ---

    def connected(self, session: Any) -> None:
        """A client was let in."""
        subject = f"$SYS.ACCOUNT.{session.account.name}.CONNECT".encode()
        if self._router.py_has_interest(subject):
            client = client_info(session.info(False), name_tag=session.account.options.name_tag or session.account.name)
            client.pop("rtt", None)
            self._publish(subject, {**self._typed(CONNECT), "client": client})

    def disconnected(self, info: ConnectionInfo) -> None:
        """A connection has ended."""
        subject = f"$SYS.ACCOUNT.{info.account}.DISCONNECT".encode()
        if self._router.py_has_interest(subject):
            self._publish(subject, self._end(info, info.stop_ns, info.reason))

    def refused(self, session: Any, reason: str) -> None:
        """A client was not let in; its connection ends next."""
        if self._router.py_has_interest(self._auth_error):
            self._publish(self._auth_error, self._end(session.info(False), time.time_ns(), reason))

    def refused_in(self, account: Account, session: Any, reason: str) -> None:
        """The same, told in the account whose service has refused it."""
        if account.router.py_has_interest(ACCOUNT_REFUSED):
            info = session.info(False)
            info = msgspec.structs.replace(info, account=account.name, account_tag=info.account_tag or info.account)
            self._send(ACCOUNT_REFUSED, encode(self._end(info, time.time_ns(), reason)), account.router)

    def counted(self, account: Account) -> bool:
        """The number of connections of an account has changed, or is told again. The global one is not followed.

        False: nobody listens.
        """
        name = account.name
        if name == GLOBAL_ACCOUNT:
            return False
        subjects = [f"$SYS.SERVER.ACCOUNT.{name}.CONNS".encode(), f"$SYS.ACCOUNT.{name}.SERVER.CONNS".encode()]
        if not any(self._router.py_has_interest(subject) for subject in subjects):
            return False
        from millpond.monitor.accounts import account_stat

        event, stat = self._typed(ACCOUNT_CONNECTIONS), account_stat(account)
        for subject in subjects:
            self._publish(subject, {**event, "server": self._envelopes.server(), **stat})
        return True

    def _end(self, info: ConnectionInfo, stop_ns: int, reason: str) -> dict[str, Any]:
        return {
            **self._typed(DISCONNECT),
            "client": client_info(info, stop_ns=stop_ns, name_tag=info.account_tag or info.account),
            "sent": {"msgs": info.in_msgs, "bytes": info.in_bytes},
            "received": {"msgs": info.out_msgs, "bytes": info.out_bytes},
            "reason": reason,
        }

    def _typed(self, kind: str) -> dict[str, Any]:
        return typed(self._envelopes, kind)

    # --- the server ---

    def leaving(self, kind: str) -> None:
        """`SHUTDOWN` or `LAMEDUCK`."""
        self._publish(self._leaving[kind], self._envelopes.server())

    def wants_statistics(self) -> bool:
        """Does somebody listen?"""
        return bool(self._router.py_has_interest(self._statsz))

    def statistics(self, document: bytes) -> None:
        """The server's numbers."""
        self._send(self._statsz, document)

    # --- out ---

    def _publish(self, subject: bytes, event: dict[str, Any]) -> None:
        self._send(subject, encode(event))

    def _send(self, subject: bytes, body: bytes, router: Router | None = None) -> None:
        self._waiting.append((router or self._router, subject, body))
        if self._publishing:
            return
        self._publishing = True
        try:
            while self._waiting:
                router, subject, body = self._waiting.popleft()
                router.publish(subject, body)
        finally:
            self._publishing = False


def typed(envelopes: Envelopes, kind: str) -> dict[str, Any]:
    """How an event begins: its kind, its own id, when, who speaks."""
    server = envelopes.server()
    return {"type": kind, "id": nuid(), "timestamp": server["time"], "server": server}
