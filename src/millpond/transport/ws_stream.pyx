"""WebSocket frames (RFC 6455), as nats-server reads and writes them; permessage-deflate without context (RFC 7692).

A read is taken apart where it lies: payloads are unmasked on their way to where the session reads, whatever the
frames' borders are; only heads, control frames (125 bytes) and compressed messages are kept. Those are gathered, up to
eight times `max_payload`, and inflated piece by piece, up to `max_payload`.

        head             payload
    | 2..14 bytes | masked bytes ...... | head | masked bytes ... |
                    └──── unmasked into the parts of a take ────┘

What leaves is one binary frame for all that an outbox had, or several of 4 KiB for browsers. Answers to pings go
between two of them.
"""

import zlib

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from millpond.structures.buffers cimport ByteBuffer
from millpond.transport.reactor cimport Reactor
from millpond.transport.stream cimport Layer, Stream, iovec

from millpond.base import limits
from millpond.broker.session import NO_MORE_OUTPUT

cdef extern from "Python.h":
    int PyBUF_READ
    object PyMemoryView_FromMemory(char* memory, Py_ssize_t size, int flags)

cdef enum:
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10
    FINAL_BIT = 0x80
    DEFLATE_BIT = 0x40
    OTHER_BITS = 0x30
    MASK_BIT = 0x80
    INFLATE_STEP = 65536
    WINDOW_BITS = 13             # of ours: less memory for each message than the 15 that anybody can read
    MEMORY_LEVEL = 6

RAW_AT, RAW_BYTES = limits.TLS_READ_BYTES, limits.SPARE_BUFFER_BYTES - limits.TLS_READ_BYTES
cdef size_t PREAUTH_BYTES = limits.PREAUTH_BYTES_MAX
cdef size_t WRITE_BYTES = limits.LAYER_WRITE_BYTES
cdef size_t COMPRESS_MIN = limits.WS_COMPRESS_BYTES_MIN
cdef size_t CONTROL_MAX = limits.WS_CONTROL_BYTES_MAX
cdef size_t ANSWERS_MAX = limits.WS_ANSWERS_HELD_BYTES
cdef int BROWSER_FRAME = limits.WS_BROWSER_FRAME_BYTES

cdef bytes LAST_BLOCK = b"\x00\x00\xff\xff\x01\x00\x00\xff\xff"
"""What a compressed message was sent without, and an empty last block."""
GOING_AWAY, NORMAL, PROTOCOL, POLICY, TOO_BIG, INTERNAL = 1001, 1000, 1002, 1008, 1009, 1011
STATUS = {
    "Client Closed": NORMAL, "Authentication Timeout": POLICY, "Authentication Failure": POLICY,
    "Maximum Account Connections Exceeded": POLICY, "Maximum Connections Exceeded": POLICY,
    "Maximum Control Line Exceeded": POLICY, "Maximum Subscriptions Exceeded": POLICY, "Missing Account": POLICY,
    "Authentication Expired": POLICY, "Credentials Revoked": POLICY, "Parse Error": PROTOCOL,
    "Protocol Violation": PROTOCOL, "Bad Client Protocol Version": PROTOCOL,
    "Maximum Message Payload Exceeded": TOO_BIG, "Stale Connection": GOING_AWAY, "Server Shutdown": GOING_AWAY,
}
"""Reason of a close -> status of the close frame; any other is an internal error."""


cdef void unmask(unsigned char* to, const unsigned char* raw, size_t n, const unsigned char* key, int at) noexcept nogil:
    """n bytes from `raw`, the first of which meets key[at]."""
    cdef unsigned char turned[8]
    cdef uint64_t mask, word
    cdef size_t i
    for i in range(8):
        turned[i] = key[(at + <int>i) & 3]
    memcpy(&mask, turned, 8)
    i = 0
    while i + 8 <= n:
        memcpy(&word, raw + i, 8)
        word ^= mask
        memcpy(to + i, &word, 8)
        i += 8
    while i < n:
        to[i] = raw[i] ^ turned[i & 7]
        i += 1


def close_payload(int status, str why):
    """Of a close frame; a text that is too long ends in three dots."""
    body = why.encode()
    if len(body) > CONTROL_MAX - 2:
        body = body[:CONTROL_MAX - 5] + b"..."
    return status.to_bytes(2, "big") + body


def is_close_status(int status):
    """May a peer send it?"""
    return 1000 <= status < 5000 and status not in (1004, 1005, 1006, 1015) and not 1016 <= status <= 2999


cdef class WsStream(Layer):
    """Over `lower`. `upgrade` says what both sides agreed on."""

    def __init__(self, Reactor reactor, Stream lower, upgrade):
        self.fd = lower.fd
        self.lower = lower
        self.reactor = reactor
        self.masks, self.compress, self.browser = upgrade.masked, upgrade.compress, upgrade.browser
        self.whole = upgrade.whole
        self.head_need = 2
        self.held = ByteBuffer()
        self.held.budget = reactor.broker.output
        self.gathered = ByteBuffer()
        self.gathered.budget = reactor.broker.connections
        self.unread = ByteBuffer()
        self.unread.budget = reactor.broker.connections

    # --- in ---

    cdef bint _is_stopped(self) noexcept:
        return self.over or self.failed

    cdef Py_ssize_t take(self, iovec* parts, int count) except -3:
        cdef Py_ssize_t got
        cdef size_t used
        cdef iovec raw
        self.parts, self.count, self.part, self.at, self.filled = parts, count, 0, 0, 0
        if self.inflater is not None:
            self._inflate()
        if self.unread.size() and self.inflater is None and not self._is_stopped():
            used = self._read(<const unsigned char*>self.unread.data + self.unread.head, self.unread.size())
            self.unread.consume(used)
        if not self.unread.size() and self.inflater is None:
            self.unread.release()
            if not self.filled and not self._is_stopped():
                raw.iov_base, raw.iov_len = self.reactor.spare() + RAW_AT, RAW_BYTES
                got = self.lower.take(&raw, 1)
                if got <= 0:
                    self.eager = self.lower.eager
                    if self.held.size():
                        self.push()
                    return got
                used = self._read(<const unsigned char*>raw.iov_base, <size_t>got)
                if used < <size_t>got and not self._is_stopped():
                    self.unread.append(<char*>raw.iov_base + used, <size_t>got - used)
        self.eager = (self.inflater is not None or self.unread.size() > 0 or self._is_stopped() or self.lower.eager)
        if self.held.size():
            self.push()
        if self.filled:
            return <Py_ssize_t>self.filled
        return -2 if self.failed else 0 if self.over else -1

    cdef size_t _read(self, const unsigned char* raw, size_t n) except? 0:
        """How many of these bytes were used: all, unless nothing more is wanted or there is no room for it."""
        cdef size_t used = 0
        while used < n and not self._is_stopped() and self.inflater is None:
            if self.in_payload:
                if self.opcode < CLOSE and (
                        (self.stranger and self.filled > 0) if self.compressed else self.part == self.count):
                    break                            # there is no room; or first it is heard who this is
                used += self._payload(raw + used, n - used)
                continue
            self.head[self.head_have] = raw[used]
            self.head_have += 1
            used += 1
            if self.head_have == 2:
                self._check_head()
            if self.head_have == self.head_need:
                self._head()
        return used

    cdef int _check_head(self) except -1:
        """The first two bytes: what this frame is, and whether it may come now."""
        cdef int first = self.head[0], second = self.head[1], size = second & 0x7F
        cdef bint final = first & FINAL_BIT != 0, compressed = first & DEFLATE_BIT != 0
        self.opcode = first & 0x0F
        if first & OTHER_BITS:
            return self._fail("RSV2 and RSV3 must be clear")
        if compressed and not self.compress:
            return self._fail("compressed frame received without negotiated permessage-deflate")
        if self.masks and not second & MASK_BIT:
            return self._fail("mask bit missing")
        if self.opcode == PING or self.opcode == PONG or self.opcode == CLOSE:
            if size > <int>CONTROL_MAX:
                return self._fail(f"control frame length bigger than maximum allowed of {CONTROL_MAX} bytes")
            if not final:
                return self._fail("control frame does not have final bit set")
            if compressed:
                return self._fail("control frame must not be compressed")
        elif self.opcode == TEXT or self.opcode == BINARY:
            if self.message_open:
                return self._fail("new message started before final frame for previous message was received")
            self.message_open, self.compressed = not final, compressed
        elif self.opcode == CONTINUATION:
            if not self.message_open or compressed:
                return self._fail("invalid continuation frame")
            self.message_open = not final
        else:
            return self._fail(f"unknown opcode {self.opcode}")
        self.final = final
        self.head_need = 2 + (2 if size == 126 else 8 if size == 127 else 0) + (4 if self.masks else 0)
        return 0

    cdef int _head(self) except -1:
        """The head is whole: its payload begins."""
        cdef int size = self.head[1] & 0x7F, at = 2, i
        if self._is_stopped():
            return 0
        self.rest = <uint64_t>size
        if size >= 126:
            self.rest = 0
            at += 2 if size == 126 else 8
            for i in range(2, at):
                self.rest = self.rest << 8 | self.head[i]
        if self.rest >> 63:
            return self._fail("invalid 64-bit payload length")
        if self.masks:
            memcpy(self.key, self.head + at, 4)
        self.key_at = 0
        self.head_have, self.head_need = 0, 2
        self.in_payload = True
        self.control_have = 0
        return self._frame_done() if self.rest == 0 else 0

    cdef size_t _payload(self, const unsigned char* raw, size_t n) except? 0:
        cdef size_t size = <size_t>min(self.rest, <uint64_t>n)
        cdef char* place
        if self.opcode >= CLOSE:
            self._unmask(self.control + self.control_have, raw, size)
            self.control_have += <int>size
        elif self.compressed:
            if self.gathered.size() + size > self._compressed_max():
                self._fail_payload()
                return size
            place = self.gathered.reserve(size)
            self._unmask(<unsigned char*>place, raw, size)
            self.gathered.commit(size)
        else:
            size = self._give(raw, size)
        self.rest -= size
        if self.rest == 0:
            self._frame_done()
        return size

    cdef int _unmask(self, unsigned char* to, const unsigned char* raw, size_t n) except -1:
        if self.masks:
            unmask(to, raw, n, self.key, self.key_at)
            self.key_at = (self.key_at + <int>(n & 3)) & 3
        else:
            memcpy(to, raw, n)
        return 0

    cdef size_t _compressed_max(self) except? 0:
        if self.stranger:
            return PREAUTH_BYTES
        return min(self._inflated_max() * <size_t>limits.WS_COMPRESSED_PAYLOADS_MAX,
                   <size_t>limits.WS_COMPRESSED_BYTES_MAX)

    cdef size_t _inflated_max(self) except? 0:
        """Of one message, when it was compressed."""
        return <size_t>self.reactor.broker.payload_max

    cdef size_t _give(self, const unsigned char* raw, size_t n) except? 0:
        """Plain bytes to where they are wanted; how many fit into the part under way."""
        cdef size_t size = min(n, self.parts[self.part].iov_len - self.at)
        self._unmask(<unsigned char*>self.parts[self.part].iov_base + self.at, raw, size)
        self.at += size
        self.filled += size
        if self.at == self.parts[self.part].iov_len:
            self.part += 1
            self.at = 0
        return size

    cdef int _frame_done(self) except -1:
        self.in_payload = False
        if self.opcode >= CLOSE:
            return self._control_done()
        if self.compressed and self.final:
            self.compressed = False
            self.gathered.append(PyBytes_AS_STRING(LAST_BLOCK), <size_t>PyBytes_GET_SIZE(LAST_BLOCK))
            self.inflater = zlib.decompressobj(-15)
            self.inflated = 0
            return self._inflate()
        return 0

    cdef int _inflate(self) except -1:
        """As much of the message as there is room for; `inflater` stays while there is more."""
        cdef bytes some, piece
        cdef size_t room, size, given
        cdef bint masks = self.masks
        while self.part < self.count:
            room = self.parts[self.part].iov_len - self.at
            given = min(self.gathered.size(), <size_t>INFLATE_STEP)
            some = PyBytes_FromStringAndSize(self.gathered.data + self.gathered.head, <Py_ssize_t>given)
            try:
                piece = self.inflater.decompress(some, min(room, <size_t>INFLATE_STEP))
            except zlib.error:
                self._end_inflating()
                return self._fail("flate: corrupt input")
            self.gathered.consume(given - <size_t>len(self.inflater.unconsumed_tail))
            size = min(<size_t>PyBytes_GET_SIZE(piece), self._inflated_max() - self.inflated)
            self.inflated += size
            self.masks = False                       # that was before it was compressed
            if size:
                self._give(<const unsigned char*>PyBytes_AS_STRING(piece), size)
            self.masks = masks
            if size < <size_t>PyBytes_GET_SIZE(piece):
                self._end_inflating()
                return self._fail_payload()
            if not piece and (self.inflater.eof or not self.gathered.size()):
                return self._end_inflating()
        return 0

    cdef int _end_inflating(self) except -1:
        self.inflater = None
        self.gathered.release()
        return 0

    cdef int _control_done(self) except -1:
        if self.opcode == PING:
            return self._answer(PONG, self.control, <size_t>self.control_have)
        if self.opcode == PONG:
            return 0
        if self.control_have == 1:
            return self._fail("close frame payload cannot be 1 byte")
        self.over = True
        if self.control_have == 0:
            self.last_word = b""
            return 0
        status, why = self.control[0] << 8 | self.control[1], (<char*>self.control)[2:self.control_have]
        if not is_close_status(status):
            self.over = False
            return self._fail(f"invalid close status code {status}")
        try:
            self.last_word = close_payload(status, why.decode())
        except UnicodeDecodeError:
            self.last_word = close_payload(1007, "invalid utf8 body in close frame")
        return 0

    cdef int _fail(self, str why) except -1:
        self.failed = True
        self.failure = why
        self.last_word = close_payload(PROTOCOL, why)
        return 0

    cdef int _fail_payload(self) except -1:
        self.failed = True
        self.failure = "maximum payload exceeded"
        return 0

    # --- out ---

    cdef int _answer(self, int opcode, const unsigned char* data, size_t n) except -1:
        if self.held.size() > ANSWERS_MAX + WRITE_BYTES:
            return 0
        return self._frames(<const char*>data, n, opcode, 0)

    cdef int _frames(self, const char* data, size_t n, int opcode, int frame_max) except -1:
        """One frame, or several of at most frame_max bytes."""
        cdef size_t size = n, i
        cdef unsigned char* head
        cdef int bits = opcode, first_bits = opcode & DEFLATE_BIT
        while True:
            size = min(n, <size_t>frame_max) if frame_max else n
            head = <unsigned char*>self.held.reserve(size + 10)
            head[0] = <unsigned char>(bits | (FINAL_BIT if size == n or not first_bits else 0))
            if size < 126:
                head[1] = <unsigned char>size
                head += 2
            elif size < 65536:
                head[1], head[2], head[3] = 126, <unsigned char>(size >> 8), <unsigned char>size
                head += 4
            else:
                head[1] = 127
                for i in range(8):
                    head[2 + i] = <unsigned char>(<uint64_t>size >> (56 - 8 * i))
                head += 10
            memcpy(head, data, size)
            self.held.commit(<size_t>(<char*>head - (self.held.data + self.held.tail)) + size)
            data += size
            n -= size
            if n == 0:
                return 0
            if first_bits:
                bits = CONTINUATION              # one message in several frames; else each is a message

    cdef int encode(self, const char* data, size_t n) except -1:
        cdef bytes packed
        cdef int frame_max = BROWSER_FRAME if self.browser else 0
        if not self.compress or n < COMPRESS_MIN:
            return self._frames(data, n, BINARY, frame_max)
        deflater = zlib.compressobj(1, zlib.DEFLATED, -WINDOW_BITS, MEMORY_LEVEL)
        packed = deflater.compress(PyMemoryView_FromMemory(<char*>data, <Py_ssize_t>n, PyBUF_READ))
        packed += deflater.flush(zlib.Z_SYNC_FLUSH)
        return self._frames(PyBytes_AS_STRING(packed), <size_t>PyBytes_GET_SIZE(packed) - 4, BINARY | DEFLATE_BIT,
                            0 if self.whole else frame_max)

    cdef bint has_unsent(self) noexcept:
        return self.held.size() > 0 or self.lower.has_unsent()

    cdef int push(self) except -2:
        cdef Py_ssize_t sent
        while self.held.size():
            sent = self.lower.put(self.held.data + self.held.head, self.held.size())
            if sent <= 0:
                return <int>sent
            self.held.consume(<size_t>sent)
        self.held.release()
        return self.lower.push()

    cdef int finish(self, str reason) except -1:
        """A close frame: the answer to the client's, the rule that was broken, or why we end."""
        cdef bytes said = self.last_word
        if said is None and reason and reason not in NO_MORE_OUTPUT:
            said = close_payload(STATUS.get(reason, INTERNAL), reason)
        if said is not None and not self.promised:
            self._frames(PyBytes_AS_STRING(said), <size_t>PyBytes_GET_SIZE(said), CLOSE, 0)
            self.push()
        self.held.release()
        self.gathered.release()
        self.unread.release()
        self.inflater = None
        self.over = True
        return self.lower.finish(reason)
