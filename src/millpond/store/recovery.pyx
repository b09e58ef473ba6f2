"""Recovery: from the files of one log to an index, and to a log that goes on in a new segment.

    names ──> heads ──> parts in order of generation, ends and gaps from their neighbours
          ──> where belief ends ──> moved records gathered ──> replay, oldest first ──> sync what may not be on disk

The index takes sequences in ascending order, and compaction puts old ones at the end of the log: so records that
were moved are gathered first, sorted, and merged with the originals by sequence; a moved one replaces its original.

Damage. A record that does not verify is passed over, the next one that does is found by search, and the sequences
between are named. Nothing on disk is cut off. One question remains: does a bad place mean damage to what was once
committed, or the torn end of the last write? A record marked BATCH tells: it was written after everything before it
had been synced. So a bad place with such a record behind it is damage. With none behind it, the write may be torn:
its messages that are whole are kept (they may have been acknowledged), its removals are not believed (what they
removed may have been replaced by a message that is missing), and overwritten, so that nobody believes them later.

Sequences are never issued twice: every head says how far they had come. The new segment's head says where the log
before it ended, and its salt is new, so what lies behind that end can never be read as a part of it.
"""

import logging
import os

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memcpy

from millpond.store.indexed_store cimport IndexedStore
from millpond.store.index cimport Entry
from millpond.store.record cimport (
    BATCH,
    CLEAN,
    COPY,
    ERASED,
    FIRST,
    FLOOR,
    MESSAGE,
    REMOVE,
    SECURE,
    TRIM,
    Erasure,
    Head,
    aligned,
    body_len_of,
    content_at,
    expires_of,
    record_erase,
    record_next,
)
from millpond.store.segment cimport (
    BEFORE_HAS_COPIES,
    DAMAGED,
    IN_LOG,
    NO_SEGMENT,
    RECORDS_AT,
    SPARE,
    Segment,
    SegmentHead,
    segment_head_read,
    segment_name,
    segment_seed,
)
from millpond.store.segment_log cimport SegmentLog

from millpond.store.losses import Loss
from millpond.store.segment import segment_number

log = logging.getLogger("millpond")

cdef uint32_t NOWHERE = 0xFFFFFFFF


cdef int _by_sequence(const void* a, const void* b) noexcept nogil:
    cdef const Moved* x = <const Moved*>a
    cdef const Moved* y = <const Moved*>b
    if x.seq != y.seq:
        return -1 if x.seq < y.seq else 1
    if x.generation != y.generation:
        return -1 if x.generation < y.generation else 1
    return -1 if x.offset < y.offset else 1


cdef class Recovery:
    """One run over one log; the store and the log are empty before."""

    def __init__(self, IndexedStore store, SegmentLog log):
        self._store, self._log = store, log
        self.damage, self.lost_ranges, self.erasures, self._losses = [], [], [], []
        self._home = NO_SEGMENT

    def __dealloc__(self):
        free(self._parts)
        free(self._moved)
        free(self._arena)
        free(self._image)

    def run(self):
        """Fills the store's index and the log's table."""
        cdef uint32_t i, offset
        cdef uint64_t oldest
        cdef bint used
        self._find_parts()
        if self._count == 0:
            return
        used = self._claim_trim(&oldest, &offset)
        self._find_distrust()
        if used or offset < self._parts[self._count - 1].distrust:
            self._trim(oldest)
        self._gather()
        for i in range(self._count):
            self._replay(&self._parts[i])
        self._merge(0xFFFFFFFFFFFFFFFF)
        self._finish()
        for text in self.damage:
            log.error("%s: %s", self._log.directory, text)

    # --- the parts of the log ---

    cdef int _find_parts(self) except -1:
        cdef SegmentHead head
        cdef char[RECORDS_AT] start
        cdef size_t got
        cdef uint32_t number, size
        cdef list heads = [], unreadable = []
        for name in sorted(os.listdir(self._log.directory)):
            found = segment_number(name)
            if found is None:
                continue
            number = found
            self._log.reserve_number(number)
            self._log.at[number].state = SPARE
            size = os.fstat(self._log.fd(number)).st_size
            self._log.at[number].bytes = size
            got = self._log.disk.read(self._log.fd(number), start, RECORDS_AT, 0)
            if segment_head_read(start, got, &head):
                heads.append((head.generation, number, size, head.oldest))
                self._log.generation = max(self._log.generation, head.generation)
            elif any(start[:got]):
                unreadable.append(number)
        self._keep(sorted(heads))
        if any([self._parts[i].gap for i in range(self._count)]):
            for number in unreadable:              # it may be what is missing: left as it is
                self._log.at[number].state = DAMAGED
                self.damage.append(f"{segment_name(number)}: its head cannot be read; the file is left as it is")
        return 0

    cdef int _keep(self, list heads) except -1:
        """Segments from the oldest that is needed on are parts."""
        cdef char[RECORDS_AT] start
        cdef size_t got
        cdef Part* part
        oldest = max((row[3] for row in heads), default=0)
        heads = [row for row in heads if row[0] >= oldest]
        self._parts = <Part*>calloc(len(heads) + 1, sizeof(Part))
        if self._parts == NULL:
            raise MemoryError
        for _, number, size, _ in heads:
            part = &self._parts[self._count]
            part.number, part.bytes = number, size
            got = self._log.disk.read(self._log.fd(part.number), start, RECORDS_AT, 0)
            segment_head_read(start, got, &part.head)
            self._count += 1
        if self._count and self._parts[0].head.generation != oldest:
            self._parts[0].gap = True
        return self._link()

    cdef int _link(self) except -1:
        """Where each part ends, and what is missing before it, is in the next one's head."""
        cdef uint32_t i
        cdef Part* part
        cdef Part* after
        for i in range(self._count):
            part = &self._parts[i]
            part.end, part.distrust = part.bytes, NOWHERE
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
        self._image_bytes = <uint32_t>self._log.disk.read(self._log.fd(part.number), self._image, part.end, 0)
        return 0

    # --- where belief ends ---

    cdef uint32_t _survey(self, Part* part, uint32_t* first_bad, uint32_t* last) except? 0xFFFFFFFF:
        """Offset of the last BATCH record, 0 = none; the first bad place behind it; the kind of the last record."""
        cdef uint32_t at = RECORDS_AT, bad, batch = 0, seed = segment_seed(&part.head)
        cdef Head* head
        first_bad[0], last[0] = NOWHERE, 0
        self._load(part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                if part.end_known and bad < self._image_bytes:
                    first_bad[0] = min(first_bad[0], bad)
                if part.end_known and self._image_bytes < part.end:
                    first_bad[0] = min(first_bad[0], self._image_bytes)
                return batch
            if bad < at:
                first_bad[0] = min(first_bad[0], bad)
            head = <Head*>(self._image + at)
            last[0] = head.kind
            if head.flags & BATCH:
                batch, first_bad[0] = at, NOWHERE
            at += aligned(head.length)

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
        self._sync_from = i
        for j in range(i, self._count):            # and in everything that follows
            if j > i and self._parts[j - 1].distrust != NOWHERE:
                self._parts[j].distrust = 0
        return 0

    cdef bint _claim_trim(self, uint64_t* oldest, uint32_t* offset) except *:
        """What the last part says of older ones that have left the log. True: some are gone, so it was committed.

        Earlier parts need not be asked: a TRIM ends its write, and the heads of segments begun later know of it.
        """
        cdef Part* part = &self._parts[self._count - 1]
        cdef uint32_t at = RECORDS_AT, bad, seed = segment_seed(&part.head), i
        cdef bint used = False
        cdef Head* head
        oldest[0], offset[0] = 0, 0
        self._load(part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                break
            head = <Head*>(self._image + at)
            if head.kind == TRIM and head.seq > oldest[0]:
                oldest[0], offset[0] = head.seq, at
            at += aligned(head.length)
        for i in range(self._count):
            if self._parts[i].head.generation <= oldest[0]:
                used = used or self._parts[i].gap
                self._parts[i].gap = False
        return used

    cdef int _trim(self, uint64_t oldest) except -1:
        cdef uint32_t n = 0, i
        while n + 1 < self._count and self._parts[n].head.generation < oldest:
            n += 1
        for i in range(self._count - n):
            self._parts[i] = self._parts[i + n]
        self._count -= n
        self._sync_from = self._sync_from - n if self._sync_from > n else 0
        return 0

    # --- records that compaction moved ---

    cdef int _gather(self) except -1:
        cdef uint32_t i, at, bad, seed
        cdef size_t kept = 0, n
        cdef Head* head
        for i in range(self._count):
            if not self._parts[i].copies:
                continue
            self._load(&self._parts[i])
            seed, at = segment_seed(&self._parts[i].head), RECORDS_AT
            while True:
                at = record_next(self._image, at, self._image_bytes, seed, &bad)
                if at >= self._image_bytes:
                    break
                head = <Head*>(self._image + at)
                if head.kind == MESSAGE and head.flags & COPY:
                    self._gather_one(&self._parts[i], at, head)
                at += aligned(head.length)
        qsort(self._moved, self._moved_count, sizeof(Moved), _by_sequence)
        for n in range(self._moved_count):         # of several copies the newest; kept <= n
            if kept and self._moved[kept - 1].seq == self._moved[n].seq:
                kept -= 1
            self._moved[kept] = self._moved[n]
            kept += 1
        self._moved_count = kept
        return 0

    cdef int _gather_one(self, const Part* part, uint32_t offset, const Head* head) except -1:
        cdef size_t most
        cdef void* grown
        cdef Moved* moved
        if self._moved_count == self._moved_max:
            most = self._moved_max * 2 + 64
            grown = realloc(self._moved, most * sizeof(Moved))
            if grown == NULL:
                raise MemoryError
            self._moved, self._moved_max = <Moved*>grown, most
        if self._arena_used + head.subject_len > self._arena_max:
            most = self._arena_max * 2 + 65536
            grown = realloc(self._arena, most)
            if grown == NULL:
                raise MemoryError
            self._arena, self._arena_max = <char*>grown, most
        moved = &self._moved[self._moved_count]
        moved.seq, moved.generation, moved.number, moved.offset = head.seq, part.head.generation, part.number, offset
        moved.ts_ns, moved.expires_ns = head.ts_ns, expires_of(head)
        moved.size = <uint32_t>self._store.message_size(head.subject_len, head.hdr_len, body_len_of(head))
        moved.subject, moved.subject_len = self._arena_used, head.subject_len
        memcpy(self._arena + self._arena_used, <const char*>head + content_at(head), head.subject_len)
        self._arena_used += head.subject_len
        self._moved_count += 1
        return 0

    cdef int _merge(self, uint64_t below_seq) except -1:
        """Adds the moved ones below a sequence."""
        cdef Moved* moved
        while self._moved_at < self._moved_count and self._moved[self._moved_at].seq < below_seq:
            moved = &self._moved[self._moved_at]
            self._moved_at += 1
            if moved.seq > self._store.index.state.last_seq:
                self._add(moved.seq, self._arena + moved.subject, moved.subject_len, moved.number, moved.offset,
                          moved.size, moved.ts_ns, moved.expires_ns, False)
        return 0

    # --- replay ---

    cdef int _replay(self, Part* part) except -1:
        cdef uint32_t at = RECORDS_AT, bad, seed = segment_seed(&part.head), end = RECORDS_AT
        cdef Segment* segment = &self._log.at[part.number]
        cdef Head* head
        segment.generation, segment.seed, segment.state = part.head.generation, seed, IN_LOG
        segment.cache_id = self._log.cache.new_id()
        self._merge(part.head.last_seq + 1)
        if part.gap or (self._loss is None and self._log.order and part.head.last_seq > self._last_original):
            self._damaged(part, 0, 0)
        self._missing(part.head.last_seq + 1)
        self._store.index.raise_last(part.head.last_seq)
        self._store.index.state.last_ts_ns = max(self._store.index.state.last_ts_ns, part.head.last_ts_ns)
        self._last_original = max(self._last_original, part.head.last_seq)
        self._load(part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                if part.end_known and (bad < at or self._image_bytes < part.end):
                    self._damaged(part, min(bad, at), part.end)
                break
            head = <Head*>(self._image + at)
            if bad < at:
                self._damaged(part, bad, at)
            self._apply(part, at, head)
            at += aligned(head.length)
            end = at
        self._log.disk.drop(self._log.fd(part.number), 0, part.bytes)
        segment.used = part.end if part.end_known else end
        segment.written = segment.asked = segment.synced = segment.used
        segment.copies = part.copies
        self._log.order.append(part.number)
        self._log.log_bytes += segment.bytes
        return 0

    cdef int _apply(self, Part* part, uint32_t offset, Head* head) except -1:
        cdef uint64_t* seqs = <uint64_t*>(<char*>head + sizeof(Head))
        cdef uint32_t i
        if head.kind == MESSAGE:
            return self._original(part, offset, head) if not head.flags & COPY else 0
        if head.kind == FIRST:
            self._last_original = max(self._last_original, head.seq - 1)
            if self._store.index.state.messages == 0 and head.seq > self._store.index.state.last_seq:
                self._store.index.raise_first(head.seq)
            return self._store.index.raise_last(head.seq - 1)
        if head.kind == CLEAN:
            return self._missing(head.seq + 1)
        if head.kind == ERASED:
            if head.seq > self._last_original:
                self._missing(head.seq)
            self._last_original = max(self._last_original, head.seq)
            self._store.index.state.last_ts_ns = max(self._store.index.state.last_ts_ns, head.ts_ns)
            return self._store.index.raise_last(head.seq)
        if head.kind != REMOVE and head.kind != FLOOR and head.kind != TRIM:
            return 0
        if offset >= part.distrust:
            return self._disbelieve(part, offset, head)
        if head.kind == FLOOR:
            self._floor(head.seq)
        elif head.kind == REMOVE:
            if head.flags & SECURE:
                return self._erase(head, seqs[0])
            self._floor(head.seq)
            for i in range((head.length - <uint32_t>sizeof(Head)) // <uint32_t>sizeof(uint64_t)):
                self._drop(seqs[i])
        return 0

    cdef int _original(self, Part* part, uint32_t offset, const Head* head) except -1:
        self._merge(head.seq)
        if head.seq <= self._store.index.state.last_seq:
            self.damage.append(f"{segment_name(part.number)}: message {head.seq} at {offset} comes after "
                               f"{self._store.index.state.last_seq}; it is not taken")
            return 0
        self._missing(head.seq)
        self._last_original = head.seq
        if self._moved_at < self._moved_count and self._moved[self._moved_at].seq == head.seq:
            return self._merge(head.seq + 1)
        return self._add(head.seq, <const char*>head + content_at(head), head.subject_len, part.number, offset,
                         <uint32_t>self._store.message_size(head.subject_len, head.hdr_len, body_len_of(head)),
                         head.ts_ns, expires_of(head), True)

    cdef int _add(self, uint64_t seq, const char* subject, uint32_t subject_len, uint32_t number, uint32_t offset,
                  uint32_t size, int64_t ts_ns, int64_t expires_ns, bint own_run) except -1:
        if number != self._home:
            if own_run:
                self._store.index.open_run(number, ts_ns)
            else:
                self._store.index.put_into(number)
            self._home = number
        self._store.index.add(seq, subject, subject_len, offset, size, ts_ns)
        self._log.added(number, size)
        if expires_ns:
            self._store.note_expiry(seq, expires_ns)
        return 0

    cdef bint _drop(self, uint64_t seq) except *:
        cdef Entry entry
        if self._store.index.remove(seq, &entry):
            self._log.gone(entry.run_id, entry.size)
            return True
        for loss in self._losses:
            loss.removed(seq)
        return False

    cdef int _erase(self, const Head* head, uint64_t seq) except -1:
        """A message that was to be overwritten: it may have been, not yet, or in part."""
        cdef const Erasure* erasure = <const Erasure*>(<const char*>head + sizeof(Head))
        cdef uint32_t number
        cdef Entry entry
        cdef Part* part
        cdef bint bad = False
        if self._store.index.get(seq, &entry):
            number = entry.run_id
            self.erasures.append((seq, number, self._log.at[number].generation, entry.offset, entry.size))
        self._drop(seq)
        if head.length < sizeof(Head) + sizeof(Erasure):
            return 0                               # as it was written at first: the sequence only
        part = self._part_of(erasure.generation)
        if part == NULL:
            return 0
        for loss in self._losses:
            bad = loss.erased(erasure.generation, erasure.offset) or bad
        if bad or self._is_message(part, erasure):
            self.erasures.append((erasure.seq, part.number, erasure.generation, erasure.offset, erasure.size))
        if part.copies:
            self._scrub_below = max(self._scrub_below, erasure.generation)
        return 0

    cdef bint _is_message(self, const Part* part, const Erasure* erasure) except *:
        """Is it there still? A floor before its removal may have taken it out of the index."""
        cdef Head head
        cdef size_t got = self._log.disk.read(self._log.fd(part.number), <char*>&head, sizeof(Head), erasure.offset)
        return got == sizeof(Head) and head.kind == MESSAGE and head.seq == erasure.seq

    cdef Part* _part_of(self, uint64_t generation) noexcept:
        cdef uint32_t i
        for i in range(self._count):
            if self._parts[i].head.generation == generation:
                return &self._parts[i]
        return NULL

    cdef int _floor(self, uint64_t first_seq) except -1:
        while self._store.index.state.messages and self._store.index.state.first_seq < first_seq:
            self._drop(self._store.index.state.first_seq)
        for loss in self._losses:
            loss.removed_below(first_seq)
        return 0

    # --- damage ---

    cdef int _disbelieve(self, Part* part, uint32_t offset, Head* head) except -1:
        """A removal in the torn end of the last write: it was never answered, and never will be believed."""
        cdef uint32_t length = head.length
        log.warning("%s/%s: the last write is torn; what it removed stays", self._log.directory,
                    segment_name(part.number))
        head.seq = 0
        record_erase(head, segment_seed(&part.head))
        return self._log.disk.write(self._log.fd(part.number), <const char*>head, length, offset)

    cdef int _damaged(self, const Part* part, uint32_t bad, uint32_t end) except -1:
        """A bad place; 0 to 0: the part before is missing, or does not go as far as this one's head says."""
        cdef str name = segment_name(part.number)
        if bad >= part.distrust:
            log.warning("%s/%s: the last write is torn at %d", self._log.directory, name, bad)
            self.torn_seq = self.torn_seq or self._last_original + 1
            return 0
        if self._loss is None:
            self._loss = Loss(self._last_original + 1)
            self._losses.append(self._loss)
        if end:
            self._loss.damaged(name, part.head.generation, bad, end)
        elif part.gap:
            self._loss.places.append(f"a segment before {name} (generation {part.head.generation}) is missing")
        else:
            self._loss.places.append(f"the segment before {name} ends too early")
        return 0

    cdef int _missing(self, uint64_t next_seq) except -1:
        """The original that comes next is known: what the bad places before it may have held."""
        if self._loss is not None:
            self._loss.ends_before(next_seq)
            self._loss = None
        return 0

    cdef int _report(self) except -1:
        """What is lost is known now: later records may have removed it anyway."""
        for loss in self._losses:
            ranges = loss.ranges()
            if not ranges and loss.is_erasure():
                log.warning("%s: %s: an erasure was cut short, and is done again", self._log.directory, loss)
                continue
            self.damage.append(loss.describe(ranges))
            self.lost_ranges += ranges
            self.lost += sum([last - first + 1 for first, last in ranges])
        return 0

    # --- the end ---

    cdef int _finish(self) except -1:
        cdef uint32_t i, number
        self._missing(0)
        self._report()
        if not self.clean:
            for i in range(self._sync_from, self._count):
                self._log.disk.sync(self._log.fd(self._parts[i].number))
        self._log.last_seq = self._store.index.state.last_seq
        self._log.last_ts_ns = self._store.index.state.last_ts_ns
        for number in range(self._log.count):
            if self._log.at[number].state == SPARE:
                self._log.release(number)
        if self._scrub_below:
            self._log.scrub(self._scrub_below)
        self._log.reclaim()
        return self._log.close_files()

