"""Atomic batches: publishes with `Nats-Batch-Id` wait here until one of them commits.

    begun ──> growing ──> committed       all messages judged together, then stored in one go, one acknowledgement
                └──> abandoned            a gap, too large, idle too long: an advisory says why

Waiting messages live in memory, within a bound for the whole server; a restart forgets them, as it forgets every
publish that was not acknowledged. Every stored message of a batch says in its headers which one it is, and the last
one that it is that. So what a crash in the middle of a commit left of a batch is known for it, and `recovery_tail`
takes it back when the stream is opened again; what the batch replaced is there, for removals stand behind it.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.base.clock cimport Clock
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.batch_totals cimport BatchTotals
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.headers cimport has_header, header
from millpond.jetstream.host cimport Host
from millpond.jetstream.ingest cimport Ingest
from millpond.jetstream.staging cimport Staging, misfit
from millpond.store.api cimport Store
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.jetstream.api_level import is_beyond_ours
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_text import quote
from millpond.jetstream.waiting import WAIT
from millpond.wire.headers import with_last, without

cdef Py_ssize_t ID_BYTES_MAX = limits.BATCH_ID_BYTES_MAX
cdef uint64_t UINT64_MAX = 0xFFFFFFFFFFFFFFFF

cdef enum:
    MORE_BYTES = 128                 # a message is at most so much longer on disk


cdef class AtomicBatch:
    """One batch under way."""

    def __init__(self):
        self.messages = []


cdef class Part:
    """Read from a publish by `_part_of`."""


cdef Part _part_of(const Msg* msg, bytes batch_id):
    """None without a valid sequence."""
    cdef Part part = Part()
    cdef bytes number = header(msg, b"Nats-Batch-Sequence"), commit = header(msg, b"Nats-Batch-Commit")
    if not number.isdigit() or len(number) > 20 or int(number) > UINT64_MAX:
        return None
    part.batch_id, part.number = batch_id, int(number)
    part.hdr = PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len)
    part.commits = has_header(msg, b"Nats-Batch-Commit")
    part.ends = commit == b"eob"
    part.invalid = part.commits and commit != b"1" and not part.ends
    return part


cdef class AtomicBatches(Timer):
    """Those of one stream; fires when the least recently active one has been idle for too long."""

    def __init__(self, Host host, Store store, Dedupe dedupe, Clock clock, Timers timers, BatchTotals totals):
        self._host, self._store, self._dedupe = host, store, dedupe
        self._clock, self._timers, self._totals = clock, timers, totals
        self._batches = {}

    cdef int take(self, const Msg* msg, Ingest rules) except -1:
        cdef Part part = _part_of(msg, header(msg, b"Nats-Batch-Id"))
        refused = self._misfit(msg, part, rules)
        if refused is None:
            refused = self._refusal(msg, part, rules)
        if refused is not None:
            return self._host.refuse(msg, refused)
        if part.commits:
            return self._commit(msg, part, rules)
        self._keep(msg, part)
        if msg.reply_len and not rules.no_ack:
            self._host.answer(msg.reply, msg.reply_len, b"")
        return 0

    cdef object first_refusal(self, const Msg* msg, Ingest rules):
        cdef Part part = _part_of(msg, header(msg, b"Nats-Batch-Id"))
        refused = self._misfit(msg, part, rules)
        if refused is None and part.batch_id not in self._batches:
            refused = self._refuse_to_begin(part)
        return refused

    cdef object _misfit(self, const Msg* msg, Part part, Ingest rules):
        """What is wrong with it, whatever its batch; `part` None: it does not say where in the batch it is."""
        refused = misfit(self._host, msg, rules)
        if refused is not None:
            return refused
        if not rules.config.allow_atomic:
            return api_error("JSAtomicPublishDisabledErr")
        if len(header(msg, b"Nats-Batch-Id")) > ID_BYTES_MAX:
            return api_error("JSAtomicPublishInvalidBatchIDErr")
        return api_error("JSAtomicPublishMissingSeqErr") if part is None else None

    cdef object _refusal(self, const Msg* msg, Part part, Ingest rules):
        """What ends the batch, or keeps it from beginning; None: this is its next message."""
        cdef AtomicBatch batch = self._batches.get(part.batch_id)
        cdef uint64_t size = part.number - part.ends
        cdef str reason = ""
        if batch is None:
            refused = self._refuse_to_begin(part)
            if refused is not None:
                return refused
            batch = self._batches[part.batch_id] = AtomicBatch()
            self._totals.begin()
        if part.invalid:
            refused = api_error("JSAtomicPublishInvalidBatchCommitErr")
        elif is_beyond_ours(header(msg, b"Nats-Required-Api-Level")):
            refused, reason = api_error("JSRequiredApiLevelErr"), "unsupported"
        elif part.number != <uint64_t>len(batch.messages) + 1 or (part.number == 1 and part.ends):
            refused, reason = api_error("JSAtomicPublishIncompleteBatchErr"), "incomplete"
        elif size > self._totals.messages_max:
            refused, reason = api_error("JSAtomicPublishTooLargeBatchErrF", size=self._totals.messages_max), "large"
        elif not self._totals.may_keep(<int64_t>msg.subject_len + msg.hdr_len + msg.body_len):
            refused, reason = api_error("JSInsufficientResourcesErr"), "large"
        else:
            part.hdr = without(part.hdr, b"Nats-Required-Api-Level")
            return None
        self._end(part.batch_id)
        if reason:
            self._host.batch_abandoned(part.batch_id, reason)
        return refused

    cdef object _refuse_to_begin(self, Part part):
        if part.number != 1:
            if part.number - part.ends > self._totals.messages_max:
                return api_error("JSAtomicPublishTooLargeBatchErrF", size=self._totals.messages_max)
            return api_error("JSAtomicPublishIncompleteBatchErr")
        if len(self._batches) >= self._totals.atomic_per_stream or not self._totals.may_begin():
            return api_error("JSAtomicPublishTooManyInflight")
        return None

    cdef int _keep(self, const Msg* msg, Part part) except -1:
        cdef AtomicBatch batch = self._batches.pop(part.batch_id)
        cdef bytes subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        cdef bytes body = PyBytes_FromStringAndSize(msg.body, msg.body_len)
        cdef int64_t size = len(subject) + len(part.hdr) + len(body)
        self._batches[part.batch_id] = batch               # the most recently active is last
        batch.messages.append((subject, part.hdr, body))
        batch.active_ns = self._clock.mono_ns
        batch.bytes += size
        self._totals.keep(size)
        return self._arm()

    cdef int _end(self, bytes batch_id) except -1:
        cdef AtomicBatch batch = self._batches.pop(batch_id)
        self._totals.end(batch.bytes)
        if not self._batches:
            self._timers.cancel(self)
        return 0

    # --- commit ---

    cdef int _commit(self, const Msg* msg, Part part, Ingest rules) except -1:
        cdef AtomicBatch batch = self._batches[part.batch_id]
        cdef list messages = list(batch.messages)
        cdef bytes subject, hdr, body, tail
        cdef Msg last
        if not part.ends:
            messages.append((PyBytes_FromStringAndSize(msg.subject, msg.subject_len), part.hdr,
                             PyBytes_FromStringAndSize(msg.body, msg.body_len)))
        judged = self._judged(messages, rules)
        if judged is WAIT:
            return 1
        self._end(part.batch_id)
        if not isinstance(judged, list):
            return self._host.refuse(msg, judged)
        if part.ends:
            subject, hdr, body = judged[len(judged) - 1]
            judged[len(judged) - 1] = (subject, with_last(hdr, b"Nats-Batch-Commit", b"1"), body)
        return self._store_all(msg, part, judged, rules)

    cdef int _store_all(self, const Msg* msg, Part part, list judged, Ingest rules) except -1:
        cdef bytes subject, hdr, body, tail
        cdef Msg last
        count = len(judged)
        sizes = [len(subject) + len(hdr) + len(body) + MORE_BYTES for subject, hdr, body in judged]
        try:
            self._store.promise_batch(sum(sizes), max(sizes))
        except (OSError, StoreError):
            return self._host.refuse(msg, api_error("JSStorageResourcesExceededErr"))
        self._store.begin_batch()
        try:
            for number, (subject, hdr, body) in enumerate(judged, 1):
                last = Msg(<const char*>subject, <uint32_t>len(subject), msg.reply,
                           msg.reply_len if number == count else 0, <const char*>hdr, <uint32_t>len(hdr),
                           <const char*>body, <uint32_t>len(body))
                rules.take_as_it_is(&last)
                tail = f',"batch":{quote(part.batch_id)},"count":{count}'.encode()
                if not self._host.accept(&rules.msg, tail):
                    return self._host.refuse(msg, api_error("JSStorageResourcesExceededErr")) if number < count else 0
        finally:
            self._store.end_batch()
        return 0

    cdef object _judged(self, list messages, Ingest rules):
        """What is to be stored, [(subject, header block, body)]; or the ApiError that refuses all; or WAIT."""
        cdef Staging staging = Staging(rules, self._store, self._dedupe)
        cdef bytes subject, hdr, body
        cdef list out = []
        cdef Msg msg
        for subject, hdr, body in messages:
            msg = Msg(<const char*>subject, <uint32_t>len(subject), b"", 0, <const char*>hdr, <uint32_t>len(hdr),
                      <const char*>body, <uint32_t>len(body))
            if header(&msg, b"Nats-Expected-Last-Msg-Id"):
                return api_error("JSAtomicPublishUnsupportedHeaderBatchErr", header="Nats-Expected-Last-Msg-Id")
            refused = staging.check(&msg, self._clock.wall_ns)
            if refused is not None:
                return refused
            out.append((subject, PyBytes_FromStringAndSize(staging.msg.hdr, staging.msg.hdr_len),
                        PyBytes_FromStringAndSize(staging.msg.body, staging.msg.body_len)))
        # The last one, behind all the others.
        refused = self._host.no_room(&staging.msg, <int64_t>staging.bytes - <int64_t>self._store.message_size(
            staging.msg.subject_len, staging.msg.hdr_len, staging.msg.body_len))
        return out if refused is None else refused

    # --- idleness ---

    cdef int _arm(self) except -1:
        cdef AtomicBatch oldest
        for oldest in self._batches.values():
            return self._timers.arm(self, oldest.active_ns + self._totals.idle_ns)
        return 0

    cdef int fire(self, int64_t now_ns) except -1:
        cdef AtomicBatch batch
        for batch_id, batch in list(self._batches.items()):
            if batch.active_ns + self._totals.idle_ns > now_ns:
                break
            self._end(batch_id)
            self._host.batch_abandoned(batch_id, "timeout")
        return self._arm()

    cdef int drop_all(self) except -1:
        for batch_id in list(self._batches):
            self._end(batch_id)
        return 0
