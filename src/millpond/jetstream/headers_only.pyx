"""headers_only deliveries: the body goes, its size is told in a header (reference 4.1)."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from millpond.jetstream.acks cimport put_number
from millpond.wire.message cimport Msg

cdef size_t ADDED_BYTES_MAX = 64       # "NATS/1.0", "Nats-Msg-Size: ", ten digits, three line ends


cdef class BodyStripper:
    """Owns one buffer, as large as the largest header block it saw."""

    def __dealloc__(self):
        free(self._scratch)

    cdef int strip(self, Msg* msg) except -1:
        cdef size_t need = msg.hdr_len + ADDED_BYTES_MAX, used
        cdef char* at
        if need > self._size:
            free(self._scratch)
            self._scratch = <char*>malloc(need)
            if self._scratch == NULL:
                raise MemoryError()
            self._size = need
        if msg.hdr_len:
            used = msg.hdr_len - 2
            memcpy(self._scratch, msg.hdr, used)
        else:
            used = 10
            memcpy(self._scratch, b"NATS/1.0\r\n", used)
        memcpy(self._scratch + used, b"Nats-Msg-Size: ", 15)
        at = put_number(self._scratch + used + 15, msg.body_len, 0)
        memcpy(at, b"\r\n\r\n", 4)
        msg.hdr, msg.hdr_len, msg.body_len = self._scratch, <uint32_t>(at + 4 - self._scratch), 0
        return 0
