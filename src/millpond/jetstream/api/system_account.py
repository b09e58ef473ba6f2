"""The JetStream API in the system account (reference 05.2). It has no streams: nearly every request is told so (10039).

`ACCOUNT.PURGE.<account>` is answered. What only servers of a cluster do gets no answer, as from nats-server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from millpond.broker.sink import CallableSink
from millpond.jetstream.api.request import RESPONSE, error_body
from millpond.jetstream.domain_door import DomainDoor
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import encode
from millpond.jetstream.go_text import text

if TYPE_CHECKING:
    from millpond.broker.router import Router
    from millpond.jetstream.advisories import Advisories

PREFIX: Final = "$JS.API."
INFO: Final = "INFO"
OF_CLUSTERS: Final = frozenset({"META.LEADER.STEPDOWN", "META.RESCUE", "SERVER.REMOVE", "SERVER.EVACUATE"})
OF_ACCOUNTS: Final = "ACCOUNT."
PURGE: Final = ("ACCOUNT", "PURGE")
PURGED: Final = "account_purge_response"

Purge = Callable[[str, Callable[[str], None]], None]
"""Takes an account's name and what to call at the end, with "" or with what went wrong."""


class SystemApi:
    """Owns the subscriptions on `$JS.API.>` and on its name in a domain. account: the system account's name."""

    def __init__(
        self, router: Router, advisories: Advisories, purge: Purge, *, server_name: str, account: str, domain: str
    ) -> None:
        self._router = router
        self._advisories = advisories
        self._purge = purge
        self._server_name = server_name
        self._account = account
        self._subscriptions = [router.subscribe(b"$JS.API.>", CallableSink(self._receive))]
        if domain:
            door = DomainDoor(router, domain)
            self._subscriptions.append(router.subscribe(door.subject, door))

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._router.unsubscribe(subscription)

    def _receive(self, subject: bytes, reply_to: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        asked, request = text(subject), text(body)
        verb = asked.removeprefix(PREFIX)
        if verb in OF_CLUSTERS:
            return
        if verb.startswith(OF_ACCOUNTS):
            self._receive_purge(asked, verb.split("."), reply_to, request, source)
            return
        kind = "account_info_response" if verb == INFO else "system_response"
        answer = error_body(kind, api_error("JSNotEnabledForAccountErr"), {})
        self._answer(asked, reply_to, request, answer, {} if verb == INFO else None)

    def _receive_purge(self, asked: str, words: list[str], reply_to: bytes, request: str, source: Any) -> None:
        if tuple(words[:2]) != PURGE or len(words) != 3 or not self._is_own(source):
            return

        def done(reason: str) -> None:
            answer: dict[str, Any] = {"type": RESPONSE + PURGED, "initiated": True}
            if reason:
                answer = error_body(PURGED, api_error("JSStreamGeneralErrorF", err=reason), {})
            self._answer(asked, reply_to, request, answer, {})

        if "/" in words[2] or "\\" in words[2]:
            done("account name can not contain path separators")
        else:
            self._purge(words[2], done)

    def _is_own(self, source: Any) -> bool:
        """Is it one of the system account's clients? Others may reach its subjects by an import."""
        account = getattr(source, "account", None)
        return account is not None and getattr(account, "name", "") == self._account

    def _answer(
        self, asked: str, reply_to: bytes, request: str, answer: dict[str, Any], client: dict[str, Any] | None
    ) -> None:
        encoded = encode(answer)
        if reply_to:
            self._router.publish(reply_to, encoded)
        if self._router.py_has_interest(b"$JS.EVENT.ADVISORY.API"):
            self._advisories.api_audit(self._server_name, client, asked, request, text(encoded))
