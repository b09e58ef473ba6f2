"""Permissions against an oracle that tries everything (reference 02.2): what one user may publish, subscribe to,
receive and answer, with wildcards that overlap, queue groups and reply permissions.

The oracle knows no tries, no caches and no filters: a subscription falls under a rule when every subject that it
could bring does; a message arrives when no rule that matches it says no.
"""

from __future__ import annotations

import asyncio
import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from stream_model_rules import matches

import millpond
from millpond.config.security import Permissions, ResponsePermission, SubjectPermission, User

TOKENS = ("a", "b")
SUBJECTS = [".".join(parts) for depth in (1, 2, 3) for parts in itertools.product(TOKENS, repeat=depth)]
EVERY = [".".join(parts) for depth in (1, 2, 3, 4) for parts in itertools.product((*TOKENS, "z"), repeat=depth)]
"""Subjects enough to tell any two patterns of three tokens apart."""
QUEUES = ("q1", "q2.dev", "q2.prod")


def falls_under(pattern: str, wider: str) -> bool:
    return all(matches(wider, subject) for subject in EVERY if matches(pattern, subject))


def fits_as_text(wider: str, pattern: str) -> bool:
    """Its `>` fits a `*`: who may not hear `a.*` is refused `a.>`, as on nats-server, though some of it is allowed."""
    return matches(wider, pattern)


Rule = tuple[str, str]
"""A pattern, and the queue that it is for ("" = any)."""


class Oracle:
    def __init__(self, allow: list[Rule] | None, deny: list[Rule], pub_allow: list[str] | None, pub_deny: list[str]):
        self.allow, self.deny, self.pub_allow, self.pub_deny = allow, deny, pub_allow, pub_deny

    def may_publish(self, subject: str) -> bool:
        allowed = self.pub_allow is None or any(matches(one, subject) for one in self.pub_allow)
        return allowed and not any(matches(one, subject) for one in self.pub_deny)

    def may_subscribe(self, pattern: str, queue: str) -> bool:
        if self.allow is not None:
            rules = [rule for rule in self.allow if falls_under(pattern, rule[0])]
            with_queue = [wanted for _, wanted in rules if wanted]
            if queue and with_queue:
                if not any(matches(wanted, queue) for wanted in with_queue):
                    return False
            elif not any(not wanted for _, wanted in rules):
                return False
        denied = [wanted for one, wanted in self.deny if falls_under(pattern, one) or fits_as_text(one, pattern)]
        return "" not in denied and not (queue and any(matches(wanted, queue) for wanted in denied))

    def receives(self, pattern: str, queue: str, subject: str) -> bool:
        if not matches(pattern, subject):
            return False
        rules = [wanted for one, wanted in self.deny if matches(one, subject)]
        return "" not in rules and not (queue and any(wanted and matches(wanted, queue) for wanted in rules))


pattern = st.sampled_from(
    [p for p in (".".join(t) for n in (1, 2, 3) for t in itertools.product((*TOKENS, "*", ">"), repeat=n))
     if ">" not in p[:-1]]
)  # fmt: skip
queue_rule = st.sampled_from(("", "", "", "q1", "q2.*", "q2.dev", ">"))
rules = st.lists(st.tuples(pattern, queue_rule), max_size=4)
subscriptions = st.lists(st.tuples(pattern, st.sampled_from(("", "", *QUEUES))), min_size=1, max_size=5).map(
    lambda rows: [row for n, row in enumerate(rows) if not row[1] or row[1] not in [q for _, q in rows[:n]]]
)  # fmt: skip


class Wire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: millpond.Server, user: str) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        connect = {"verbose": False, "pedantic": False, "user": user, "pass": "x"}
        writer.write(b"CONNECT " + json.dumps(connect).encode() + b"\r\n")
        wire = cls(reader, writer)
        await wire.say("")
        return wire

    async def say(self, data: str) -> list[str]:
        """The lines that came before the PONG."""
        self.writer.write(data.encode() + b"PING\r\n")
        lines = []
        while (line := (await asyncio.wait_for(self.reader.readline(), 10)).decode().strip()) != "PONG":
            assert line or lines, "closed"
            lines.append(line)
        return lines


def words(rows: list[Rule]) -> tuple[str, ...]:
    return tuple(f"{one} {queue}".strip() for one, queue in rows)


@settings(deadline=None, max_examples=150)
@given(
    allow=st.none() | rules,
    deny=rules,
    pub_allow=st.none() | st.lists(pattern, max_size=3),
    pub_deny=st.lists(pattern, max_size=3),
    subs=subscriptions,
    answers_max=st.sampled_from((None, 1, 2)),
)
def test_a_server_and_the_oracle_agree(
    *, allow: list[Rule] | None, deny: list[Rule], pub_allow: list[str] | None, pub_deny: list[str],
    subs: list[Rule], answers_max: int | None,
) -> None:  # fmt: skip
    allow = allow or None                                # an empty list of a file is no list
    oracle = Oracle(allow, deny, pub_allow, pub_deny)
    if answers_max is not None and pub_allow is None:
        oracle.pub_allow = pub_allow = []                # who may only answer
    permissions = Permissions(
        publish=SubjectPermission(tuple(pub_allow) if pub_allow is not None else None, tuple(pub_deny)),
        subscribe=SubjectPermission(words(allow) if allow is not None else None, words(deny)),
        responses=ResponsePermission(max_msgs=answers_max) if answers_max is not None else None,
    )
    users = (User(name="u", password="x", permissions=permissions), User(name="admin", password="x"))

    async def main() -> None:
        async with millpond.Server(jetstream=False, users=users) as server:
            user, admin = await Wire.open(server, "u"), await Wire.open(server, "admin")
            answered = await subscribe_and_receive(oracle, user, admin, subs)
            await publish_and_answer(oracle, user, admin, answered, answers_max or 0)

    asyncio.run(main())


async def subscribe_and_receive(oracle: Oracle, user: Wire, admin: Wire, subs: list[Rule]) -> set[str]:
    """Returns the replies of all that came."""
    taken = []
    for sid, (one, queue) in enumerate(subs):
        refused = any("Permissions Violation" in line for line in await user.say(f"SUB {one} {queue} {sid}\r\n"))
        assert refused == (not oracle.may_subscribe(one, queue)), f"SUB {one} {queue}"
        if not refused:
            taken.append((str(sid), one, queue))
    replies = {subject: f"reply.{number}" for number, subject in enumerate(SUBJECTS)}
    await admin.say("".join(f"PUB {subject} {replies[subject]} 0\r\n\r\n" for subject in SUBJECTS))
    got = sorted(tuple(line.split()[1:3]) for line in await user.say("") if line.startswith("MSG"))
    expected = sorted(
        (subject, sid) for subject in SUBJECTS for sid, one, queue in taken if oracle.receives(one, queue, subject)
    )
    assert got == expected
    return {replies[subject] for subject, _ in got}


async def publish_and_answer(oracle: Oracle, user: Wire, admin: Wire, answered: set[str], answers_max: int) -> None:
    await admin.say("SUB > 1\r\n")
    published = [*SUBJECTS, *SUBJECTS]
    answers = [f"reply.{number}" for number in range(len(SUBJECTS))] * 3
    await user.say("".join(f"PUB {subject} 0\r\n\r\n" for subject in (*published, *answers)))
    got = sorted(line.split()[1] for line in await admin.say("") if line.startswith("MSG"))
    expected = [subject for subject in published if oracle.may_publish(subject)]
    for reply in sorted(set(answers)):
        times = 3 if oracle.may_publish(reply) else answers_max if reply in answered else 0
        expected.extend([reply] * times)
    assert got == sorted(expected)
