# Where a log has come to, written down beside it. FORMAT.md draws it; consumer_file.py has the journal's part of the file.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.committer cimport Committer
from millpond.store.disk cimport Disk
from millpond.store.segment_log cimport SegmentLog

cdef packed struct Witness:              # little-endian, 64 bytes
    uint32_t magic                       # "MPWT"
    uint32_t version
    uint32_t identity                    # of the log
    uint32_t end                         # everything below it was committed,
    uint64_t generation                  # in the newest segment
    uint64_t last_seq                    # the last message that was
    uint32_t[7] unused                   # 0
    uint32_t crc                         # of the 60 bytes before

# The row in these first bytes of a file; False: there is none that is whole.
cdef bint witness_take(const char* data, size_t n, Witness* out) noexcept
# Changes nothing when there is none that is whole. Raises nothing: what cannot be read is no witness.
cdef int witness_read(Disk disk, str directory, Witness* out) except -1
# What was just committed is on disk, `last_seq` is its last sequence: that is written down. Nobody waits for the disk to
# have it, and what cannot be written down is not known later, no more.
cdef int testify(SegmentLog log, Committer committer, uint64_t last_seq) except -1
