"""Pausing, resetting and unpinning consumers: the API's answers and what deliveries do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from .compare import Session
from .scenarios_consumers import MS_NS, SECOND_NS, filled, named, quiet


def _later(seconds: float) -> str:
    """As Go writes it."""
    when = datetime.now(UTC) + timedelta(seconds=seconds)
    return f"{when:%Y-%m-%dT%H:%M:%S.%f}".rstrip("0") + "Z"


def _hidden_later(s: Session, seconds: float) -> str:
    when = _later(seconds)
    s.hide(when, "<later>")
    return when


def _pause(s: Session, where: str, body: object = b"") -> None:
    """PAUSE, without the two members that count down."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    frame = s.client.request(f"$JS.API.CONSUMER.PAUSE.{where}", data)
    answer = json.loads(frame.payload)
    if "pause_remaining" in answer:
        answer["pause_remaining"] = "<ns>" if answer["pause_remaining"] > 0 else answer["pause_remaining"]
    s.note(f"PAUSE {where} {data[:20]!r} -> {json.dumps(answer)}")


def _info(s: Session, where: str) -> None:
    answer = json.loads(s.client.request(f"$JS.API.CONSUMER.INFO.{where}").payload)
    if "pause_remaining" in answer:
        answer["pause_remaining"] = "<ns>" if answer["pause_remaining"] > 0 else answer["pause_remaining"]
    s.note(f"INFO {where} -> {json.dumps({k: v for k, v in answer.items() if k not in ('created', 'ts')})}")


def pause_answers(s: Session) -> None:
    filled(s, "PA", 2)
    named(s, "PA", "c", ack_policy="explicit")
    until = _hidden_later(s, 3600)
    _pause(s, "PA.c", {"pause_until": until})
    _info(s, "PA.c")
    _pause(s, "PA.c", {"pause_until": "2020-01-01T00:00:00Z"})
    _info(s, "PA.c")
    _pause(s, "PA.c", {"pause_until": "0001-01-01T00:00:00Z"})
    _pause(s, "PA.c", {"pause_until": until})
    for body in (b"{}", b"", b"null", b"junk", b"[]", b'{"pause_until":null}', b'{"pause_until":5}',
                 b'{"bad":1}', b"{"):
        _pause(s, "PA.c", body)
    _pause(s, "PA.none", {"pause_until": until})
    _pause(s, "NONE.c", {"pause_until": until})
    _info(s, "PA.c")


def pause_in_the_configuration(s: Session) -> None:
    """On create it counts, in an update it does not."""
    filled(s, "PC", 2)
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.PAUSE.>")
    until = _hidden_later(s, 3600)
    body = {"stream_name": "PC", "config": {"name": "c", "ack_policy": "explicit", "pause_until": until}}
    s.client.request("$JS.API.CONSUMER.CREATE.PC.c", json.dumps(body).encode())
    _info(s, "PC.c")
    s.frame("paused", s.client.next_message(sid=sid))
    body["config"] = {"name": "c", "ack_policy": "explicit", "description": "x"}
    s.client.request("$JS.API.CONSUMER.CREATE.PC.c", json.dumps(body).encode())
    _info(s, "PC.c")
    _pause(s, "PC.c")
    s.frame("resumed", s.client.next_message(sid=sid))
    body["config"] = {"name": "c", "ack_policy": "explicit", "pause_until": until}
    s.client.request("$JS.API.CONSUMER.CREATE.PC.c", json.dumps(body).encode())
    _info(s, "PC.c")
    named(s, "PC", "past", ack_policy="explicit", pause_until="2020-01-01T00:00:00Z")


def paused_pull(s: Session) -> None:
    filled(s, "PP", 2)
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.PAUSE.>")
    s.consumer("PP", "c", ack_policy="explicit")
    until = _hidden_later(s, 0.4)
    _pause(s, "PP.c", {"pause_until": until})
    s.frame("paused", s.client.next_message(sid=sid))
    s.pull("PP", "c", {"batch": 1, "expires": 50 * MS_NS}, 1)
    s.pull("PP", "c", {"batch": 1, "no_wait": True}, 1)
    s.pull("PP", "c", {"batch": 2, "expires": 5 * SECOND_NS}, 2)
    s.frame("over", s.client.next_message(sid=sid))


def paused_push(s: Session) -> None:
    filled(s, "PQ", 2)
    sid = s.client.subscribe("deliver.pq")
    until = _hidden_later(s, 0.35)
    config = {"name": "c", "deliver_subject": "deliver.pq", "idle_heartbeat": 100 * MS_NS, "pause_until": until}
    quiet(s, "CONSUMER.CREATE.PQ.c", {"stream_name": "PQ", "config": config})
    _info(s, "PQ.c")
    s.frame("while paused", s.client.next_message(sid=sid))
    frames = [s.client.next_message(sid=sid) for _ in range(8)]
    first = next(index for index, frame in enumerate(frames) if frame.payload)
    s.frames("delivered", frames[first : first + 2])


def reset_answers(s: Session) -> None:
    filled(s, "RE", 6)
    s.consumer("RE", "all", ack_policy="explicit")
    s.consumer("RE", "seq", ack_policy="explicit", deliver_policy="by_start_sequence", opt_start_seq=3)
    s.consumer("RE", "time", ack_policy="explicit", deliver_policy="by_start_time", opt_start_time=_later(3600))
    s.consumer("RE", "new", ack_policy="explicit", deliver_policy="new")
    s.consumer("RE", "last", ack_policy="explicit", deliver_policy="last")
    s.consumer("RE", "lps", ack_policy="explicit", deliver_policy="last_per_subject", filter_subject="RE.*")
    for name in ("all", "seq", "time", "new", "last", "lps"):
        for body in (b"", b"{}", b'{"seq":0}', b'{"seq":2}', b'{"seq":3}', b'{"seq":99}', b'{"seq":-1}', b'{"seq":"x"}',
                     b'{"bad":1}', b"{", b"null", b"junk"):
            s.api(f"CONSUMER.RESET.RE.{name}", body)


def reset_delivers_again(s: Session) -> None:
    filled(s, "RD", 6)
    s.consumer("RD", "c", ack_policy="explicit", max_ack_pending=4)
    got = s.pull("RD", "c", {"batch": 4}, 4)
    s.ack(got[0])
    s.ack(got[2])
    s.api("CONSUMER.RESET.RD.c")
    s.pull("RD", "c", {"batch": 2}, 2)
    s.api("CONSUMER.RESET.RD.c", {"seq": 5})
    got = s.pull("RD", "c", {"batch": 5, "no_wait": True}, 3)
    s.ack(got[0])
    s.api("CONSUMER.INFO.RD.c")
    s.api("CONSUMER.RESET.RD.c", {"seq": 1})
    s.pull("RD", "c", {"batch": 1}, 1)
    s.consumer("RD", "all", ack_policy="all")
    got = s.pull("RD", "all", {"batch": 4}, 4)
    s.ack(got[1])
    s.api("CONSUMER.RESET.RD.all")
    s.pull("RD", "all", {"batch": 9, "no_wait": True}, 5)
    sid = s.client.subscribe("deliver.rd")
    s.consumer("RD", "push", ack_policy="none", deliver_subject="deliver.rd", filter_subject="RD.0")
    s.frames("pushed", [s.client.next_message(sid=sid) for _ in range(3)])
    s.api("CONSUMER.RESET.RD.push", {"seq": 4})
    s.frames("again", [s.client.next_message(sid=sid)])
    s.consumer("RD", "waits", ack_policy="explicit", deliver_policy="by_start_sequence", opt_start_seq=1)
    s.pull("RD", "waits", {"batch": 9, "no_wait": True}, 7)
    s.pull("RD", "waits", {"batch": 9, "expires": 5 * SECOND_NS}, 0)
    s.api("CONSUMER.RESET.RD.waits", {"seq": 6})
    s.frames("waited", [s.client.next_message(sid="1")])


def reset_is_not_audited(s: Session) -> None:
    filled(s, "RN", 1)
    s.consumer("RN", "c", ack_policy="explicit")
    s.api("CONSUMER.RESET.RN.c", b"", {"Nats-Required-Api-Level": "99"})
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.API")
    s.api("CONSUMER.RESET.RN.c")
    quiet(s, "INFO")
    s.frames("audited", [frame for frame in s.client.flush() if frame.sid == sid and b"RESET" in frame.payload])
