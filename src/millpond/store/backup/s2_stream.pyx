"""S2 streams, read and written in pieces.

    stream = identifier | frames
    frame  = kind (1) | length (3, little-endian) | body

    kind 0xFF       identifier, "S2sTwO" or "sNaPpY"; the first frame, may come again
         0x00       checksum (4) | compressed block
         0x01       checksum (4) | bytes as they are
         0x80-0xFE  to be skipped; the rest is not known

The checksum is CRC-32C of the decoded bytes, rotated right by 15 bits, plus 0xA282EAD8.
The texts of failures are those that nats-server shows. Source: github.com/google/snappy, framing_format.txt.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from millpond.store.s2_block cimport (
    BLOCK_BYTES, decode, decoded_bytes, encode, encoded_bytes_max,
)
from millpond.store.checksum cimport crc32c
from millpond.structures.buffers cimport ByteBuffer

from millpond.base import limits

cdef enum:
    COMPRESSED = 0x00
    PLAIN = 0x01
    SKIPPABLE = 0x80
    IDENTIFIER = 0xFF
    FRAME_HEAD = 4
    CHECKSUM = 4
    SNAPPY_BLOCK_BYTES = 65536

cdef size_t DECODED_MAX = limits.S2_BLOCK_BYTES_MAX
cdef size_t FRAME_MAX = limits.S2_BLOCK_BYTES_MAX + limits.S2_BLOCK_BYTES_MAX // 6 + 64
cdef bytes S2_BODY = b"S2sTwO"
cdef bytes SNAPPY_BODY = b"sNaPpY"
cdef str CORRUPT = "s2: corrupt input"
cdef str BAD_CHECKSUM = "s2: corrupt input, crc mismatch"
cdef str UNSUPPORTED = "s2: unsupported input"


cdef inline uint32_t _masked(const void* data, size_t n) noexcept nogil:
    cdef uint32_t crc = crc32c(0, data, n)
    return ((crc >> 15) | (crc << 17)) + <uint32_t>0xA282EAD8


cdef inline uint32_t _little(const uint8_t* at, int n) noexcept nogil:
    cdef uint32_t value = 0
    cdef int i
    for i in range(n):                             # n <= 4
        value |= <uint32_t>at[i] << (8 * i)
    return value


cdef class S2Reader:
    """Decodes one stream. Holds at most one frame, and what is not taken out of `out`."""

    def __cinit__(self):
        self.out, self._in = ByteBuffer(), ByteBuffer()
        self.failure = ""

    cdef int feed(self, const char* data, size_t n) except -1:
        cdef size_t skipped = min(n, self._skipping)
        self._skipping -= skipped
        if n > skipped:
            self._in.append(data + skipped, n - skipped)
        return 0

    cdef bint step(self) except *:
        cdef const uint8_t* frame
        cdef uint8_t kind
        cdef size_t n, have
        while not self.failure:
            have = self._in.size()
            if have < FRAME_HEAD:
                return False
            frame = <const uint8_t*>(self._in.data + self._in.head)
            kind, n = frame[0], _little(frame + 1, 3)
            if not self._identified and kind != IDENTIFIER:
                return self._fail(CORRUPT)
            if SKIPPABLE <= kind < IDENTIFIER:
                self._skipping = n - min(n, have - FRAME_HEAD)
                self._in.consume(FRAME_HEAD + min(n, have - FRAME_HEAD))
                continue
            if PLAIN < kind < SKIPPABLE or n > FRAME_MAX:
                return self._fail(UNSUPPORTED)
            if kind == IDENTIFIER and n != <size_t>PyBytes_GET_SIZE(S2_BODY):
                return self._fail(CORRUPT)
            if have - FRAME_HEAD < n:
                return False
            if kind == IDENTIFIER:
                if not self._identify(frame + FRAME_HEAD, n):
                    return False
                self._in.consume(FRAME_HEAD + n)
                continue
            if not self._decode(kind, frame + FRAME_HEAD, n):
                return False
            self._in.consume(FRAME_HEAD + n)
            return True
        return False

    cdef bint _fail(self, str reason) except *:
        self.failure = reason
        self._in.release()
        return False

    cdef bint _identify(self, const uint8_t* body, size_t n) except *:
        self._snappy = memcmp(body, PyBytes_AS_STRING(SNAPPY_BODY), n) == 0
        if not self._snappy and memcmp(body, PyBytes_AS_STRING(S2_BODY), n) != 0:
            return self._fail(CORRUPT)
        self._identified = True
        return True

    cdef bint _decode(self, uint8_t kind, const uint8_t* body, size_t n) except *:
        cdef size_t head, size
        cdef long long declared
        cdef uint32_t checksum
        cdef uint8_t* out
        if n < CHECKSUM:
            return self._fail(CORRUPT)
        checksum = _little(body, CHECKSUM)
        body += CHECKSUM
        n -= CHECKSUM
        declared = <long long>n if kind == PLAIN else decoded_bytes(body, n, &head)
        if declared < 0 or declared > <long long>DECODED_MAX or (self._snappy and declared > SNAPPY_BLOCK_BYTES):
            return self._fail(CORRUPT)
        size = <size_t>declared
        out = <uint8_t*>self.out.reserve(size if size else 1)
        if kind == PLAIN:
            memcpy(out, body, n)
        elif not decode(body, n, out, size):
            return self._fail(CORRUPT)
        if _masked(out, size) != checksum:
            return self._fail(BAD_CHECKSUM)
        self.out.commit(size)
        return True

    cdef bint cut_off(self) noexcept:
        return self._in.size() > 0 or self._skipping > 0

    # --- Python's door, for tests ---

    def decode_all(self, bytes data, size_t most=1 << 26):
        """Feed `data`, decode what is whole, take it out."""
        cdef list parts = []
        cdef size_t taken = 0
        self.feed(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        while taken < most and self.step():
            parts.append(self.out.peek())
            taken += self.out.size()
            self.out.consume(self.out.size())
        return b"".join(parts)

    def is_cut_off(self):
        """Does the last frame lack its end?"""
        return self.cut_off()

    def held_bytes(self):
        """What is held in memory."""
        return self._in.allocated + self.out.allocated


cdef class S2Writer:
    """Encodes one stream. Holds at most one block, and what is not taken out of `out`."""

    def __cinit__(self, bint snappy=False):
        """snappy: readers of Snappy are to take it; the blocks are the same."""
        self.out, self._block = ByteBuffer(), ByteBuffer()
        self.out.append(b"\xff\x06\x00\x00", FRAME_HEAD)
        self.out.append(PyBytes_AS_STRING(SNAPPY_BODY if snappy else S2_BODY), 6)

    cdef int write(self, const void* data, size_t n) except -1:
        cdef const char* at = <const char*>data
        cdef size_t part
        while n:
            part = min(n, BLOCK_BYTES - self._block.size())
            self._block.append(at, part)
            at += part
            n -= part
            if self._block.size() == BLOCK_BYTES:
                self.flush()
        return 0

    cdef int flush(self) except -1:
        cdef size_t n = self._block.size()
        if n:
            self._encode(<const uint8_t*>(self._block.data + self._block.head), n)
            self._block.consume(n)
        return 0

    cdef int _encode(self, const uint8_t* data, size_t n) except -1:
        cdef uint8_t* frame = <uint8_t*>self.out.reserve(FRAME_HEAD + CHECKSUM + encoded_bytes_max(n))
        cdef size_t made = encode(data, n, frame + FRAME_HEAD + CHECKSUM, self._table)
        cdef uint32_t checksum = _masked(data, n), length
        frame[0] = COMPRESSED
        if made >= n - n // 8:                     # not worth decoding
            frame[0] = PLAIN
            memcpy(frame + FRAME_HEAD + CHECKSUM, data, n)
            made = n
        length = <uint32_t>(CHECKSUM + made)
        frame[1], frame[2], frame[3] = <uint8_t>length, <uint8_t>(length >> 8), <uint8_t>(length >> 16)
        memcpy(frame + FRAME_HEAD, &checksum, CHECKSUM)
        self.out.commit(FRAME_HEAD + length)
        return 0

    # --- Python's door, for tests ---

    def encode_all(self, bytes data):
        """Write `data` and flush; what has become of it."""
        self.write(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.flush()
        out = PyBytes_FromStringAndSize(self.out.data + self.out.head, self.out.size())
        self.out.consume(self.out.size())
        return out
