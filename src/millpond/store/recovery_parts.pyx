"""The parts of a log that is recovered (see recovery.pyx for the whole).

    names ──> heads ──> parts in order of generation, ends and gaps from their neighbours

What is before the part where the last write begins may be taken by its summary, which was made of records that verified
and were on disk. It is taken only if it goes as far as the segment after says.

A file of another log is no part, whatever its generation: every head says by its salt to which log it belongs. So a
head of which neither copy can be read is no loss either: a neighbour knows the generation that is missing, and with the
log's identity that makes the seed by which the file's records verify, or do not.
"""

import logging
import time

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from millpond.store.disk cimport Disk
from millpond.store.packed cimport BLOCK_BYTES, packed_let_go, packed_open, packed_placed
from millpond.store.record cimport BATCH, PAGE, TRIM, Head, aligned, page_ceil, record_next
from millpond.store.segment cimport (
    ABSENT,
    BEFORE_HAS_COPIES,
    DAMAGED,
    NO_SEGMENT,
    PACKED,
    PLAIN,
    RECORDS_AT,
    SALT_OF_LOG,
    SPARE,
    Packed,
    Segment,
    SegmentHead,
    segment_head_read,
    segment_identity,
    segment_name,
    segment_salt,
    segment_seed,
)
from millpond.store.segment_log cimport SegmentLog
from millpond.store.summary cimport SummaryFoot
from millpond.store.summary_file cimport summary_find, summary_load
from millpond.store.witness cimport witness_read

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.directory import REPACKED, WITNESS
from millpond.store.segment import segment_number
from millpond.store.space import is_shortage

log = logging.getLogger("millpond")

cdef double TOLD_EVERY_S = 1.0
cdef uint32_t SEGMENT_BYTES_LARGE = limits.SEGMENT_BYTES_LARGE


cdef size_t _read_start(Disk disk, int fd, char* out) except? 0xFFFFFFFFFFFFFFFF:
    """A file's head, as far as it can be read; a second look decides, for a file without one is used again."""
    for _ in range(2):
        try:
            return disk.read(fd, out, RECORDS_AT, 0)
        except OSError as error:
            if is_shortage(error):
                raise
    memset(out, 0xFF, RECORDS_AT)
    return RECORDS_AT


cdef bint _find_foot(Disk disk, int fd, const SegmentHead* head, uint64_t size, SummaryFoot* out) except *:
    try:
        return summary_find(disk, fd, head, size, out)
    except OSError:
        return False


cdef char* _load_summary(Disk disk, int fd, const Part* part) except? NULL:
    try:
        return summary_load(disk, fd, &part.foot, part.file_bytes, segment_seed(&part.head))
    except OSError:
        return NULL


cdef tuple _row(const Part* part):
    """Parts sort by their generation."""
    return part.head.generation, part.head.oldest, (<const char*>part)[:sizeof(Part)], segment_identity(&part.head), part.number


cdef class LogParts:
    """Fills the log's table as far as it concerns files; `damage` says what was found wrong. present: their names."""

    def __init__(self, SegmentLog log, object present):
        self._log, self._present = log, present
        self._image_of = NO_SEGMENT
        self._began_s = self._told_s = time.monotonic()
        self.damage, self.unproven, self._headless = [], [], []

    def __dealloc__(self):
        free(self._parts)
        free(self._image)

    def run(self):
        """See `_run`. What is not proven is to be synced, and its descriptors closed, by the caller. What this raises
        leaves no file open."""
        try:
            self._run()
        except BaseException:
            for fd in self.unproven:
                self._log.disk.close(fd)
            self._log.close()
            raise

    cdef int _run(self) except -1:
        raise NotImplementedError

    cdef int _tell(self, uint32_t done) except -1:
        """How far it has come, once in a while."""
        cdef double now_s = time.monotonic()
        if done and now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            log.info("%s: %d of %d segments, about %.0f s left", self._log.directory, done, self._count,
                     (now_s - self._began_s) / done * (self._count - done))
        return 0

    cdef int _find_parts(self) except -1:
        cdef Part part
        cdef uint32_t number
        cdef list parts = [], headless = []
        for name in sorted(self._log.put_back(self._present)):
            if name == REPACKED:
                self._log.disk.unlink(self._log.directory, name)
            elif name == WITNESS:
                witness_read(self._log.disk, self._log.directory, &self._witness)
            found = segment_number(name)
            if found is None:
                continue
            number = found
            self._log.reserve_number(number)
            self._log.at[number].state = SPARE
            if self._look_at(number, &part):
                parts.append(_row(&part))
            else:
                headless.append(number)
        parts = sorted(self._own(parts))
        self._keep(parts)
        self._look_for_missing(parts, headless)
        self._log.generation = max(self._witness.generation, max([row[0] for row in parts], default=0))
        return 0

    cdef list _own(self, list parts):
        """Every segment votes for the log it belongs to, and the witness for its own: so one file that is of another
        log is outvoted."""
        cdef dict votes = {}
        cdef uint32_t identity
        for row in parts:
            if row[3]:
                votes[row[3]] = votes.get(row[3], 0) + 1
        if not votes:
            return parts
        if self._witness.generation:
            votes[self._witness.identity] = votes.get(self._witness.identity, 0) + 1
        most = max(votes.values())
        if list(votes.values()).count(most) > 1:
            raise StoreError(f"{self._log.directory}: its files are of different logs, and nothing says which is the "
                             "stream's. Put back the file that was exchanged, or remove what is not of this stream")
        identity = [each for each in votes if votes[each] == most][0]
        self._log.identity = identity
        if self._witness.generation and self._witness.identity != identity:
            self.damage.append("the witness is of another log; it is not believed")
            self._witness.generation = 0
        return self._foreign(parts, identity)

    cdef list _foreign(self, list parts, uint32_t identity):
        """Without what is of another log, or twice. Older forms of heads do not say; they came before all that do."""
        cdef list kept = []
        cdef set generations = set()
        oldest = min([row[0] for row in parts if row[3] == identity])
        for row in parts:
            if row[3] != identity and (row[3] or row[0] > oldest):
                self._leave_alone(row[4], "it is of another log")
            elif row[0] in generations:
                self._twice(row[4], [other[4] for other in kept if other[0] == row[0]][0])
            else:
                generations.add(row[0])
                kept.append(row)
        return kept

    cdef int _twice(self, uint32_t number, uint32_t other) except -1:
        """Two files of one generation. Of the same bytes: one that has its name twice, since it was moved to another and
        neither was certain."""
        cdef str folder = self._log.directory
        if self._log.disk.contents(f"{folder}/{segment_name(number)}") \
                != self._log.disk.contents(f"{folder}/{segment_name(other)}"):
            return self._leave_alone(number, "another file has the same generation")
        self._log.close_file(&self._log.at[number])
        self._log.disk.unlink(folder, segment_name(number))
        self._log.at[number].state = ABSENT
        return 0

    cdef int _leave_alone(self, uint32_t number, str why) except -1:
        self._log.at[number].state = DAMAGED
        self.damage.append(f"{segment_name(number)}: {why}; the file is left as it is")
        return 0

    cdef int _look_for_missing(self, list parts, list headless) except -1:
        cdef Part part
        cdef uint32_t number
        cdef list missing = self._missing_generations() if headless else []
        for number in headless:
            for generation in missing:
                if self._conclude(number, generation, &part):
                    self._take(parts, &part)
                    missing = self._missing_generations()
                    break
            else:
                if missing and self._has_content(number):      # it may be what is missing
                    self._log.at[number].state = DAMAGED
                    self._headless.append(number)
        return 0

    cdef int _take(self, list parts, const Part* part) except -1:
        """One more, that was concluded. Its head may be damaged or torn: see _tell_heads."""
        parts.append(_row(part))
        parts.sort()
        return self._keep(parts)

    cdef bint _find_newer(self) except *:
        """A segment that came after the newest one, and whose first write is not there: no neighbour misses it, and the
        witness may be older. But a later write in it says that the first one had been on disk."""
        cdef Part part
        cdef uint32_t number, i
        cdef uint64_t generation = self._parts[self._count - 1].head.generation + 1
        cdef set known = {self._parts[i].number for i in range(self._count)}
        cdef list rows = [_row(&self._parts[i]) for i in range(self._count)]
        for number in range(self._log.count):
            if number not in known and self._log.at[number].state == SPARE \
                    and self._holds_later_write(number, generation) and self._conclude(number, generation, &part):
                self._take(rows, &part)
                self._log.generation = max(self._log.generation, generation)
                return True
        return False

    cdef bint _holds_later_write(self, uint32_t number, uint64_t generation) except *:
        """Does a write of that generation begin behind where the first one does?"""
        cdef Part part
        cdef uint32_t identity = self._log.identity or self._witness.identity, at = RECORDS_AT, bad, seed
        if not identity or self._log.at[number].packed != NULL:
            return False
        memset(&part, 0, sizeof(Part))
        part.number, part.end = number, self._log.at[number].bytes
        part.head.generation, part.head.flags = generation, SALT_OF_LOG
        part.head.salt = segment_salt(identity, generation)
        seed = segment_seed(&part.head)
        self._load(&part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                return False
            if at > RECORDS_AT and (<const Head*>(self._image + at)).flags & BATCH:
                return True
            at += aligned((<const Head*>(self._image + at)).length)

    cdef list _missing_generations(self):
        """Not those that the log has let go."""
        cdef list found = []
        cdef uint64_t oldest = max([generation for generation, _ in self._trims()], default=0) if self._count else 0
        cdef uint32_t i
        for i in range(self._count):
            if self._parts[i].gap and self._parts[i].head.before and self._parts[i].head.generation > oldest:
                found.append(self._parts[i].head.before)
        if self._witness.generation and (self._count == 0
                                         or self._parts[self._count - 1].head.generation < self._witness.generation):
            found.append(self._witness.generation)
        return found

    cdef bint _has_content(self, uint32_t number) except *:
        """Anything but zeros."""
        cdef Part part
        memset(&part, 0, sizeof(Part))
        part.number = number
        part.end = self._log.at[number].bytes
        self._load(&part)
        return any(self._image[:self._image_bytes])

    cdef bint _conclude(self, uint32_t number, uint64_t generation, Part* part) except *:
        """Is the file that segment? Its records say, or the blocks of a packed one: nobody else's have this seed."""
        cdef Segment* segment = &self._log.at[number]
        cdef int fd = self._log.fd(number)
        cdef uint64_t size = self._log.disk.size(fd)
        cdef SummaryFoot foot
        cdef uint32_t i, identity = self._log.identity or self._witness.identity
        if not identity or size <= RECORDS_AT:
            return False
        memset(part, 0, sizeof(Part))
        part.number, part.file_bytes, part.made_up = number, size, True
        part.head.generation, part.head.flags, part.head.version = generation, SALT_OF_LOG, PACKED
        part.head.salt = segment_salt(identity, generation)
        if _find_foot(self._log.disk, fd, &part.head, size, &foot):
            size -= foot.bytes                     # what the segment has lost is not in it any more
        part.head.bytes = max(SEGMENT_BYTES_LARGE, <uint32_t>min(size, <uint64_t>0x7FFFFFFF))
        part.bytes = segment.bytes = <uint32_t>min(size, <uint64_t>0x7FFFFFFF)
        part.end = part.bytes
        segment.packed = packed_open(self._log.disk, fd, &part.head, size)
        if segment.packed.end:
            part.head.bytes = part.bytes = segment.bytes = page_ceil(segment.packed.end)
        else:
            packed_let_go(&segment.packed)
            part.head.version, part.head.bytes = PLAIN, part.bytes
            if not self._holds_records(part):
                return False
        for i in range(self._count):
            if self._parts[i].head.generation < generation:
                part.head.before = self._parts[i].head.generation
            part.head.oldest = min(self._parts[i].head.oldest, generation) if i == 0 else part.head.oldest
        segment.generation, self._log.identity = generation, identity
        return True

    cdef bint _holds_records(self, Part* part) except *:
        cdef uint32_t bad
        self._load(part)
        return record_next(self._image, RECORDS_AT, self._image_bytes, segment_seed(&part.head), &bad) < self._image_bytes

    cdef bint _look_at(self, uint32_t number, Part* part) except *:
        """A file's head, and whether there is a summary. False: no head."""
        cdef char[RECORDS_AT] start
        cdef Segment* segment = &self._log.at[number]
        cdef int fd = self._log.fd(number)
        cdef uint64_t size = self._log.disk.size(fd)
        cdef size_t got = _read_start(self._log.disk, fd, start)
        memset(part, 0, sizeof(Part))
        part.number, part.file_bytes = number, size
        part.bytes = segment.bytes = <uint32_t>min(size, <uint64_t>0xFFFFFFFF)
        if not segment_head_read(start, got, &part.head):
            return False
        segment.generation = part.head.generation
        if _find_foot(self._log.disk, fd, &part.head, size, &part.foot):
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
            body = _load_summary(self._log.disk, fd, part)
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
        free(self._parts)
        self._count, self._parts = 0, <Part*>calloc(len(parts) + 1, sizeof(Part))
        if self._parts == NULL:
            raise MemoryError
        for row in parts:
            memcpy(&self._parts[self._count], <char*>row[2], sizeof(Part))
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
            if self._witness.generation == part.head.generation:
                part.sure = self._witness.end
            if i + 1 == self._count:
                continue
            after = &self._parts[i + 1]
            if after.head.before != part.head.generation:
                after.gap = True
                continue
            if after.made_up:
                continue
            part.end_known, part.end = True, min(after.head.before_end, part.bytes)
            part.is_exact = after.head.flags & SALT_OF_LOG != 0
            part.copies = after.head.flags & BEFORE_HAS_COPIES != 0
        return 0

    cdef bint reaches(self, const Part* part, uint32_t end, uint32_t least) noexcept:
        """Records that end at `end`: is that all of them? Earlier servers might count in what pads the last page."""
        return end >= least or (part.end_known and not part.is_exact and least % PAGE == 0 and page_ceil(end) == least)

    cdef int _load(self, Part* part) except -1:
        """The part's bytes, up to its end; what is changed in a file is changed there, too."""
        cdef void* grown
        if part.number == self._image_of and part.end == self._image_end:
            return 0                               # a small log is gone through several times
        self._image_of = NO_SEGMENT
        if part.end > self._image_max:
            grown = realloc(self._image, part.end)
            if grown == NULL:
                raise MemoryError(f"no memory for {part.end} bytes of {segment_name(part.number)}")
            self._image, self._image_max = <char*>grown, part.end
        try:
            self._image_bytes = <uint32_t>self._log.read(part.number, self._image, part.end, 0)
        except OSError as error:
            if is_shortage(error):
                raise
            self._image_bytes = self._read_around(part)
        self._image_of, self._image_end = part.number, part.end
        return 0

    cdef uint32_t _read_around(self, Part* part) except? 0xFFFFFFFF:
        """The same where a part of it cannot be read: no record will verify there."""
        cdef uint32_t step = PAGE if self._log.at[part.number].packed == NULL else BLOCK_BYTES, at = 0, n
        cdef size_t got
        while at < part.end:
            n = min(step, part.end - at)
            try:
                got = self._log.read(part.number, self._image + at, n, at)
            except OSError as error:
                if is_shortage(error):
                    raise
                memset(self._image + at, 0xFF, n)
                got = n
            if got < n:
                return at + <uint32_t>got
            at += n
        return at

    cdef const Head* at_hand(self, uint32_t number, uint32_t offset) noexcept:
        """The record there, if the segment was read last; NULL: it was not."""
        if number != self._image_of or <uint64_t>offset + sizeof(Head) > self._image_bytes:
            return NULL
        return <const Head*>(self._image + offset)

    cdef char* _summary(self, Part* part) except? NULL:
        if not part.proven or not part.foot.bytes or not part.end_known or part.foot.end != part.end:
            return NULL
        return _load_summary(self._log.disk, self._log.fd(part.number), part)

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
