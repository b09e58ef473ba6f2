"""The two ends between which mirrors and sources carry messages: where they follow, and where their origins are.

    AccountEnds   two accounts of one server, by imports and exports (`CONFIG`)
    LinkEnds      two servers, of two kinds perhaps, joined by a relay

Both call the way to the origin `from.API` and the way back `from.in`, so a scenario runs over either.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .anew import ANEW_MAX, both
from .compare import Session, carry_out, clean, differences, keep_directories
from .leaf_door import PORT_FILE
from .relay import API, DELIVER, Relay, once
from .scenarios_sourcing import ask
from .target import MILLPOND, Target
from .wire_client import Frame

CONFIG = """
accounts {
  ORIGIN {
    jetstream: enabled, users: [ { user: origin, pass: x } ]
    exports: [
      { service: "$JS.API.CONSUMER.>" }, { service: "$JS.FC.>" }, { service: "$JS.ACK.>" }
      { service: "$JS.API.STREAM.INFO.*" }, { stream: "from.in.>" }, { stream: "closed.in.>", accounts: [ OTHER ] }
    ]
  }
  COPY {
    jetstream: enabled, users: [ { user: copy, pass: x } ]
    imports: [
      { service: { account: ORIGIN, subject: "$JS.API.CONSUMER.>" }, to: "from.API.CONSUMER.>" }
      { service: { account: ORIGIN, subject: "$JS.API.STREAM.INFO.*" }, to: "from.API.STREAM.INFO.*" }
      { service: { account: ORIGIN, subject: "$JS.FC.>" } }, { service: { account: ORIGIN, subject: "$JS.ACK.>" } }
      { stream: { account: ORIGIN, subject: "from.in.>" } }
    ]
  }
  OTHER { jetstream: enabled }
}
no_auth_user: copy
"""
"""ORIGIN exports its API, the subjects that deliver, and those that flow control and acknowledgements take back."""
LEAF_PORT = "leafnodes { listen: \"127.0.0.1:-1\", compression: off }\n"
EXTERNAL = {"api": API, "deliver": DELIVER}
FAR = {"name": "O", "external": EXTERNAL}


class Ends:
    """`here` is where streams follow, `there` where their origins are; both write into one record."""

    here: Session
    there: Session

    def kill(self) -> None:
        """Both ends die, and come again."""
        raise NotImplementedError

    def close(self) -> None:
        for session in (self.here, self.there):
            session.client.close()


FarScenario = Callable[[Any], None]


class AccountEnds(Ends):
    def __init__(self, target: Target, storage: str) -> None:
        self._target = target
        clean(target)
        self.here, self.there = Session(target, storage), Session(target, storage)
        self.there.join(self.here)
        self._connect()
        for name in ask(self.there, "STREAM.NAMES")["streams"] or []:
            ask(self.there, f"STREAM.DELETE.{name}")
        keep_directories(target, "ORIGIN", "COPY")

    def _connect(self) -> None:
        for session, user in ((self.here, "copy"), (self.there, "origin")):
            session.client.close()
            session.client = self._target.connect(user=user, **{"pass": "x"})

    def kill(self) -> None:
        self._target.restart(kill=True)
        self._connect()


class LinkEnds(Ends):
    def __init__(self, origin: Target, follower: Follower, storage: str) -> None:
        self.relay: Relay | None = None
        for target in (origin, follower):
            clean(target)
            keep_directories(target, "$G")
        self.here, self.there = Session(follower, storage), Session(origin, storage)
        self.there.join(self.here)
        self._follower = follower
        self.link()

    def link(self, copies: Callable[[Frame], int] = once) -> None:
        """Joined, anew if they were: `copies` as in Relay."""
        self.cut()
        self.relay = Relay(self.there.target.port, self._follower.leaf_port, copies)

    def cut(self) -> None:
        if self.relay is not None:
            self.relay.close()
        self.relay = None

    def restart(self, session: Session, *, kill: bool = True) -> None:
        """One end dies, and with it the relay; that comes again."""
        session.client.close()
        session.target.restart(kill=kill)
        session.client = session.target.connect()
        self.link()

    def kill(self) -> None:
        for session in (self.here, self.there):
            self.restart(session)

    def close(self) -> None:
        self.cut()
        super().close()


class Follower(Target):
    """A server with a port for the relay."""

    def start(self) -> Target:
        (self.root / "leaf.conf").write_text(LEAF_PORT)
        return super().start()

    def _command(self) -> list[str]:
        command = super()._command()
        if self.kind == MILLPOND:
            at = command.index("-m")
            return [*command[: at + 1], "tests.conformance.leaf_door", *command[at + 3 :]]
        return [*command, "-c", str(self.root / "leaf.conf")]

    @property
    def leaf_port(self) -> int:
        if self.kind == MILLPOND:
            return int((self.root / PORT_FILE).read_text())
        return int(json.loads(self.http("/varz")[1])["leaf"]["port"])


def record_far(ends: Ends, scenario: FarScenario, *, is_truth: bool = False) -> Session:
    """As compare.record."""
    try:
        carry_out(ends.here, lambda session: scenario(ends), is_truth=is_truth)
    finally:
        ends.close()
    return ends.here


def agree_across_accounts(pair: tuple[Target, Target], scenario: FarScenario) -> None:
    """The reference first."""
    reference, other = pair
    truth, found = both(
        lambda: record_far(AccountEnds(reference, "file"), scenario, is_truth=True),
        lambda: record_far(AccountEnds(other, "file"), scenario),
    )
    diff = differences(truth, found)
    assert not diff, "\n".join(diff)


def agree_across_servers(linked: list[tuple[Target, Follower]], scenario: FarScenario) -> None:
    """The first pair is the reference with itself. All pairs at once: most of the time they wait until a silent link is
    noticed."""

    def run(ends: tuple[Target, Follower]) -> Session:
        return record_far(LinkEnds(*ends, "file"), scenario, is_truth=ends is linked[0])

    diffs: list[str] = []
    for _ in range(1 + ANEW_MAX):
        with ThreadPoolExecutor(len(linked)) as threads:
            truth, *others = threads.map(run, linked)
        diffs = []
        for (origin, follower), found in zip(linked[1:], others, strict=True):
            diff = differences(truth, found)
            diffs += [f"{follower.kind} follows {origin.kind}", *diff] if diff else []
        if not diffs or not differences(truth, run(linked[0])):
            break                                  # or the reference is not sure of itself: all of them anew
    assert not diffs, "\n".join(diffs)
