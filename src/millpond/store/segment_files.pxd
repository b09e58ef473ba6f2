# The files of one log: the table of segments by number, which file a new segment gets, and how large it is.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.closer cimport Closer
from millpond.store.committer cimport Committer
from millpond.store.disk cimport Disk
from millpond.store.maker cimport Making
from millpond.store.segment cimport Segment

cdef class SegmentFiles:
    cdef Segment* at                     # by number, below `count`
    cdef uint32_t count, _count_max
    cdef readonly uint32_t bytes_small, bytes_large      # of segments, at least and at most
    cdef readonly str directory
    cdef int names_fd                    # of the directory; -1 unless its names are to be synced
    cdef Disk disk
    cdef Closer closer                   # None: files are closed at once
    cdef Committer committer             # None: nobody says that the disk stands still
    cdef dict _later                     # {number of a file that is to be opened when it no longer does: it is new}
    cdef dict _making                    # {number of one of these that is being made: Making}
    cdef object space                    # space.Space of the store directory
    cdef bint urgent                     # what is put now makes room: it may use what is set aside
    cdef uint32_t lent                   # the newest segment that was made of that; new messages do not fill it up
    cdef readonly uint64_t live_bytes    # accounted, of live messages
    cdef readonly uint64_t names_made    # files created since the log was opened
    cdef uint32_t _batch_segment         # size of the segments that a batch was promised; 0: no batch
    cdef bint _names_synced
    cdef int reserve_number(self, uint32_t number) except -1             # the table reaches so far
    # The number of an open spare with room for a record of n bytes. Raises OSError when the disk refuses; is_full()
    # says whether for want of room, and then nothing has changed.
    cdef uint32_t file_for(self, uint32_t n) except? 0xFFFFFFFF
    # Until end_batch(), records of `total` bytes, none longer than `largest`, have room: `tail_room` of them in the
    # segment there is. Raises OSError like file_for.
    cdef int promise(self, uint64_t total, uint32_t largest, uint64_t tail_room) except -1
    cdef int end_batch(self) noexcept
    # A name is about to change, and is synced with the next write: by a descriptor from before, for errors since are
    # told to such ones only.
    cdef int names_change(self) except -1
    cdef void close_names(self) noexcept
    cdef void close_file(self, Segment* segment) noexcept
    # What could not be opened or made while the disk stood still. Raises OSError; then it is to be called again.
    cdef int make_later_files(self) except -1
    cdef bint has_later_files(self) noexcept
    cdef int forget_later_files(self) except -1
    cdef uint32_t bytes_for(self, uint32_t n) noexcept

    cdef uint32_t free_number(self) except? 0xFFFFFFFF
    cdef uint32_t _spare(self, uint32_t least, uint32_t most) noexcept
    cdef int _open_file(self, uint32_t number, uint32_t bytes) except -1
    cdef bint _must_wait(self) noexcept
    cdef int _open_later(self, uint32_t number, uint32_t bytes, bint new) except -1
    cdef bint _make(self, uint32_t number, uint32_t bytes) except *
    cdef int _took_part(self, uint32_t number, Making making) except -1
    cdef bint _is_later(self, uint32_t number) except *          # not any more
    cdef int remove_file(self, uint32_t number) except -1        # it gets another life, under this name, or none
    cdef int _reserve(self, int fd, uint32_t bytes) except -1
    cdef int _give_back(self, uint32_t number, bint new) except -1
    cdef uint32_t _small_file(self, uint32_t n, object refused) except? 0xFFFFFFFF
