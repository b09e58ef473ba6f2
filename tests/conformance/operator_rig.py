"""Servers of one operator, and clients that show tokens; keys and tokens have names in what is recorded."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millpond.accounts.signing import KeyPair
from tests.jwt_rig import Account, Operator, User

from .target import MILLPOND, REFERENCE, why_missing
from .tls_rig import Peer, TlsTarget

ERRORS = re.compile(r"\[(ERR|WRN)\] (?:\S+ - cid:\d+ - )(authentication error.*|Bad src.*|Outside.*)")


Config = Callable[[TlsTarget], str]


@contextlib.contextmanager
def both_with(config: Config) -> Iterator[list[TlsTarget]]:
    """nats-server and Millpond, running, with what `config` says of each."""
    if (reason := why_missing(REFERENCE) or why_missing(MILLPOND)) is not None:
        pytest.skip(reason)
    found = [TlsTarget(kind, "") for kind in (REFERENCE, MILLPOND)]
    try:
        for target in found:
            target.config.write_text(config(target))
            target.start()
        yield found
    finally:
        for target in found:
            target.discard()


def same(reference: list[str], ours: list[str]) -> None:
    assert ours == reference, "\n".join(difflib.unified_diff(reference, ours, "nats-server", "millpond", lineterm=""))


class Names:
    """What keys and tokens are called in a record, so that two servers may be compared."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def add(self, text: str, name: str) -> None:
        self._names[text] = f"<{name}>"

    def named(self, text: str) -> str:
        for value, name in self._names.items():
            text = text.replace(value, name)
        return re.sub(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>", text)


class Visitor(Peer):
    """A client of a server with an operator."""

    def __init__(self, target: TlsTarget, names: Names) -> None:
        super().__init__(target)
        self.names = names
        self.nonce = ""

    def note(self, text: str) -> None:
        super().note(self.names.named(re.sub(r"INFO {.*?} \\r\\n", "", text)))

    def info(self) -> Visitor:
        line = self.line()
        found = json.loads(line[5:])
        self.cid, self.nonce = int(found["client_id"]), found.get("nonce", "")
        return self

    def enter(self, who: User, **fields: Any) -> Visitor:
        """With this one's token and signature, unless `fields` say otherwise; up to the PONG or the end."""
        return self.show(**{**who.connect(self.nonce), **fields})

    def show(self, **fields: Any) -> Visitor:
        """CONNECT with these fields; the reason, and what the log says, when that is the end."""
        self.connect(**fields)
        return self.left() if self.record[-1] == "the end" else self

    def left(self) -> Visitor:
        self.note(self.target.closed(self.cid))
        for level, text in ERRORS.findall("\n".join(self._log())):
            self.note(f"{level} {text}")
        return self

    def _log(self) -> list[str]:
        return [line for line in self.target.log().splitlines() if f"cid:{self.cid} -" in line]

    def shown(self, *, closed: bool = False) -> Visitor:
        """What /connz tells of its user; of one that was not let in, no token (`refused-jwt`)."""
        state = "closed" if closed else "open"
        row = self.target.page(f"/connz?cid={self.cid}&auth=1&state={state}")["connections"][0]
        wanted = ("authorized_user", "account", "jwt", "issuer_key", "name_tag", "tags")
        if closed:
            wanted = wanted[:1] + wanted[3:] if "account" not in row else wanted
        self.note(json.dumps({name: value for name, value in row.items() if name in wanted}))
        return self

    def ask(self, subject: str, body: bytes = b"") -> bytes:
        """A request, and its answer's body."""
        self.send(b"SUB _INBOX.x 900\r\nUNSUB 900 1\r\nPUB %s _INBOX.x %d\r\n%s\r\n"
                  % (subject.encode(), len(body), body))
        while True:
            line = self.line()
            if not line or line.startswith(b"-ERR"):
                return line
            if line.startswith((b"MSG _INBOX.x 900", b"HMSG _INBOX.x 900")):
                return self.body(line)

    def act(self, *lines: bytes) -> Visitor:
        """Frames, and everything that is said up to the PONG for a PING behind them."""
        self.send(b"".join(line + b"\r\n" for line in (*lines, b"PING")))
        while (line := self.line()) and line != b"PONG\r\n":
            if not line.startswith(b"INFO"):
                self.note(repr(line))
        return self if line else self.left()


class World:
    """One operator, for both servers."""

    def __init__(self, **body: Any) -> None:
        self.names = Names()
        self.operator = Operator(**body)
        self.names.add(self.operator.key.public, "O")
        self._name(self.operator.system)
        self.admin = self.operator.system.user("admin")
        self.accounts: list[Account] = []

    def account(self, name: str, **body: Any) -> Account:
        found = self.operator.account(name, **body)
        self._name(found)
        self.accounts.append(found)
        return found

    def _name(self, account: Account) -> None:
        self.names.add(account.public, account.name)
        self.names.add(account.signing.public, f"{account.name}.signing")

    def user(self, account: Account, name: str, **body: Any) -> User:
        found = account.user(name, **body)
        self.names.add(found.token, f"token of {name}")
        self.names.add(found.key.public, name)
        return found

    def config(self, more: str = "", tokens: dict[str, str] | None = None) -> str:
        return self.operator.config(*self.accounts, more=more, tokens=tokens)

    def key(self, prefix: int, name: str) -> KeyPair:
        found = KeyPair.create(prefix)
        self.names.add(found.public, name)
        return found
