"""Where a new consumer begins (reference 4.1, deliver_policy)."""

from libc.stdint cimport uint64_t

from millpond.store.api cimport Filters, Store
from millpond.store.search cimport Search

from millpond.jetstream.go_time import int64_ns


cdef Search start_search(object config, Store store, Filters filters):
    cdef Search search
    if filters.all or config.deliver_policy not in ("last", "by_start_time"):
        return None
    search = Search(store, filters)
    search.begin(0, store.state.last_seq, config.deliver_policy == "last")
    return search


cdef uint64_t start_seq(object config, Store store, Filters filters, uint64_t found) except 0:
    cdef uint64_t first = store.state.first_seq or 1, last = store.state.last_seq, start
    policy = config.deliver_policy
    if policy == "by_start_sequence":
        return max(<uint64_t>max(config.opt_start_seq, 1), first)
    if policy == "last":
        start = last if filters.all else found
    elif policy == "last_per_subject":
        start = found or (first if store.limits.per_subject_max == 1 else last)
    elif policy == "by_start_time":
        start = store.seq_at_time(int64_ns(config.opt_start_time_ns))
        if start < found < last:
            start = found                    # closes the gap to the first that matches
    else:
        start = first if policy == "all" else last + 1
    return max(min(start, last + 1), first)
