# Client connections on raw non-blocking sockets, their descriptor set, and the drivers that use them.
from libc.stdint cimport int64_t, uint64_t
from millpond.bench.frames cimport Delivered
from millpond.structures.buffers cimport ByteBuffer

cdef class Driver:
    # A load: says what to send, hears every message, knows when it is over. `operations` counts what a
    # rate is made of, `failures` what was answered with an error.
    cdef Loop loop
    cdef readonly uint64_t operations, failures
    cdef readonly str first_failure
    cdef bint stopping
    # Puts what may be sent now into the connections' buffers. 1: there is more to send at once.
    cdef int fill(self, int64_t now_ns) except -1
    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1
    cdef bint done(self) except *            # asked after every round; also says when a stopped load has drained
    cdef int stop(self) except -1            # begins no new operation
    cdef int failed(self, const char* text, size_t n) except -1

cdef class Connection:
    cdef Loop loop
    cdef object sock
    cdef readonly int fd, number             # number: its place among the loop's connections
    cdef readonly uint64_t pings, pongs      # sent, received
    cdef uint64_t sids                       # subscriptions so far
    cdef ByteBuffer out
    cdef bint dirty, wants_write
    cdef char* data
    cdef size_t start, end, capacity
    cdef int touch(self) except -1           # something was put into `out`
    cdef int ping(self) except -1
    cdef int flush(self) except -1
    # How many of these bytes have left; 0 = none now. What was not taken is offered again, with more behind it.
    cdef Py_ssize_t put(self, const char* data, size_t n) except -1
    # One read; every message that is whole goes to the driver.
    cdef int read(self, Driver driver, int64_t now_ns) except -1
    cdef Py_ssize_t receive(self, char* place, size_t room) except -1    # 0 = nothing now
    cdef int _make_room(self) except -1
    cdef int _dispatch(self, Driver driver, int64_t now_ns) except -1

cdef class Loop:
    cdef int poller
    cdef readonly list connections
    cdef list _dirty
    cdef readonly int64_t started_ns, ended_ns
    cdef int _flush(self) except -1
    cdef int _round(self, Driver driver, int timeout_ms) except -1

cdef int64_t now() noexcept nogil            # monotonic, ns
