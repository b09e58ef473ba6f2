# Where a new consumer begins.
from libc.stdint cimport uint64_t
from millpond.store.api cimport Filters, Store

# The first sequence to look at, clamped to what the stream holds; `skip`: sequences of last_per_subject, else unused.
cdef uint64_t start_seq(object config, Store store, Filters filters, list skip) except 0
