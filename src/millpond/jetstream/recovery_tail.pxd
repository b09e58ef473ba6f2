# What a crash may have left half done at the end of a stream.
from millpond.jetstream.dedupe cimport Dedupe
from millpond.store.api cimport Store

# Takes back a batch that was not stored to its end, and does again what the last publishes ask to be purged.
cdef int finish_tail(Store store, bint atomic, bint rolls_up) except -1
# Fills an empty window from what is stored; returns the message id of the last message.
cdef bytes rebuild_window(Store store, Dedupe dedupe, object now_ns)
