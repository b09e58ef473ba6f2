# What a crash may have left half done at the end of a stream.
from libc.stdint cimport uint64_t
from millpond.jetstream.dedupe cimport Dedupe
from millpond.store.api cimport Store

# Takes back a batch that was not stored to its end. Returns the first sequence of what the last write may have left
# half done.
cdef uint64_t take_back_tail(Store store, bint atomic) except? 0
# Does again what publishes from `first` on ask to be purged.
cdef int roll_up_tail(Store store, uint64_t first) except -1
# Fills an empty window from what is stored; returns the message id of the last message.
cdef bytes rebuild_window(Store store, Dedupe dedupe, object now_ns)
