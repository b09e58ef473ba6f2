# A walk over the live messages of an index, and the memory of which subjects matched.
#
#     walk_begin(index, &walk, from_seq, to_seq, rows)
#     while walk_on(index, &walk):        walk.seq is live, in row walk.row of walk.run
#     walk.resume                         where to go on when the rows were used up; 0 at the end
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.api cimport Filters
from millpond.store.index_core cimport IndexCore
from millpond.store.run cimport SUBJECT_MASK, Run

cdef enum:
    VERDICTS = 256

cdef struct Verdicts:                # direct-mapped memory of wildcard matches: id + 1, top bit = matches
    uint32_t of[VERDICTS]

cdef struct Walk:
    Run* run
    uint32_t run_number
    uint32_t row                     # begins one before the first
    uint64_t seq
    uint64_t to_seq
    uint64_t rows                    # left
    uint64_t resume
    bint live                        # the walk stands on a live message
    Verdicts verdicts

cdef inline bint matches_id(IndexCore index, uint32_t id, Filters filters, Verdicts* verdicts) noexcept:
    cdef uint32_t* place = &verdicts.of[id % VERDICTS]
    if place[0] & SUBJECT_MASK != id + 1:
        place[0] = id + 1
        if filters.matches(index.subjects.text(id), index.subjects.at[id].text_len):
            place[0] |= ~<uint32_t>SUBJECT_MASK
    return place[0] & ~<uint32_t>SUBJECT_MASK != 0

cdef void walk_begin(IndexCore index, Walk* walk, uint64_t from_seq, uint64_t to_seq, uint64_t rows) noexcept
cdef bint walk_on(IndexCore index, Walk* walk) noexcept
