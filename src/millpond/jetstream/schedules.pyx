"""The schedules of one stream: messages that produce messages when their time comes.

    scanning ──> waiting ──> firing ──> waiting ...

A schedule is a stored message, the last one of its subject; here are only its sequence and when it falls due next,
16 bytes in a heap. Entries of messages that are gone are dropped in rotation, a few with each new one. A firing that the
stream has no room for goes back into the heap, and is tried again in a while.

What is in the heap can be found again in the store. Every firing stores a message in the same stream. So no schedule
fired after the stream's last message came: after a restart each one is due at its first time after that moment,
and fires once if that is over. Opening a stream is followed by a scan in steps, and nothing fires before its
end: a message behind a schedule may say that it has fired already (`Nats-Schedule-Next: purge`), although a crash
left it in place.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.base.clock cimport Clock
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.headers cimport has_header
from millpond.jetstream.host cimport LATER, Host, Produced
from millpond.jetstream.schedules_rules cimport ended_by, speaks_of_schedules
from millpond.store.api cimport COLD, FOUND, MISSING, Load, Record, Store
from millpond.store.expiry_heap cimport Due, ExpiryHeap
from millpond.wire.message cimport Msg

from millpond.base import limits

cdef int64_t FIRE_DELAY_NS = limits.SCHEDULE_FIRE_DELAY_NS
cdef int64_t RETRY_NS = limits.SCHEDULE_RETRY_NS
cdef int64_t TIME_MAX_NS = 0x7FFFFFFFFFFFFFFF
cdef Py_ssize_t READY_MAX = limits.SCHEDULES_FIRED_AT_ONCE_MAX

cdef enum:
    SCANNED_PER_STEP = 1024
    FIRED_PER_STEP = 64
    SWEPT_PER_PUSH = 4
    NEXT_STEP_NS = 1_000_000


cdef class Schedules(Timer):
    """Made when the stream is open; recover() starts it."""

    def __init__(self, Host host, Store store, Clock clock, Timers timers):
        self._host, self._store, self._clock, self._timers = host, store, clock, timers
        from millpond.jetstream import schedules_message

        self._text = schedules_message
        self._due = ExpiryHeap()
        self._ready = []

    cdef int recover(self) except -1:
        self._scan_at, self._scan_end = self._store.next_live(1), self._store.state.last_seq
        self._fired_until_ns = self._store.state.last_ts_ns
        return self._arm_in(NEXT_STEP_NS) if self._scan_at else 0

    cdef int stop(self) except -1:
        self._stopped = True
        return self._timers.cancel(self)

    cdef uint64_t memory_bytes(self) noexcept:
        return self._due.memory_bytes()

    # --- when ---

    cdef int appended(self, uint64_t stream_seq, const Msg* msg, int64_t ts_ns) except -1:
        if not msg.hdr_len or not has_header(msg, b"Nats-Schedule"):
            return 0
        self._push(stream_seq, self._text.due_at_first(PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), ts_ns))
        return self._arm()

    cdef int _push(self, uint64_t stream_seq, int64_t due_ns) except -1:
        cdef int left = SWEPT_PER_PUSH
        if due_ns <= 0:
            return 0
        while left and self._due.count:
            left -= 1
            if not self._store.exists(self._due.look()):
                self._due.drop_looked_at()
        return self._due.push(stream_seq, due_ns)

    cdef int _arm(self) except -1:
        if self._due.count and not self._scan_at and not self._ready:
            return self._arm_in(max(self._due.first().expires_ns - self._clock.wall_ns, FIRE_DELAY_NS))
        return 0

    cdef int _arm_in(self, int64_t delay_ns) except -1:
        """In that time, or earlier when that is planned already."""
        cdef int64_t deadline_ns = self._clock.mono_ns + delay_ns
        if not self._stopped and deadline_ns > 0 and not 0 < self.deadline_ns <= deadline_ns:
            return self._timers.arm(self, deadline_ns)
        return 0

    cdef int warm(self) except -1:
        if self._cold:
            self._cold = False
            self._arm_in(NEXT_STEP_NS)
        return 0

    cdef int fire(self, int64_t now_ns) except -1:
        cdef int left = FIRED_PER_STEP
        if self._stopped or self._cold:
            return 0
        if self._scan_at:
            return self._scan()
        if not self._ready:
            self._collect()
        while left and self._ready:
            left -= 1
            stream_seq, due_ns = self._ready[len(self._ready) - 1]
            if not self._fire(stream_seq, due_ns):
                self._cold = True
                return 0
            self._ready.pop()
        return self._arm_in(NEXT_STEP_NS) if self._ready else self._arm()

    # --- recovery ---

    cdef int _scan(self) except -1:
        cdef Record record
        cdef Load found
        cdef int left = SCANNED_PER_STEP
        while left and 0 < self._scan_at <= self._scan_end:
            left -= 1
            found = self._store.load(self._scan_at, &record)
            if found == COLD:
                self._cold = True
                return 0
            if found == FOUND and record.hdr_len:
                self._remember(&record)
            self._scan_at = self._store.next_live(self._scan_at + 1)
        if self._scan_at <= self._scan_end and self._scan_at:
            return self._arm_in(NEXT_STEP_NS)
        self._scan_at = 0
        return self._arm()

    cdef int _remember(self, const Record* record) except -1:
        cdef Msg msg
        cdef bytes ended
        cdef uint64_t stream_seq = record.seq, schedule_seq
        msg.hdr, msg.hdr_len = record.hdr, record.hdr_len
        if not speaks_of_schedules(&msg):
            return 0
        ended = ended_by(&msg)
        if has_header(&msg, b"Nats-Schedule"):
            self._push(stream_seq, self._text.due_after_restart(
                PyBytes_FromStringAndSize(record.hdr, record.hdr_len), record.ts_ns, self._fired_until_ns))
        if ended:
            schedule_seq = self._store.last_for(<const char*>ended, <uint32_t>len(ended))
            if 0 < schedule_seq < stream_seq:
                self._host.end_schedule(ended)
        return 0

    # --- firing ---

    cdef int _collect(self) except -1:
        """Takes out of the heap what is due, to fire in the order of sequences."""
        cdef Due first
        while self._due.count and len(self._ready) < READY_MAX:
            first = self._due.first()
            if first.expires_ns > self._clock.wall_ns:
                break
            self._due.pop()
            self._ready.append((first.seq, first.expires_ns))
        self._ready.sort(reverse=True)
        return 0

    cdef bint _fire(self, uint64_t stream_seq, int64_t due_ns) except *:
        """False: a message must be read from disk first, and nothing has happened."""
        cdef Record record
        cdef Load found = self._store.load(stream_seq, &record)
        cdef bytes subject, block, content, target, source
        cdef bint cold = False
        cdef Produced outcome
        cdef Msg msg
        if found != FOUND:
            return found != COLD
        subject = PyBytes_FromStringAndSize(record.subject, record.subject_len)
        block = PyBytes_FromStringAndSize(record.hdr, record.hdr_len)
        content = PyBytes_FromStringAndSize(record.body, record.body_len)
        schedule = self._text.read_schedule(block)
        following = self._text.firing_after(schedule, due_ns, self._clock.wall_ns) if schedule is not None else None
        if following is None or self._is_replaced(stream_seq, subject, &cold):
            return not cold
        source = schedule.source
        if source:
            found = self._load_last(source, &record)
            if found == COLD:
                return False
            if found == FOUND:
                block = PyBytes_FromStringAndSize(record.hdr, record.hdr_len)
                content = PyBytes_FromStringAndSize(record.body, record.body_len)
        target, block = schedule.target, self._text.produced_block(block, subject, schedule, following)
        msg = Msg(<const char*>target, <uint32_t>len(target), b"", 0, <const char*>block, <uint32_t>len(block),
                  <const char*>content, <uint32_t>len(content))
        outcome = self._host.produce(&msg)
        again_ns = following.due_ns if following.repeats else 0
        if outcome == LATER:
            again_ns = min(again_ns or TIME_MAX_NS, self._clock.wall_ns + RETRY_NS)
        if again_ns and self._store.exists(stream_seq):
            self._push(stream_seq, again_ns)
        return True

    cdef Load _load_last(self, bytes subject, Record* out) except *:
        cdef uint64_t last = self._store.last_for(<const char*>subject, <uint32_t>len(subject))
        return self._store.load(last, out) if last else MISSING

    cdef bint _is_replaced(self, uint64_t stream_seq, bytes subject, bint* cold) except *:
        """Something else was published on the schedule's subject. What a schedule produced does not count."""
        cdef Record record
        cdef Load found
        cdef Msg msg
        if self._store.last_for(<const char*>subject, <uint32_t>len(subject)) == stream_seq:
            return False
        found = self._load_last(subject, &record)
        cold[0] = found == COLD
        if found != FOUND:
            return True
        msg.hdr, msg.hdr_len = record.hdr, record.hdr_len
        return not record.hdr_len or not has_header(&msg, b"Nats-Scheduler")
