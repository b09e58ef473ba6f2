# What a stream and the pump know of a consumer. Declared below both, so that neither imports consumers.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.sink cimport Sink
from millpond.store.api cimport Filters

cdef class Follower(Sink):
    cdef readonly str name
    cdef public bint queued                  # in the pump's list
    cdef uint64_t expected_seq               # its stream's Listeners wait for this commit; 0: not
    cdef uint64_t gathered                   # and the last message for which they found it
    cdef bint reading                        # they call its ready() when a read has ended

    # It is told nothing more, and does nothing; stop() is still to come. Quick: a stream may have many of them.
    cpdef int halt(self) except -1
    cpdef int stop(self, str status) except -1           # status line for waiting pulls ("409 Consumer Deleted", "" = none)

    # --- asked by the stream ---
    cdef bint needs(self, uint64_t stream_seq) except *  # of a message that it wants: not settled yet
    # --- told by the stream ---
    cdef int appended(self, uint64_t stream_seq) except -1       # it wants this message; not yet committed
    # A message that it wants has left. A stray (listeners.pyx) hears of all others too.
    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1
    # After removed() was called for all that went; the first message left under the filters (not for all), 0: none.
    cdef int purged(self, Filters filters, uint64_t first_left) except -1
    cdef int ready(self) except -1                       # committed or warm: there may be something to deliver

    # --- told by the pump phase ---
    cdef int interest_changed(self) except -1            # subscriptions have changed, and it is watched
    # Delivers within the budget; 1 = more could be delivered now.
    cdef int pump(self, uint32_t messages_budget, uint32_t bytes_budget) except -1
