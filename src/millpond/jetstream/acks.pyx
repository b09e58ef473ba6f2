"""Ack subjects and small bodies, without Python objects (reference 4.4).

    v1   $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ts ns>.<pending>
    v2   $JS.ACK.<domain or _>.<account hash>.<stream>.<consumer>.(the same five)[.<token>...]

v1 is what we write; both are read.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from millpond.broker.router cimport Router
from millpond.wire.message cimport Msg

from millpond.base.digests import sha256

HASH_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def account_hash(str account):
    """What stands for the account in v2 ack subjects."""
    return "".join(HASH_DIGITS[byte % 62] for byte in sha256(account.encode()).digest()[:8])


cdef char* put_number(char* at, uint64_t number, char after) noexcept:
    """Decimal digits of `number`, then `after` unless it is 0. At most 21 bytes."""
    cdef char[20] digits
    cdef int count = 0
    while True:
        digits[count] = <char>(48 + number % 10)
        count += 1
        number //= 10
        if number == 0:
            break
    while count:
        count -= 1
        at[0] = digits[count]
        at += 1
    if after:
        at[0] = after
        at += 1
    return at


cdef bint read_numbers(const char* at, int64_t left, bint more, AckNumbers* out) noexcept:
    """Five numbers between dots at `at`; False when they are not that."""
    cdef uint64_t[5] numbers
    cdef int token = 0, digits = 0
    cdef uint64_t value = 0
    cdef int64_t i
    for i in range(left + 1):
        if i == left or at[i] == c".":
            if digits == 0:
                return False
            numbers[token] = value
            token += 1
            if token == 5:
                out[0] = AckNumbers(numbers[0], numbers[1], numbers[2])
                return i == left or more
            value = digits = 0
        elif c"0" <= at[i] <= c"9" and digits < 19:
            value = value * 10 + <uint64_t>(at[i] - 48)
            digits += 1
        else:
            return False
    return False


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
                  uint32_t reply_len) except -1:
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
            msg = Msg(owed.reply, owed.reply_len, owed.reply, 0, owed.reply, 0, owed.reply, 0)
            try:
                router.route(owed.reply, owed.reply_len, &msg, None)
            finally:
                free(owed.reply)
        return 0
