# Messages of a backup on their way into an empty store.
from libc.stdint cimport int64_t, uint64_t
from millpond.store.api cimport Store, StoreOwner
from millpond.store.backup.archive cimport ArchiveReader

cdef enum Loaded:
    HUNGRY = 0                   # it needs more of the backup
    AGAIN = 1                    # the budget is spent; call again
    UNWRITTEN = 2                # too much is not committed yet; call again when on_committed() was called
    COMPLETE = 3
    FAULTY = 4                   # `failure` says why

cdef class Loader(StoreOwner):
    cdef readonly str failure
    cdef readonly uint64_t last_seq      # in the backup, so far
    cdef public object on_committed      # callable()
    cdef public object on_id             # None, or callable(message id, sequence, time) for messages of ids_from_ns or later
    cdef public int64_t ids_from_ns
    cdef readonly bytes last_id          # of the last message; empty: it has none
    cdef Store _store
    cdef object _ttl_of
    cdef uint64_t _payload_max
    cdef int64_t _message_max
    cdef int64_t _now_ns
    cdef bint _expires
    # One message that is to come next. False: `failure` says why not.
    cdef bint put(self, uint64_t seq, int64_t ts_ns, const char* subject, uint64_t subject_len, const char* hdr,
                  uint64_t hdr_len, const char* body, uint64_t body_len) except *
    cpdef int load(self, ArchiveReader archive, uint64_t budget) except -1
    # Sequences at the end that have no message any more; ts_ns: the time of the last one, 0: not known.
    cpdef int pad(self, uint64_t last_seq, int64_t ts_ns) except -1
    # Is this message small enough? False: `failure` says why not.
    cdef bint fits(self, uint64_t seq, uint64_t hdr_len, uint64_t body_len) except *
    # What cannot be read; nothing is taken behind it.
    cdef int refuse(self, str reason) except -1
    # A message that was put before is gone.
    cdef int forget(self, uint64_t seq) except -1
    cdef bint is_behind(self) noexcept   # is too much not committed yet?
    cdef bint _fail(self, str reason) except *
