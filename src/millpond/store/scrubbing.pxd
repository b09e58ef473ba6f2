# Reading what nobody asks for, so that damage is found while there are still backups of what it took.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.file_store cimport FileStore
from millpond.store.packer cimport Client

cdef class Scrub(Client):                # one round over the sealed segments of a store
    cdef FileStore _store
    cdef object _done                    # callable(bytes that were read)
    cdef uint64_t _passed                # segments up to that generation were read
    cdef uint32_t _suspect               # this one does not verify, NO_SEGMENT: none;
    cdef uint64_t _suspect_generation
    cdef uint64_t _next_seq              # messages from here on are to be looked at
    cdef uint64_t _lost                  # of the store, before
    cdef uint32_t _next_number(self) noexcept
    cdef int _found(self, uint32_t number, str reason) except -1
