"""Where belief in the parts of a log ends (see recovery.pyx for the whole).

    parts ──> what left the log ──> where the last write begins, and its first bad place
          ──> it is written and named again, unless the witness says that it was committed
"""

import logging

from libc.stdint cimport uint32_t, uint64_t

from millpond.store.record cimport BATCH, CLEAN, Head, aligned, page_ceil, page_floor, record_next
from millpond.store.recovery_parts cimport NOWHERE, LogParts, Part
from millpond.store.segment cimport RECORDS_AT, segment_name, segment_seed
from millpond.store.segment_log cimport Place

from millpond.store.space import is_full

log = logging.getLogger("millpond")

cdef uint32_t CLEAN_BYTES = sizeof(Head)


cdef class LogBelief(LogParts):
    """Parts, and how far they are believed."""

    cdef bint find(self) except *:
        """False: there is no log."""
        cdef list trims, left
        self._find_parts()
        if self._count == 0:
            self._tell_heads()
            return False
        trims = self._trims()
        left = self._left(max([generation for generation, _ in trims], default=0))
        self._find_distrust()
        if not self._is_witnessed() and self._find_newer():
            trims = [(generation, 0) for generation, _ in trims] + self._trims()    # there is a later write: it is believed
            left += self._left(max([generation for generation, _ in trims], default=0))
            self._find_distrust()
        self._tell_heads()
        self.proven = self.clean or self._is_witnessed()
        if not self.proven:
            self._open_unproven()
            self.renewed = self._write_again()
            self.renewed = self._name_again() and self.renewed
        self._trim(self._oldest(trims, left))
        return True

    cdef uint32_t _survey(self, Part* part, uint32_t* first_bad, uint32_t* last) except? 0xFFFFFFFF:
        """Offset of the last BATCH record, 0 = none; the first bad place behind it; the kind of the last record."""
        cdef uint32_t at = RECORDS_AT, bad, batch = 0, seed = segment_seed(&part.head)
        cdef Head* head
        first_bad[0], last[0], part.valid_end = NOWHERE, 0, RECORDS_AT
        self._load(part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                if part.valid_end < part.sure or not part.end_known:       # what was committed is not torn
                    return batch
                if bad < self._image_bytes:
                    first_bad[0] = min(first_bad[0], bad)
                if not self.reaches(part, part.valid_end, part.end):
                    first_bad[0] = min(first_bad[0], part.valid_end)       # zeros there are no padding
                return batch
            if bad < at and part.sure <= part.valid_end:
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
            if self._parts[i].head.generation >= self._witness.generation:     # else it was committed, all of it
                self._parts[i].distrust = bad
            if i + 1 == self._count:
                # In a segment of its own the name of that may not be on disk either.
                self.clean = kind == CLEAN and bad == NOWHERE and self._parts[i].valid_end > RECORDS_AT + CLEAN_BYTES
            if batch == 0 and self._parts[i].gap and not self._misses_witnessed(i):
                self._parts[i].distrust = 0
        self._sync_from, self._sync_at, self._batch = i, page_floor(batch) if batch else NOWHERE, batch
        for j in range(i):
            self._parts[j].proven = True
        for j in range(self._matters_from(i) + 1, self._count):    # and in everything that follows
            if self._parts[j - 1].distrust != NOWHERE:
                self._parts[j].distrust = 0
        return 0

    cdef int _tell_heads(self) except -1:
        """Those that cannot be read. A head is written with its first record: the last write may have torn it."""
        cdef uint32_t i
        cdef bint missing = self._misses_committed()
        for i in range(self._count):
            if self._parts[i].made_up:
                self._tell_head(self._parts[i].number, f"it is generation {self._parts[i].head.generation}",
                                self._was_begun_before(i))
        for number in self._headless:
            self._tell_head(number, "the file is left as it is", missing)
        return 0

    cdef int _tell_head(self, uint32_t number, str what, bint is_damage) except -1:
        cdef str text = f"{segment_name(number)}: its head cannot be read; {what}"
        if is_damage:
            self.damage.append(text)
        else:
            log.warning("%s/%s; the last write is torn", self._log.directory, text)
        return 0

    cdef bint _was_begun_before(self, uint32_t i) noexcept:
        """Was that part begun by a write before the last one, or by one that was committed?"""
        return i < self._sync_from or (i == self._sync_from and self._batch > RECORDS_AT) \
            or self._parts[i].head.generation <= self._witness.generation

    cdef bint _misses_committed(self) except *:
        """Is a segment missing that the last write did not begin? Where nobody knows where that begins, the witness says."""
        cdef uint32_t i
        if self._count == 0 or self._parts[self._count - 1].head.generation < self._witness.generation:
            return True
        for i in range(self._count):
            if self._parts[i].gap and ((self._batch and i <= self._sync_from) or self._misses_witnessed(i)):
                return True
        return False

    cdef bint _misses_witnessed(self, uint32_t i) except *:
        """Before that part, where it has a gap: is one missing in which the witness says that something was committed?"""
        cdef uint32_t j
        if i:
            return self._parts[i - 1].head.generation < self._witness.generation
        return max([self._parts[j].head.oldest for j in range(self._count)]) <= self._witness.generation

    cdef bint _is_witnessed(self) noexcept:
        """Was the last write committed, all of it? Then it is on disk: what is here is what is there. So are the names
        in the log, for the first commit of a server syncs those it found, and each one those it made."""
        cdef const Part* last = &self._parts[self._count - 1]
        return self._witness.generation == last.head.generation and self._witness.end == last.valid_end \
            and self._sync_from + 1 == self._count and last.distrust == NOWHERE and not last.made_up

    cdef int _open_unproven(self) except -1:
        """By descriptors that stay open until the sync: an error before it is told to those only. The last one is the
        directory's: a kill may have come before the names were synced."""
        cdef uint32_t i
        for i in range(self._sync_from, self._count):
            self.unproven.append(self._log.disk.open(self._log.directory, segment_name(self._parts[i].number), False))
        self.unproven.append(self._log.disk.open_directory(self._log.directory))
        return 0

    cdef uint32_t _matters_from(self, uint32_t i) except? 0xFFFFFFFF:
        """From which part on a bad place matters, of those from `i` on, where the last write begins.

        Where one lets older parts go (TRIM), and all from there to its TRIM is whole, nothing of it is missing: what was
        torn is the write after it, which began in the file of one that had left."""
        cdef uint32_t last = self._count - 1, whole = last, offset
        cdef uint64_t generation
        while whole > i and self._parts[whole - 1].distrust == NOWHERE:
            whole -= 1
        if whole > i:
            for generation, offset in self._trims():
                if offset < self._parts[last].distrust and generation > self._parts[whole - 1].head.generation:
                    return whole
        return i

    cdef bint _write_again(self) except *:
        """The same bytes in the same places, whole pages; a full disk keeps what it has: False. A packed file is on disk
        since before it had its name. It is all synced when the last of it was read."""
        cdef uint32_t i, begin, end
        cdef Part* part
        cdef bint renewed = True
        if self._sync_at == NOWHERE:
            return False                           # nobody knows where it began
        for i in range(self._sync_from, self._count):
            part = &self._parts[i]
            if self._log.at[part.number].packed != NULL:
                continue
            self._load(part)
            begin, end = self._sync_at if i == self._sync_from else 0, min(page_ceil(part.valid_end), self._image_bytes)
            try:
                self._log.disk.write(self.unproven[i - self._sync_from], self._image + begin, end - begin, begin)
            except OSError as error:
                if not is_full(error):
                    raise
                renewed = False
        return renewed

    cdef bint _name_again(self) except *:
        """Segments that the last write began: the sync of their names may have failed before the end of the server."""
        cdef uint32_t i, first = self._sync_from + (self._sync_at != 0)   # where it did not begin with its segment
        try:
            self._log.name_again([self._parts[i].number for i in range(first, self._count)])
        except OSError as error:
            if not is_full(error):
                raise
            return False
        return True

    cdef int vouch(self) noexcept:
        """Where all that was found is on disk once it is synced, and nothing is missing, a witness may say so, and the
        next start need not write it again."""
        cdef const Part* last = &self._parts[self._count - 1]
        cdef uint32_t i
        for i in range(self._sync_from, self._count):
            if self._parts[i].distrust != NOWHERE or self._parts[i].made_up:
                return 0
        if self.renewed and not self.damage and (self._witness.generation < last.head.generation or (
                self._witness.generation == last.head.generation and self._witness.end <= last.valid_end)):
            self._log.found_upto = Place(last.head.generation, last.valid_end)
        return 0

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
