"""Where a new consumer begins (reference 4.1, deliver_policy)."""

from libc.stdint cimport uint64_t

from millpond.store.api cimport Filters, Store


cdef uint64_t start_seq(object config, Store store, Filters filters, list skip) except 0:
    cdef uint64_t first = store.state.first_seq or 1, last = store.state.last_seq, start
    policy = config.deliver_policy
    if policy == "by_start_sequence":
        return max(<uint64_t>max(config.opt_start_seq, 1), first)
    if policy == "all":
        start = first
    elif policy == "last":
        start = (last if filters.all else store.last_match(filters, 0)) or last + 1
    elif policy == "last_per_subject":
        start = skip[0] if skip else last + 1
    elif policy == "by_start_time":
        start = store.seq_at_time(config.opt_start_time_ns)
    else:
        start = last + 1
    return max(min(start, last + 1), first)
