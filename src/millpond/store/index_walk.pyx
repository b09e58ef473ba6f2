"""A walk over the rows of an index, from one sequence to another, that stops after so many rows."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from millpond.store.index_core cimport IndexCore
from millpond.store.run cimport NO_ROW, run_is_live, run_lower_bound, run_seq


cdef void walk_begin(IndexCore index, Walk* walk, uint64_t from_seq, uint64_t to_seq, uint64_t rows) noexcept:
    memset(walk, 0, sizeof(Walk))
    walk.to_seq, walk.rows = to_seq, rows
    if index.state.messages == 0 or from_seq > index.state.last_seq:
        return
    walk.run_number = index._run_at(from_seq)
    if walk.run_number < index._runs_count:
        walk.run = index._runs[walk.run_number]
        walk.row = run_lower_bound(walk.run, from_seq) - 1


cdef bint walk_on(IndexCore index, Walk* walk) noexcept:
    walk.live = False
    while walk.run != NULL:
        walk.row += 1
        if walk.row >= walk.run.rows or walk.run.live == 0:
            walk.run_number += 1
            walk.run = index._runs[walk.run_number] if walk.run_number < index._runs_count else NULL
            walk.row = NO_ROW                      # one before 0
            continue
        walk.seq = run_seq(walk.run, walk.row)
        if walk.seq > walk.to_seq:
            return False
        if walk.rows == 0:
            walk.resume = walk.seq
            return False
        walk.rows -= 1
        walk.live = run_is_live(walk.run, walk.row)
        if walk.live:
            return True
    return False
