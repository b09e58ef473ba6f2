"""Headers that only deliveries have: the size of a body that is left out (reference 4.1), a pin id (4.5)."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from millpond.jetstream.acks cimport put_number
from millpond.wire.message cimport Msg

cdef enum:
    ADDED_BYTES_MAX = 16                   # "NATS/1.0" and three line ends


cdef class HeaderWriter:
    """Owns one buffer, as large as the largest header block it made."""

    def __dealloc__(self):
        free(self._scratch)

    cdef int strip(self, Msg* msg) except -1:
        cdef char[40] line
        cdef char* end
        memcpy(line, b"Nats-Msg-Size: ", 15)
        end = put_number(&line[15], msg.body_len, 0)
        self.add(msg, line, <uint32_t>(end - &line[0]))
        msg.body_len = 0
        return 0

    cdef int add(self, Msg* msg, const char* line, uint32_t line_len) except -1:
        cdef size_t need = msg.hdr_len + line_len + ADDED_BYTES_MAX, used
        cdef bint second = msg.hdr == self._scratch
        cdef char* grown
        if need > self._size:
            grown = <char*>realloc(self._scratch, need)
            if grown == NULL:
                raise MemoryError()
            self._scratch, self._size = grown, need
        if msg.hdr_len == 0:
            used = 10
            memcpy(self._scratch, b"NATS/1.0\r\n", used)
        else:
            used = msg.hdr_len - 2
            if not second:
                memcpy(self._scratch, msg.hdr, used)
        memcpy(self._scratch + used, line, line_len)
        memcpy(self._scratch + used + line_len, b"\r\n\r\n", 4)
        msg.hdr, msg.hdr_len = self._scratch, <uint32_t>(used + line_len + 4)
        return 0
