"""Recovery: from the files of one log to an index, and to a log that goes on in a new segment.

    names ──> heads ──> parts in order of generation, ends and gaps from their neighbours
          ──> where belief ends ──> moved records gathered ──> replay, oldest first ──> who called syncs (proof.pyx)

The index takes sequences in ascending order, and compaction puts old ones at the end of the log: so records that
were moved are gathered first, sorted, and merged with the originals by sequence; a moved one replaces its original.

Damage. A record that does not verify is passed over, the next one that does is found by search, and the sequences
between are named. Nothing on disk is cut off. (In a part that is taken by its summary, what was damaged later is found
by whoever reads it.) One question remains: does a bad place mean damage to what was once
committed, or the torn end of the last write? A record marked BATCH tells: it was written after everything before it
had been synced. So a bad place with such a record behind it is damage. With none behind it, the write may be torn:
its messages that are whole are kept (they may have been acknowledged), its removals are not believed (what they
removed may have been replaced by a message that is missing), and overwritten, so that nobody believes them later. Nor
is what lets the oldest segments go (TRIM): the copies of what lives in them may be torn. But where all from the segment
that it names to itself is whole, it is believed: what left may be torn by the next write, which uses its file again.

The last write may not be on disk although it can be read: after a sync that failed the kernel may call its pages clean.
A sync of what was found would succeed and do nothing. So it is written again, and its segments are named again, before
that is synced and believed; not where the witness, written behind a commit, says that all of the log was committed.

Sequences are never issued twice: every head says how far they had come. The new segment's head says where the log
before it ended, and its salt is new, so what lies behind that end can never be read as a part of it.
"""

import logging

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memcpy, memset

from millpond.store.indexed_store cimport IndexedStore
from millpond.store.index cimport Entry, Row
from millpond.store.record cimport (
    CLEAN, COPY, ERASED, FIRST, FLOOR, MESSAGE, REMOVE, SECURE, TRIM,
    Erasure, Head, aligned, page_ceil, record_erase, record_next,
)
from millpond.store.recovery_belief cimport LogBelief
from millpond.store.recovery_parts cimport Part
from millpond.store.repacking cimport Repacker
from millpond.store.segment cimport IN_LOG, NO_SEGMENT, RECORDS_AT, SPARE, Segment, segment_name, segment_seed
from millpond.store.segment_log cimport Place, SegmentLog
from millpond.store.subject_index cimport NO_SUBJECT
from millpond.store.summary cimport HEADERS, Step, reading_begin, reading_end, reading_next, reading_whole, step_of
from millpond.store.summary_file cimport summary_wipe

from millpond.store.losses import Loss, Lost, without

log = logging.getLogger("millpond")

cdef enum:
    ROWS = 256                       # messages that are added at a time


cdef int _by_sequence(const void* a, const void* b) noexcept nogil:
    cdef const Moved* x = <const Moved*>a
    cdef const Moved* y = <const Moved*>b
    if x.seq != y.seq:
        return -1 if x.seq < y.seq else 1
    if x.generation != y.generation:
        return -1 if x.generation < y.generation else 1
    return -1 if x.offset < y.offset else 1


cdef class Recovery(LogBelief):
    """One run over one log; the store and the log are empty before."""

    def __init__(self, IndexedStore store, SegmentLog log, Repacker repacker, object present):
        LogBelief.__init__(self, log, present)
        self._store, self._repacker = store, repacker
        self.lost, self.erasures, self._losses, self._home = Lost(), [], [], NO_SEGMENT

    def __dealloc__(self):
        free(self._moved)
        free(self._arena)
        free(self._erased)
        reading_end(&self._reading)

    cdef int _run(self) except -1:
        """Fills the store's index and the log's table."""
        cdef uint32_t i
        if not self.find() and not self._witness.generation:
            return 0
        self._gather()
        for i in range(self._count):
            self._tell(i)
            self._replay(&self._parts[i])
        self._merge(0xFFFFFFFFFFFFFFFF)
        self._finish()
        for text in self.damage:
            log.error("%s: %s", self._log.directory, text)
        return 0

    # --- records that compaction moved ---

    cdef int _gather(self) except -1:
        cdef uint32_t i, at
        cdef size_t kept = 0, n
        cdef char* steps
        cdef Step step
        for i in range(self._count):
            if not self._parts[i].copies:
                continue
            at, steps = RECORDS_AT, self._summary(&self._parts[i])
            try:
                if steps != NULL:
                    reading_begin(&self._reading, &self._parts[i].foot, steps)
                    while reading_next(&self._reading, &step):
                        if step.kind == MESSAGE and step.flags & COPY:
                            self._gather_one(&self._parts[i], &step)
                        at = step.offset + aligned(step.length)
            finally:
                free(steps)
            if steps == NULL or not reading_whole(&self._reading):
                self._gather_records(&self._parts[i], at)
        qsort(self._moved, self._moved_count, sizeof(Moved), _by_sequence)
        for n in range(self._moved_count):         # of several copies the newest; kept <= n
            if kept and self._moved[kept - 1].seq == self._moved[n].seq:
                kept -= 1
            self._moved[kept] = self._moved[n]
            kept += 1
        self._moved_count = kept
        return 0

    cdef int _gather_records(self, Part* part, uint32_t at) except -1:
        cdef uint32_t bad, seed = segment_seed(&part.head)
        cdef Head* head
        cdef Step step
        self._load(part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                return 0
            head = <Head*>(self._image + at)
            if head.kind == MESSAGE and head.flags & COPY:
                step_of(head, at, NULL, &step)
                self._gather_one(part, &step)
            at += aligned(head.length)

    cdef int _gather_one(self, const Part* part, const Step* step) except -1:
        cdef size_t most
        cdef void* grown
        cdef Moved* moved
        if self._moved_count == self._moved_max:
            most = self._moved_max * 2 + 64
            grown = realloc(self._moved, most * sizeof(Moved))
            if grown == NULL:
                raise MemoryError
            self._moved, self._moved_max = <Moved*>grown, most
        if self._arena_used + step.subject_len > self._arena_max:
            most = self._arena_max * 2 + 65536
            grown = realloc(self._arena, most)
            if grown == NULL:
                raise MemoryError
            self._arena, self._arena_max = <char*>grown, most
        moved = &self._moved[self._moved_count]
        moved.seq, moved.generation, moved.number, moved.offset = step.seq, part.head.generation, part.number, step.offset
        moved.ts_ns, moved.expires_ns = step.ts_ns, step.expires_ns
        moved.size = <uint32_t>self._store.message_size(step.subject_len, step.hdr_len, step.body_len)
        moved.subject, moved.subject_len = self._arena_used, step.subject_len
        memcpy(self._arena + self._arena_used, step.subject, step.subject_len)
        self._arena_used += step.subject_len
        self._moved_count += 1
        return 0

    cdef int _merge(self, uint64_t below_seq) except -1:
        """Adds the moved ones below a sequence."""
        cdef Moved* moved
        while self._moved_at < self._moved_count and self._moved[self._moved_at].seq < below_seq:
            moved = &self._moved[self._moved_at]
            self._moved_at += 1
            if moved.seq > self._store.index.state.last_seq:
                self._add(moved.seq, self._arena + moved.subject, moved.subject_len, NULL, moved.number, moved.offset,
                          moved.size, moved.ts_ns, moved.expires_ns, False)
        return 0

    # --- replay ---

    cdef int _replay(self, Part* part) except -1:
        cdef Segment* segment = &self._log.at[part.number]
        cdef uint32_t end = RECORDS_AT
        cdef bint whole = False
        cdef char* steps
        self._begin_part(part)
        steps = self._summary(part)
        try:
            if steps != NULL:
                end = self._replay_summary(part, steps)
                whole = reading_whole(&self._reading)
        finally:
            free(steps)
        if not whole:
            if part.proven and part.foot.bytes:
                self._wipe_summary(part)           # damaged: it gets another one
            end = self._replay_records(part, end)
        self._log.disk.drop(self._log.fd(part.number), 0, part.file_bytes)
        if self.clean and part == &self._parts[self._count - 1]:
            end -= <uint32_t>sizeof(Head)          # CLEAN was never synced: what follows must not rely on it
        segment.used = min(part.end if part.end_known else end, segment.bytes)     # a file cut within the last padding
        segment.written = segment.asked = segment.synced = segment.records_end = segment.used
        segment.copies = part.copies
        self._log.order.append(part.number)
        self._log.log_bytes += segment.bytes
        return 0

    cdef int _begin_part(self, Part* part) except -1:
        """What its head says of everything before."""
        cdef Segment* segment = &self._log.at[part.number]
        segment.generation, segment.seed, segment.state = part.head.generation, segment_seed(&part.head), IN_LOG
        segment.cache_id = self._log.cache.new_id()
        if part.made_up:
            return 0
        self._merge(part.head.last_seq + 1)
        if part.gap or (self._loss is None and self._log.order and part.head.last_seq > self._last_original):
            self._damaged(part, 0, 0)
        self._missing(part.head.last_seq + 1)
        self._store.index.raise_last(part.head.last_seq)
        self._store.index.state.last_ts_ns = max(self._store.index.state.last_ts_ns, part.head.last_ts_ns)
        self._last_original = max(self._last_original, part.head.last_seq)
        return 0

    cdef uint32_t _replay_summary(self, Part* part, const char* steps) except 0:
        """Returns how far it goes: to the end, unless it cannot be read to its own. What simply follows is added many at
        a time."""
        cdef uint32_t at = RECORDS_AT, n = 0
        cdef uint64_t last = self._store.index.state.last_seq
        cdef Row[ROWS] rows
        cdef Step step
        reading_begin(&self._reading, &part.foot, steps)
        self._log.at[part.number].headers = part.foot.flags & HEADERS != 0
        while reading_next(&self._reading, &step):
            if self._simply_follows(&step, last):
                rows[n] = Row(step.seq, step.ts_ns, step.subject, step.known, step.subject_len, step.offset,
                              <uint32_t>self._store.message_size(step.subject_len, step.hdr_len, step.body_len))
                last = step.seq
                n += 1
                if n == ROWS:
                    n = self._add_rows(part, rows, n)
            else:
                n = self._add_rows(part, rows, n)
                if step.kind == ERASED:
                    self._note_erased(part, step.offset)
                self._apply(part, &step)
                last = self._store.index.state.last_seq
            at = step.offset + aligned(step.length)
        self._add_rows(part, rows, n)
        return at

    cdef bint _simply_follows(self, const Step* step, uint64_t last_seq) noexcept:
        """A message that was never moved, without an end of its own, behind the one before."""
        if step.kind != MESSAGE or step.flags & COPY or step.expires_ns or step.seq <= last_seq:
            return False
        return self._loss is None and (self._moved_at == self._moved_count or self._moved[self._moved_at].seq > step.seq)

    cdef uint32_t _add_rows(self, Part* part, const Row* rows, uint32_t n) except? 1:
        """Returns 0: none are left."""
        cdef uint64_t bytes = 0
        cdef uint32_t i
        if n == 0:
            return 0
        if part.number != self._home:
            self._store.index.open_run(part.number, rows[0].ts_ns)
            self._store.index.expect(part.foot.records)
            self._home = part.number
        self._store.index.add_rows(rows, n)
        for i in range(n):
            bytes += rows[i].size
        self._log.added_many(part.number, n, bytes)
        self._last_original = rows[n - 1].seq
        return 0

    cdef uint32_t _replay_records(self, Part* part, uint32_t at) except 0:
        """From an offset on. Returns where the last one ends."""
        cdef uint32_t bad, seed = segment_seed(&part.head), end = at, least = part.end if part.end_known else part.sure
        cdef Head* head
        cdef Step step
        self._load(part)
        while True:
            at = record_next(self._image, at, self._image_bytes, seed, &bad)
            if at >= self._image_bytes:
                if part.end_known and (bad < at or self._image_bytes < part.end):
                    self._damaged(part, min(bad, at), part.end)
                elif not self.reaches(part, end, least):
                    self._damaged(part, end, least)
                return end
            head = <Head*>(self._image + at)
            if part.made_up and end == RECORDS_AT < at:
                bad = RECORDS_AT                   # what was there went with the head
            if bad < at:
                self._damaged(part, bad, at)
            step_of(head, at, NULL, &step)
            if step.hdr_len:
                self._log.at[part.number].headers = True
            self._apply(part, &step)
            at += aligned(step.length)
            end = at

    cdef int _apply(self, Part* part, const Step* step) except -1:
        cdef const uint64_t* seqs = <const uint64_t*>step.body
        cdef uint32_t i
        if step.kind == MESSAGE:
            return self._original(part, step) if not step.flags & COPY else 0
        if step.kind == FIRST:
            self._last_original = max(self._last_original, step.seq - 1)
            if self._store.index.state.messages == 0 and step.seq > self._store.index.state.last_seq:
                self._store.index.raise_first(step.seq)
            return self._store.index.raise_last(step.seq - 1)
        if step.kind == CLEAN:
            self._passed_over(part, step.seq + 1, step.offset)
            self._last_original = max(self._last_original, step.seq)
            return self._missing(step.seq + 1)
        if step.kind == ERASED:
            if step.seq > self._last_original:
                self._passed_over(part, step.seq, step.offset)
                self._missing(step.seq)
            self._last_original = max(self._last_original, step.seq)
            self._store.index.state.last_ts_ns = max(self._store.index.state.last_ts_ns, step.ts_ns)
            return self._store.index.raise_last(step.seq)
        if step.kind != REMOVE and step.kind != FLOOR and step.kind != TRIM:
            return 0
        if step.offset >= part.distrust:
            return self._disbelieve(part, step.offset)
        if step.kind == FLOOR:
            self._floor(step.seq)
        elif step.kind == REMOVE:
            if step.flags & SECURE:
                return self._erase(part, step)
            self._floor(step.seq)
            for i in range((step.length - <uint32_t>sizeof(Head)) // <uint32_t>sizeof(uint64_t)):
                self._was_issued(part, seqs[i], step.offset)
                self._drop(seqs[i])
        return 0

    cdef int _original(self, Part* part, const Step* step) except -1:
        self._merge(step.seq)
        if step.seq <= self._store.index.state.last_seq:
            self.damage.append(f"{segment_name(part.number)}: message {step.seq} at {step.offset} comes after "
                               f"{self._store.index.state.last_seq}; it is not taken")
            return 0
        self._passed_over(part, step.seq, step.offset)
        self._missing(step.seq)
        self._last_original = step.seq
        if self._moved_at < self._moved_count and self._moved[self._moved_at].seq == step.seq:
            return self._merge(step.seq + 1)
        return self._add(step.seq, step.subject, step.subject_len, step.known, part.number, step.offset,
                         <uint32_t>self._store.message_size(step.subject_len, step.hdr_len, step.body_len),
                         step.ts_ns, step.expires_ns, True)

    cdef int _add(self, uint64_t seq, const char* subject, uint32_t subject_len, uint32_t* known, uint32_t number,
                  uint32_t offset, uint32_t size, int64_t ts_ns, int64_t expires_ns, bint own_run) except -1:
        cdef uint32_t id
        if number != self._home:
            if own_run:
                self._store.index.open_run(number, ts_ns)
            else:
                self._store.index.put_into(number)
            self._home = number
        id = self._store.index.add_known(seq, NO_SUBJECT if known == NULL else known[0], subject, subject_len, offset,
                                         size, ts_ns)
        if known != NULL:
            known[0] = id
        self._log.added(number, size)
        if expires_ns:
            self._store.note_expiry(seq, expires_ns)
        return 0

    cdef int _was_issued(self, const Part* part, uint64_t seq, uint32_t offset) except -1:
        """What is removed was there, and so was all before it: neither is issued again. (An erasure may be torn.)"""
        self._passed_over(part, seq, offset)
        if seq > self._store.index.state.last_seq:
            self._merge(seq + 1)
            self._store.index.raise_last(seq)
            self._last_original = max(self._last_original, seq)
        return 0

    cdef bint _drop(self, uint64_t seq) except *:
        cdef Entry entry
        if self._store.index.remove(seq, &entry):
            self._log.gone(entry.run_id, entry.size)
            return True
        for loss in self._losses:
            loss.removed(seq)
        return False

    cdef int _erase(self, const Part* of, const Step* step) except -1:
        """A message that was to be overwritten, as `of` says: it may have been, not yet, or in part."""
        cdef Erasure erasure
        cdef uint32_t number
        cdef Entry entry
        cdef Part* part
        cdef bint bad = False
        memset(&erasure, 0, sizeof(Erasure))
        memcpy(&erasure, step.body, min(step.length - sizeof(Head), sizeof(Erasure)))     # in a summary at any place
        self._was_issued(of, erasure.seq, step.offset)
        if self._store.index.get(erasure.seq, &entry):
            number = entry.run_id
            self._erase_again(erasure.seq, number, entry.offset, entry.size)
        self._drop(erasure.seq)
        if step.length < sizeof(Head) + sizeof(Erasure):
            return 0                               # as it was written at first: the sequence only
        part = self._part_of(erasure.generation)
        if part == NULL:
            return self._discard_spare(erasure.generation)
        for loss in self._losses:
            bad = loss.erased(erasure.generation, erasure.offset) or bad
        if bad or self._is_message(part, &erasure):
            self._erase_again(erasure.seq, part.number, erasure.offset, erasure.size)
        if part.copies:
            self._scrub_below = max(self._scrub_below, erasure.generation)
        return 0

    cdef int _erase_again(self, uint64_t seq, uint32_t number, uint32_t offset, uint32_t size) except -1:
        self.erasures.append((seq, number, self._log.at[number].generation, offset, size))
        self._log.at[number].erasing = True
        return 0

    cdef int _discard_spare(self, uint64_t generation) except -1:
        """The segment left the log before what was to be overwritten in it was: its file is not used again."""
        cdef uint32_t i
        for i in range(self._log.count):
            if self._log.at[i].state == SPARE and self._log.at[i].generation == generation:
                self._log.discard(i)
        return 0

    cdef bint _is_message(self, const Part* part, const Erasure* erasure) except *:
        """Is it there still? A floor before its removal may have taken it out of the index. Where the segment has a
        summary, that has to say that it is gone, too."""
        cdef Head head
        cdef size_t got
        if self._log.at[part.number].summary:
            return not self._is_erased(part, erasure.offset)
        got = self._log.read(part.number, <char*>&head, sizeof(Head), erasure.offset)
        return got == sizeof(Head) and head.kind == MESSAGE and head.seq == erasure.seq

    cdef int _note_erased(self, const Part* part, uint32_t offset) except -1:
        cdef size_t most
        cdef void* grown
        if self._erased_count == self._erased_max:
            most = self._erased_max * 2 + 64
            grown = realloc(self._erased, most * sizeof(Place))
            if grown == NULL:
                raise MemoryError
            self._erased, self._erased_max = <Place*>grown, most
        self._erased[self._erased_count] = Place(part.head.generation, offset)
        self._erased_count += 1
        return 0

    cdef bint _is_erased(self, const Part* part, uint32_t offset) noexcept:
        """In a part that was taken by its summary."""
        cdef size_t low = 0, high = self._erased_count, middle
        cdef const Place* place
        while low < high:                          # halves [low, high) each time
            middle = low + (high - low) // 2
            place = &self._erased[middle]
            if place.generation < part.head.generation or (place.generation == part.head.generation
                                                           and place.offset < offset):
                low = middle + 1
            else:
                high = middle
        return low < self._erased_count and self._erased[low].generation == part.head.generation \
            and self._erased[low].offset == offset

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

    cdef int _disbelieve(self, Part* part, uint32_t offset) except -1:
        """A removal in the torn end of the last write: it was never answered, and never will be believed."""
        cdef Head* head = <Head*>(self._image + offset)
        cdef uint32_t length = head.length
        log.warning("%s/%s: the last write is torn; what it removed stays", self._log.directory,
                    segment_name(part.number))
        head.seq = 0
        record_erase(head, segment_seed(&part.head))
        if self._log.at[part.number].packed != NULL:
            self._repacker.make_plain(part.number)
        self._wipe_summary(part)
        return self._log.disk.write(self._log.fd(part.number), <const char*>head, length, offset)

    cdef int _wipe_summary(self, const Part* part) except -1:
        """It says what is not so, or cannot be read."""
        if self._log.at[part.number].summary:
            summary_wipe(self._log, part.number)
            self._log.disk.sync(self._log.fd(part.number))
        return 0

    cdef int _damaged(self, const Part* part, uint32_t bad, uint32_t end) except -1:
        """A bad place; 0 to 0: the part before is missing, or does not go as far as this one's head says."""
        cdef str name = segment_name(part.number)
        if end:
            self._wipe_summary(part)
        if bad >= part.distrust:
            log.warning("%s/%s: the last write is torn at %d", self._log.directory, name, bad)
            self.torn_seq = self.torn_seq or self._last_original + 1
            return 0
        self._begin_loss()
        if part.made_up:
            self._bound_loss(end)
        if end:
            self._loss.damaged(name, part.head.generation, bad, end)
        elif part.gap:
            self._loss.places.append(f"a segment before {name} (generation {part.head.generation}) is missing")
        else:
            self._loss.places.append(f"the segment before {name} ends too early")
        return 0

    cdef int _begin_loss(self) except -1:
        if self._loss is None:
            self._loss = Loss(self._last_original + 1)
            self._losses.append(self._loss)
        return 0

    cdef int _bound_loss(self, uint32_t end) except -1:
        """The oldest segment without a head: no more is lost than had room, for what was before may have left the log."""
        if self._last_original == 0:
            self._loss.most = page_ceil(end) // <uint32_t>sizeof(Head)
        return 0

    cdef int _passed_over(self, const Part* part, uint64_t seq, uint32_t offset) except -1:
        """Sequences ascend one by one, but for what is torn. Where the bytes between two are sound and one is missing,
        a write went to another place. A removal, too, comes behind its message."""
        if self._loss is None and seq > self._last_original + 1 and not self.torn_seq:
            self._begin_loss()
            if part.made_up:
                self._bound_loss(offset)
            self._loss.places.append(f"{segment_name(part.number)}: message {seq} at {offset} follows "
                                     f"{self._last_original}")
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
            ranges = without(loss.ranges(), self._store.next_message)
            if not ranges and loss.is_erasure():
                log.warning("%s: %s: an erasure was cut short, and is done again", self._log.directory, loss)
                continue
            self.damage.append(loss.describe(ranges))
            for first, last in ranges:
                self.lost.add(first, last)
        return 0

    cdef int _end_at_least(self) except -1:
        """The log went as far as its witness says."""
        cdef uint64_t newest = self._parts[self._count - 1].head.generation if self._count else 0
        if not self._witness.generation or self._witness.generation < newest:
            return 0
        if self._witness.generation > newest:
            self._begin_loss()
            self._loss.places.append(f"the newest segment (generation {self._witness.generation}) is missing")
        elif self._loss is None and self._last_original < self._witness.last_seq and not self.torn_seq:
            self._begin_loss()
            self._loss.places.append(f"the log ends with message {self._last_original} of {self._witness.last_seq}")
        self._merge(self._witness.last_seq + 1)
        self._missing(self._witness.last_seq + 1)
        self._store.index.raise_last(self._witness.last_seq)
        return 0

    cdef int _finish(self) except -1:
        cdef uint32_t number
        cdef const Head* head
        cdef Entry entry
        self._end_at_least()
        self._missing(0)
        self._report()
        self._log.last_seq = self._store.index.state.last_seq
        self._log.last_ts_ns = self._store.index.state.last_ts_ns
        for number in range(self._log.count):
            if self._log.at[number].state == SPARE:    # a torn write of the generation that comes next may be in it
                self._log.discard(number)
        self._log.scrub(self._scrub_below)
        if self.proven:                            # else what let them go may not be on disk: settle() does it
            self._log.reclaim()
        elif self._count:
            self.vouch()
        if self._store.index.get(self._store.index.state.first_seq, &entry):
            head = self.at_hand(entry.run_id, entry.offset)
            self.first_ts_ns = head.ts_ns if head != NULL and head.seq == entry.seq else 0
        return 0

