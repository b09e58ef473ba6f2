"""Replies across accounts: each request gets a subject of its own under `_R_`, which ends with its answer.

    requester's account                      exporting account
    request, reply "inbox.1"   ------>       request, reply "_R_.Xk3f2a.<random>"
    "inbox.1"                  <------       whoever answers

An answer of one kind ends it; of the other kind it lives until nothing came for the export's threshold, or an empty
message came. What nobody answers is given up at the threshold.

What awaited answers hold counts for who asks: a share of the server's budget for each account, a share of that for
each of its clients. Who is over it gives up its own oldest request, never anybody else's.
"""

import os
from binascii import b2a_hex
from itertools import islice

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp
from millpond.base.budget cimport Budget
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.timers cimport Timer
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.ids import short_name
from millpond.wire.headers import with_last, without

cdef enum:
    PENDING_BYTES = 700          # one, with its subject, its places in tables and tries; measured with 20,000 of them

cdef int64_t SWEEP_NS = limits.SERVICE_RESPONSES_SWEEP_NS
cdef int SWEPT_PER_STEP = limits.SERVICE_RESPONSES_PER_STEP
cdef int ANSWERED = 200, LOST = 408, TIMEOUT = 504        # as service_latency has them


cdef class Sweep(Timer):
    cdef Responses responses

    cdef int fire(self, int64_t now_ns) except -1:
        return self.responses.sweep(now_ns)


cdef class Asker:
    """It is there as long as it waits for something."""


cdef class Pending(Sink):
    """One request. Its subscription tells which one an answer is to: a stream's message shows another subject."""

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        cdef Msg answer = msg[0]
        cdef bytes subject = sub.subject, reply
        cdef int taken
        if self.measured is not None:
            _tell_answer(self, source)
        if self.once:
            self.responder.forget(subject)
        if msg.subject[:msg.subject_len] == subject:
            answer.subject, answer.subject_len = PyBytes_AS_STRING(self.reply), <uint32_t>PyBytes_GET_SIZE(self.reply)
        if msg.reply_len and not is_ack(msg):
            reply = self.requester.expect(
                self.responder, source, PyBytes_FromStringAndSize(msg.reply, msg.reply_len), self.once, self.threshold_ns,
                None)
            answer.reply, answer.reply_len = PyBytes_AS_STRING(reply), <uint32_t>PyBytes_GET_SIZE(reply)
        taken = self.requester.router.route(
            PyBytes_AS_STRING(self.reply), <uint32_t>PyBytes_GET_SIZE(self.reply), &answer, source)
        self.deadline_ns = self.responder._clock.mono_ns + self.threshold_ns
        if not taken or msg.hdr_len + msg.body_len == 0:
            self.responder.forget(subject)
        return taken

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        """Its way ends here, for its trace: what is beyond is the requester's."""
        cdef Msg answer = msg[0]
        cdef bytes block
        trace.imported(self.requester.account, PyBytes_FromStringAndSize(msg.subject, msg.subject_len), self.reply)
        if trace.only:
            return 0
        block = self.requester.hide_destination(PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), False)
        answer.hdr, answer.hdr_len = PyBytes_AS_STRING(block), <uint32_t>PyBytes_GET_SIZE(block)
        return self.deliver(sub, &answer, source)


cdef class Responses:
    """One account's. Each answer has a subscription of its own, so that interest in it can be seen to end."""

    def __init__(self, str account, Router router, Timers timers, Clock clock, Budget answers):
        cdef Sweep sweep = Sweep()
        sweep.responses = self
        self._sweep = sweep
        self.account = account
        self.router, self._timers, self._clock = router, timers, clock
        self._prefix = b"_R_." + short_name()[:6].encode() + b"."
        self.pending = {}
        self.held = Budget("answers", 0, answers)
        self.held.keep(True)
        self._askers = {}

    cdef bytes expect(self, Responses requester, Sink asker, bytes reply, bint once, int64_t threshold_ns,
                      object measured):
        cdef Pending pending = Pending()
        cdef bytes subject = self._subject()
        if not self.pending:
            self._timers.arm(self._sweep, self._clock.mono_ns + SWEEP_NS)
        pending.responder, pending.requester, pending.reply, pending.once = self, requester, reply, once
        pending.threshold_ns = threshold_ns
        pending.deadline_ns = self._clock.mono_ns + threshold_ns
        pending.subscription = self.router.subscribe(subject, pending)
        self.pending[subject] = pending
        pending.size = PENDING_BYTES + PyBytes_GET_SIZE(reply)
        if measured is not None:
            pending.measured = measured
            pending.listens = _is_awaited(pending)
            pending.size += <int64_t>measured.size
        pending.asker = requester._asker(asker)
        pending.asker.pending[subject] = pending
        pending.asker.held.charge(pending.size)
        requester._make_room(pending.asker)
        return subject

    cdef bytes hide_destination(self, bytes block, bint traced):
        from millpond.broker.message_trace import DESTINATION, disabled

        if not traced:
            return disabled(block)
        return with_last(without(block, DESTINATION), DESTINATION, self._subject())

    cdef bytes _subject(self):
        return self._prefix + b2a_hex(os.urandom(8))

    cdef Asker _asker(self, Sink source):
        cdef uint64_t cid = getattr(source, "cid", 0)        # the server itself has none
        cdef Asker found = self._askers.get(cid)
        if found is None:
            found = self._askers[cid] = Asker()
            found.account, found.cid, found.pending = self, cid, {}
            found.held = Budget("answers", 0, self.held)
        return found

    cdef int _make_room(self, Asker asker) except -1:
        """Its own oldest requests go, and those of whoever has most in its account; but not the newest."""
        cdef Asker other
        while asker.held.is_over_share() and len(asker.pending) > 1:
            _give_up_oldest(asker)
        while self.held.is_over_share() and len(self._askers) > 1:
            other = max(self._askers.values(), key=_bytes_held)
            if other is asker and len(asker.pending) == 1:
                other = next(one for one in self._askers.values() if one is not asker)
            _give_up_oldest(other)
        return 0

    cdef int forget(self, bytes subject) except -1:
        cdef Pending pending = self.pending.pop(subject, None)
        cdef Asker asker
        if pending is not None:
            self.router.unsubscribe(pending.subscription)
            asker = pending.asker
            del asker.pending[subject]
            asker.held.release(pending.size)
            if not asker.pending:
                del asker.account._askers[asker.cid]
        return 0

    cdef int end(self, bytes subject, int status) except -1:
        cdef Pending pending = self.pending.get(subject)
        self.forget(subject)
        if pending is not None and pending.measured is not None:
            measured, pending.measured = pending.measured, None
            measured.end(status, None, self._clock.read_mono_ns())
        return 0

    cdef int sweep(self, int64_t now_ns) except -1:
        """A share of them at a time; those that go on take their turn again behind the others."""
        cdef Pending pending
        if self._to_sweep <= 0:
            self._to_sweep = len(self.pending)
        for subject in list(islice(self.pending, min(self._to_sweep, SWEPT_PER_STEP))):
            self._to_sweep -= 1
            pending = self.pending.get(subject)
            if pending is None:
                continue
            if pending.deadline_ns <= now_ns:
                self.end(subject, TIMEOUT)
            elif pending.measured is not None and pending.listens and not _is_awaited(pending):
                self.end(subject, LOST)
            else:
                del self.pending[subject]
                self.pending[subject] = pending
        if self.pending:
            self._timers.arm(self._sweep, now_ns if self._to_sweep > 0 else now_ns + SWEEP_NS)
        return 0

    def close(self):
        """Its account takes no part in any exchange any more: nothing is awaited, of it or by it."""
        cdef Asker asker
        cdef Pending pending
        for subject in list(self.pending):
            self.forget(subject)
        for asker in list(self._askers.values()):
            for subject, pending in list(asker.pending.items()):
                pending.responder.forget(subject)
        self._timers.cancel(self._sweep)
        self.held.keep(False)


def _bytes_held(Asker asker):
    return asker.held.used


cdef int _give_up_oldest(Asker asker) except -1:
    subject, pending = next(iter(asker.pending.items()))
    return (<Pending>pending).responder.end(subject, TIMEOUT)


cdef bint _is_awaited(Pending pending) except -1:
    """Does anybody listen for the answer?"""
    cdef bytes reply = pending.reply
    return pending.requester.router.has_interest(PyBytes_AS_STRING(reply), <uint32_t>PyBytes_GET_SIZE(reply))


cdef int _tell_answer(Pending pending, Sink source) except -1:
    """It is told before the answer is passed on, and only once. The server itself is not measured."""
    measured, pending.measured = pending.measured, None
    if pending.listens and not _is_awaited(pending):
        measured.end(LOST, None, pending.responder._clock.read_mono_ns())
    elif hasattr(source, "info"):
        measured.end(ANSWERED, source, pending.responder._clock.read_mono_ns())
    return 0


cdef bint is_ack(const Msg* msg) noexcept:
    """Its reply is not rewritten: consumers read what is in it."""
    return msg.reply_len >= 8 and memcmp(msg.reply, b"$JS.ACK.", 8) == 0
