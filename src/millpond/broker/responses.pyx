"""Replies across accounts: each request gets a subject of its own under `_R_`, which ends with its answer.

    requester's account                      exporting account
    request, reply "inbox.1"   ------>       request, reply "_R_.Xk3f2a.<random>"
    "inbox.1"                  <------       whoever answers

An answer of one kind ends it; of the other kind it lives until nothing came for the export's threshold, or an empty
message came. What nobody answers is given up at the threshold, and the oldest when there are too many.
"""

import os
from binascii import b2a_hex

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.timers cimport Timer
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.ids import short_name

cdef int PENDING_MAX = limits.SERVICE_RESPONSES_MAX
cdef int64_t SWEEP_NS = limits.SERVICE_RESPONSES_SWEEP_NS


cdef class Sweep(Timer):
    cdef Responses responses

    cdef int fire(self, int64_t now_ns) except -1:
        return self.responses.sweep(now_ns)


cdef class Pending:
    """One request."""


cdef class Responses(Sink):
    """One account's; it subscribes when the first answer is expected."""

    def __init__(self, Router router, Timers timers, Clock clock):
        cdef Sweep sweep = Sweep()
        sweep.responses = self
        self._sweep = sweep
        self.router, self._timers, self._clock = router, timers, clock
        self._prefix = b"_R_." + short_name()[:6].encode() + b"."
        self.pending = {}

    cdef bytes expect(self, Responses requester, bytes reply, bint once, int64_t threshold_ns):
        cdef Pending pending = Pending()
        cdef bytes subject = self._prefix + b2a_hex(os.urandom(8))
        if self._subscription is None:
            self._subscription = self.router.subscribe(self._prefix + b">", self)
        if not self.pending:
            self._timers.arm(self._sweep, self._clock.mono_ns + SWEEP_NS)
        elif len(self.pending) >= PENDING_MAX:
            del self.pending[next(iter(self.pending))]
        pending.requester, pending.reply, pending.once = requester, reply, once
        pending.threshold_ns = threshold_ns
        pending.deadline_ns = self._clock.mono_ns + threshold_ns
        self.pending[subject] = pending
        return subject

    cdef int forget(self, bytes subject) except -1:
        self.pending.pop(subject, None)
        return 0

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        cdef bytes subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        cdef Pending pending = self.pending.get(subject)
        cdef Msg answer = msg[0]
        cdef bytes reply
        cdef int taken
        if pending is None:
            return 0
        if pending.once:
            self.forget(subject)
        answer.subject, answer.subject_len = PyBytes_AS_STRING(pending.reply), <uint32_t>PyBytes_GET_SIZE(pending.reply)
        if msg.reply_len and not is_ack(msg):
            reply = pending.requester.expect(
                self, PyBytes_FromStringAndSize(msg.reply, msg.reply_len), pending.once, pending.threshold_ns)
            answer.reply, answer.reply_len = PyBytes_AS_STRING(reply), <uint32_t>PyBytes_GET_SIZE(reply)
        taken = pending.requester.router.route(answer.subject, answer.subject_len, &answer, source)
        pending.deadline_ns = self._clock.mono_ns + pending.threshold_ns
        if not taken or msg.hdr_len + msg.body_len == 0:
            self.forget(subject)
        return taken

    cdef int sweep(self, int64_t now_ns) except -1:
        cdef Pending pending
        for subject, pending in list(self.pending.items()):
            if pending.deadline_ns <= now_ns:
                del self.pending[subject]
        if self.pending:
            self._timers.arm(self._sweep, now_ns + SWEEP_NS)
        return 0


cdef bint is_ack(const Msg* msg) noexcept:
    """Its reply is not rewritten: consumers read what is in it."""
    return msg.reply_len >= 8 and memcmp(msg.reply, b"$JS.ACK.", 8) == 0
