# Where a new consumer begins.
from libc.stdint cimport uint64_t
from millpond.store.api cimport Filters, Store
from millpond.store.search cimport Search

# What has to be searched for, in steps, to know where it begins; None: nothing.
cdef Search start_search(object config, Store store, Filters filters)
# The sequence. `found`: by that search, or the first message of the list (deliver policy last_per_subject); 0: none.
cdef uint64_t start_seq(object config, Store store, Filters filters, uint64_t found) except 0
