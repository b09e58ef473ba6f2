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


cdef class Pending(Sink):
    """One request. Its subscription tells which one an answer is to: a stream's message shows another subject."""

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        cdef Msg answer = msg[0]
        cdef bytes subject = sub.subject, reply
        cdef int taken
        if self.once:
            self.responder.forget(subject)
        if msg.subject[:msg.subject_len] == subject:
            answer.subject, answer.subject_len = PyBytes_AS_STRING(self.reply), <uint32_t>PyBytes_GET_SIZE(self.reply)
        if msg.reply_len and not is_ack(msg):
            reply = self.requester.expect(
                self.responder, PyBytes_FromStringAndSize(msg.reply, msg.reply_len), self.once, self.threshold_ns)
            answer.reply, answer.reply_len = PyBytes_AS_STRING(reply), <uint32_t>PyBytes_GET_SIZE(reply)
        taken = self.requester.router.route(
            PyBytes_AS_STRING(self.reply), <uint32_t>PyBytes_GET_SIZE(self.reply), &answer, source)
        self.deadline_ns = self.responder._clock.mono_ns + self.threshold_ns
        if not taken or msg.hdr_len + msg.body_len == 0:
            self.responder.forget(subject)
        return taken


cdef class Responses:
    """One account's. Each answer has a subscription of its own, so that interest in it can be seen to end."""

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
        if not self.pending:
            self._timers.arm(self._sweep, self._clock.mono_ns + SWEEP_NS)
        elif len(self.pending) >= PENDING_MAX:
            self.forget(next(iter(self.pending)))
        pending.responder, pending.requester, pending.reply, pending.once = self, requester, reply, once
        pending.threshold_ns = threshold_ns
        pending.deadline_ns = self._clock.mono_ns + threshold_ns
        pending.subscription = self.router.subscribe(subject, pending)
        self.pending[subject] = pending
        return subject

    cdef int forget(self, bytes subject) except -1:
        cdef Pending pending = self.pending.pop(subject, None)
        if pending is not None:
            self.router.unsubscribe(pending.subscription)
        return 0

    cdef int sweep(self, int64_t now_ns) except -1:
        cdef Pending pending
        for subject, pending in list(self.pending.items()):
            if pending.deadline_ns <= now_ns:
                self.forget(subject)
        if self.pending:
            self._timers.arm(self._sweep, now_ns + SWEEP_NS)
        return 0


cdef bint is_ack(const Msg* msg) noexcept:
    """Its reply is not rewritten: consumers read what is in it."""
    return msg.reply_len >= 8 and memcmp(msg.reply, b"$JS.ACK.", 8) == 0
