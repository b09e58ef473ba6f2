"""Consumers of a stream: pull with overlapping batches, and push with flow control."""

import secrets

from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.bench.frames cimport Delivered, put_pub, status_of
from millpond.bench.histogram cimport Histogram
from millpond.bench.loop cimport Connection, Driver

cdef enum:
    PULLS_MAX = 64
    STATUS_FLOW_CONTROL = 100


cdef class Fetch(Driver):
    """`pulls` requests of `batch` messages out at a time until `messages` have come; acks each when `acks`.

    The latency is that of a pull: from asking to its last message.
    """
    cdef Connection conn
    cdef bytes subject, inbox, body
    cdef uint32_t batch, pulls
    cdef uint64_t messages, asked, ended
    cdef int64_t[PULLS_MAX] asked_ns
    cdef bint acks, farewell
    cdef readonly Histogram latency

    def __init__(self, Connection conn, str stream, str consumer, uint32_t batch, uint32_t pulls, uint64_t messages,
                 bint acks):
        assert 0 < pulls <= PULLS_MAX and messages % batch == 0
        self.conn, self.batch, self.pulls, self.messages, self.acks = conn, batch, pulls, messages, acks
        self.subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode()
        self.body = b'{"batch":%d,"expires":20000000000}' % batch
        self.inbox = b"_INBOX." + secrets.token_hex(11).encode() + b"."
        self.latency = Histogram()
        conn.subscribe(self.inbox + b"*")

    cdef int fill(self, int64_t now_ns) except -1:
        while (not self.stopping and self.asked * self.batch < self.messages
                and self.asked - self.ended < self.pulls):
            self.asked_ns[self.asked % PULLS_MAX] = now_ns
            reply = self.inbox + str(self.asked).encode()
            put_pub(self.conn.out, self.subject, <uint32_t>len(self.subject), reply, <uint32_t>len(reply), b"", 0,
                    self.body, <uint32_t>len(self.body))
            self.conn.touch()
            self.asked += 1
        if self.asked * self.batch >= self.messages:
            self.stopping = True
        if self.stopping and self.operations >= self.asked * self.batch and not self.farewell:
            self.farewell = True
            self.conn.ping()
        return 0

    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1:
        cdef int status = status_of(msg)
        if status:
            return 0 if status == STATUS_FLOW_CONTROL else self.failed(msg.hdr, msg.hdr_len)
        self.operations += 1
        if self.acks:
            put_pub(conn.out, msg.reply, msg.reply_len, b"", 0, b"", 0, b"", 0)
            conn.touch()
        if self.operations % self.batch == 0:
            self.latency.add(now_ns - self.asked_ns[self.ended % PULLS_MAX])
            self.ended += 1
        return 0

    cdef bint done(self) except *:
        if self.failures and self.first_failure is not None:
            raise RuntimeError(f"a pull ended with {self.first_failure!r}")
        return self.farewell and self.conn.pongs >= self.conn.pings


cdef class Consume(Driver):
    """A push consumer's `messages`, already stored; `subject` has been subscribed on `conn`."""
    cdef Connection conn
    cdef uint64_t messages
    cdef bint acks, farewell
    cdef readonly Histogram latency

    def __init__(self, Connection conn, uint64_t messages, bint acks):
        self.conn, self.messages, self.acks = conn, messages, acks
        self.latency = Histogram()

    cdef int fill(self, int64_t now_ns) except -1:
        if self.operations >= self.messages and not self.farewell:
            self.farewell = self.stopping = True
            self.conn.ping()
        return 0

    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1:
        if status_of(msg):
            if not msg.reply_len:
                return 0
        elif self.acks:
            self.operations += 1
        else:
            self.operations += 1
            return 0
        put_pub(conn.out, msg.reply, msg.reply_len, b"", 0, b"", 0, b"", 0)
        return conn.touch()

    cdef bint done(self) except *:
        return self.farewell and self.conn.pongs >= self.conn.pings
