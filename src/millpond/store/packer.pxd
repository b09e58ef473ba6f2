# The worker that brings segments from one form into the other, and makes their summaries: one at a time for all stores
# of a server.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.disk cimport Disk
from millpond.store.packer_order cimport Order

cdef class Repack:                   # one segment's
    cdef Order order
    cdef Disk disk                   # where its descriptors are from
    cdef readonly uint32_t number
    cdef uint64_t generation
    cdef uint32_t changes            # of the segment when it began
    cdef bint dropped                # nobody waits for it any more

cdef class Client:                   # who has segments to repack
    cdef bint queued
    cdef Repack next_repack(self)                                # its turn has come; None: nothing after all
    cdef int repacked(self, Repack job, int error) except -1     # an errno

cdef class Packer:
    cdef readonly uint64_t jobs, bytes_in, bytes_out             # done so far, and what packing made of how much
    cdef object _waiting             # deque of clients
    cdef Client _client              # whose job runs
    cdef Repack _job
    cdef void* _worker
    cdef int _wake_fd
    cdef int ask(self, Client client) except -1                  # a turn for this client, after those who asked before
    cdef bint forget(self, Client client) except *               # it has gone; True: its job still ran
    cpdef int collect(self) except -1                            # called when the wake-up descriptor is readable
    cpdef int drain(self) except -1                              # blocks until nobody waits (tests)
    cpdef int close(self) except -1
    cdef int _next(self) except -1
    cdef int _submit(self, Repack job) noexcept
    cdef int _stop(self) except -1

cdef int repack_now(Repack job) noexcept     # while the caller waits; returns an errno
