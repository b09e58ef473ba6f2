"""Publish acknowledgements: a ring of owed answers, and the bytes of an acknowledgement.

An answer is owed at a log position. Positions never decrease along the ring, so answers leave in the order
in which the publishes came, refusals and duplicates among them, and copies on other subjects before them.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from millpond.jetstream.go_json import encode


def refusal(str stream, error):
    """The body that refuses a publish: the error, then an acknowledgement of nothing."""
    parts = {"code": error.code, "err_code": error.err_code, "description": error.description}
    return encode({"error": parts, "stream": stream, "seq": 0})


cdef class AnswerRing:
    """First in, first out; grows by doubling."""

    def __cinit__(self):
        self._capacity = 64
        self._slots = <Answer*>calloc(self._capacity, sizeof(Answer))
        if self._slots == NULL:
            raise MemoryError

    def __init__(self, str stream, str domain):
        head = {"stream": stream, "domain": domain} if domain else {"stream": stream}
        cdef bytes text = encode(head)
        self._prefix = text[: len(text) - 1] + b',"seq":'
        assert len(self._prefix) + 64 < ENCODED_BYTES_MAX, "names are bounded, so is an acknowledgement"

    def __dealloc__(self):
        if self._slots != NULL:
            while self._count:
                self.pop()
            free(self._slots)

    cdef int push(self, uint64_t position, uint64_t stream_seq, bint duplicate, const char* reply,
                  uint32_t reply_len, bytes refusal) except -1:
        cdef uint32_t body_len = <uint32_t>len(refusal)
        cdef Answer* slot = self._slot(position, reply_len + body_len)
        assert reply_len > 0
        memcpy(slot.reply, reply, reply_len)
        memcpy(slot.reply + reply_len, <const char*>refusal, body_len)
        slot.kind = READY if body_len else ACKNOWLEDGED
        slot.stream_seq, slot.duplicate = stream_seq, duplicate
        slot.reply_len, slot.hdr_len, slot.body_len = reply_len, 0, body_len
        return 0

    cdef int push_copy(self, uint64_t position, bytes subject, bytes hdr, bytes body) except -1:
        cdef bytes whole = subject + hdr + body
        cdef Answer* slot = self._slot(position, <uint32_t>len(whole))
        memcpy(slot.reply, <const char*>whole, len(whole))
        slot.kind = COPY
        slot.reply_len, slot.hdr_len = <uint32_t>len(subject), <uint32_t>len(hdr)
        slot.body_len = <uint32_t>len(body)
        return 0

    cdef Answer* _slot(self, uint64_t position, uint32_t size) except NULL:
        """The next slot, with `size` bytes behind `reply`."""
        cdef Answer* slot
        cdef Answer* bigger
        cdef size_t i
        if self._count == self._capacity:
            bigger = <Answer*>calloc(self._capacity * 2, sizeof(Answer))
            if bigger == NULL:
                raise MemoryError
            for i in range(self._count):
                bigger[i] = self._slots[(self._head + i) % self._capacity]
            free(self._slots)
            self._slots, self._head, self._capacity = bigger, 0, self._capacity * 2
        slot = &self._slots[(self._head + self._count) % self._capacity]
        slot.reply = <char*>malloc(size)
        if slot.reply == NULL:
            raise MemoryError
        slot.position = position
        self._count += 1
        return slot

    cdef Answer* first(self) noexcept:
        return &self._slots[self._head] if self._count else NULL

    cdef void pop(self) noexcept:
        free(self._slots[self._head].reply)
        self._slots[self._head].reply = NULL
        self._head = (self._head + 1) % self._capacity
        self._count -= 1

    cdef size_t count(self) noexcept:
        return self._count

    cdef uint32_t encode(self, const Answer* answer, char* out) noexcept:
        cdef uint32_t used = <uint32_t>len(self._prefix)
        memcpy(out, <const char*>self._prefix, used)
        used += snprintf(out + used, 24, "%llu", <unsigned long long>answer.stream_seq)
        if answer.duplicate:
            memcpy(out + used, b',"duplicate": true', 18)
            used += 18
        out[used] = c"}"
        return used + 1

    cdef int refuse_all(self, bytes refusal) except -1:
        """What is still owed will not become durable: acknowledgements turn into this refusal, copies into nothing."""
        cdef Answer* slot
        cdef char* bigger
        cdef size_t i
        cdef uint32_t size = <uint32_t>len(refusal)
        for i in range(self._count):
            slot = &self._slots[(self._head + i) % self._capacity]
            slot.position = 0
            if slot.kind == COPY:
                slot.kind = NOTHING
            if slot.kind != ACKNOWLEDGED:
                continue
            bigger = <char*>malloc(slot.reply_len + size)
            if bigger == NULL:
                raise MemoryError
            memcpy(bigger, slot.reply, slot.reply_len)
            memcpy(bigger + slot.reply_len, <const char*>refusal, size)
            free(slot.reply)
            slot.reply, slot.body_len, slot.kind = bigger, size, READY
        return 0
