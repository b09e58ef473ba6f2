"""What a stream does with publishes: judge, store, tell the consumers.

A publish is judged and appended during intake; stream_answers says when it is answered. Consumers hear of a message
when it is appended (for their counts) and are made ready when it is committed. Whoever must wait (for a cold read, or
for a rollup under way) waits in a room, and all who come later behind them; a share of them is judged in each turn.

Messages leave by a limit, a purge, an acknowledgement, or expire: then a marker may take their place, and comes first.
"""

import logging

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.broker.sink cimport Sink, Subscription
from millpond.jetstream.fast_batches cimport is_fast
from millpond.jetstream.follower cimport Follower
from millpond.jetstream.headers cimport header, with_value, without_status
from millpond.jetstream.host cimport LATER, REFUSED, STORED, Produced
from millpond.jetstream.ingest cimport ROLLUP_NONE, ROLLUP_SUBJECT
from millpond.jetstream.markers cimport expired_block, is_marker
from millpond.jetstream.retention cimport INTEREST, LIMITS
from millpond.jetstream.purging cimport Purge, is_short
from millpond.jetstream.stream_answers cimport Answering
from millpond.store.api cimport FOUND, NEVER_EXPIRES, Filters, Load, Record
from millpond.wire.headers cimport has_nats_key
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.jetstream.error_table import api_error
from millpond.jetstream.pub_ack import refusal
from millpond.jetstream.waiting import WAIT
from millpond.store.space import passes
from millpond.wire.headers import without

log = logging.getLogger("millpond")

cdef uint32_t ADMISSIONS_PER_STEP = limits.ADMISSIONS_PER_STEP
cdef uint32_t EXPIRE_BUDGET = 1024
cdef int64_t EXPIRE_AGAIN_NS = 1_000_000
cdef int64_t NS_PER_S = 1_000_000_000
cdef int64_t TIME_MAX_NS = 0x7FFFFFFFFFFFFFFF
cdef str DUPLICATE = "msgid is duplicate"
cdef bytes TOO_MANY = b"NATS/1.0 429 Too Many Requests\r\n\r\n"


cdef class StreamCore(Answering):
    """The part of a stream that works in every turn; use `Stream`."""

    # --- publishes ---

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        if self._stopped:
            return 0
        if self.traced is not None:
            self._take_within(msg)
        else:
            self._take(msg)
        return 1

    cdef int _take_within(self, const Msg* msg) except -1:
        """What one that is traced has caused is no part of its way: an answer to it may come in here."""
        outer, self.traced = self.traced, None
        try:
            return self._take(msg)
        finally:
            self.traced = outer

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        cdef Msg changed = msg[0]
        cdef bytes block
        if self._stopped:
            return 0
        from millpond.broker.message_trace import DESTINATION, DISABLED

        outer, self.traced = self.traced, trace.into_stream(self.name)
        try:
            if not trace.only:                           # whoever gets it later is no part of its way
                block = with_value(PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), DESTINATION, DISABLED)
                changed.hdr, changed.hdr_len = <const char*>block, <uint32_t>len(block)
            if not self._take(&changed):
                self._end_trace(&changed)
        finally:
            self.traced = outer
        return 1

    cdef int _end_trace(self, const Msg* msg) except -1:
        cdef Msg renamed = msg[0]
        cdef bytes subject = self._rename(&renamed)      # keeps what the message views
        traced, self.traced = self.traced, None
        traced.finish(PyBytes_FromStringAndSize(renamed.subject, renamed.subject_len),
                      not self._retention.takes(renamed.subject, renamed.subject_len))
        return 0

    cdef int _considered(self, const Msg* msg) except -1:
        """1: as _judged(). Nothing happens but that a refusal is answered: the sender wants a trace only."""
        error = None
        if is_fast(msg.reply, msg.reply_len):
            error = self._fast.first_refusal(msg, self._ingest)
        elif header(msg, b"Nats-Batch-Id"):
            error = self._atomic.first_refusal(msg, self._ingest)
        if error is None:
            error = self._ingest.judge(msg, self.store, self._dedupe, self.clock.wall_ns)
        if error is WAIT:
            return 1
        if error is not None:
            return self.refuse(msg, error)
        if self._ingest.duplicate_of:
            return self._answer_duplicate(msg)
        if self._room.has_no_room(0):
            return self.refuse(msg, api_error("JSInsufficientResourcesErr"))
        return 0

    cdef int _take(self, const Msg* msg) except -1:
        """1: it waits."""
        cdef const char* reply = msg.reply
        cdef bytes kept
        cdef Msg changed
        if self.failure:
            return self.refuse(msg, api_error("JSStorageResourcesExceededErr"))
        if self._is_full(msg):
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

    cdef bint _is_full(self, const Msg* msg) noexcept:
        cdef uint64_t size = msg.subject_len + msg.reply_len + msg.hdr_len + msg.body_len
        size += self.store.position - self.store.committed_position + self._waiting.bytes
        return size > self._inflight_bytes or self._answers.count() + self._waiting.count() >= self._inflight_messages

    cdef int _turn_away(self, const Msg* msg) except -1:
        """Too much is under way. Who asked for an answer gets it now, not in its place behind all that."""
        if self.traced is not None:
            self.tell_trace(msg, api_error("JSStreamTooManyRequests"))
        if msg.reply_len:
            body = refusal(self.name, api_error("JSStreamTooManyRequests"))
            self.router.publish(PyBytes_FromStringAndSize(msg.reply, msg.reply_len), body, b"", TOO_MANY)
        elif not self._overrun:
            self._overrun = True
            log.warning("stream %s drops publishes that want no acknowledgement: too many are under way", self.name)
        return 0

    cdef int _arrive(self, const Msg* msg) except -1:
        """In the order of arrival: nobody overtakes who waits."""
        if self._waiting.count() or self._removals.holding or self._judged(msg):
            self._waiting.add(msg, self.traced)
            return 1
        return 0

    cdef int _admit_waiting(self) except -1:
        """1: there are more than one turn admits."""
        cdef Msg msg
        cdef uint32_t left = ADMISSIONS_PER_STEP
        if self._admitting:
            return 0                     # the store failed under the first one: who admits it goes on, and refuses the rest
        self._admitting, outer = True, self.traced
        try:
            while self._waiting.count() and (not self._removals.holding or self.failure):
                if left == 0:
                    return 1
                left -= 1
                msg = self._waiting.first()
                self.traced = self._waiting.traced()
                if self.failure:
                    self.refuse(&msg, api_error("JSStorageResourcesExceededErr"))
                elif self._judged(&msg):
                    return 0
                if self._stopped:        # a request to delete it was where its answer went
                    return 0
                if self.traced is not None:
                    self._end_trace(&msg)
                self._waiting.leave()
        finally:
            self._admitting, self.traced = False, outer
        return 0

    cdef int _judged(self, const Msg* original) except -1:
        """1: it must wait for a cold read, and nothing has happened."""
        cdef Msg renamed = original[0]
        cdef const Msg* msg = &renamed
        cdef bytes subject = self._rename(&renamed)      # keeps what the message views
        if self.traced is not None and self.traced.only:
            return self._considered(msg)
        if is_fast(msg.reply, msg.reply_len):
            return self._fast.take(msg, self._ingest)
        if msg.hdr_len and has_nats_key(msg.hdr, msg.hdr_len) and header(msg, b"Nats-Batch-Id"):
            return self._atomic.take(msg, self._ingest)
        error = self._ingest.judge(msg, self.store, self._dedupe, self.clock.wall_ns)
        if error is WAIT:
            return 1
        if error is not None:
            return self.refuse(msg, error)
        if self._ingest.duplicate_of:
            return self._answer_duplicate(msg)
        msg = &self._ingest.msg
        if self._room.has_no_room(0):
            return self.refuse(msg, api_error("JSInsufficientResourcesErr"))
        if not self._retention.takes(msg.subject, msg.subject_len):
            self._skip(msg, b"")
            return 0
        error = self._no_share(msg, 0) or self._ingest.admit(self.store)
        if error is not None:
            return self.refuse(msg, error)
        self._store(msg, self._ingest.total.tail() if self._ingest.total is not None else b"", self.clock.wall_ns)
        return 0

    cdef int _answer_duplicate(self, const Msg* msg) except -1:
        if self.traced is not None:
            self.traced.refused(DUPLICATE)
        if msg.reply_len and not self._ingest.no_ack:
            self._answers.push(self.store.position, self._ingest.duplicate_of, True, msg.reply, msg.reply_len, b"")
            self.answer_later()
        return 0

    cdef object no_room(self, const Msg* msg, int64_t before):
        if self._room.has_no_room(before):
            return api_error("JSInsufficientResourcesErr")
        return self._no_share(msg, before)

    cdef object _no_share(self, const Msg* msg, int64_t before):
        cdef int64_t size = before + <int64_t>self.store.message_size(msg.subject_len, msg.hdr_len, msg.body_len)
        return api_error("JSAccountResourcesExceededErr") if self._share.has_no_room(size) else None

    cdef bytes _rename(self, Msg* msg):
        """The subject under which it is stored; the caller keeps it as long as the message."""
        cdef bytes subject
        if self._transform is None:
            return None
        subject = self._transform.match(PyBytes_FromStringAndSize(msg.subject, msg.subject_len))
        if subject is not None:
            msg.subject, msg.subject_len = <const char*>subject, <uint32_t>len(subject)
        return subject

    cdef Produced produce(self, const Msg* original) except *:
        cdef Msg msg = original[0]
        cdef bytes subject
        if self.failure or self._ingest.check_size(&msg) is not None:
            return REFUSED
        if self._removals.holding or self._is_full(&msg) or self.pump.refusing or self.no_room(&msg, 0) is not None:
            return LATER
        subject = self._rename(&msg)                     # keeps what the message views
        self._ingest.take_as_it_is(&msg)
        if self.accept(&self._ingest.msg, b""):
            return STORED
        return REFUSED if self.failure else LATER        # the disk is full

    cdef int end_schedule(self, bytes subject) except -1:
        self._clear(Filters([subject]), 0)
        return self.answer_later()

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
        self._appending = True
        try:
            stream_seq = self._append(msg, ts_ns, self._expires_ns(self._ingest.ttl_s, ts_ns))
            self._roll_up(msg, 1)
        except (OSError, StoreError) as error:
            return self._lose(msg, error)
        finally:
            self._appending = False
        self._stored(msg, stream_seq, tail)
        return stream_seq

    cdef uint64_t _lose(self, const Msg* msg, object error) except? 0:
        """The store did not take the message; on a full disk it takes others later, and this one is answered at once."""
        refused = api_error("JSStorageResourcesExceededErr")
        if not passes(error):
            self.store_failed(str(error))
            self.refuse(msg, refused)
            return 0
        if self.traced is not None:
            self.tell_trace(msg, refused)
        if msg.reply_len and not self._ingest.no_ack:
            self.router.publish(PyBytes_FromStringAndSize(msg.reply, msg.reply_len), refusal(self.name, refused))
        return 0

    cdef int _stored(self, const Msg* msg, uint64_t stream_seq, bytes tail) except -1:
        self._dedupe.last_msg_id = self._ingest.msg_id
        if self._ingest.msg_id:
            self._dedupe.add(self._ingest.msg_id, stream_seq, self.clock.wall_ns)
        if msg.reply_len and not self._ingest.no_ack:
            self.acknowledge(msg.reply, msg.reply_len, stream_seq, False, tail)
        return self.answer_later()

    cdef uint64_t _append(self, const Msg* msg, int64_t ts_ns, int64_t expires_ns) except 0:
        """Stores the message and lets the consumers know."""
        cdef uint64_t last_seq = 0, stream_seq
        if self._republisher is not None:
            last_seq = self.store.last_for(msg.subject, msg.subject_len)
        cdef int64_t size = <int64_t>self.store.message_size(msg.subject_len, msg.hdr_len, msg.body_len)
        stream_seq = self.store.append(msg, ts_ns, expires_ns)
        self._room.took(size)
        self._share.took(size)
        if self.store.over_limits:
            self._lower()
        if self._republisher is not None:
            copy = self._republisher.copy(msg, stream_seq, self.store.state.last_ts_ns, last_seq)
            if copy is not None:
                self._answers.push_copy(self.store.position, copy[0], copy[1], copy[2])
        self._told_seq = stream_seq
        if self._schedules is not None:
            self._schedules.appended(stream_seq, msg, self.store.state.last_ts_ns)
        if self.store.exists(stream_seq):
            self._listeners.appended(stream_seq, msg.subject, msg.subject_len)
        if self.store.limits.age_max_ns and not self._expiry.deadline_ns:
            self._arm_expiry(ts_ns + self.store.limits.age_max_ns)     # first: its own end may be later than its age
        if expires_ns > 0:
            self._arm_expiry(expires_ns)
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
            self._clear(Filters([PyBytes_FromStringAndSize(msg.subject, msg.subject_len)] if one_subject else []), keep)
        if self._ingest.ends:
            self._clear(Filters([self._ingest.ends]), 0)
        return 0

    cdef int _clear(self, Filters filters, uint64_t keep) except -1:
        """At once, or in steps that publishes wait for."""
        if is_short(self.store, filters):
            self._purge(filters, 0, keep)
        else:
            self._removals.add(Purge(self.store, filters, self.store.state.last_seq + 1 - keep, 0, holds=True))
        return 0

    cdef int _lower(self) except -1:
        """What is over the limits goes in steps."""
        if not self._lowering.under_way:
            self._lowering.under_way = True
            self._removals.add(self._lowering)
        return 0

    cdef uint64_t _purge(self, Filters filters, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t purged
        self.purging = True
        try:
            purged = self.store.purge(filters, below_seq, keep)
        finally:
            self.purging = False
        self.purged(filters, 0 if filters.all else self.store.next_match(1, filters))
        return purged

    cdef int purged(self, Filters filters, uint64_t first_left) except -1:
        cdef Follower consumer
        for consumer in self._listeners.followers:
            consumer.purged(filters, first_left)
        return 0

    cdef int batch_abandoned(self, bytes batch_id, str reason) except -1:
        if self._abandoned is not None:
            self._abandoned(self.name, batch_id, reason)
        return 0

    # --- messages of other streams ---

    cdef object take_sourced(self, const Msg* original, int64_t ts_ns, bint mirrored):
        cdef Msg renamed = original[0]
        cdef const Msg* msg = &renamed
        cdef bytes subject
        assert not original.reply_len, "nobody waits for an answer"
        if self.failure:
            return api_error("JSStorageResourcesExceededErr")
        if self._removals.holding:
            return WAIT
        error = api_error("JSInsufficientResourcesErr") if self.pump.refusing else self.no_room(msg, 0)
        if error is not None:
            return error
        subject = self._rename(&renamed)           # keeps what the message views
        error = self._ingest.judge_sourced(msg, self.store, self._dedupe, self.clock.wall_ns, mirrored)
        if error is not None or self._ingest.duplicate_of:
            return error
        msg = &self._ingest.msg
        if not self._retention.takes(msg.subject, msg.subject_len):
            return None if self._skip(msg, b"") else api_error("JSStorageResourcesExceededErr")
        error = self._ingest.admit(self.store)
        if error is not None:
            return error
        taken = self._store(msg, b"", ts_ns if mirrored else self.clock.wall_ns)
        return None if taken else api_error("JSStorageResourcesExceededErr")

    cdef bint waits(self) noexcept:
        return self._removals.holding and not self.failure

    cdef int pass_over(self, uint64_t stream_seq) except -1:
        if stream_seq <= self.store.state.last_seq:
            return 0
        if self.store.state.messages:
            self.store.skip_through(stream_seq, 0)
        else:
            self.store.set_first_seq(stream_seq + 1)
        self._told_seq = self.store.state.last_seq
        return self.answer_later()

    # --- what the store reports ---

    cdef int store_removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len,
                           uint64_t size) except -1:
        self._room.took(-<int64_t>size)
        self._share.took(-<int64_t>size)
        return self._listeners.removed(stream_seq, subject, subject_len) if stream_seq <= self._told_seq else 0

    cdef int store_warm(self) except -1:
        if self._stopped:
            return 0
        if self.go_on():
            self.go_on_later()
        if self._schedules is not None:
            self._schedules.warm()
        self._gets.warm()
        return self._listeners.warm()

    cdef int go_on(self) except -1:
        cdef list callbacks = self._on_warm
        cdef int more
        if self._stopped:
            return 0
        self._on_warm = []
        more = self._admit_waiting()
        for callback in callbacks:
            callback()
        self.turn.wake()                           # for the answers
        return more

    cdef int go_on_later(self) except -1:
        self.pump.add(self._going_on)
        return self.turn.wake()

    cdef int store_damaged(self, uint64_t stream_seq, str reason) except -1:
        if self.tell_damage is not None:
            self.tell_damage(self.name, [(stream_seq, stream_seq)], [reason])
        return 0

    cdef int store_failed(self, str reason) except -1:
        if self.failure:
            return 0
        self.failure = reason or "write failed"
        log.error("stream %s cannot write and refuses publishes until a restart: %s", self.name, self.failure)
        self._answers.refuse_all(refusal(self.name, api_error("JSStorageResourcesExceededErr")))
        self._give_up_owed()
        if self._admit_waiting():
            self.go_on_later()
        self.answer_later()
        self.turn.wake()
        return 0

    cpdef int on_warm(self, object callback) except -1:
        self._on_warm.append(callback)
        return 0

    # --- consumers ---

    cdef int follows(self, Follower consumer, Filters filters, bint stray) except -1:
        return self._listeners.place(consumer, filters, stray)

    cdef int expect(self, Follower consumer, uint64_t stream_seq) except -1:
        return self._listeners.expect(consumer, stream_seq)

    cdef int await_read(self, Follower consumer) except -1:
        return self._listeners.await_read(consumer)

    # --- retention ---

    cdef int settled(self, uint64_t stream_seq) except -1:
        if self._retention.policy != LIMITS and self._retention.settled(stream_seq):
            self.answer_later()
        return 0

    cdef int settled_through(self, uint64_t first_seq, uint64_t last_seq) except -1:
        if self._retention.policy != LIMITS:
            self._retention.review(first_seq, last_seq, False)
            self.answer_later()
        return 0

    cdef int passed_over(self, uint64_t stream_seq) except -1:
        if self._retention.policy == INTEREST and stream_seq > 1:
            self._retention.review(1, stream_seq - 1, False)
            self.answer_later()
        return 0

    cpdef int review(self, uint64_t from_seq, bint unwanted) except -1:
        self._retention.review(from_seq, self.store.state.last_seq, unwanted)
        return self.answer_later()

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
        self._appending, self._marker_refused = True, False
        try:
            due_ns = self.store.expire(self.clock.wall_ns, min(EXPIRE_BUDGET, self.store.removals_max))
        finally:
            self._appending = False
        if due_ns:
            self._arm_expiry(max(due_ns, self.clock.wall_ns + NS_PER_S // 4) if self._marker_refused else due_ns)
        return self.answer_later()

    cdef bint store_expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *:
        """The last message of its subject is about to expire: a marker comes before it goes (ADR-43)."""
        cdef Record record
        cdef Load found = self.store.load(stream_seq, &record)
        cdef bytes name, block
        cdef Msg marker
        if found != FOUND or self._removals.holding:
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
            if not passes(error):
                self.store_failed(str(error))
            self._marker_refused = True
            return False
        self._dedupe.last_msg_id = b""
        return True
