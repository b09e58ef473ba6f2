"""Publish acknowledgements: a ring of owed answers, and the bytes of an acknowledgement.

An answer is owed at a log position. Positions never decrease along the ring, so answers leave in the order
in which the publishes came, refusals and duplicates among them, and copies on other subjects before them.
Their texts lie behind each other in one buffer, in the same order, so that an answer costs no allocation.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from millpond.structures.buffers cimport ByteBuffer, put_decimal

from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import encode

cdef enum:
    SLOTS_MIN = 64
    SLOTS_KEPT = 4096            # more are given back when nothing is owed any more
    TEXT_BYTES_KEPT = 131072

cdef bytes DUPLICATE = b',"duplicate": true'


def refusal(str stream, error):
    """The body that refuses a publish: the error, then an acknowledgement of nothing."""
    parts = {"code": error.code, "err_code": error.err_code, "description": error.description}
    return encode({"error": parts, "stream": stream, "seq": 0})


def refused_removal(bytes answer, str failure):
    """What comes in the place of this answer to a delete or a purge when the disk has failed."""
    cdef bytes kind = answer[:answer.index(b',"success"')]
    error = api_error("JSStreamPurgeFailedF" if b"_purge_" in kind else "JSStreamMsgDeleteFailedF", err=failure)
    parts = {"code": error.code, "err_code": error.err_code, "description": error.description}
    return kind + b',"error":' + encode(parts) + b"}"


cdef class AnswerRing:
    """First in, first out; grows by doubling, and has no slots before the first answer."""

    def __cinit__(self):
        self._texts = ByteBuffer()

    def __init__(self, str stream, str domain):
        head = {"stream": stream, "domain": domain} if domain else {"stream": stream}
        cdef bytes text = encode(head)
        self._prefix = text[: len(text) - 1] + b',"seq":'
        assert len(self._prefix) + 64 < ENCODED_BYTES_MAX, "names are bounded, so is an acknowledgement"

    def __dealloc__(self):
        free(self._slots)

    cdef int push(self, uint64_t position, uint64_t stream_seq, bint duplicate, const char* reply,
                  uint32_t reply_len, bytes refusal, bytes tail=b"") except -1:
        cdef bytes more = refusal or tail
        cdef uint32_t body_len = <uint32_t>len(more)
        cdef Answer* slot
        assert reply_len > 0
        slot = self._slot(position)
        self._texts.reserve(<size_t>reply_len + body_len)
        self._texts.append(reply, reply_len)
        if body_len:
            self._texts.append(<const char*>more, body_len)
        slot.kind = READY if refusal else ACKNOWLEDGED
        slot.stream_seq, slot.duplicate = stream_seq, duplicate
        slot.reply_len, slot.hdr_len, slot.body_len = reply_len, 0, body_len
        self._count += 1
        return 0

    cdef int push_copy(self, uint64_t position, bytes subject, bytes hdr, bytes body) except -1:
        cdef bytes whole = subject + hdr + body
        cdef Answer* slot
        slot = self._slot(position)
        self._texts.append(<const char*>whole, len(whole))
        slot.kind = COPY
        slot.reply_len, slot.hdr_len = <uint32_t>len(subject), <uint32_t>len(hdr)
        slot.body_len = <uint32_t>len(body)
        self._count += 1
        return 0

    cdef Answer* _slot(self, uint64_t position) except NULL:
        """The next slot; it counts once it is filled and its texts are there."""
        cdef Answer* bigger
        cdef Answer* slot
        cdef size_t i, capacity
        if self._count == self._capacity:
            capacity = self._capacity * 2 if self._capacity else SLOTS_MIN
            bigger = <Answer*>malloc(capacity * sizeof(Answer))
            if bigger == NULL:
                raise MemoryError
            for i in range(self._count):
                bigger[i] = self._slots[(self._head + i) & (self._capacity - 1)]
            free(self._slots)
            self._slots, self._head, self._capacity = bigger, 0, capacity
        slot = &self._slots[(self._head + self._count) & (self._capacity - 1)]
        slot.position = position
        return slot

    cdef Answer* first(self) noexcept:
        return &self._slots[self._head] if self._count else NULL

    cdef const char* texts(self) noexcept:
        return self._texts.data + self._texts.head

    cdef void pop(self) noexcept:
        cdef Answer* slot = &self._slots[self._head]
        self._texts.consume(<size_t>slot.reply_len + slot.hdr_len + slot.body_len)
        self._head = (self._head + 1) & (self._capacity - 1)
        self._count -= 1
        if self._count == 0:
            self._give_back()

    cdef void _give_back(self) noexcept:
        cdef void* smaller
        if self._texts.capacity > TEXT_BYTES_KEPT:
            self._texts.release()
        if self._capacity > SLOTS_KEPT:
            smaller = realloc(self._slots, SLOTS_KEPT * sizeof(Answer))
            if smaller != NULL:
                self._slots, self._capacity, self._head = <Answer*>smaller, SLOTS_KEPT, 0

    cdef size_t count(self) noexcept:
        return self._count

    cdef uint32_t encode(self, const Answer* answer, char* out) noexcept:
        cdef uint32_t used = <uint32_t>len(self._prefix)
        memcpy(out, <const char*>self._prefix, used)
        used += put_decimal(out + used, answer.stream_seq)
        if answer.duplicate:
            memcpy(out + used, <const char*>DUPLICATE, 18)
            used += 18
        out[used] = c"}"
        return used + 1

    cdef bytes body(self):
        cdef Answer* answer = &self._slots[self._head]
        cdef bytes text
        if answer.kind == FAILED:
            return self._verdict
        text = PyBytes_FromStringAndSize(self.texts() + answer.reply_len + answer.hdr_len, answer.body_len)
        if answer.kind == ACKNOWLEDGED:
            return b"%b%d%b%b}" % (self._prefix, answer.stream_seq, DUPLICATE if answer.duplicate else b"", text)
        return text

    cdef int refuse_all(self, bytes refusal) except -1:
        """What is still owed will not become durable: acknowledgements turn into this refusal, copies into nothing."""
        cdef Answer* slot
        cdef size_t i
        self._verdict = refusal
        for i in range(self._count):
            slot = &self._slots[(self._head + i) & (self._capacity - 1)]
            slot.position = 0
            if slot.kind == COPY:
                slot.kind = NOTHING
            elif slot.kind == ACKNOWLEDGED:
                slot.kind = FAILED
        return 0
