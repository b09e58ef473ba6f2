"""Which file a segment gets: a spare of the right size, any spare, a new one under the lowest number that is free.

A file's blocks are reserved before it is used, so records that have a segment have their place on the disk. When the
disk has no room for a file of the wanted size, a spare that is large enough will do, then a small file; removals may
have a smaller one, from what the store directory has set aside. While the disk is known to be full it is not asked
again for new messages: refusing them costs no system call.

A new file is made by a thread, which the loop waits for (store/maker). A disk that stands still is noticed then at the
latest, and not asked for more: a segment begins in memory, and its file is there before it is written to, when the disk
goes on. What all logs begin so is bounded.
"""

import errno
import os

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memset

from millpond.store.closer cimport Closer
from millpond.store.disk cimport Disk
from millpond.store.record cimport PAGE, page_ceil
from millpond.store.segment cimport ABSENT, NO_SEGMENT, RECORDS_AT, SPARE, Segment, segment_name

from millpond.base import limits
from millpond.store.segment import AGAIN, segment_number
from millpond.store.space import is_full, no_room

cdef uint32_t LARGE_BY_SMALL = limits.SEGMENT_BYTES_LARGE // limits.SEGMENT_BYTES_SMALL
cdef uint32_t CLOSED_AT_ONCE = limits.FILE_BYTES_CLOSED_AT_ONCE
cdef uint32_t BYTES_LEAST = limits.SEGMENT_BYTES_LEAST
cdef uint64_t LATER_BYTES_MAX = limits.MADE_LATER_BYTES_MAX


cdef class SegmentFiles:
    """Base of the log; recovery fills the table."""

    def __init__(self, str directory, Disk disk, uint32_t bytes_small):
        assert bytes_small % PAGE == 0 and bytes_small > RECORDS_AT
        self.bytes_small, self.bytes_large = bytes_small, bytes_small * LARGE_BY_SMALL
        self.directory, self.disk = directory, disk
        self.lent = NO_SEGMENT                     # and of the names that are there, who knows which are on disk?
        self.names_fd = -1
        self._later, self._making = {}, {}

    cdef uint32_t bytes_for(self, uint32_t n) noexcept:
        """A power of two near an eighth of what lives, and room for a few records of n bytes."""
        cdef uint64_t bytes = self.bytes_small
        if self._batch_segment:
            return self._batch_segment
        while bytes < self.bytes_large and (bytes * 8 < self.live_bytes or bytes < 4 * <uint64_t>n):
            bytes *= 2
        return <uint32_t>max(bytes, <uint64_t>page_ceil(RECORDS_AT + n))

    cdef int reserve_number(self, uint32_t number) except -1:
        cdef uint32_t i, count_max
        cdef void* grown
        if number >= self._count_max:
            count_max = number + (number >> 1) + 4
            grown = realloc(self.at, <size_t>count_max * sizeof(Segment))
            if grown == NULL:
                raise MemoryError
            self.at, self._count_max = <Segment*>grown, count_max
        for i in range(self.count, number + 1):
            memset(&self.at[i], 0, sizeof(Segment))
            self.at[i].fd = -1
        self.count = max(self.count, number + 1)
        return 0

    cdef uint32_t free_number(self) except? 0xFFFFFFFF:
        """The lowest number without a file."""
        cdef uint32_t i
        for i in range(self.count):
            if self.at[i].state == ABSENT:
                return i
        self.reserve_number(self.count)
        return self.count - 1

    cdef uint32_t _spare(self, uint32_t least, uint32_t most) noexcept:
        """A spare of a size from `least` to `most`; NO_SEGMENT: there is none."""
        cdef uint32_t i
        for i in range(self.count):
            if self.at[i].state == SPARE and least <= self.at[i].bytes <= most:
                return i
        return NO_SEGMENT

    # --- what a new segment gets ---

    cdef uint32_t file_for(self, uint32_t n) except? 0xFFFFFFFF:
        cdef uint32_t bytes = self.bytes_for(n), number = self._spare(bytes, bytes)
        if number != NO_SEGMENT:
            self._open_file(number, bytes)
            return number
        if self.space.full:
            return self._small_file(n, no_room(self.directory))
        number = NO_SEGMENT if self._must_wait() else self._spare(0, NO_SEGMENT)
        if number == NO_SEGMENT:
            number = self.free_number()
        try:
            self._open_file(number, bytes)
        except OSError as error:
            if not is_full(error):
                raise
            return self._small_file(n, error)
        return number

    cdef uint32_t _small_file(self, uint32_t n, object refused) except? 0xFFFFFFFF:
        """What there is room for on a full disk. Raises `refused` when that is nothing."""
        cdef uint32_t least = page_ceil(RECORDS_AT + n), number = self._spare(least, NO_SEGMENT), bytes
        if number != NO_SEGMENT:
            self._open_file(number, self.at[number].bytes)
            return number
        bytes = max(least, min(BYTES_LEAST, self.bytes_small) if self.urgent else self.bytes_small)
        while self.urgent or not self.space.full:
            number = self.free_number()
            try:
                self._open_file(number, bytes)
                if self.urgent:
                    self.lent = number
                return number
            except OSError as error:
                if not is_full(error):
                    raise
                self.space.refused(error, bytes)
            if not self.urgent or not self.space.give(bytes):
                break
        raise refused

    cdef int promise(self, uint64_t total, uint32_t largest, uint64_t tail_room) except -1:
        cdef uint32_t bytes, number, i
        cdef uint64_t room, wanted
        cdef list made = []
        assert self._batch_segment == 0
        bytes = self.bytes_for(largest)
        if total <= tail_room:
            self._batch_segment = bytes
            return 0
        room = bytes - RECORDS_AT                  # two segments in a row hold more than one could: the next did not fit
        wanted = min(total // max(room - min(room, largest), <uint64_t>1), 2 * total // room) + 1
        for i in range(self.count):
            if self.at[i].state == SPARE and self.at[i].bytes == bytes and wanted:
                wanted -= 1
        try:
            if wanted and self.space.full:
                raise no_room(self.directory)
            for i in range(<uint32_t>wanted):
                number = self.free_number()
                self._open_file(number, bytes)
                made.append(number)
        except OSError as error:
            for number in made:
                self._give_back(number, True)
            if is_full(error):
                self.space.refused(error, wanted * bytes)
            raise
        self._batch_segment = bytes
        return 0

    cdef int end_batch(self) noexcept:
        self._batch_segment = 0
        return 0

    # --- files ---

    cdef int names_change(self) except -1:
        if self.names_fd < 0:
            self.names_fd = self.disk.open_directory(self.directory)
        self._names_synced = False
        return 0

    cdef void close_names(self) noexcept:
        if self.names_fd >= 0:
            self.disk.close(self.names_fd)
            self.names_fd = -1

    def name_again(self, numbers):
        """The names of these files are made anew, by moving each away and back: under any name it is the same segment,
        whatever a power cut leaves of it, and the name in between is nobody else's: a start that is killed may leave a file
        there on disk, and the next one must not move another over it. For a sync of the directory that has failed: when
        it succeeds later it says nothing of what was made before."""
        cdef str name
        for number in numbers:
            name = segment_name(number)
            self.disk.rename(self.directory, name, name + AGAIN)
            self.disk.rename(self.directory, name + AGAIN, name)

    def put_back(self, present):
        """The names in the directory. Files that did not come back when they were moved away have their own names again,
        or another where that is taken."""
        cdef list names = list(present)
        cdef str name, own
        for name in present:
            own = name.removesuffix(AGAIN)
            if own == name or segment_number(own) is None:
                continue
            names.remove(name)
            if own in names:
                own = segment_name(1 + max([segment_number(other) or 0 for other in names]))
            self.disk.rename(self.directory, name, own)
            names.append(own)
        return names

    cdef int _open_file(self, uint32_t number, uint32_t bytes) except -1:
        """The file is there, open and of that length; as it was before when the disk refuses."""
        cdef Segment* segment = &self.at[number]
        cdef bint new = self._is_later(number) or segment.state == ABSENT
        if new:
            self.close_file(segment)
            segment.state, segment.bytes = ABSENT, 0       # until it is there
        if number == self.lent:
            self.lent = NO_SEGMENT                         # another life begins
        if self._must_wait():
            return self._open_later(number, bytes, new)
        if new:
            self.names_change()
            if self.committer is not None and self._make(number, bytes):
                return 0
        if segment.fd < 0:
            segment.fd = self.disk.open(self.directory, segment_name(number), new)
        if new:
            self.names_made += 1
        elif segment.bytes == bytes:
            return 0
        try:
            self._reserve(segment.fd, bytes)
        except OSError:
            self._give_back(number, new)
            raise
        segment.state, segment.bytes = SPARE, bytes
        return 0

    cdef bint _must_wait(self) noexcept:
        return self.committer is not None and self.committer.stands_still()

    cdef int _open_later(self, uint32_t number, uint32_t bytes, bint new) except -1:
        """It is new, or of that size."""
        cdef Segment* segment = &self.at[number]
        if self.committer.made_later_bytes + bytes > LATER_BYTES_MAX:
            raise OSError(errno.ENOMEM, "the disk stands still, and what waits for it has all the memory it may have",
                          self.directory)
        segment.state, segment.bytes = SPARE, bytes
        self.names_made += new
        self.committer.made_later_bytes += bytes
        self._later[number] = new
        return 0

    cdef bint _make(self, uint32_t number, uint32_t bytes) except *:
        """By the thread: it is there, or will be. False: the caller makes it."""
        cdef Segment* segment = &self.at[number]
        cdef Making making = self.committer.maker.make(f"{self.directory}/{segment_name(number)}", bytes)
        if making is None:
            return False
        if not making.done:
            making.unwanted = True
            self._open_later(number, bytes, True)
            making.unwanted, self._making[number] = False, making
            return True
        if making.error:
            self._took_part(number, making)
            error = OSError(making.error, os.strerror(making.error), self.directory)
            if is_full(error) and self.closer is not None and self.closer.finish():
                return False                               # what was removed has given its room back
            raise error
        segment.fd, segment.state, segment.bytes = making.fd, SPARE, bytes
        self.names_made += 1
        return True

    cdef int _took_part(self, uint32_t number, Making making) except -1:
        """The disk refused to make the file as large: what it gave is given back."""
        if making.fd >= 0:
            self.disk.close(making.fd)
            self.disk.unlink(self.directory, segment_name(number))
        return 0

    cdef bint _is_later(self, uint32_t number) except *:
        cdef Making making = self._making.pop(number, None)
        if making is not None:
            making.unwanted = True
            if making.done and making.fd >= 0:
                self.disk.close(making.fd)
        if number not in self._later:
            return False
        self.committer.made_later_bytes -= self.at[number].bytes
        return self._later.pop(number)

    cdef bint has_later_files(self) noexcept:
        return len(self._later) > 0

    cdef int forget_later_files(self) except -1:
        cdef uint32_t number
        for number in list(self._later):
            self._is_later(number)
        return 0

    cdef int make_later_files(self) except -1:
        cdef Segment* segment
        cdef uint32_t number
        cdef Making making
        for number in list(self._later):
            segment = &self.at[number]
            if self._later[number]:
                self.names_change()
            making = self._making.pop(number, None)
            if making is not None:
                self.committer.maker.wait(making)
                if making.error:
                    self._took_part(number, making)
                else:
                    segment.fd = making.fd
            if segment.fd < 0:
                segment.fd = self.disk.open(self.directory, segment_name(number), self._later[number])
            if self._later[number]:
                self._reserve(segment.fd, segment.bytes)
            self._is_later(number)
        return 0

    cdef int _give_back(self, uint32_t number, bint new) except -1:
        """The disk refused to make the file larger: what it gave is given back."""
        cdef Segment* segment = &self.at[number]
        if self._is_later(number):
            segment.state, segment.bytes = ABSENT, 0
            return 0
        if not new:
            try:
                self.disk.reserve(segment.fd, segment.bytes)
                return 0
            except OSError:
                pass                                       # then it is of no use
        self.close_file(segment)
        self.disk.unlink(self.directory, segment_name(number))
        segment.state, segment.bytes = ABSENT, 0
        return 0

    cdef int _reserve(self, int fd, uint32_t bytes) except -1:
        try:
            return self.disk.reserve(fd, bytes)
        except OSError as error:
            if not is_full(error) or self.closer is None or not self.closer.finish():
                raise
        return self.disk.reserve(fd, bytes)            # what was removed has given its room back

    cdef int remove_file(self, uint32_t number) except -1:
        """What takes long of a large file is done beside the loop."""
        cdef Segment* segment = &self.at[number]
        cdef int fd = -1
        if segment.bytes >= CLOSED_AT_ONCE and self.closer is not None and type(self.disk) is Disk:
            fd, segment.fd = segment.fd, -1
            if fd < 0:
                try:
                    fd = self.disk.open(self.directory, segment_name(number), False)
                except OSError:                        # no descriptor is left: then it takes its time
                    pass
        self.close_file(segment)
        try:
            self.disk.unlink(self.directory, segment_name(number))
        finally:
            if fd >= 0:
                self.closer.close_file(fd)
        segment.state, segment.bytes = ABSENT, 0
        return 0

    cdef void close_file(self, Segment* segment) noexcept:
        if segment.fd >= 0:
            self.disk.close(segment.fd)
            segment.fd = -1
