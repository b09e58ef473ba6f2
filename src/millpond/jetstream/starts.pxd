# Where a new consumer begins.
from libc.stdint cimport uint64_t
from millpond.store.api cimport Filters, Store

# The first sequence to look at, clamped to what the stream holds; `first_listed`: of last_per_subject, 0 = none.
cdef uint64_t start_seq(object config, Store store, Filters filters, uint64_t first_listed) except 0
