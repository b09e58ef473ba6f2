"""Where sources go on after a restart: the newest message of each says it (source_names).

The stream is looked through from its end, in steps, as far back as it takes. Nothing is kept of it.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t

from millpond.jetstream.stream_core cimport StreamCore
from millpond.store.api cimport COLD, FOUND, Filters, Load, Record
from millpond.wire.headers cimport find


cdef class SourceScan:
    """One look through the messages of `stream` under `filters` (bytes; none: all), newest first."""

    cdef StreamCore _stream
    cdef Filters _filters
    cdef uint64_t _at
    cdef readonly bint done
    cdef readonly bint cold                  # the next message is being read from disk

    def __init__(self, StreamCore stream, list filters):
        self._stream, self._filters = stream, Filters(filters)
        self._at = stream.store.state.last_seq
        self.done = self._at == 0

    def step(self, uint32_t messages_max):
        """(sequence, `Nats-Stream-Source` header) of the next messages, at most so many; fewer when one must be read from
        disk first (`cold`: ask again when the store is warm) or when that was all (`done`)."""
        cdef Record record
        cdef Load found
        cdef const char* value = NULL
        cdef uint32_t size = 0, looked
        cdef uint64_t stream_seq
        cdef list headers = []               # [(sequence, header)]
        self.cold = False
        for looked in range(messages_max):
            stream_seq = self._stream.store.last_match(self._filters, self._at) if self._at else 0
            if not stream_seq:
                self.done = True
                break
            found = self._stream.store.load(stream_seq, &record)
            if found == COLD:
                self.cold = True
                break
            if found == FOUND and find(record.hdr, record.hdr_len, b"Nats-Stream-Source", 18, &value, &size):
                headers.append((stream_seq, PyBytes_FromStringAndSize(value, size)))
            self._at = stream_seq - 1
        return headers
