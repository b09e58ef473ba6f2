# A consumer's state in line with its stream: after a start, and when a change of it was taken back.
from millpond.store.api cimport Filters, Store
from millpond.store.consumer_state cimport ConsumerState

# Nothing is pending that the stream no longer has, and it goes on behind the stream's end.
cdef int bring_in_line(ConsumerState state, Store store, object config) except -1
# Is something pending, or was delivered too often, that is not under the filters? They were others before.
cdef bint holds_others(ConsumerState state, Store store, Filters filters) except *
