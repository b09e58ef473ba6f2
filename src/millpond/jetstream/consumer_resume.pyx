"""Where a consumer stands in a stream that may hold less than it has seen.

After a start the two fit together but for what a crash may have left: the journal never tells of a removal before the
log does, so the stream has lost more than the consumer knows of, or the sequences at its end.
"""

from libc.stdint cimport uint32_t, uint64_t

from millpond.store.api cimport Filters, Store
from millpond.store.consumer_state cimport ConsumerState, Pending


cdef int bring_in_line(ConsumerState state, Store store, object config) except -1:
    cdef uint64_t end = _end_of_stream(state, store, config), at = 0
    cdef Pending pending
    state.knows_of(store.position)
    if state.delivered_stream_seq > end:
        state.cut(end)
    if store.state.first_seq > 1:
        state.advance(store.state.first_seq - 1)
    while state.next_pending(at, &pending):
        at = pending.stream_seq + 1
        if not store.exists(pending.stream_seq):
            state.ack(pending.stream_seq, state.acked_ts_ns)
    return 0


cdef uint64_t _end_of_stream(ConsumerState state, Store store, object config) except? 0:
    """What a consumer cannot have behind it. One that has delivered nothing may begin further on, where it was asked to;
    but after a crash its stream may end before the sequences that were the last ones when it was made, or was carried
    along by a purge: these are issued again."""
    cdef uint64_t last_seq = store.state.last_seq
    if state.delivered_consumer_seq:
        return last_seq
    if not store.cut_short:
        return max(last_seq, state.delivered_stream_seq)
    if config.deliver_policy == "by_start_sequence":
        return max(last_seq, <uint64_t>max(config.opt_start_seq, 1) - 1)
    return last_seq


cdef bint holds_others(ConsumerState state, Store store, Filters filters) except *:
    cdef Pending pending
    cdef uint64_t at = 0, i
    while state.next_pending(at, &pending):
        at = pending.stream_seq + 1
        if not _matches(store, filters, pending.stream_seq):
            return True
    for i in range(state._exhausted_count):
        if not _matches(store, filters, state._exhausted[i]):
            return True
    return False


cdef bint _matches(Store store, Filters filters, uint64_t stream_seq) except *:
    cdef const char* subject
    cdef uint32_t subject_len
    if filters.all or not store.subject_of(stream_seq, &subject, &subject_len):
        return True
    return filters.matches(subject, subject_len)
