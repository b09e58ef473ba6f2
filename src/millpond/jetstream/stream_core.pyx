"""What a stream does with publishes: judge, store, answer when committed, tell the consumers.

A publish is judged and appended during intake. Its answer goes into a ring with the log position that must
be committed first, and leaves in the commit phase or when the store reports a commit; so do refusals, which
keep their place among the answers. Consumers hear of a message when it is appended (for their counts) and
are made ready when it is committed.

Messages leave when a limit, a purge or an acknowledgement says so, and when they expire: then a marker may take
their place, and comes first.
"""

import logging

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport UINT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.broker.sink cimport Sink, Subscription
from millpond.jetstream.fast_batches cimport is_fast
from millpond.jetstream.follower cimport Follower
from millpond.jetstream.headers cimport header, without_status
from millpond.jetstream.host cimport Host
from millpond.jetstream.ingest cimport ROLLUP_NONE, ROLLUP_SUBJECT
from millpond.jetstream.markers cimport expired_block, is_marker
from millpond.jetstream.pub_ack cimport ACKNOWLEDGED, ENCODED_BYTES_MAX, NOTHING, Answer, Kind
from millpond.jetstream.retention cimport INTEREST, LIMITS
from millpond.jetstream.purging cimport Purge
from millpond.store.api cimport FOUND, NEVER_EXPIRES, Filters, Load, Record
from millpond.wire.headers cimport has_nats_key
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.jetstream.error_table import api_error
from millpond.jetstream.pub_ack import refusal
from millpond.jetstream.waiting import WAIT
from millpond.wire.headers import with_last, without

log = logging.getLogger("millpond")

cdef enum:
    REPLY_BYTES = 256            # a longer reply subject takes the slow way

cdef size_t INFLIGHT_MESSAGES_MAX = limits.INFLIGHT_MESSAGES_PER_STREAM_MAX
cdef uint64_t INFLIGHT_BYTES_MAX = limits.INFLIGHT_BYTES_PER_STREAM_MAX
cdef uint32_t EXPIRE_BUDGET = 1024
cdef int64_t EXPIRE_AGAIN_NS = 1_000_000
cdef int64_t NS_PER_S = 1_000_000_000
cdef int64_t TIME_MAX_NS = 0x7FFFFFFFFFFFFFFF
cdef bytes TOO_MANY = b"NATS/1.0 429 Too Many Requests\r\n\r\n"


cdef class StreamCore(Host):
    """The part of a stream that works in every turn; use `Stream`."""

    # --- publishes ---

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        if self._stopped:
            return 0
        self._take(msg)
        return 1

    cdef int _take(self, const Msg* msg) except -1:
        cdef const char* reply = msg.reply
        cdef bytes kept
        cdef Msg changed
        if self.failure:
            return self.refuse(msg, api_error("JSStorageResourcesExceededErr"))
        if self._is_full():
            return self._turn_away(msg)
        self._overrun = False
        if self.pump.refusing:
            return self.refuse(msg, api_error("JSInsufficientResourcesErr"))
        if msg.hdr_len > 8 and (msg.hdr[8] != c"\r" or has_nats_key(msg.hdr, msg.hdr_len)):
            # Servers put this header on; clients may not have it stored.
            kept = without(without_status(PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len)), b"Nats-Request-Info")
            changed = msg[0]
            changed.hdr, changed.hdr_len = <const char*>kept, <uint32_t>len(kept)
            return self._arrive(&changed)
        return self._arrive(msg)

    cdef bint _is_full(self) noexcept:
        return (self._answers.count() + self._waiting.count() >= INFLIGHT_MESSAGES_MAX
                or self.store.position - self.store.committed_position + self._waiting.bytes >= INFLIGHT_BYTES_MAX)

    cdef int _turn_away(self, const Msg* msg) except -1:
        """Too much is under way. Who asked for an answer gets it now, not in its place behind all that."""
        if msg.reply_len:
            body = refusal(self.name, api_error("JSStreamTooManyRequests"))
            self.router.publish(PyBytes_FromStringAndSize(msg.reply, msg.reply_len), body, b"", TOO_MANY)
        elif not self._overrun:
            self._overrun = True
            log.warning("stream %s drops publishes that want no acknowledgement: too many are under way", self.name)
        return 0

    cdef int _arrive(self, const Msg* msg) except -1:
        """In the order of arrival: nobody overtakes who waits for a cold read."""
        if self._waiting.count() or self._judged(msg):
            return self._waiting.add(msg)
        return 0

    cdef int _admit_waiting(self) except -1:
        cdef Msg msg
        if self._admitting:
            return 0                     # the store failed under the first one: who admits it goes on, and refuses the rest
        self._admitting = True
        try:
            while self._waiting.count():
                msg = self._waiting.first()
                if self.failure:
                    self.refuse(&msg, api_error("JSStorageResourcesExceededErr"))
                elif self._judged(&msg):
                    return 0
                self._waiting.leave()
        finally:
            self._admitting = False
        return 0

    cdef int _judged(self, const Msg* original) except -1:
        """1: it must wait for a cold read, and nothing has happened."""
        cdef Msg renamed = original[0]
        cdef const Msg* msg = &renamed
        cdef bytes subject = self._rename(&renamed)      # keeps what the message views
        if is_fast(msg.reply, msg.reply_len):
            return self._fast.take(msg, self._ingest)
        if msg.hdr_len and has_nats_key(msg.hdr, msg.hdr_len) and header(msg, b"Nats-Batch-Id"):
            return self._atomic.take(msg, self._ingest)
        error = self._ingest.judge(msg, self.store, self._dedupe, self._last_msg_id, self.clock.wall_ns)
        if error is WAIT:
            return 1
        if error is not None:
            return self.refuse(msg, error)
        if self._ingest.duplicate_of:
            if msg.reply_len and not self._ingest.no_ack:
                self._answers.push(self.store.position, self._ingest.duplicate_of, True, msg.reply, msg.reply_len, b"")
                self._answer_later()
            return 0
        msg = &self._ingest.msg
        error = self._no_room(msg)
        if error is not None:
            return self.refuse(msg, error)
        if not self._retention.takes(msg.subject, msg.subject_len):
            self._skip(msg, b"")
            return 0
        error = self._ingest.admit(msg, self.store)
        if error is not None:
            return self.refuse(msg, error)
        self._store(msg, self._ingest.total.tail() if self._ingest.total is not None else b"", self.clock.wall_ns)
        return 0

    cdef object _no_room(self, const Msg* msg):
        cdef int64_t size = <int64_t>msg.subject_len + msg.hdr_len + msg.body_len + self._share.message_bytes
        if self._share.has_no_room(self.clock.wall_ns, size):
            return api_error("JSAccountResourcesExceededErr")
        return api_error("JSInsufficientResourcesErr") if self._room.has_no_room(self.clock.wall_ns, 0) else None

    cdef bytes _rename(self, Msg* msg):
        """The subject under which it is stored; the caller keeps it as long as the message."""
        cdef bytes subject
        if self._transform is None:
            return None
        subject = self._transform.match(PyBytes_FromStringAndSize(msg.subject, msg.subject_len))
        if subject is not None:
            msg.subject, msg.subject_len = <const char*>subject, <uint32_t>len(subject)
        return subject

    cdef uint64_t produce(self, const Msg* original) except? 0:
        cdef Msg msg = original[0]
        cdef bytes subject
        if self.failure or self.pump.refusing or self._no_room(original) is not None:
            return 0
        if self._ingest.check_size(&msg) is not None:
            return 0
        subject = self._rename(&msg)                     # keeps what the message views
        self._ingest.take_as_it_is(&msg)
        return self.accept(&msg, b"")

    cdef int end_schedule(self, bytes subject) except -1:
        self._purge(Filters([subject]), 0, 0)
        return self._answer_later()

    cdef uint64_t accept(self, const Msg* msg, bytes tail) except? 0:
        if self._retention.takes(msg.subject, msg.subject_len):
            return self._store(msg, tail, self.clock.wall_ns)
        return self._skip(msg, tail)

    cdef uint64_t _skip(self, const Msg* msg, bytes tail) except? 0:
        """Nobody is interested: the message costs a sequence and is not stored."""
        cdef uint64_t stream_seq
        try:
            stream_seq = self.store.skip(self.clock.wall_ns)
            self._told_seq = stream_seq
            self._roll_up(msg, 0)
        except (OSError, StoreError) as error:
            return self._lose(msg, error)
        self._stored(msg, stream_seq, tail)
        return stream_seq

    cdef uint64_t _store(self, const Msg* msg, bytes tail, int64_t ts_ns) except? 0:
        cdef uint64_t stream_seq
        cdef bytes kept
        cdef Msg changed = msg[0]
        if self._ingest.ttl_raised:
            kept = without(PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), b"Nats-TTL")
            kept = with_last(kept, b"Nats-TTL", str(self._ingest.ttl_s).encode())
            changed.hdr, changed.hdr_len = <const char*>kept, <uint32_t>len(kept)
        self._appending = True
        try:
            stream_seq = self._append(&changed, ts_ns, self._expires_ns(self._ingest.ttl_s, ts_ns))
            self._roll_up(msg, 1)
            assert self._ingest.rollup == ROLLUP_NONE or self.store.exists(stream_seq), "a rollup keeps its own message"
        except (OSError, StoreError) as error:
            return self._lose(msg, error)
        finally:
            self._appending = False
        self._stored(msg, stream_seq, tail)
        return stream_seq

    cdef uint64_t _lose(self, const Msg* msg, object error) except? 0:
        """The store did not take the message."""
        self.store_failed(str(error))
        self.refuse(msg, api_error("JSStorageResourcesExceededErr"))
        return 0

    cdef int _stored(self, const Msg* msg, uint64_t stream_seq, bytes tail) except -1:
        self._last_msg_id = self._ingest.msg_id
        if self._last_msg_id:
            self._dedupe.add(self._last_msg_id, stream_seq, self.clock.wall_ns)
        if msg.reply_len and not self._ingest.no_ack:
            self._answers.push(self.store.position, stream_seq, False, msg.reply, msg.reply_len, b"", tail)
        return self._answer_later()

    cdef uint64_t _append(self, const Msg* msg, int64_t ts_ns, int64_t expires_ns) except 0:
        """Stores the message and lets the consumers know."""
        cdef Follower consumer
        cdef uint64_t last_seq = 0, stream_seq
        if self._republisher is not None:
            last_seq = self.store.last_for(msg.subject, msg.subject_len)
        cdef int64_t held = <int64_t>self.store.state.bytes
        stream_seq = self.store.append(msg, ts_ns, expires_ns)
        self._room.took(<int64_t>self.store.state.bytes - held)
        self._share.took(<int64_t>self.store.state.bytes - held)
        if self._republisher is not None:
            copy = self._republisher.copy(msg, stream_seq, self.store.state.last_ts_ns, last_seq)
            if copy is not None:
                self._answers.push_copy(self.store.position, copy[0], copy[1], copy[2])
        self._told_seq = stream_seq
        if self._schedules is not None:
            self._schedules.appended(stream_seq, msg, self.store.state.last_ts_ns)
        if self.store.exists(stream_seq):
            for consumer in self._listeners:
                consumer.appended(stream_seq, msg.subject, msg.subject_len)
        if expires_ns > 0:
            self._arm_expiry(expires_ns)
        if self.store.limits.age_max_ns and not self._expiry.deadline_ns:
            self._arm_expiry(ts_ns + self.store.limits.age_max_ns)
        return stream_seq

    cdef int64_t _expires_ns(self, int64_t ttl_s, int64_t ts_ns) noexcept:
        """What the store calls the end of a message of this time that is stored now."""
        cdef int64_t now_ns = max(ts_ns, self.store.state.last_ts_ns)
        if ttl_s <= 0:
            return NEVER_EXPIRES if ttl_s else 0
        return now_ns + ttl_s * NS_PER_S if ttl_s < (TIME_MAX_NS - now_ns) // NS_PER_S else TIME_MAX_NS

    cdef int _roll_up(self, const Msg* msg, uint64_t keep) except -1:
        """Purges what the message asks for; of a rollup `keep` 1 is left: the message that was stored just now."""
        cdef bint one_subject = self._ingest.rollup == ROLLUP_SUBJECT
        if self._ingest.rollup != ROLLUP_NONE:
            self._purge(Filters([PyBytes_FromStringAndSize(msg.subject, msg.subject_len)] if one_subject else []),
                        0, keep)
        if self._ingest.ends:
            self._purge(Filters([self._ingest.ends]), 0, 0)
        return 0

    cdef uint64_t _purge(self, Filters filters, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF:
        cdef Follower consumer
        cdef uint64_t purged
        self.purging = True
        try:
            purged = self.store.purge(filters, below_seq, keep)
        finally:
            self.purging = False
        for consumer in self._listeners:
            consumer.purged(filters)
        return purged

    cdef int refuse(self, const Msg* msg, object error) except -1:
        if msg.reply_len and not self._ingest.no_ack:
            self._answers.push(0 if self.failure else self.store.position, 0, False, msg.reply, msg.reply_len,
                               refusal(self.name, error))
            self._answer_later()
        return 0

    cdef int acknowledge(self, const char* reply, uint32_t reply_len, uint64_t stream_seq, bint duplicate,
                         bytes tail) except -1:
        self._answers.push(self.store.position, stream_seq, duplicate, reply, reply_len, b"", tail)
        return self._answer_later()

    cdef int answer(self, const char* reply, uint32_t reply_len, bytes body) except -1:
        if not body:
            self.router.publish(PyBytes_FromStringAndSize(reply, reply_len), body)
            return 0
        self._answers.push(self.store.position, 0, False, reply, reply_len, body)
        return self._answer_later()

    cdef int batch_abandoned(self, bytes batch_id, str reason) except -1:
        if self._abandoned is not None:
            self._abandoned(self.name, batch_id, reason)
        return 0

    cdef int _answer_later(self) except -1:
        if not self._settling_queued:
            self._settling_queued = True
            self.commit_phase.add(self)
        return 0

    cdef int purge_on(self) except -1:
        cdef Follower consumer
        cdef Purge purge
        cdef bint more
        if not self._purges or self._stopped:
            return 0
        if not isinstance(self._purges[0], Purge):
            self._purges.pop(0)()
            return 1 if self._purges else 0
        purge = self._purges[0]
        self.purging = True
        try:
            more = purge.step(self.store)
        except (OSError, StoreError, MemoryError) as error:
            self._purges.pop(0)
            if purge.failed is not None:
                purge.failed(str(error))
            if not isinstance(error, MemoryError):
                self.store_failed(str(error))
            return 1
        finally:
            self.purging = False
        if not more:
            self._purges.pop(0)
            for consumer in self._listeners:
                consumer.purged(purge.filters)
            purge.done(purge.purged)
        self._answer_later()
        return 1 if self._purges else 0

    # --- messages of other streams ---

    cdef object take_sourced(self, const Msg* original, int64_t ts_ns, bint mirrored):
        cdef Msg renamed = original[0]
        cdef const Msg* msg = &renamed
        cdef bytes subject
        assert not original.reply_len, "nobody waits for an answer"
        if self.failure:
            return api_error("JSStorageResourcesExceededErr")
        error = api_error("JSInsufficientResourcesErr") if self.pump.refusing else self._no_room(msg)
        if error is not None:
            return error
        subject = self._rename(&renamed)           # keeps what the message views
        error = self._ingest.judge_sourced(msg, self.store, self._dedupe, self.clock.wall_ns, mirrored)
        if error is not None or self._ingest.duplicate_of:
            return error
        msg = &self._ingest.msg
        if not self._retention.takes(msg.subject, msg.subject_len):
            self._skip(msg, b"")
            return None
        error = self._ingest.admit(msg, self.store)
        if error is not None:
            return error
        self._store(msg, b"", ts_ns if mirrored else self.clock.wall_ns)
        return api_error("JSStorageResourcesExceededErr") if self.failure else None

    cdef int pass_over(self, uint64_t stream_seq) except -1:
        if stream_seq <= self.store.state.last_seq:
            return 0
        if self.store.state.messages:
            self.store.skip_through(stream_seq, 0)
        else:
            self.store.set_first_seq(stream_seq + 1)
        self._told_seq = self.store.state.last_seq
        return self._answer_later()

    cdef int tell_after_commit(self, bytes subject, bytes hdr) except -1:
        self._answers.push_copy(0 if self.failure else self.store.position, subject, hdr, b"")
        return self._answer_later()

    # --- commits ---

    cdef int settle(self) except -1:
        self._settling_queued = False
        if self._stopped:
            return 0
        if self._commit_store is not None:
            self._commit_store()
        return self._release()

    cdef int store_committed(self) except -1:
        if self._appending:
            return self._answer_later()
        return self._release()

    cdef int _release(self) except -1:
        cdef Follower consumer
        if self._releasing or self._stopped:
            return 0
        self._releasing = True
        try:
            self._release_answers()
            self._owed.release(self.store.committed_position,
                               self.journal.committed_position if self.journal is not None else 0, self.router)
            self._run_after_commit()
        finally:
            self._releasing = False
        if self.store.committed_seq > self._ready_seq:
            self._ready_seq = self.store.committed_seq
            for consumer in self._listeners:
                consumer.ready()
        return 0

    cdef int _release_answers(self) except -1:
        cdef char[ENCODED_BYTES_MAX] text
        cdef char[REPLY_BYTES] near
        cdef Answer* answer
        cdef bytes reply, hdr, body
        cdef Kind kind
        cdef uint32_t size, reply_len
        while True:
            answer = self._answers.first()
            if answer == NULL or (answer.position > self.store.committed_position and not self._leaving):
                return 0
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
        self._release_answers()
        self._owed.release(UINT64_MAX, UINT64_MAX, self.router)
        return self._run_after_commit()

    cpdef int after_commit(self, object callback) except -1:
        if self._stopped:
            callback()
            return 0
        cdef uint64_t journaled = self.journal.log.position if self.journal is not None else 0
        self._after.append((self.store.position, journaled, callback))
        self._answer_later()
        self.turn.wake()
        return 0

    cdef int reply_after_commit(self, const char* reply, uint32_t reply_len, bint journaled) except -1:
        self._owed.push(self.store.position, self.journal.log.position if journaled else 0, reply, reply_len)
        return self._answer_later()

    cdef int _run_after_commit(self) except -1:
        while self._after:
            position, journaled, callback = self._after[0]
            if position > self.store.committed_position and not self._leaving:
                return 0
            if self.journal is not None and journaled > self.journal.committed_position and not self._leaving:
                return 0
            self._after.pop(0)
            callback()
        return 0

    # --- what the store reports ---

    cdef int store_removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        cdef Follower consumer
        if stream_seq > self._told_seq:
            return 0
        for consumer in self._listeners:
            consumer.removed(stream_seq, subject, subject_len)
        return 0

    cdef int store_warm(self) except -1:
        cdef Follower consumer
        cdef list callbacks = self._on_warm
        if self._stopped:
            return 0
        self._on_warm = []
        self._admit_waiting()
        for callback in callbacks:
            callback()
        if self._schedules is not None:
            self._schedules.warm()
        self._gets.warm()
        for consumer in self._listeners:
            consumer.ready()
        return 0

    cdef int store_failed(self, str reason) except -1:
        if self.failure:
            return 0
        self.failure = reason or "write failed"
        log.error("stream %s cannot write and refuses publishes until a restart: %s", self.name, self.failure)
        self._answers.refuse_all(refusal(self.name, api_error("JSStorageResourcesExceededErr")))
        self._admit_waiting()
        self._answer_later()
        self.turn.wake()
        return 0

    cpdef int on_warm(self, object callback) except -1:
        self._on_warm.append(callback)
        return 0

    # --- retention ---

    cdef int settled(self, uint64_t stream_seq) except -1:
        if self._retention.policy != LIMITS and self._retention.settled(stream_seq):
            self._answer_later()
        return 0

    cdef int settled_through(self, uint64_t first_seq, uint64_t last_seq) except -1:
        if self._retention.policy != LIMITS:
            self._retention.review(first_seq, last_seq, False)
            self._answer_later()
        return 0

    cdef int passed_over(self, uint64_t stream_seq) except -1:
        if self._retention.policy == INTEREST and stream_seq > 1:
            self._retention.review(1, stream_seq - 1, False)
            self._answer_later()
        return 0

    cpdef int review(self, uint64_t from_seq, bint unwanted) except -1:
        self._retention.review(from_seq, self.store.state.last_seq, unwanted)
        return self._answer_later()

    # --- expiry ---

    cdef int _arm_expiry(self, int64_t due_ns) except -1:
        """Expire at this wall time, or earlier when that is planned already."""
        cdef int64_t deadline_ns = self.clock.mono_ns + max(due_ns - self.clock.wall_ns, EXPIRE_AGAIN_NS)
        if deadline_ns > 0 and not 0 < self._expiry.deadline_ns <= deadline_ns:
            self.turn.timers.arm(self._expiry, deadline_ns)
        return 0

    cdef int expire(self) except -1:
        cdef int64_t due_ns
        if self._stopped or self.failure:
            return 0
        self._appending = True
        try:
            due_ns = self.store.expire(self.clock.wall_ns, EXPIRE_BUDGET)
        finally:
            self._appending = False
        if due_ns:
            self._arm_expiry(due_ns)
        return self._answer_later()

    cdef bint store_expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *:
        """The last message of its subject is about to expire: a marker comes before it goes (ADR-43)."""
        cdef Record record
        cdef Load found = self.store.load(stream_seq, &record)
        cdef bytes name, block
        cdef Msg marker
        if found != FOUND:
            return False
        if record.hdr_len and is_marker(record.hdr, record.hdr_len):
            return True
        name = PyBytes_FromStringAndSize(subject, subject_len)
        block = expired_block(self.config.subject_delete_marker_ttl)
        marker = Msg(<const char*>name, subject_len, b"", 0, <const char*>block, <uint32_t>len(block), b"", 0)
        try:
            self._append(&marker, self.clock.wall_ns,
                         self._expires_ns(self.config.subject_delete_marker_ttl // NS_PER_S, self.clock.wall_ns))
        except (OSError, StoreError) as error:
            self.store_failed(str(error))
            return False
        self._last_msg_id = b""
        return True
