# nats-server's archive of one stream (2.15): entries in an S2 stream.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.api cimport Record
from millpond.store.backup.s2_stream cimport S2Reader, S2Writer

cdef struct Entry:
    const char* name             # views, valid until the next call on the reader
    uint32_t name_len
    int64_t ts_ns
    uint64_t seq                 # 0: not a message
    uint64_t hdr_len
    uint64_t body_len
    const char* content          # hdr_len + body_len bytes; NULL before read()

cdef enum Read:
    READY = 0
    STARVED = 1                  # feed it, or say end()
    BROKEN = 2                   # `failure` says why

cdef class ArchiveReader:
    cdef readonly str failure
    cdef readonly bint is_archive        # as far as is known: it begins as one
    cdef S2Reader stream
    cdef bint _ended, _begun
    cdef size_t _head_bytes
    # The next entry without its content. Asking again gives the same one until it was passed.
    cdef Read head(self, Entry* out) except *
    # The same with its content.
    cdef Read read(self, Entry* out) except *
    cdef int pass_by(self, const Entry* entry) except -1     # which was read
    cdef Read _need(self, size_t n) except *
    cdef Read _begin(self) except *
    cdef Read _break(self, str reason) except *
    cdef Read _field(self, size_t* at, uint64_t* value, bint first) except *

cdef class ArchiveWriter:
    cdef S2Writer stream
    cdef int put_head(self, const char* name, size_t name_len, int64_t ts_ns, uint64_t seq, uint64_t hdr_len,
                      uint64_t body_len) except -1
    cdef int put_message(self, const Record* record) except -1
    # The entry that says that nothing is missing; everything is in stream.out then.
    cpdef int end(self) except -1
