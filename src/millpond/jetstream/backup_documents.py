"""The JSON documents of a backup: the stream's state, and a consumer with its state."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.base.errors import BackupError
from millpond.jetstream.config_wire import CONSUMER_FIELDS, consumer_to_json
from millpond.jetstream.consumer import Consumer
from millpond.jetstream.go_json import Shape, encode

STATE: Final = b"state.json"
CONSUMERS: Final = b"consumers/"
CONFIG: Final = Shape("ConsumerConfig", CONSUMER_FIELDS)

SEQ_MAX: Final = 2**62
"""The highest sequence that a restore takes."""

Row = tuple[int, int, int, int]
"""Stream sequence, consumer sequence, time of the last delivery (Unix ns), deliveries."""


class StateDocument(msgspec.Struct, frozen=True):
    """What a restore needs of state.json, or of the state in its request; the time is the request's."""

    first_seq: int = 0
    last_seq: int = 0
    last_ts_ns: int = 0
    consumer_count: int = 0


class Position(msgspec.Struct, frozen=True):
    consumer_seq: int = 0
    stream_seq: int = 0


class PendingAck(msgspec.Struct, frozen=True, rename="pascal"):
    sequence: int = 0
    timestamp: int = 0


class ConsumerStateDocument(msgspec.Struct, frozen=True):
    """Keys of the maps are stream sequences; `redelivered` counts deliveries beyond the first."""

    delivered: Position = Position()
    ack_floor: Position = Position()
    pending: dict[int, PendingAck] | None = None
    redelivered: dict[int, int] | None = None


class ConsumerDocument(msgspec.Struct, frozen=True):
    config: msgspec.Raw = msgspec.Raw(b"null")
    state: ConsumerStateDocument | None = None


def read_state(content: bytes) -> StateDocument:
    """Raises BackupError."""
    try:
        state = msgspec.json.decode(content, type=StateDocument)
        if not (0 <= state.first_seq <= SEQ_MAX and 0 <= state.last_seq <= SEQ_MAX):
            raise ValueError("sequence out of range")
        return state
    except (msgspec.MsgspecError, ValueError) as error:
        raise BackupError(f"error in state.json: {error}") from None


def read_consumer(name: str, content: bytes) -> ConsumerDocument:
    """Both parts are there. Raises BackupError."""
    try:
        document = msgspec.json.decode(content, type=ConsumerDocument)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BackupError(f'failed to decode consumer "{name}" state: {error}') from None
    if bytes(document.config) == b"null":
        raise BackupError(f'consumer "{name}" is missing config')
    if document.state is None:
        raise BackupError(f'consumer "{name}" is missing state')
    return document


def rows_of(state: ConsumerStateDocument) -> tuple[list[Row], list[int]]:
    """Pending messages by ascending sequence, and those that were delivered as often as allowed.

    Raises BackupError for what no consumer can be like.
    """
    delivered, floor = state.delivered, state.ack_floor
    if not 0 <= floor.consumer_seq <= delivered.consumer_seq <= SEQ_MAX:
        raise BackupError("bad ack floor for consumer")
    if not 0 <= floor.stream_seq <= delivered.stream_seq <= SEQ_MAX:
        raise BackupError("bad ack floor for stream")
    pending, again = state.pending or {}, state.redelivered or {}
    rows: list[Row] = []
    for seq, ack in sorted(pending.items()):
        if not floor.stream_seq < seq <= delivered.stream_seq:
            raise BackupError(f"bad pending entry, sequence [{seq}] out of range")
        if not floor.consumer_seq < ack.sequence <= delivered.consumer_seq:
            raise BackupError(f"bad pending entry, consumer sequence [{ack.sequence}] out of range")
        rows.append((seq, ack.sequence, max(0, min(ack.timestamp, 2**63 - 1)), _deliveries(again.get(seq, 0))))
    exhausted = sorted(seq for seq in again if seq not in pending and 0 < seq <= delivered.stream_seq)
    return rows, exhausted


def _deliveries(redelivered: int) -> int:
    return 1 + max(0, min(redelivered, 2**30))


def consumer_document(consumer: Consumer, last_seq: int) -> bytes:
    """As it is now, as far as the snapshot's last sequence."""
    state = consumer.state
    info = state.info()
    pending = {
        str(seq): {"Sequence": consumer_seq, "Timestamp": ts_ns}
        for seq, consumer_seq, ts_ns, _ in state.pending()
        if seq <= last_seq
    }
    redelivered = {str(seq): count - 1 for seq, _, _, count in state.pending() if count > 1 and seq <= last_seq}
    most = max(1, consumer.config.max_deliver - 1)
    redelivered.update({str(seq): most for seq in state.exhausted() if seq <= last_seq})
    positions = {name: _position(info[name], last_seq) for name in ("delivered", "ack_floor")}
    document: dict[str, Any] = {"config": consumer_to_json(consumer.config, managed=False), "state": positions}
    if pending:
        document["state"]["pending"] = pending
    if redelivered:
        document["state"]["redelivered"] = redelivered
    return encode(document)


def _position(position: dict[str, int], last_seq: int) -> dict[str, int]:
    return {"consumer_seq": position["consumer_seq"], "stream_seq": min(position["stream_seq"], last_seq)}
