"""Requests with answers, a fixed number of them in flight over one or many connections.

Every request has a reply subject of its own, as in every client library:  _INBOX.<22 letters>.<token>.
The token names the slot that waits, so the answer finds it without a table. A slot that is answered begins
its next operation at once.
"""

import secrets

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from millpond.bench.frames cimport Delivered, number_at, put_pub, status_of
from millpond.bench.histogram cimport Histogram
from millpond.bench.loop cimport Connection, Driver
from millpond.structures.buffers cimport put_decimal

from millpond.bench.loop import LoadError

cdef enum:
    INBOX_BYTES = 30             # "_INBOX." + 22 + "."
    SUBJECT_BYTES_MAX = 512


cdef class Calls(Driver):
    """`window` operations in flight, spread evenly over `conns`."""

    def __cinit__(self, conns, uint32_t window, uint64_t operations_max, *args, **kwargs):
        assert window >= len(conns) > 0
        self._conns, self._window, self._conns_count = list(conns), window, <uint32_t>len(conns)
        self.operations_max = operations_max
        self.latency = Histogram()
        self._slots = <Slot*>calloc(window, sizeof(Slot))
        if self._slots == NULL:
            raise MemoryError
        inboxes = [b"_INBOX." + secrets.token_hex(11).encode() + b"." for _ in conns]
        assert len(inboxes[0]) == INBOX_BYTES
        self._inboxes = b"".join(inboxes)
        for conn, inbox in zip(conns, inboxes):
            conn.subscribe(inbox + b"*")

    def __dealloc__(self):
        free(self._slots)

    cdef int ask(self, Slot* slot) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int answered(self, Slot* slot, const Delivered* msg) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int put(self, Slot* slot, const char* subject, uint32_t subject_len, const char* hdr, uint32_t hdr_len,
                 const char* body, uint32_t body_len) except -1:
        cdef uint32_t index = <uint32_t>(slot - self._slots), at = index % self._conns_count
        cdef Connection conn = <Connection>self._conns[at]
        cdef uint32_t digits
        slot.token = self._asked * self._window + index
        self._asked += 1
        memcpy(self._reply, <const char*>self._inboxes + at * INBOX_BYTES, INBOX_BYTES)
        digits = put_decimal(self._reply + INBOX_BYTES, slot.token)
        put_pub(conn.out, subject, subject_len, self._reply, INBOX_BYTES + digits, hdr, hdr_len, body, body_len)
        return conn.touch()

    cdef int _begin(self, uint32_t index, int64_t now_ns) except -1:
        cdef Slot* slot = &self._slots[index]
        slot.number, slot.asked_ns, slot.step = self._begun, now_ns, 0
        self._begun += 1
        if self._begun >= self.operations_max:
            self.stopping = True
        return self.ask(slot)

    cdef int fill(self, int64_t now_ns) except -1:
        cdef uint32_t i
        if not self._opened:
            self._opened = True
            for i in range(self._window):
                if not self.stopping:
                    self._begin(i, now_ns)
        return 0

    cdef Slot* waiting(self, const Delivered* msg) except NULL:
        cdef uint64_t token
        cdef Slot* slot
        if msg.subject_len <= INBOX_BYTES:
            raise LoadError("an answer came on a subject that nobody asked for")
        token = number_at(msg.subject + INBOX_BYTES, msg.subject_len - INBOX_BYTES)
        slot = &self._slots[token % self._window]
        if slot.token != token:
            raise LoadError("a request was answered twice")
        return slot

    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1:
        cdef Slot* slot = self.waiting(msg)
        if not self.answered(slot, msg):
            return self.ask(slot)
        self.operations += 1
        self.latency.add(now_ns - slot.asked_ns)
        if not self.stopping:
            self._begin(<uint32_t>(slot - self._slots), now_ns)
        return 0

    cdef bint done(self) except *:
        return self._opened and self.stopping and self.operations >= self._begun


cdef bint is_pub_ack(const Delivered* msg) noexcept:
    return msg.body_len > 11 and memcmp(msg.body, b'{"stream":"', 11) == 0


cdef uint64_t _seq_in(const Delivered* msg) noexcept:
    """The sequence in a PubAck."""
    cdef uint32_t i
    for i in range(8, msg.body_len - 6 if msg.body_len > 14 else 8):
        if memcmp(msg.body + i, b'"seq":', 6) == 0:
            return number_at(msg.body + i + 6, msg.body_len - i - 6)
    return 0


cdef class StreamPublish(Calls):
    """JetStream publishes. distinct 0: one subject; else subject.<n> for n below `distinct`, in turn."""
    cdef bytes subject, body
    cdef uint64_t distinct
    cdef char[SUBJECT_BYTES_MAX] name

    def __init__(self, conns, uint32_t window, uint64_t operations_max, bytes subject, uint32_t size,
                 uint64_t distinct=0):
        self.subject, self.body, self.distinct = subject, b"x" * size, distinct
        assert len(subject) + 24 < SUBJECT_BYTES_MAX
        memcpy(self.name, <const char*>subject, len(subject))
        self.name[len(subject)] = c"."

    cdef int ask(self, Slot* slot) except -1:
        cdef uint32_t n = <uint32_t>len(self.subject)
        if self.distinct:
            n += 1
            n += put_decimal(self.name + n, slot.number % self.distinct)
        return self.put(slot, self.name, n, b"", 0, self.body, <uint32_t>len(self.body))

    cdef int answered(self, Slot* slot, const Delivered* msg) except -1:
        if not is_pub_ack(msg):
            self.failed(msg.body, msg.body_len)
        return 1


cdef class CoreRequest(Calls):
    """Requests to `responder`, a connection that has subscribed; it answers with as many bytes as asked."""
    cdef bytes subject, body
    cdef Connection responder

    def __init__(self, conns, uint32_t window, uint64_t operations_max, bytes subject, uint32_t size,
                 Connection responder):
        self.subject, self.body, self.responder = subject, b"x" * size, responder

    cdef int ask(self, Slot* slot) except -1:
        return self.put(slot, self.subject, <uint32_t>len(self.subject), b"", 0, self.body, <uint32_t>len(self.body))

    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1:
        if conn is not self.responder:
            return Calls.message(self, conn, msg, now_ns)
        put_pub(conn.out, msg.reply, msg.reply_len, b"", 0, b"", 0, msg.body, msg.body_len)
        return conn.touch()

    cdef int answered(self, Slot* slot, const Delivered* msg) except -1:
        if msg.body_len != <uint32_t>len(self.body):
            self.failed(msg.hdr, msg.hdr_len)
        return 1


cdef class DirectGet(Calls):
    """The last message of `subject`.<n> by direct get, n below `distinct` in turn."""
    cdef bytes prefix
    cdef uint64_t distinct
    cdef char[SUBJECT_BYTES_MAX] name

    def __init__(self, conns, uint32_t window, uint64_t operations_max, bytes prefix, uint64_t distinct):
        assert len(prefix) + 24 < SUBJECT_BYTES_MAX
        self.prefix, self.distinct = prefix, distinct
        memcpy(self.name, <const char*>prefix, len(prefix))

    cdef int ask(self, Slot* slot) except -1:
        cdef uint32_t n = <uint32_t>len(self.prefix)
        n += put_decimal(self.name + n, slot.number % self.distinct)
        return self.put(slot, self.name, n, b"", 0, b"", 0)

    cdef int answered(self, Slot* slot, const Delivered* msg) except -1:
        if msg.hdr_len == 0 or status_of(msg):
            self.failed(msg.hdr, msg.hdr_len)
        return 1


cdef class CompareAndSet(Calls):
    """Each slot owns the key `subject`.<slot> and writes it with the revision it last saw (0 at first)."""
    cdef bytes subject, body
    cdef char[SUBJECT_BYTES_MAX] name
    cdef char[128] hdr
    cdef uint32_t hdr_prefix

    def __init__(self, conns, uint32_t window, uint64_t operations_max, bytes subject, uint32_t size):
        cdef bytes head = b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: "
        assert len(subject) + 24 < SUBJECT_BYTES_MAX
        self.subject, self.body = subject + b".", b"x" * size
        memcpy(self.name, <const char*>self.subject, len(self.subject))
        self.hdr_prefix = <uint32_t>len(head)
        memcpy(self.hdr, <const char*>head, self.hdr_prefix)

    cdef int ask(self, Slot* slot) except -1:
        cdef uint32_t n = <uint32_t>len(self.subject), h = self.hdr_prefix
        n += put_decimal(self.name + n, <uint64_t>(slot - self._slots))
        h += put_decimal(self.hdr + h, slot.seq)
        memcpy(self.hdr + h, b"\r\n\r\n", 4)
        return self.put(slot, self.name, n, self.hdr, h + 4, self.body, <uint32_t>len(self.body))

    cdef int answered(self, Slot* slot, const Delivered* msg) except -1:
        if is_pub_ack(msg):
            slot.seq = _seq_in(msg)
        else:
            self.failed(msg.body, msg.body_len)
        return 1


cdef class LockCycle(Calls):
    """Take and release: publish on an ever-new subject, then delete that message, by sequence or by purge."""
    cdef bytes subject, body, release
    cdef bint by_purge
    cdef char[SUBJECT_BYTES_MAX] name
    cdef char[SUBJECT_BYTES_MAX] text

    def __init__(self, conns, uint32_t window, uint64_t operations_max, bytes stream, bytes subject, uint32_t size,
                 bint by_purge):
        assert len(subject) + 64 < SUBJECT_BYTES_MAX
        self.subject, self.body, self.by_purge = subject + b".", b"x" * size, by_purge
        self.release = (b"$JS.API.STREAM.PURGE." if by_purge else b"$JS.API.STREAM.MSG.DELETE.") + stream
        memcpy(self.name, <const char*>self.subject, len(self.subject))

    cdef int ask(self, Slot* slot) except -1:
        cdef uint32_t n = <uint32_t>len(self.subject), used
        n += put_decimal(self.name + n, slot.number)
        if slot.step == 0:
            return self.put(slot, self.name, n, b"", 0, self.body, <uint32_t>len(self.body))
        if self.by_purge:
            memcpy(self.text, b'{"filter":"', 11)
            memcpy(self.text + 11, self.name, n)
            memcpy(self.text + 11 + n, b'"}', 2)
            used = n + 13
        else:
            memcpy(self.text, b'{"seq":', 7)
            used = 7 + put_decimal(self.text + 7, slot.seq)
            memcpy(self.text + used, b',"no_erase":true}', 17)
            used += 17
        return self.put(slot, self.release, <uint32_t>len(self.release), b"", 0, self.text, used)

    cdef int answered(self, Slot* slot, const Delivered* msg) except -1:
        if slot.step == 0:
            if not is_pub_ack(msg):
                self.failed(msg.body, msg.body_len)
                return 1
            slot.seq, slot.step = _seq_in(msg), 1
            return 0
        if b'"success":true' not in msg.body[:msg.body_len]:
            self.failed(msg.body, msg.body_len)
        return 1
