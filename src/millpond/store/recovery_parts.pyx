"""The parts of a log that is recovered, and where belief in them ends (see recovery.pyx for the whole).

    names ──> heads ──> parts in order of generation, ends and gaps from their neighbours
          ──> what left the log ──> where the last write begins, and its first bad place ──> it is written again

What is before the part where the last write begins may be taken by its summary, which was made of records that verified
and were on disk. It is taken only if it goes as far as the segment after says.
"""

import os

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from millpond.store.packed cimport packed_open, packed_placed
from millpond.store.record cimport BATCH, CLEAN, TRIM, Head, aligned, page_ceil, page_floor, record_next
from millpond.store.segment cimport (
    BEFORE_HAS_COPIES,
    DAMAGED,
    PACKED,
    RECORDS_AT,
    SPARE,
    Packed,
    Segment,
    segment_head_read,
    segment_name,
    segment_seed,
)
from millpond.store.segment_log cimport SegmentLog
from millpond.store.summary cimport SummaryFoot
from millpond.store.summary_file cimport summary_find, summary_load

from millpond.store.directory import REPACKED
from millpond.store.segment import segment_number
from millpond.store.space import is_full

cdef uint32_t NOWHERE = 0xFFFFFFFF


cdef class LogParts:
    """Fills the log's table as far as it concerns files; `damage` says what was found wrong."""

    def __init__(self, SegmentLog log):
        self._log = log
        self.damage = []

    def __dealloc__(self):
        free(self._parts)
        free(self._image)

    cdef bint find(self) except *:
        """False: there is no log."""
        cdef list trims, left
        self._find_parts()
        if self._count == 0:
            return False
        trims = self._trims()
        left = self._left(max([generation for generation, _ in trims], default=0))
        self._find_distrust()
        if not self.clean:
            self._write_again()
        self._trim(self._oldest(trims, left))
        return True

    cdef int _find_parts(self) except -1:
        cdef Part part
        cdef uint32_t number
        cdef list parts = [], unreadable = []
        for name in sorted(os.listdir(self._log.directory)):
            if name == REPACKED:
                self._log.disk.unlink(self._log.directory_fd, name)
            found = segment_number(name)
            if found is None:
                continue
            number = found
            self._log.reserve_number(number)
            self._log.at[number].state = SPARE
            if self._look_at(number, &part):
                parts.append((part.head.generation, part.head.oldest, (<char*>&part)[:sizeof(Part)]))
                self._log.generation = max(self._log.generation, part.head.generation)
            elif part.head.magic:
                unreadable.append(number)
        self._keep(sorted(parts))
        if any([self._parts[i].gap for i in range(self._count)]):
            for number in unreadable:              # it may be what is missing: left as it is
                self._log.at[number].state = DAMAGED
                self.damage.append(f"{segment_name(number)}: its head cannot be read; the file is left as it is")
        return 0

    cdef bint _look_at(self, uint32_t number, Part* part) except *:
        """A file's head, and whether there is a summary. False: no head; head.magic is 0 in a file that was never used."""
        cdef char[RECORDS_AT] start
        cdef Segment* segment = &self._log.at[number]
        cdef int fd = self._log.fd(number)
        cdef uint64_t size = os.fstat(fd).st_size
        cdef size_t got = self._log.disk.read(fd, start, RECORDS_AT, 0)
        memset(part, 0, sizeof(Part))
        part.number, part.file_bytes = number, size
        part.bytes = segment.bytes = <uint32_t>min(size, <uint64_t>0xFFFFFFFF)
        if not segment_head_read(start, got, &part.head):
            part.head.magic = any(start[:got])
            return False
        segment.generation = part.head.generation
        if summary_find(self._log.disk, fd, &part.head, size, &part.foot):
            segment.summary = part.foot.bytes
        else:
            part.foot.bytes = 0
        if part.head.version == PACKED:
            segment.packed = self._open_packed(part, fd)
            part.bytes = segment.bytes = part.head.bytes
        else:
            part.bytes = segment.bytes = min(part.bytes, part.head.bytes)
        return True

    cdef Packed* _open_packed(self, Part* part, int fd) except NULL:
        """Where its blocks are, as the summary says, or by search."""
        cdef char* body = NULL
        cdef Packed* packed
        if part.foot.bytes and part.foot.blocks:
            body = summary_load(self._log.disk, fd, &part.foot, part.file_bytes, segment_seed(&part.head))
        if body == NULL:
            return packed_open(self._log.disk, fd, &part.head, part.file_bytes - part.foot.bytes)
        try:
            return packed_placed(&part.head, &part.foot, body, part.file_bytes - part.foot.bytes)
        finally:
            free(body)

    cdef int _keep(self, list parts) except -1:
        """Segments from the oldest that is needed on are parts."""
        oldest = max((row[1] for row in parts), default=0)
        parts = [row for row in parts if row[0] >= oldest]
        self._parts = <Part*>calloc(len(parts) + 1, sizeof(Part))
        if self._parts == NULL:
            raise MemoryError
        for _, _, part in parts:
            memcpy(&self._parts[self._count], <char*>part, sizeof(Part))
            self._count += 1
        if self._count and self._parts[0].head.generation != oldest:
            self._parts[0].gap = True
        return self._link()

    cdef int _link(self) except -1:
        """Where each part ends, and what is missing before it, is in the next one's head."""
        cdef uint32_t i
        cdef Part* part
        cdef Part* after
        cdef const Packed* packed
        for i in range(self._count):
            part = &self._parts[i]
            packed = self._log.at[part.number].packed
            part.end, part.distrust = part.bytes if packed == NULL else packed.end, NOWHERE
            part.copies = True
            if i + 1 == self._count:
                continue
            after = &self._parts[i + 1]
            if after.head.before != part.head.generation:
                after.gap = True
                continue
            part.end_known, part.end = True, min(after.head.before_end, part.bytes)
            part.copies = after.head.flags & BEFORE_HAS_COPIES != 0
        return 0

    cdef int _load(self, Part* part) except -1:
        """The part's bytes, up to its end."""
        cdef void* grown
        if part.end > self._image_max:
            grown = realloc(self._image, part.end)
            if grown == NULL:
                raise MemoryError(f"no memory for {part.end} bytes of {segment_name(part.number)}")
            self._image, self._image_max = <char*>grown, part.end
        self._image_bytes = <uint32_t>self._log.read(part.number, self._image, part.end, 0)
        return 0

    cdef char* _summary(self, Part* part) except? NULL:
        if not part.proven or not part.foot.bytes or not part.end_known or part.foot.end != part.end:
            return NULL
        return summary_load(self._log.disk, self._log.fd(part.number), &part.foot, part.file_bytes,
                            segment_seed(&part.head))

    # --- where belief ends ---

    cdef uint32_t _survey(self, Part* part, uint32_t* first_bad, uint32_t* last) except? 0xFFFFFFFF:
        """Offset of the last BATCH record, 0 = none; the first bad place behind it; the kind of the last record."""
        cdef uint32_t at = RECORDS_AT, bad, batch = 0, seed = segment_seed(&part.head)
        cdef Head* head
        first_bad[0], last[0], part.valid_end = NOWHERE, 0, RECORDS_AT
        self._load(part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                if part.end_known and bad < self._image_bytes:
                    first_bad[0] = min(first_bad[0], bad)
                if part.end_known and part.valid_end < part.end:
                    first_bad[0] = min(first_bad[0], part.valid_end)       # zeros there are no padding
                return batch
            if bad < at:
                first_bad[0] = min(first_bad[0], bad)
            head = <Head*>(self._image + at)
            last[0] = head.kind
            if head.flags & BATCH:
                batch, first_bad[0] = at, NOWHERE
            at += aligned(head.length)
            part.valid_end = at

    cdef int _find_distrust(self) except -1:
        """The last write begins with the last BATCH record; behind its first bad place, removals are not believed."""
        cdef uint32_t i = self._count, bad, kind, j
        cdef uint32_t batch = 0
        while i and batch == 0:
            i -= 1
            batch = self._survey(&self._parts[i], &bad, &kind)
            self._parts[i].distrust = bad
            if i + 1 == self._count:
                self.clean = kind == CLEAN and bad == NOWHERE
            if batch == 0 and self._parts[i].gap:
                self._parts[i].distrust = 0
        self._sync_from, self._sync_at = i, page_floor(batch) if batch else NOWHERE
        for j in range(i):
            self._parts[j].proven = True
        for j in range(i, self._count):            # and in everything that follows
            if j > i and self._parts[j - 1].distrust != NOWHERE:
                self._parts[j].distrust = 0
        return 0

    cdef int _write_again(self) except -1:
        """The same bytes in the same places, whole pages; a full disk keeps what it has. A packed file is on disk since
        before it had its name."""
        cdef uint32_t i, begin, end
        cdef Part* part
        if self._sync_at == NOWHERE:
            return 0                               # nobody knows where it began
        for i in range(self._sync_from, self._count):
            part = &self._parts[i]
            if self._log.at[part.number].packed != NULL:
                continue
            self._load(part)
            begin, end = self._sync_at if i == self._sync_from else 0, min(page_ceil(part.valid_end), self._image_bytes)
            try:
                self._log.disk.write(self._log.fd(part.number), self._image + begin, end - begin, begin)
            except OSError as error:
                if not is_full(error):
                    raise
            self._log.disk.sync(self._log.fd(part.number))
        return 0

    cdef list _trims(self):
        """What the last part says of older ones that have left the log: [(generation, offset)], ascending.

        Earlier parts need not be asked: a TRIM ends its write, and the heads of segments begun later know of it.
        """
        cdef Part* part = &self._parts[self._count - 1]
        cdef uint32_t at = RECORDS_AT, bad, seed = segment_seed(&part.head)
        cdef list found = []
        cdef Head* head
        self._load(part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                return found
            head = <Head*>(self._image + at)
            if head.kind == TRIM:
                found.append((head.seq, at))
            at += aligned(head.length)

    cdef list _left(self, uint64_t oldest):
        """Parts before which one is missing that may have left the log: their generations. No gaps any more."""
        cdef list found = []
        cdef uint32_t i
        for i in range(self._count):
            if self._parts[i].gap and self._parts[i].head.generation <= oldest:
                found.append(self._parts[i].head.generation)
                self._parts[i].gap = False
        return found

    cdef uint64_t _oldest(self, list trims, list left) except? 0:
        """The generation that the log begins with. A TRIM in the torn end of the last write counts only if segments
        are gone that none before it let go: then it was committed. Without it they are needed, since the copies of
        what lives in them may be torn."""
        cdef uint64_t oldest = 0, generation
        cdef uint32_t offset
        for generation, offset in trims:
            if offset < self._parts[self._count - 1].distrust or any([oldest < gone <= generation for gone in left]):
                oldest = generation
        return oldest

    cdef int _trim(self, uint64_t oldest) except -1:
        cdef uint32_t n = 0, i
        while n + 1 < self._count and self._parts[n].head.generation < oldest:
            n += 1
        for i in range(self._count - n):
            self._parts[i] = self._parts[i + n]
        self._count -= n
        self._sync_from = self._sync_from - n if self._sync_from > n else 0
        return 0
