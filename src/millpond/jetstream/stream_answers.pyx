"""What a stream owes, and when it gives it: nothing before the commit, and everything in order.

Answers go into a ring with the log position that must be committed first; refusals keep their place among them. They
leave in the commit phase or when the store reports a commit, a share in each turn. Acknowledgements of messages, of
the control plane's changes, and callbacks for those who wait come behind them.
"""

from functools import partial

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport UINT32_MAX, UINT64_MAX, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.jetstream.fast_batches cimport is_fast
from millpond.jetstream.headers cimport has_header
from millpond.jetstream.host cimport Host
from millpond.jetstream.pub_ack cimport ACKNOWLEDGED, ENCODED_BYTES_MAX, NOTHING, Answer, Kind
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.jetstream.error_table import api_error
from millpond.jetstream.pub_ack import refusal, refused_removal

cdef enum:
    REPLY_BYTES = 256            # a longer reply subject takes the slow way

cdef uint32_t ANSWERS_PER_STEP = limits.ANSWERS_PER_STEP


cdef class Answering(Host):
    """The part of a stream that answers; use `Stream`."""

    cdef int refuse(self, const Msg* msg, object error) except -1:
        if self.traced is not None:
            self.tell_trace(msg, error)
        if msg.reply_len and not self._ingest.no_ack:
            self._answers.push(0 if self.failure else self.store.position, 0, False, msg.reply, msg.reply_len,
                               refusal(self.name, error))
            self.answer_later()
        return 0

    cdef int tell_trace(self, const Msg* msg, object error) except -1:
        from millpond.jetstream.trace_errors import tell     # most servers are never asked

        block = PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len)
        tell(self.traced, error, block, is_fast(msg.reply, msg.reply_len) or has_header(msg, b"Nats-Batch-Id"))
        return 0

    cdef int acknowledge(self, const char* reply, uint32_t reply_len, uint64_t stream_seq, bint duplicate,
                         bytes tail) except -1:
        if self._removals.holding:
            self._removals.owe(partial(self._acknowledge_now, PyBytes_FromStringAndSize(reply, reply_len), stream_seq,
                                       duplicate, tail))
            return 0
        self._answers.push(self.store.position, stream_seq, duplicate, reply, reply_len, b"", tail)
        return self.answer_later()

    def _acknowledge_now(self, bytes reply, uint64_t stream_seq, bint duplicate, bytes tail):
        """What its message replaces is gone, unless the store has failed meanwhile."""
        cdef bytes body = b""
        if self.failure:
            body = refusal(self.name, api_error("JSStorageResourcesExceededErr"))
        self._answers.push(0 if self.failure else self.store.position, stream_seq, duplicate, <const char*>reply,
                           <uint32_t>len(reply), body, tail)
        self.answer_later()

    cdef int answer(self, const char* reply, uint32_t reply_len, bytes body) except -1:
        if not body:
            self.router.publish(PyBytes_FromStringAndSize(reply, reply_len), body)
            return 0
        self._answers.push(self.store.position, 0, False, reply, reply_len, body)
        return self.answer_later()

    cdef int answer_later(self) except -1:
        if not self._settling_queued:
            self._settling_queued = True
            self.commit_phase.add(self)
        return 0

    cdef int tell_after_commit(self, bytes subject, bytes hdr) except -1:
        self._answers.push_copy(0 if self.failure else self.store.position, subject, hdr, b"")
        return self.answer_later()

    # --- commits ---

    cdef int settle(self) except -1:
        self._settling_queued = False
        if self._stopped:
            return 0
        if self._commit_store is not None:
            self._releasing = True                 # below, once
            try:
                self._commit_store()
            finally:
                self._releasing = False
        return self._release()

    cdef int store_committed(self) except -1:
        if self._appending:
            return self.answer_later()
        return self._release()

    cdef int _release(self) except -1:
        if self._releasing or self._stopped:
            return 0
        self._releasing = True
        try:
            if self._release_answers(ANSWERS_PER_STEP):
                self.answer_later()
                self.turn.wake()
            else:
                self._owed.release(self.store.committed_position,
                                   self.journal.committed_position if self.journal is not None else 0, self.router)
                self._run_after_commit()
        finally:
            self._releasing = False
        if self.store.committed_seq > self._ready_seq:
            self._ready_seq = self.store.committed_seq
            self._listeners.committed(self._ready_seq)
        return 0

    cdef bint _release_answers(self, uint32_t most) except *:
        """True: more may go than that many."""
        cdef char[ENCODED_BYTES_MAX] text
        cdef char[REPLY_BYTES] near
        cdef Answer* answer
        cdef bytes reply, hdr, body
        cdef Kind kind
        cdef uint32_t size, reply_len
        while True:
            answer = self._answers.first()
            if answer == NULL or (answer.position > self.store.committed_position and not self._leaving):
                return False
            if most == 0:
                return True
            most -= 1
            # The answer leaves the ring first: its receiver may publish to this stream again.
            kind, reply_len, size = answer.kind, answer.reply_len, 0
            if kind == ACKNOWLEDGED and answer.body_len == 0:
                size = self._answers.encode(answer, text)
                if reply_len <= REPLY_BYTES:
                    memcpy(near, self._answers.texts(), reply_len)
                    self._answers.pop()
                    self._send(near, reply_len, text, size)
                    continue
            reply = self._answers.texts()[:reply_len]
            hdr = self._answers.texts()[reply_len:reply_len + answer.hdr_len]
            body = text[:size] if size else self._answers.body()
            self._answers.pop()
            if kind != NOTHING:
                self.router.publish(reply, body, b"", hdr)

    cdef int _send(self, const char* reply, uint32_t reply_len, const char* body, uint32_t body_len) except -1:
        cdef Msg msg
        msg.subject, msg.subject_len = reply, reply_len
        msg.reply, msg.reply_len = reply, 0
        msg.hdr, msg.hdr_len = reply, 0
        msg.body, msg.body_len = body, body_len
        self.router.route(reply, reply_len, &msg, None)
        return 0

    cdef int _leave(self) except -1:
        self._leaving = True
        self._release_answers(UINT32_MAX)
        if self.failure:
            self._owed.give_up(self.store.committed_position,
                               self.journal.committed_position if self.journal is not None else 0, self.router, self.failure)
        self._owed.release(UINT64_MAX, UINT64_MAX, self.router)
        return self._run_after_commit()

    cpdef int after_commit(self, object callback) except -1:
        if self._stopped:
            callback(self.failure)
            return 0
        cdef uint64_t journaled = self.journal.log.position if self.journal is not None else 0
        self._after.append((self.store.position, journaled, callback))
        self.answer_later()
        self.turn.wake()
        return 0

    cdef int reply_after_commit(self, const char* reply, uint32_t reply_len, bint journaled, const char* body=b"",
                                uint32_t body_len=0) except -1:
        cdef uint64_t gathered = self.journal.log.position if journaled else 0
        cdef str failure
        if self.failure or (journaled and self.journal.failure):
            failure = self._lost(self.store.position, gathered)
            if failure:
                if body_len:                       # a request; an acknowledgement is not confirmed
                    self.router.publish(PyBytes_FromStringAndSize(reply, reply_len),
                                        refused_removal(PyBytes_FromStringAndSize(body, body_len), failure))
                return 0
        self._owed.push(self.store.position, gathered, reply, reply_len, body, body_len)
        return self.answer_later()

    cdef int _run_after_commit(self) except -1:
        cdef str failure
        while self._after:
            position, journaled, callback = self._after[0]
            failure = self._lost(position, journaled)
            if not failure and (position > self.store.committed_position or (
                    self.journal is not None and journaled > self.journal.committed_position)):
                if not self._leaving:
                    return 0
                failure = self.failure             # it goes with its stream; of one that failed nothing is certain
            self._after.pop(0)
            callback(failure)
        return 0

    cdef str _lost(self, uint64_t position, uint64_t journaled):
        """Why what reaches up to there is never committed; "": it is, or will be."""
        if self.failure and position > self.store.committed_position:
            return self.failure
        if self.journal is not None and self.journal.failure and journaled > self.journal.committed_position:
            return self.journal.failure
        return ""

    cdef int _give_up_owed(self) except -1:
        """The disk has failed: confirmations that wait for it never come, requests are refused."""
        cdef uint64_t stored = self.store.committed_position if self.failure else UINT64_MAX
        cdef uint64_t journaled = UINT64_MAX
        cdef str failure = self.failure
        if self.journal is not None and self.journal.failure:
            journaled, failure = self.journal.committed_position, failure or self.journal.failure
        self._owed.give_up(stored, journaled, self.router, failure)
        return 0
