"""Counters: `Nats-Incr: +5` becomes a message that holds the subject's total, `{"val":"17"}`.

Totals are whole numbers of any size; they are read from the subject's last message, so nothing of them is kept
in memory and a restart changes nothing. A header with the totals of sources (`Nats-Counter-Sources`) is carried
from message to message.
"""

import json
import re

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t

from millpond.jetstream.headers cimport header, with_value
from millpond.store.api cimport COLD, FOUND, Load, Record, Store
from millpond.wire.headers cimport find
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import encode
from millpond.jetstream.waiting import WAIT

INVALID = object()
cdef object _INCREMENT = re.compile(rb"[+-]?[0-9]+")
cdef object _VALUE = re.compile(r"[+-]?[0-9]+")
cdef Py_ssize_t DIGITS_MAX = limits.COUNTER_DIGITS_MAX
cdef object TOO_LARGE = 10 ** limits.COUNTER_DIGITS_MAX
cdef tuple EXPECTATIONS = (
    b"Nats-Rollup", b"Nats-Expected-Stream", b"Nats-Expected-Last-Msg-Id",
    b"Nats-Expected-Last-Subject-Sequence-Subject", b"Nats-Expected-Last-Sequence",
    b"Nats-Expected-Last-Subject-Sequence",
)


cdef class Total:
    """Made by `total_of` and `counted`."""

    cdef bytes tail(self):
        return b',"val":"%d"' % self.value


cdef object increment_of(const Msg* msg):
    cdef bytes written = header(msg, b"Nats-Incr") if msg.hdr_len else b""
    if not written:
        return None
    if _INCREMENT.fullmatch(written) is None or len(written) > DIGITS_MAX:
        return INVALID
    return int(written)


cdef object check_increment(const Msg* msg, object increment, bint counts):
    if increment is INVALID:
        return api_error("JSMessageIncrInvalidErr")
    if increment is None:
        return None
    if not counts:
        return api_error("JSMessageIncrDisabledErr")
    if msg.body_len:
        return api_error("JSMessageIncrPayloadErr")
    for key in EXPECTATIONS:
        if header(msg, key):
            return api_error("JSMessageIncrInvalidErr")
    return None


cdef object total_of(Store store, const char* subject, uint32_t subject_len):
    cdef Record record
    cdef uint64_t last = store.last_for(subject, subject_len)
    cdef Load found
    cdef Total total = Total()
    total.value, total.sources = 0, None
    if not last:
        return total
    found = store.load(last, &record)
    if found == COLD:
        return WAIT
    if found == FOUND:
        try:
            total.value = _value(PyBytes_FromStringAndSize(record.body, record.body_len))
            total.sources = _sources(&record)
        except ValueError:
            return api_error("JSMessageCounterBrokenErr")
    return total


cdef object _value(bytes body):
    """The number that a counter's body holds. Raises ValueError."""
    content = json.loads(body)
    value = content.get("val", "") if isinstance(content, dict) else None
    if not isinstance(value, str) or len(value) > DIGITS_MAX:
        raise ValueError("a counter's body is {\"val\":\"<number>\"}")
    return int(value) if _VALUE.fullmatch(value) else 0


cdef object _sources(const Record* record):
    """Raises ValueError when the header is there and not understood."""
    cdef const char* at = NULL
    cdef uint32_t size = 0
    if not find(record.hdr, record.hdr_len, b"Nats-Counter-Sources", 20, &at, &size) or not size:
        return None
    sources = json.loads(PyBytes_FromStringAndSize(at, size))
    if not isinstance(sources, dict):
        raise ValueError("counter sources are an object")
    for totals in sources.values():
        if not isinstance(totals, dict) or not all(isinstance(value, str) for value in totals.values()):
            raise ValueError("counter sources are objects of texts")
    return sources


cdef object sourced(const Msg* msg, Total before, bytes header):
    """A source brings its own total: what it has grown by since it was last heard of is added."""
    cdef list words = header.decode("utf-8", "surrogateescape").split(" ")
    origin = words[0]
    subject = words[4] if len(words) > 4 else msg.subject[:msg.subject_len].decode("utf-8", "surrogateescape")
    try:
        total = _value(PyBytes_FromStringAndSize(msg.body, msg.body_len))
    except ValueError:
        return api_error("JSMessageCounterBrokenErr")
    sources = {stream: dict(totals) for stream, totals in (before.sources or {}).items()}
    totals = sources.setdefault(origin, {})
    known = totals.get(subject, "")
    previous = int(known) if _VALUE.fullmatch(known) and len(known) <= DIGITS_MAX else 0
    totals[subject] = str(total)
    return total - previous, sources


cdef object counted(const Msg* msg, Total before, object increment, object sources=None):
    cdef Total after = Total()
    cdef bytes block
    after.value, after.sources = before.value + increment, before.sources if sources is None else sources
    if abs(after.value) >= TOO_LARGE:
        return api_error("JSMessageIncrInvalidErr")
    block = PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len)
    if sources is not None:
        block = with_value(block, b"Nats-Incr", b"%d" % increment)
    if after.sources:
        in_order = {stream: dict(sorted(totals.items())) for stream, totals in sorted(after.sources.items())}
        block = with_value(block, b"Nats-Counter-Sources", encode(in_order))
    return after, block, b'{"val":"%d"}' % after.value
