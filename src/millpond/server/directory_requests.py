"""Accounts that are kept in a directory, managed through the system account (reference 02.1, SEC-08).

    $SYS.REQ.CLAIMS.UPDATE    a token: kept, and in force      $SYS.REQ.CLAIMS.LIST     all accounts
    $SYS.REQ.CLAIMS.DELETE    accounts, as a signed list       $SYS.REQ.CLAIMS.PACK     all tokens, one by one, for a
    $SYS.REQ.ACCOUNT.<account>.CLAIMS.UPDATE and .LOOKUP                                directory that is not the same

A cache takes the claims of accounts that somebody is in; it neither packs nor looks up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from millpond.accounts import claims_rules as rules
from millpond.accounts import jwt
from millpond.accounts.book import AccountError
from millpond.accounts.claims import AccountClaims
from millpond.accounts.operator import Trust
from millpond.broker.broker import Broker
from millpond.jetstream.go_json import encode
from millpond.monitor.envelope import Envelopes
from millpond.server.claims_requests import ClaimsRequests, Refused, decoded
from millpond.server.directory import DirectoryResolver
from millpond.server.logs import log

if TYPE_CHECKING:
    from millpond.server.operator import OperatorRoom

CLAIMS: Final = "$SYS.REQ.CLAIMS."
LOOKUP: Final = "$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP"
ROWS_PER_STEP: Final = 64
"""Tokens of the directory that are read in one turn."""


class DirectoryRequests(ClaimsRequests):
    """Of one server with such a resolver."""

    def __init__(
        self, room: OperatorRoom, broker: Broker, envelopes: Envelopes, store: DirectoryResolver, trust: Trust
    ) -> None:
        self._store, self._trust = store, trust
        self._word = "jwt update cache" if store.is_cache else "jwt update"
        super().__init__(room, broker, envelopes)
        self.listen(CLAIMS + "UPDATE", self._update)
        self.listen(CLAIMS + "LIST", self._list)
        self.listen(CLAIMS + "DELETE", self._delete)
        if not store.is_cache:
            self.listen(CLAIMS + "PACK", self._pack, b"responder")
            self.listen(LOOKUP.format("*"), self._look_up)
        kind = "some" if store.is_cache else "all"
        log.info("Managing %s jwt in exclusive directory %s", kind, store.path)

    # --- updates ---

    async def _update(self, subject: str, reply: bytes, body: bytes) -> None:
        named = "" if subject == CLAIMS + "UPDATE" else self.account_in(subject)
        about = named if named and self._store.is_cache else "n/a"
        try:
            claims = decoded(body, about, f"{self._word} resulted in error")
            message = await self._kept(claims, named, body.decode())
        except Refused as error:
            self.refuse(reply, error)
            return
        self.respond(reply, claims.subject, message)

    async def _kept(self, claims: AccountClaims, named: str, token: str) -> str:
        failed, account = f"{self._word} resulted in error", named or claims.subject
        loaded = claims.subject in self._room.book.known
        issues = [issue.description for issue in rules.of_account(claims) if issue.blocking]
        invalid = Refused(
            claims.subject, "jwt validation failed" if not self._store.is_cache else f"{self._word} validation failed",
            f"validation errors: [{' '.join(issues)}]",
        )  # fmt: skip
        if issues and named and not self._store.is_cache:
            raise invalid
        if named and claims.subject != named:
            raise Refused(account, failed, "subject does not match jwt content")
        operator = self._trust.claims[0]
        if claims.issuer == operator.subject and operator.nats.strict_signing_key_usage:
            raise Refused(account, failed, "operator requires issuer to be a signing key")
        if self._store.is_cache and not loaded:
            return f"{self._word} skipped"
        if issues:
            raise invalid
        try:
            changed = await self._store.save(claims.subject, token)
        except AccountError as error:
            raise Refused(account, failed, error) from None
        if changed and claims.subject in self._room.book.known:
            self._use(token, claims.subject)
        return "jwt updated cache" if self._store.is_cache else "jwt updated"

    def _use(self, token: str, account: str) -> None:
        try:
            self._room.update(token, account)
        except AccountError as error:
            log.error("DirResolver - Update for account %s resulted in error %s", rules.quoted(account), error)

    # --- the rest ---

    async def _list(self, subject: str, reply: bytes, body: bytes) -> None:
        if reply:
            names = [name async for name, _ in self._rows()]
            self.publish(reply, encode({"data": names, "server": self.envelopes.server()}))

    async def _rows(self) -> AsyncIterator[tuple[str, str]]:
        """What is in the directory; others have their turns meanwhile."""
        for count, row in enumerate(self._store.rows()):
            if count % ROWS_PER_STEP == ROWS_PER_STEP - 1:
                await asyncio.sleep(0)
            yield row

    async def _look_up(self, subject: str, reply: bytes, body: bytes) -> None:
        account = self.account_in(subject)
        if reply and rules.is_account(account):
            self.publish(reply, self._store.load(account).encode())

    async def _pack(self, subject: str, reply: bytes, body: bytes) -> None:
        """An empty message is the end."""
        if not reply:
            return
        if body != self._store.hash:
            async for name, token in self._rows():
                self.publish(reply, f"{name}|{token}".encode())
        self.publish(reply, b"")

    async def _delete(self, subject: str, reply: bytes, body: bytes) -> None:
        issuer, names, why = "", [], ""
        try:
            head, data = jwt.decode_generic(body.decode("utf-8", "replace"))
            issuer, names = head.subject, data.get("accounts", [])
            why = self._why_not(head.subject, head.issuer, data)
        except jwt.JwtError as error:
            why = str(error)
        if why:
            self.refuse(reply, Refused("", f"delete accounts request by {issuer} failed", why))
            return
        failures = [failure for name in names if (failure := await self._deleted(name))]
        message = f"deleted {len(names) - len(failures)} accounts"
        if failures:
            self.refuse(reply, Refused("", f"{message}, failed for {len(failures)}", "\n".join(failures)))
        else:
            self.respond(reply, "", message)

    def _why_not(self, subject: str, issuer: str, data: dict[str, object]) -> str:
        """"": the request may be done."""
        names = data.get("accounts")
        if not self._store.may_delete:
            return "delete must be enabled in server config"
        if subject != issuer:
            return "not self signed"
        if issuer not in self._trust.keys:
            return "not trusted"
        if not isinstance(names, list) or not all(isinstance(each, str) and rules.is_account(each) for each in names):
            return "malformed request"
        if self._broker.system.name in names:
            return "not allowed to delete system account"
        return ""

    async def _deleted(self, name: str) -> str:
        """Why not; "": it is done, and its connections have ended."""
        try:
            await self._store.delete(name)
        except AccountError as error:
            return str(error)
        self._room.forget(name)
        return ""
