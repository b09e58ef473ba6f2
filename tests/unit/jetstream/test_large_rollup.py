"""A rollup that does not fit into its stream: the limit lets go of it at once, as of any other message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from api_rig import Rig


@pytest.mark.parametrize("storage", ["file", "memory"])
@pytest.mark.parametrize("what", [b"sub", b"all"])
def test_a_rollup_that_is_larger_than_max_bytes_leaves_nothing(tmp_path: Path, storage: str, what: bytes) -> None:
    rig = Rig(tmp_path)
    rig.stream("S", [b"S.a", b"S.b"], storage=storage, max_bytes=1000, allow_rollup_hdrs=True)
    rig.answers.clear()
    rig.broker.router.publish(b"S.a", b"x" * 2000, b"re.1", b"NATS/1.0\r\nNats-Rollup: " + what + b"\r\n\r\n")
    rig.turns()
    ((_, answer),) = rig.answers
    assert json.loads(answer) == {"stream": "S", "seq": 3}
    assert {key: rig.engine.streams["S"].state()[key] for key in ("messages", "first_seq", "last_seq")} == {
        "messages": 0, "first_seq": 4, "last_seq": 3,
    }  # fmt: skip
    rig.engine.stop()
