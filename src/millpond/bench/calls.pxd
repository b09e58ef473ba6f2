# Requests with answers, a fixed number of them in flight.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.bench.frames cimport Delivered
from millpond.bench.histogram cimport Histogram
from millpond.bench.loop cimport Connection, Driver
from millpond.structures.buffers cimport ByteBuffer

cdef struct Slot:
    uint64_t token               # of the request that is out; its answer carries it
    int64_t asked_ns             # when the operation (all its requests) began
    uint64_t number              # of the operation, from 0
    uint64_t seq                 # for subclasses
    int step                     # for subclasses; 0 when an operation begins

cdef class Calls(Driver):
    cdef readonly Histogram latency
    cdef list _conns
    cdef uint32_t _window, _conns_count
    cdef uint64_t _begun, _asked, operations_max
    cdef Slot* _slots
    cdef bytes _inboxes          # INBOX_BYTES per connection
    cdef char[64] _reply
    cdef bint _opened
    # Writes the slot's next request with put(). To be overridden, like answered().
    cdef int ask(self, Slot* slot) except -1
    # The slot that a message answers.
    cdef Slot* waiting(self, const Delivered* msg) except NULL
    # 1: the operation is complete; 0: it goes on with another ask().
    cdef int answered(self, Slot* slot, const Delivered* msg) except -1
    cdef int put(self, Slot* slot, const char* subject, uint32_t subject_len, const char* hdr, uint32_t hdr_len,
                 const char* body, uint32_t body_len) except -1
    cdef int _begin(self, uint32_t index, int64_t now_ns) except -1

cdef bint is_pub_ack(const Delivered* msg) noexcept
