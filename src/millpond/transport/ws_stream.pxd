# WebSocket frames around the bytes of another stream.
from libc.stdint cimport uint64_t
from millpond.structures.buffers cimport ByteBuffer
from millpond.transport.reactor cimport Reactor
from millpond.transport.stream cimport Layer, Stream, iovec

# The place of a read's bytes in the reactor's spare buffer: behind TLS's.
cdef size_t RAW_AT, RAW_BYTES

cdef class WsStream(Layer):
    cdef Stream lower
    cdef Reactor reactor
    cdef bint masks                  # the client masks what it sends
    cdef bint compress, browser, whole
    # in: the frame under way
    cdef unsigned char head[14]
    cdef int head_have, head_need
    cdef uint64_t rest               # of its payload
    cdef bint in_payload, final, compressed, message_open
    cdef int opcode
    cdef unsigned char key[4]
    cdef int key_at
    cdef unsigned char control[125]
    cdef int control_have
    # in: a compressed message
    cdef ByteBuffer gathered
    cdef object inflater
    cdef size_t inflated
    cdef ByteBuffer unread           # raw bytes behind one that is being inflated
    # in: where to, during a take
    cdef iovec* parts
    cdef int count, part
    cdef size_t at, filled
    cdef bint over, failed           # nothing more comes: the client said so, or broke a rule
    # out
    cdef ByteBuffer held             # frames, not all of which have left
    cdef bytes last_word             # the close frame
    cdef readonly str failure        # which rule was broken
    cdef size_t _read(self, const unsigned char* raw, size_t n) except? 0
    cdef int _head(self) except -1
    cdef int _check_head(self) except -1
    cdef size_t _payload(self, const unsigned char* raw, size_t n) except? 0
    cdef size_t _give(self, const unsigned char* raw, size_t n) except? 0
    cdef int _frame_done(self) except -1
    cdef int _control_done(self) except -1
    cdef int _inflate(self) except -1
    cdef int _unmask(self, unsigned char* to, const unsigned char* raw, size_t n) except -1
    cdef size_t _compressed_max(self) except? 0
    cdef size_t _inflated_max(self) except? 0
    cdef int _end_inflating(self) except -1
    cdef int _fail_payload(self) except -1
    cdef int _fail(self, str why) except -1
    cdef int _answer(self, int opcode, const unsigned char* data, size_t n) except -1
    cdef int _frames(self, const char* data, size_t n, int opcode, int frame_max) except -1
    cdef bint _is_stopped(self) noexcept
