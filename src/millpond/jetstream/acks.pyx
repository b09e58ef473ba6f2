"""Ack subjects and small bodies, without Python objects (reference 4.4).

    v1   $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ts ns>.<pending>
    v2   $JS.ACK.<domain or _>.<account hash>.<stream>.<consumer>.(the same five)[.<token>...]

v1 is what we write; both are read.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from millpond.broker.router cimport Router
from millpond.wire.message cimport Msg

from millpond.base.digests import sha256
from millpond.jetstream.pub_ack import refused_removal

cdef const char* PAIRS = (
    b"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051"
    b"525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"
)

cdef enum:
    DIGITS_MAX = 19

HASH_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def short_hash(str text):
    """Eight characters: an account's in v2 ack subjects, a stream's identity from the time it was created."""
    return "".join(HASH_DIGITS[byte % 62] for byte in sha256(text.encode()).digest()[:8])


cdef char* put_number(char* at, uint64_t number, char after) noexcept:
    """Decimal digits of `number`, then `after` unless it is 0. At most 21 bytes."""
    cdef char[20] digits
    cdef int first = 20
    cdef uint32_t pair
    while number >= 100:
        pair = <uint32_t>(number % 100) * 2
        number //= 100
        first -= 2
        digits[first], digits[first + 1] = PAIRS[pair], PAIRS[pair + 1]
    if number >= 10:
        first -= 2
        digits[first], digits[first + 1] = PAIRS[number * 2], PAIRS[number * 2 + 1]
    else:
        first -= 1
        digits[first] = <char>(48 + number)
    memcpy(at, &digits[first], 20 - first)
    at += 20 - first
    if after:
        at[0] = after
        at += 1
    return at


cdef bint read_numbers(const char* at, int64_t left, bint more, AckNumbers* out) noexcept:
    """Five numbers between dots at `at`; False when they are not that."""
    cdef uint64_t[5] numbers
    cdef const char* end = at + left
    cdef const char* start
    cdef int token
    cdef uint64_t value
    for token in range(5):
        value, start = 0, at
        while at < end and c"0" <= at[0] <= c"9":
            value = value * 10 + <uint64_t>(at[0] - 48)
            at += 1
        if at == start or at - start > DIGITS_MAX:
            return False
        numbers[token] = value
        if at == end:
            break
        if at[0] != c".":
            return False
        at += 1
    if token < 4 or (at < end and not more):
        return False
    out[0] = AckNumbers(numbers[0], numbers[1], numbers[2], <int64_t>numbers[3], numbers[4])
    return True


cdef bint body_begins(const Msg* msg, const char* text, uint32_t size) noexcept:
    return msg.body_len >= size and memcmp(msg.body, text, size) == 0


cdef bint body_is(const Msg* msg, const char* text, uint32_t size) noexcept:
    return msg.body_len == size and memcmp(msg.body, text, size) == 0


cdef class AckSubject:
    """The reply subjects of one consumer's deliveries."""

    def __init__(self, str stream, str consumer):
        cdef bytes prefix = f"$JS.ACK.{stream}.{consumer}.".encode()
        self.prefix_len = <uint32_t>PyBytes_GET_SIZE(prefix)
        assert self.prefix_len + 5 * 21 <= sizeof(self.text), "names are bounded"
        memcpy(self.text, PyBytes_AS_STRING(prefix), self.prefix_len)

    cdef uint32_t encode(self, uint64_t deliveries, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns,
                         uint64_t pending) noexcept:
        cdef char* at = self.text + self.prefix_len
        at = put_number(at, deliveries, c".")
        at = put_number(at, stream_seq, c".")
        at = put_number(at, consumer_seq, c".")
        at = put_number(at, <uint64_t>ts_ns, c".")
        at = put_number(at, pending, 0)
        return <uint32_t>(at - <char*>self.text)


cdef class OwedReplies:
    """A ring; grows by doubling. Positions never decrease along it."""

    def __dealloc__(self):
        cdef size_t i
        for i in range(self._count):
            free(self._slots[(self._head + i) % self._capacity].reply)
        free(self._slots)

    cdef int push(self, uint64_t store_position, uint64_t journal_position, const char* reply,
                  uint32_t reply_len, const char* body, uint32_t body_len) except -1:
        cdef OwedReply* slot
        assert reply_len > 0
        if self._count == self._capacity:
            self._grow()
        slot = &self._slots[(self._head + self._count) % self._capacity]
        slot.reply = <char*>malloc(reply_len)
        if slot.reply == NULL:
            raise MemoryError
        memcpy(slot.reply, reply, reply_len)
        slot.store_position, slot.journal_position, slot.reply_len = store_position, journal_position, reply_len
        slot.body, slot.body_len = body, body_len
        self._count += 1
        return 0

    cdef int _grow(self) except -1:
        cdef size_t capacity = self._capacity * 2 if self._capacity else 16, i
        cdef OwedReply* bigger = <OwedReply*>calloc(capacity, sizeof(OwedReply))
        if bigger == NULL:
            raise MemoryError
        for i in range(self._count):
            bigger[i] = self._slots[(self._head + i) % self._capacity]
        free(self._slots)
        self._slots, self._head, self._capacity = bigger, 0, capacity
        return 0

    cdef int release(self, uint64_t store_position, uint64_t journal_position, Router router) except -1:
        cdef OwedReply owed
        cdef Msg msg
        while self._count:
            owed = self._slots[self._head]
            if owed.store_position > store_position or owed.journal_position > journal_position:
                return 0
            self._head = (self._head + 1) % self._capacity       # it leaves first: its receiver may ack again
            self._count -= 1
            msg = Msg(owed.reply, owed.reply_len, owed.reply, 0, owed.reply, 0, owed.body, owed.body_len)
            try:
                router.route(owed.reply, owed.reply_len, &msg, None)
            finally:
                free(owed.reply)
        return 0

    cdef int give_up(self, uint64_t store_position, uint64_t journal_position, Router router, str failure) except -1:
        cdef size_t i, count = self._count
        cdef OwedReply owed
        cdef list replies = []
        self._count = 0
        for i in range(count):                     # what stays moves up; nothing is sent while slots move
            owed = self._slots[(self._head + i) % self._capacity]
            if owed.store_position <= store_position and owed.journal_position <= journal_position:
                self._slots[(self._head + self._count) % self._capacity] = owed
                self._count += 1
                continue
            if owed.body_len:
                replies.append((PyBytes_FromStringAndSize(owed.reply, owed.reply_len),
                                PyBytes_FromStringAndSize(owed.body, owed.body_len)))
            free(owed.reply)
        for reply, answer in replies:
            router.publish(reply, refused_removal(answer, failure))
        return 0
