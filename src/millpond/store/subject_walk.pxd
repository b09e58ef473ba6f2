# Walks over the subjects of an index that stop after so many looks.
#
#     begin_subjects(&walk)
#     used = bounds_part(index, filters, ..., &walk, looks)      until walk.done
#
# Between two parts messages come and go, and subjects with them: what a part has passed is not looked at again, unless
# the subjects were numbered anew; then the walk begins again.
from libc.stdint cimport uint64_t
from millpond.store.api cimport Filters, SubjectWalk
from millpond.store.index_core cimport IndexCore

# See store/api.pxd.
cdef uint64_t bounds_part(IndexCore index, Filters filters, uint64_t from_seq, uint64_t to_seq, SubjectWalk* walk,
                          uint64_t looks, uint64_t* low, uint64_t* high) noexcept
cdef bint lasts_of_part(IndexCore index, Filters filters, uint64_t up_to_seq, SubjectWalk* walk, uint64_t* looks,
                        set found, set later, uint64_t most) except -1
cdef uint64_t lasts_down(IndexCore index, set later, uint64_t from_seq, uint64_t rows,
                         set found) except? 0xFFFFFFFFFFFFFFFF
