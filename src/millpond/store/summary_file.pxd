# A segment's summary in its file: found, written, wiped.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.disk cimport Disk
from millpond.store.segment cimport SegmentHead
from millpond.store.segment_log cimport SegmentLog
from millpond.store.summary cimport SummaryFoot

# Does the file of `size` bytes end with a summary of the segment with that head? Raises OSError.
cdef bint summary_find(Disk disk, int fd, const SegmentHead* head, uint64_t size, SummaryFoot* out) except *
# Its bytes, all but the foot; NULL: they are damaged. Raises OSError, MemoryError. The caller frees them.
cdef char* summary_load(Disk disk, int fd, const SummaryFoot* foot, uint64_t size, uint32_t seed) except? NULL
# Writes a summary to the end of a segment's file. Nobody waits for it to be on disk. Raises OSError.
cdef int summary_put(SegmentLog log, uint32_t number, const char* data, uint32_t n) except -1
# Overwrites the summary, which says what it should not any more; the next sync of the log covers it. Raises OSError.
cdef int summary_wipe(SegmentLog log, uint32_t number) except -1
