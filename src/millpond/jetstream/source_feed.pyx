"""What a stream takes in from another one.

    listening     messages of one push consumer come in the order of its sequence; each is stored at once
    held          the target must read from disk before it can judge: that message and all behind it wait
    broken        something is missing, or the target does not take it: nothing more is taken until `listen`

A feed is sans-IO: messages come through the router, answers to the origin go through it, and when a new consumer is
needed it says so and does nothing else. Requests of flow control are answered when everything before them is
committed: that bounds what is under way, and a consumer whose origin deletes what was acknowledged loses nothing.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from millpond.base.clock cimport Clock
from millpond.broker.sink cimport Sink, Subscription
from millpond.jetstream.acks cimport AckNumbers, read_numbers
from millpond.jetstream.headers cimport header
from millpond.jetstream.stream_core cimport StreamCore
from millpond.jetstream.waiting_room cimport WaitingRoom
from millpond.structures.buffers cimport ByteBuffer, put_decimal
from millpond.wire.headers cimport parse_decimal
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.jetstream.waiting import WAIT

cdef uint64_t HELD_BYTES_MAX = limits.SOURCE_HELD_BYTES_MAX
cdef uint32_t ADMISSIONS_PER_STEP = limits.ADMISSIONS_PER_STEP
cdef bytes CONTROL = b"NATS/1.0 100 "

cdef enum:
    TOKENS_V1 = 9
    TOKENS_V2 = 11                           # and more: tokens may follow


cdef bint _begins(const char* at, size_t left, bytes text) noexcept:
    cdef size_t n = <size_t>PyBytes_GET_SIZE(text)
    return left >= n and memcmp(at, PyBytes_AS_STRING(text), n) == 0


cdef bint read_reply(const Msg* msg, bytes consumer, AckNumbers* out) noexcept:
    """The numbers of a delivery's ack subject, v1 or v2; False when it is not that consumer's."""
    cdef const char* at = msg.reply
    cdef const char* end = msg.reply + msg.reply_len
    cdef const char* name = NULL
    cdef const char* stop
    cdef uint32_t token = 0, tokens = 1, skip
    for i in range(msg.reply_len):
        tokens += msg.reply[i] == c"."
    if not _begins(at, msg.reply_len, b"$JS.ACK.") or tokens != TOKENS_V1 and tokens < TOKENS_V2:
        return False
    skip = 3 if tokens == TOKENS_V1 else 5
    for token in range(skip):
        at = <const char*>memchr(at, b".", end - at) + 1       # there are so many
    name = at
    stop = <const char*>memchr(at, b".", end - at)
    if stop - name != PyBytes_GET_SIZE(consumer) or memcmp(name, PyBytes_AS_STRING(consumer), stop - name) != 0:
        return False
    return read_numbers(stop + 1, end - stop - 1, tokens > TOKENS_V2, out)


cdef class Feed(Sink):
    """Override `take`. `on_broken()` is called when a new consumer is needed, never from `listen` or `quit`."""

    def __init__(self, StreamCore target, Clock clock, list transforms, object on_broken):
        self.target, self._clock, self._transforms, self._on_broken = target, clock, transforms, on_broken
        self.client, self.consumer, self.identity, self.refusal = None, b"", "", ""
        self._held, self._block = WaitingRoom(), ByteBuffer()

    def introduce(self, dict client):
        """What advisories about requests of this feed show of it."""
        self.client = client

    cpdef int listen(self, bytes subject, bytes consumer, uint64_t stream_seq) except -1:
        self.quit()
        self.consumer, self.consumer_seq, self.stream_seq = consumer, 0, stream_seq
        self.heard_ns, self.refusal = self._clock.mono_ns, ""
        self._sub = self.target.router.subscribe(subject, self)
        return 0

    cpdef int quit(self) except -1:
        if self._sub is not None:
            self.target.router.unsubscribe(self._sub)
        self._sub, self.consumer = None, b""
        self._held = WaitingRoom()
        return 0

    def request(self, bytes subject, bytes reply, bytes hdr, bytes body):
        """Asks the origin's API; how many heard it."""
        cdef Msg msg = Msg(PyBytes_AS_STRING(subject), <uint32_t>len(subject), PyBytes_AS_STRING(reply),
                           <uint32_t>len(reply), PyBytes_AS_STRING(hdr), <uint32_t>len(hdr), PyBytes_AS_STRING(body),
                           <uint32_t>len(body))
        return self.target.router.route(msg.subject, msg.subject_len, &msg, self)

    def held_bytes(self):
        """Of messages that wait for a cold read or a rollup."""
        return self._held.bytes

    # --- what comes ---

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        if sub is not self._sub:
            return 0
        self.heard_ns = self._clock.mono_ns
        if self._held.count():
            self._hold(msg)
            return 1
        outcome = self._handle(msg)
        if outcome == LATER:
            self._hold(msg)
        elif outcome == BROKEN:
            self._break()
        return 1

    cdef int _hold(self, const Msg* msg) except -1:
        if self._held.bytes > HELD_BYTES_MAX:      # an origin that does not wait for us
            return self._break()
        self._held.add(msg, None)
        if not self._warming:
            self._warming = True
            self.target.on_warm(self._go_on)
        return 0

    def _go_on(self):
        """What was missing was read: those who wait are taken, in their order."""
        cdef Msg msg
        cdef WaitingRoom held = self._held
        cdef uint32_t left = ADMISSIONS_PER_STEP
        self._warming = False
        while held.count():
            if left == 0:                          # the rest in the next turn
                self._warming = True
                self.target.on_warm(self._go_on)
                self.target.go_on_later()
                return
            left -= 1
            msg = held.first()
            outcome = self._handle(&msg)
            if outcome == LATER:
                self._warming = True
                self.target.on_warm(self._go_on)
                return
            if outcome == BROKEN:
                self._break()
                return
            if held is not self._held:
                return
            held.leave()

    cdef int _break(self) except -1:
        self.quit()
        self._on_broken()
        return 0

    cdef Taken _handle(self, const Msg* msg) except *:
        if msg.body_len == 0 and msg.hdr_len and _begins(msg.hdr, msg.hdr_len, CONTROL):
            return self._control(msg)
        return self._message(msg)

    cdef Taken _control(self, const Msg* msg) except *:
        cdef bytes told, stalled
        if msg.reply_len:
            hdr = b"NATS/1.0\r\nNats-Last-Consumer: %d\r\nNats-Last-Stream: %d\r\n\r\n" % (
                self.consumer_seq, self.stream_seq)
            self.target.tell_after_commit(PyBytes_FromStringAndSize(msg.reply, msg.reply_len), hdr)
            return DONE
        told = header(msg, b"Nats-Last-Consumer")
        last = parse_decimal(PyBytes_AS_STRING(told), <uint32_t>len(told))
        if last > 0 and <uint64_t>last != self.consumer_seq:
            return BROKEN
        stalled = header(msg, b"Nats-Consumer-Stalled")
        if stalled:
            self.target.tell_after_commit(stalled, b"")
        return DONE

    cdef Taken _message(self, const Msg* original) except *:
        cdef AckNumbers numbers
        cdef Msg msg = original[0]
        cdef bytes subject
        if not read_reply(original, self.consumer, &numbers) or numbers.deliveries > 1:
            return DONE                            # of a consumer from before, or seen before
        if numbers.stream_seq <= self.stream_seq:
            self.consumer_seq += numbers.consumer_seq == self.consumer_seq + 1
            return DONE
        if numbers.consumer_seq != self.consumer_seq + 1:
            return BROKEN                          # one is missing
        self.pending = numbers.pending
        self.lag = numbers.pending - 1 if numbers.pending else 0
        msg.reply_len = 0
        return self.take(&msg, &numbers)

    cdef Taken take(self, const Msg* msg, const AckNumbers* numbers) except *:
        raise NotImplementedError

    cdef Taken _stored(self, object outcome) except *:
        """What the target said to a message."""
        if outcome is WAIT:
            return LATER
        if outcome is not None:
            self.refusal = outcome.description
            return BROKEN
        return DONE

    cdef bytes _rename(self, Msg* msg):
        """The first transform that describes the subject changes it; the caller keeps what the message views."""
        cdef bytes subject
        for transform in self._transforms:
            subject = transform.match(PyBytes_FromStringAndSize(msg.subject, msg.subject_len))
            if subject is not None:
                msg.subject, msg.subject_len = PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)
                return subject
        return None

    cdef uint32_t _stripped(self, const Msg* msg, bint of_source) except? 0xFFFFFFFF:
        """Copies the header block, less the lines that were for the origin only, into `_block`; its size without the
        empty line. Nothing but the version left: 0."""
        cdef const char* at = msg.hdr
        cdef const char* end = msg.hdr + msg.hdr_len
        cdef const char* stop
        cdef uint32_t lines = 0
        self._block.consume(self._block.size())
        while at < end:
            stop = <const char*>memchr(at, b"\n", end - at)
            stop = end if stop == NULL else stop + 1
            if stop - at > 2 and not (lines and _for_origin(at, stop - at, of_source)):
                self._block.append(at, stop - at)
                lines += 1
            elif lines == 0:
                break                              # it has no version line
            at = stop
        return <uint32_t>self._block.size() if lines > 1 else 0


cdef bint _for_origin(const char* line, size_t n, bint of_source) noexcept:
    if not _begins(line, n, b"Nats-"):
        return False
    return (_begins(line, n, b"Nats-Expected-") or _begins(line, n, b"Nats-Batch-")
            or _begins(line, n, b"Nats-Request-Info:") or of_source and _begins(line, n, b"Nats-Stream-Source:"))


cdef class SourceFeed(Feed):
    """Messages get sequences of their own here, and a header that says where they are from (source_names)."""

    def __init__(self, StreamCore target, Clock clock, list transforms, object on_broken, str index_name):
        Feed.__init__(self, target, clock, transforms, on_broken)
        self.index_name = index_name
        origin, filters, destinations = index_name.encode("utf-8", "surrogateescape").split(b" ", 2)
        self._origin, self._filters = origin + b" ", b" %b %b " % (filters, destinations)

    cdef Taken take(self, const Msg* original, const AckNumbers* numbers) except *:
        cdef Msg msg = original[0]
        cdef bytes subject
        cdef uint64_t before = self.stream_seq, last_seq = self.target.store.state.last_seq
        if not msg.hdr_len or not self._stripped(&msg, True):
            self._block.consume(self._block.size())
            self._block.append(b"NATS/1.0\r\n", 10)
        self._write_header(numbers.stream_seq, original.subject, original.subject_len)
        msg.hdr, msg.hdr_len = self._block.data + self._block.head, <uint32_t>self._block.size()
        subject = self._rename(&msg)
        self.consumer_seq, self.stream_seq = numbers.consumer_seq, numbers.stream_seq
        cdef Taken outcome = self._stored(self.target.take_sourced(&msg, numbers.ts_ns, False))
        if outcome != DONE:
            self.stream_seq = before
            self.consumer_seq -= 1
        elif self.target.store.state.last_seq > last_seq and self.target.store.exists(last_seq + 1):
            self.stored_seq, self.stored_at = numbers.stream_seq, last_seq + 1
        return outcome

    cdef int _write_header(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        cdef char[20] digits
        cdef bytes identity = self.identity.encode("utf-8", "surrogateescape")
        self._block.append(b"Nats-Stream-Source: ", 20)
        self._block.append(PyBytes_AS_STRING(self._origin), PyBytes_GET_SIZE(self._origin))
        self._block.append(digits, put_decimal(digits, stream_seq))
        self._block.append(PyBytes_AS_STRING(self._filters), PyBytes_GET_SIZE(self._filters))
        self._block.append(subject, subject_len)
        if identity:
            self._block.append(b" ", 1)
            self._block.append(PyBytes_AS_STRING(identity), PyBytes_GET_SIZE(identity))
        return self._block.append(b"\r\n\r\n", 4)
