"""Every request of the system account with every option, in several situations: both servers answer the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .fenced import answer
from .monitored import REQUESTS, USERS, WITH_SYSTEM_ACCOUNT, Situation
from .monitored_shown import without_own
from .test_monitoring import difference
from .test_system_account import shown

pytestmark = pytest.mark.reference


class Asking:
    """The system account's client."""

    def __init__(self, here: Situation) -> None:
        self.client = here.client("asking", "sys")

    def ask(self, subject: str, data: bytes) -> Any:
        frame = answer(self.client, f"$SYS.REQ.{subject}", data)
        if frame is None:
            return "no answer"
        if not frame.payload.startswith(b"{"):
            return frame.payload.decode()
        return without_own(shown(json.loads(frame.payload)))


@pytest.fixture(scope="module")
def asking(situation: list[Situation]) -> list[Asking]:
    return [Asking(here) for here in situation]


@pytest.mark.parametrize("situation", WITH_SYSTEM_ACCOUNT, indirect=True, scope="module")
@pytest.mark.parametrize("subject", REQUESTS)
def test_same_answers(asking: list[Asking], subject: str) -> None:
    found = []
    for data in REQUESTS[subject]:
        answers = [each.ask(subject, data) for each in asking]
        if json.dumps(answers[0]) != json.dumps(answers[1]):
            found.append(f"{subject} {data!r}\n{difference(*answers)}")
    assert not found, "\n\n".join(found)


def told_of_himself(here: Situation, user: str) -> Any:
    """The answer, or the error of who may not ask: one of them comes."""
    with here.client("told", user) as client:
        client.publish("$SYS.REQ.USER.INFO", b"", client.new_reply())
        frame = client.read_frame()
        while frame.op not in ("MSG", "HMSG", "-ERR"):
            frame = client.read_frame()
    return frame.payload.decode() if frame.op == "-ERR" else shown(json.loads(frame.payload))


@pytest.mark.parametrize("situation", ["accounts"], indirect=True, scope="module")
@pytest.mark.parametrize("user", USERS)
def test_what_users_are_told_of_themselves(situation: list[Situation], user: str) -> None:
    reference, other = (told_of_himself(here, user) for here in situation)
    assert other == reference
