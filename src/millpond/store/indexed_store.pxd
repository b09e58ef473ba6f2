# What the file store and the memory store have in common: an Index answers every question, and limits, purges
# and expiry are decided here. A subclass adds append, load, and where the bytes are.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.api cimport Load, Record, Store
from millpond.store.expiry_heap cimport ExpiryHeap
from millpond.store.index cimport Entry, Index
from millpond.store.pin cimport Kept, Pin

cdef class IndexedStore(Store):
    cdef Index index
    cdef bint closed
    cdef ExpiryHeap expiries         # of messages that end before max_age would end them, or have none
    cdef uint64_t _lasting_below     # every live message below is one that max_age does not end
    cdef list pins                   # of readers that go on while messages leave
    # What `pin` wants is kept for it from here on, until it is taken away again. Not what is removed securely.
    cdef int add_pin(self, Pin pin) except -1
    cdef int remove_pin(self, Pin pin) except -1
    # What was kept; as load().
    cdef Load load_kept(self, const Kept* kept, Record* out) except *
    # --- for subclasses ---
    # The message is about to leave, and a pin wants it: what to keep. *copy_bytes: how large its copy is.
    cdef Kept kept_of(self, const Entry* entry, size_t* copy_bytes) except *
    # The message has left the index: give back its bytes, log its removal. Before the owner hears of it.
    # evicted: by the limits, which would evict it again.
    cdef int erased(self, const Entry* entry, bint secure, bint evicted) except -1
    # The empty store now begins at state.first_seq: log it.
    cdef int floor_raised(self) except -1
    # Sequences up to state.last_seq are issued, without messages: log it.
    cdef int last_raised(self) except -1
    # The exact time of a live message. False: not at hand; the index's, exact to 1 ms downwards, must do.
    cdef bint exact_ts(self, const Entry* entry, int64_t* ts_ns) noexcept
    # May there be messages with header blocks in that segment?
    cdef bint has_headers(self, uint32_t run_id) noexcept
    cdef bint _is_first_ts_near      # state.first_ts_ns is the index's, exact to 1 ms downwards
    # Takes over index.state, after every change of the index.
    cdef int refresh(self) except -1
    # Removes one message whole: index, bytes, owner. False: was not there.
    cdef bint drop(self, uint64_t stream_seq, bint secure, bint evicted=*) except *
    # The live message ends at expires_ns, or NEVER_EXPIRES. Called by append and by recovery, never twice for one.
    cdef int note_expiry(self, uint64_t stream_seq, int64_t expires_ns) except -1
    # After an append: evicts the oldest of this subject, then the oldest of all, until the limits hold, or (over_limits)
    # as many as one append may.
    cdef int enforce(self, const char* subject, uint32_t subject_len) except -1
    cdef int _keep(self, const Entry* entry) except -1
    cdef uint32_t _enforce_id, _enforce_numbering      # where enforcing is among the subjects, and under which ids
    cdef bint _totals_first                            # they were set, and not reached, before the limit of subjects was
    cdef int _enforce_totals(self, uint64_t* most) except -1
    cdef bint _enforce_subjects(self, uint64_t* most) except *
    cdef int64_t _expire_aged(self, int64_t now_ns, uint32_t* budget) except? -1
    cdef int64_t _expire_own(self, int64_t now_ns, uint32_t* budget) except? -1
    cdef list _check_expiries(self)
    # Is every message as it should be? Fills {run: (live messages, their bytes)}.
    cdef list check_messages(self, dict live)
    cdef bint _may_expire(self, const Entry* entry) except *
    cdef uint64_t _purge_oldest(self, uint64_t below_seq, uint64_t most) except? 0xFFFFFFFFFFFFFFFF
