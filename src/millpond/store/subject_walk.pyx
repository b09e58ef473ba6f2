"""Walks over the subjects of an index that stop after so many looks."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t

from millpond.store.api cimport Filters, SubjectWalk
from millpond.store.index_core cimport IndexCore
from millpond.store.run cimport Run, run_is_live, run_lower_bound, run_seq
from millpond.store.subject_index cimport NO_SUBJECT, Subject


cdef inline bint _goes_on(IndexCore index, SubjectWalk* walk) noexcept:
    """False: the ids are other ones than they were, the walk begins again."""
    if walk.numbering == index.renumbered:
        return True
    walk.at, walk.numbering = 0, index.renumbered
    return False


cdef uint64_t bounds_part(IndexCore index, Filters filters, uint64_t from_seq, uint64_t to_seq, SubjectWalk* walk,
                          uint64_t looks, uint64_t* low, uint64_t* high) noexcept:
    cdef uint64_t used = 0
    cdef Subject* subject
    _goes_on(index, walk)
    while walk.at < index.subjects.ids and used < looks:
        subject = &index.subjects.at[walk.at]
        if subject.count and subject.first_seq <= to_seq and subject.last_seq >= from_seq:
            if filters.matches(index.subjects.text(walk.at), subject.text_len):
                low[0] = min(low[0], max(subject.first_seq, from_seq))
                high[0] = max(high[0], min(subject.last_seq, to_seq))
        walk.at += 1
        used += 1
    walk.done = walk.at >= index.subjects.ids
    return used


cdef int _add_last(IndexCore index, uint32_t id, uint64_t up_to_seq, set found, set later) except -1:
    cdef Subject* subject = &index.subjects.at[id]
    if subject.last_seq <= up_to_seq:
        found.add(subject.last_seq)
    else:
        later.add(index.subjects.text(id)[:subject.text_len])
    return 0


cdef inline uint32_t _id_of(IndexCore index, bytes subject) noexcept:
    return index.subjects.find(PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject))


cdef bint lasts_of_part(IndexCore index, Filters filters, uint64_t up_to_seq, SubjectWalk* walk, uint64_t* looks,
                        set found, set later, uint64_t most) except -1:
    cdef bint named = filters.literal or filters.literals      # then `at` goes over the filters
    cdef uint32_t id, end
    if not _goes_on(index, walk):
        found.clear()
        later.clear()
    end = <uint32_t>len(filters.subjects) if named else index.subjects.ids
    while walk.at < end and looks[0]:
        id = _id_of(index, filters.subjects[walk.at]) if named else walk.at
        looks[0] -= 1
        walk.at += 1
        if id == NO_SUBJECT or index.subjects.at[id].count == 0 or index.subjects.at[id].first_seq > up_to_seq:
            continue
        if named or filters.matches(index.subjects.text(id), index.subjects.at[id].text_len):
            _add_last(index, id, up_to_seq, found, later)
            if most and <uint64_t>(len(found) + len(later)) > most:
                return False
    walk.done = walk.at >= end
    return True


cdef uint64_t lasts_down(IndexCore index, set later, uint64_t from_seq, uint64_t rows,
                         set found) except? 0xFFFFFFFFFFFFFFFF:
    cdef dict wanted = {_id_of(index, subject): subject for subject in later}
    cdef uint32_t i = index._run_at(from_seq) + 1 if index._runs_count else 0, row
    cdef Run* run
    wanted.pop(NO_SUBJECT, None)
    while i and wanted:
        i -= 1
        run = index._runs[i]
        row = run_lower_bound(run, from_seq + 1) if run.live else 0
        while row and wanted:
            row -= 1
            if rows == 0:
                return run_seq(run, row)
            rows -= 1
            if run_is_live(run, row) and run.subject[row] in wanted:
                later.discard(wanted.pop(run.subject[row]))
                found.add(run_seq(run, row))
    return 0
