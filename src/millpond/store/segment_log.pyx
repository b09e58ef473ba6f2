"""An append-only log in a few files that are used again.

    order    [log.0003 gen 17] [log.0000 gen 18] [log.0001 gen 19 = tail]     oldest first, strictly first in first out
    spares   log.0002                                                         files that wait for their next life

Records go to the tail's buffer: the image of the file from the last page that is not committed to the end. A write
takes whole pages from there, padded with zeros, so the kernel never reads before it writes; the page that was not
full is written again with the next batch, its old records unchanged. What is committed moves to the read cache and
the buffer is given back: an idle stream holds none. The next batch takes the last page from the cache, or begins at
the next page when it is not there any more.

A segment leaves the log when nothing in it lives and all older ones have left. The record that says so (TRIM) is
committed before the file is used again or removed. Names are reused lowest first, so they stay few.
"""

import os

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from millpond.store.api cimport COLD, FOUND, MISSING, Load
from millpond.store.committer cimport Committer, Target
from millpond.store.packed cimport packed_let_go, packed_memory, packed_read
from millpond.store.proof cimport Proof
from millpond.store.read_cache cimport ReadCache
from millpond.store.record cimport (
    ALIGN, BATCH, COPY, HAS_EXPIRY, MESSAGE, PAGE, TRIM, Head, aligned, page_ceil, page_floor, record_seal,
)
from millpond.store.segment cimport (
    ABSENT, BEFORE_HAS_COPIES, IN_LOG, LEFT, NO_SEGMENT, RECORDS_AT, SALT_OF_LOG, SPARE, Segment, SegmentHead,
    segment_head_write, segment_name, segment_salt, segment_seed,
)
from millpond.store.segment_files cimport SegmentFiles
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.store.space import no_room

cdef uint32_t SPARES_MAX = limits.SEGMENT_SPARES_MAX
cdef uint32_t OPEN_MAX = limits.SEGMENTS_OPEN_MAX
cdef uint32_t RECLAIM_MAX = limits.RECLAIM_SEGMENTS_PER_COMMIT

cdef enum:
    BUFFER_FIRST_MAX = 262_144       # a buffer does not begin larger than this
    DROP_BYTES = 262_144             # of the tail's pages are given back at a time


cdef class SegmentLog:
    """See the head of this file; recovery fills the table."""

    def __init__(self, str directory, ReadCache cache, object arrived, bint drops_pages, uint32_t bytes_small):
        SegmentFiles.__init__(self, directory, cache.disk, bytes_small)
        self.cache, self.arrived, self.drops_pages = cache, arrived, drops_pages
        self.order, self.released = [], []
        self._dirty, self._syncing, self._patched, self._open_sealed = [], [], [], []
        self.tail = NO_SEGMENT
        self._batch_begins = True

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.count):
            free(self.at[i].buffer)
            packed_let_go(&self.at[i].packed)
        free(self.at)

    # --- records ---

    cdef uint8_t _flags(self, uint32_t number, uint32_t offset) noexcept:
        """Marks the first record of a write, and remembers its place."""
        if not self._batch_begins:
            return 0
        self._batch_begins = False
        self._gathered = Place(self.at[number].generation, offset)
        return BATCH

    cdef int put_message(self, uint64_t seq, int64_t ts_ns, int64_t expires_ns, const Msg* msg,
                         uint32_t* number, uint32_t* offset) except -1:
        cdef uint32_t fixed = sizeof(Head) + (8 if expires_ns else 0)
        cdef uint64_t length = <uint64_t>fixed + msg.subject_len + msg.hdr_len + msg.body_len
        cdef char* at
        cdef Head* head
        assert length < <uint64_t>1 << 31 and msg.subject_len < 1 << 16, "refused before it came here"
        at = self._take(<uint32_t>length, number, offset)
        head = <Head*>at
        head.length, head.kind, head.flags = <uint32_t>length, MESSAGE, self._flags(number[0], offset[0])
        head.subject_len, head.hdr_len = <uint16_t>msg.subject_len, msg.hdr_len
        head.seq, head.ts_ns = seq, ts_ns
        if expires_ns:
            head.flags |= HAS_EXPIRY
            (<int64_t*>(at + sizeof(Head)))[0] = expires_ns
        at += fixed
        memcpy(at, msg.subject, msg.subject_len)
        at += msg.subject_len
        if msg.hdr_len:
            memcpy(at, msg.hdr, msg.hdr_len)
        if msg.body_len:
            memcpy(at + msg.hdr_len, msg.body, msg.body_len)
        record_seal(head, self.at[number[0]].seed)
        self.last_seq, self.last_ts_ns = seq, ts_ns
        return 0

    cdef int put_copy(self, const Head* record, uint32_t* number, uint32_t* offset) except -1:
        cdef Head* head = <Head*>self._take(record.length, number, offset)
        memcpy(head, record, record.length)
        head.flags = (record.flags & HAS_EXPIRY) | COPY | self._flags(number[0], offset[0])
        record_seal(head, self.at[number[0]].seed)
        self.at[number[0]].copies = True
        return 0

    cdef int put(self, uint8_t kind, uint8_t flags, uint64_t seq, const void* body, uint32_t n) except -1:
        cdef uint32_t number, offset
        cdef Head* head = <Head*>self._take(<uint32_t>sizeof(Head) + n, &number, &offset)
        memset(head, 0, sizeof(Head))
        head.length, head.kind, head.seq = <uint32_t>sizeof(Head) + n, kind, seq
        head.flags = flags | self._flags(number, offset)
        if n:
            memcpy(<char*>head + sizeof(Head), body, n)
        record_seal(head, self.at[number].seed)
        return 0

    cdef int undo(self, uint32_t number, uint32_t offset) except -1:
        cdef Segment* segment = &self.at[number]
        assert number == self.tail and segment.written <= offset < segment.used
        segment.records_end = self._ended_at
        self._batch_begins = (<Head*>(segment.buffer + (offset - segment.buffer_from))).flags & BATCH != 0
        segment.used = offset
        return 0

    cdef char* _take(self, uint32_t length, uint32_t* number, uint32_t* offset) except NULL:
        """Room for a record at the end of the log."""
        cdef uint32_t n = aligned(length)
        cdef Segment* segment
        cdef char* at
        self.make_room(length)
        segment = &self.at[self.tail]
        if <uint64_t>segment.used + n - segment.buffer_from > segment.buffer_bytes:
            self._room(segment, <uint64_t>segment.used + n - segment.buffer_from)
        if not segment.dirty:
            self._dirty.append(self.tail)
            segment.dirty = True
        at = segment.buffer + (segment.used - segment.buffer_from)
        (<uint64_t*>(at + n - ALIGN))[0] = 0       # the padding; the record overwrites the rest
        number[0], offset[0] = self.tail, segment.used
        self._ended_at = segment.records_end
        segment.used += n
        segment.records_end = segment.used
        return at

    cdef int make_room(self, uint32_t length) except -1:
        cdef uint32_t n = aligned(length)
        if self.tail != NO_SEGMENT and self.at[self.tail].buffer == NULL:
            self._resume()
        if self.tail == NO_SEGMENT or <uint64_t>self.at[self.tail].used + n > self.at[self.tail].bytes:
            self._begin_segment(n)
        if self.tail == self.lent and not self.urgent and self.space.full:
            raise no_room(self.directory)
        return 0

    cdef int begin_batch(self, uint64_t total, uint32_t largest) except -1:
        cdef uint64_t left = 0
        if self.tail != NO_SEGMENT and self.tail != self.lent:
            left = self.at[self.tail].bytes - page_ceil(self.at[self.tail].used)   # it may go on at its next page
        return self.promise(total, largest, left)

    cdef int _room(self, Segment* segment, uint64_t n) except -1:
        """The buffer holds n bytes and the rest of their last page."""
        cdef uint64_t most = segment.bytes - segment.buffer_from, bytes = (n + PAGE - 1) & ~<uint64_t>(PAGE - 1)
        cdef char* buffer
        assert n <= most
        bytes = min(max(bytes, 2 * <uint64_t>segment.buffer_bytes), most)
        buffer = <char*>realloc(segment.buffer, bytes)
        if buffer == NULL:
            raise MemoryError(f"no memory for {bytes} bytes of records that are not committed")
        segment.buffer, segment.buffer_bytes = buffer, <uint32_t>bytes
        return 0

    cdef int _resume(self) except -1:
        """A buffer for the tail again, from its last page on."""
        cdef Segment* segment = &self.at[self.tail]
        cdef uint32_t begin = page_floor(segment.used), n = segment.used - begin
        cdef char* kept = NULL
        assert segment.written == segment.used
        if n:
            kept = self.cache.find(segment.cache_id, begin, n)
            if kept == NULL:
                begin = segment.used = segment.written = segment.synced = page_ceil(segment.used)
        segment.buffer_from, segment.buffer_bytes = begin, 0
        if begin == segment.bytes:
            return 0                               # full: the next record begins another
        self._room(segment, min(max(self._batch_bytes, <uint32_t>1), segment.bytes - begin))
        if kept != NULL:
            memcpy(segment.buffer, kept, n)
        return 0

    # --- segments begin ---

    cdef void _seal(self, Segment* segment) noexcept:
        """It ends where its records do, though it may have been about to go on at the next page (_resume)."""
        if segment.used > segment.records_end:
            segment.used = segment.written = segment.asked = segment.synced = segment.records_end

    cdef int _begin_segment(self, uint32_t n) except -1:
        cdef uint32_t number = self.file_for(n), bytes = self.at[number].bytes, last
        cdef SegmentHead head
        cdef Segment* segment = &self.at[number]
        segment.buffer_from, segment.buffer_bytes = 0, 0
        self._room(segment, min(max(RECORDS_AT + n, self._batch_bytes), bytes))
        memset(&head, 0, sizeof(SegmentHead))
        if self.order:
            last = self.order[len(self.order) - 1]
            self._seal(&self.at[last])
            head.before, head.before_end = self.at[last].generation, self.at[last].used
            head.flags = BEFORE_HAS_COPIES if self.at[last].copies else 0
            # The head is written after what is in flight is committed, so what that trims has left by then.
            head.oldest = self.at[<uint32_t>self.order[self._trimming]].generation
            if not self.at[last].dirty and not self.at[last].syncing:
                self._free_buffer(&self.at[last])
        self.generation += 1
        head.generation, head.oldest = self.generation, head.oldest or self.generation
        head.last_seq, head.last_ts_ns, head.bytes = self.last_seq, self.last_ts_ns, bytes
        if not self.identity:
            self.identity = int.from_bytes(os.urandom(4), "little") or 1
        head.flags |= SALT_OF_LOG
        head.salt = segment_salt(self.identity, head.generation)
        segment_head_write(&head, segment.buffer)
        segment.generation, segment.seed = self.generation, segment_seed(&head)
        segment.cache_id = self.cache.new_id()
        segment.live, segment.live_bytes, segment.used, segment.records_end = 0, 0, RECORDS_AT, RECORDS_AT
        segment.written = segment.asked = segment.synced = segment.dropped = segment.summary = 0
        segment.copies = segment.scrub = segment.erasing = False
        segment.headers = True
        segment.state = IN_LOG
        self.order.append(number)
        self.log_bytes += bytes
        self.tail = number
        return 0

    # --- what lives ---

    cdef void added(self, uint32_t number, uint32_t size) noexcept:
        self.added_many(number, 1, size)

    cdef void added_many(self, uint32_t number, uint32_t n, uint64_t size) noexcept:
        self.at[number].live += n
        self.at[number].live_bytes += size
        self.live_bytes += size

    cdef void gone(self, uint32_t number, uint32_t size) noexcept:
        self.at[number].live -= 1
        self.at[number].live_bytes -= size
        self.live_bytes -= size

    cdef bint trim(self) except *:
        cdef uint32_t n = 0, last = len(self.order)
        assert self._trimming == 0
        while n + 1 < last and self.at[<uint32_t>self.order[n]].live == 0:
            n += 1
        if n == 0:
            return False
        self.put(TRIM, 0, self.at[<uint32_t>self.order[n]].generation, NULL, 0)
        self._trimming = n
        return True

    # --- commit ---

    cdef int _flush(self, Segment* segment, Target target) except -1:
        """One write of whole pages."""
        cdef uint32_t begin = page_floor(segment.written), end = min(page_ceil(segment.used), segment.bytes)
        cdef const char* at = segment.buffer + (begin - segment.buffer_from)
        assert segment.buffer != NULL and segment.buffer_from <= begin and end - segment.buffer_from <= segment.buffer_bytes
        memset(segment.buffer + (segment.used - segment.buffer_from), 0, end - segment.used)
        if target is None:
            self.disk.write(segment.fd, at, end - begin, begin)
        else:
            self.committer.put(target, segment.fd, at, end - begin, begin)
        self._batch_bytes = max(self._batch_bytes, min(segment.used - segment.written, <uint32_t>BUFFER_FIRST_MAX))
        segment.written = segment.asked = segment.used
        segment.dirty = False
        return 0

    cdef int write(self, Target target) except -2:
        cdef uint32_t number
        cdef int fd = -1
        if not self._dirty and not self._patched:
            return -1
        if self._later and (target is None or self.committer.draining):
            self.make_later_files()                # whoever ends waits for the disk
        if self._later:
            return -1                              # begun for this write, when the disk stood still
        assert not self._syncing
        self._batch_bytes >>= 1
        for number in self._patched:               # none may be lacking when something is written
            self.fd(number)
        if not self._names_synced:
            self.names_change()
        for number in self._dirty:
            self._flush(&self.at[number], target)
        self._syncing, self._dirty = list(dict.fromkeys(self._dirty)), []      # a full disk refused some before
        for number in self._patched:
            if number not in self._syncing:
                self._syncing.insert(0, number)
        self._patched = []
        if not self._batch_begins:
            self._writing = self._gathered
        self._batch_begins = True
        for number in self._syncing:
            self.at[number].syncing = True
            if fd >= 0 and target is not None:
                target.sync_also(fd)
            fd = self.fd(number)
        if not self._names_synced and target is not None:
            target.sync_also(self.names_fd)
            self._names_synced = True
        return fd

    cdef list committed(self):
        cdef list numbers = self._syncing, left = []
        cdef uint32_t number
        self._syncing = []
        if self._names_synced:
            self.close_names()
        self._proof = self._writing
        for number in numbers:
            self._settle(number)
            if self.at[number].generation >= self.committed_upto.generation:
                self.committed_upto = Place(self.at[number].generation, self.at[number].asked)
        while self._trimming:
            self._trimming -= 1
            number = self.order.pop(0)
            assert self.at[number].live == 0 and number != self.tail
            self.log_bytes -= self.at[number].bytes
            left.append(number)
        return left

    cdef int _settle(self, uint32_t number) except -1:
        cdef Segment* segment = &self.at[number]
        cdef uint32_t from_offset = segment.synced, begin, end
        segment.syncing = False
        segment.synced = max(segment.synced, segment.asked)    # it may have moved on to the next page meanwhile (_resume)
        if segment.buffer != NULL:
            self._settle_buffer(segment, from_offset)
        if self.drops_pages:
            begin, end = segment.dropped, page_floor(segment.synced)
            if number != self.tail:
                begin, end = 0, segment.bytes
            if number != self.tail or end - begin >= DROP_BYTES:
                self.disk.drop(segment.fd, begin, end - begin)
                segment.dropped = end
        if number != self.tail and not segment.dirty:
            self.close_file(segment)
        return 0

    cdef int _settle_buffer(self, Segment* segment, uint32_t from_offset) except -1:
        """What is committed moves to the read cache; the rest, if any, to the buffer's front."""
        cdef uint32_t begin = max(from_offset, segment.buffer_from), rest
        cdef char* smaller
        if segment.synced > begin:
            self.cache.put(segment.cache_id, begin, segment.buffer + (begin - segment.buffer_from),
                           segment.synced - begin)
        if not segment.dirty:
            self._free_buffer(segment)
            return 0
        begin = page_floor(segment.synced)
        rest = segment.used - begin
        memmove(segment.buffer, segment.buffer + (begin - segment.buffer_from), rest)
        segment.buffer_from = begin
        if segment.buffer_bytes > BUFFER_FIRST_MAX and page_ceil(rest) < segment.buffer_bytes >> 2:
            smaller = <char*>realloc(segment.buffer, page_ceil(rest))
            if smaller != NULL:
                segment.buffer, segment.buffer_bytes = smaller, page_ceil(rest)
        segment.buffer_bytes = min(segment.buffer_bytes, segment.bytes - begin)
        return 0

    cdef int release(self, uint32_t number) except -1:
        self.at[number].state = LEFT
        self.released.append(number)
        return 0

    cdef bint reclaim(self) except *:
        cdef uint32_t number, i, spares = 0, n = 0
        cdef Segment* segment
        if not self.released:
            return False
        for i in range(self.count):
            spares += self.at[i].state == SPARE
        while self.released and n < RECLAIM_MAX and (self.closer is None or not self.closer.is_full()):
            n += 1
            number = self.released.pop(0)
            segment = &self.at[number]
            self.cache.forget(segment.cache_id)
            self._free_buffer(segment)
            if spares < SPARES_MAX and not segment.scrub and segment.packed == NULL \
                    and segment.bytes == self.bytes_for(0):
                self.close_file(segment)
                segment.state = SPARE
                spares += 1
            else:
                self.remove_file(number)
                packed_let_go(&segment.packed)
        if self.released and self.closer is not None and self.closer.is_full():
            if self._waits_for <= self.closer.closed:
                self._waits_for = self.closer.given
                self.closer.when_closed(self.arrived)
            return False
        return len(self.released) > 0

    # --- reading ---

    cdef int fd(self, uint32_t number) except -1:
        cdef Segment* segment = &self.at[number]
        cdef uint32_t other
        if segment.fd >= 0:
            return segment.fd
        segment.fd = self.disk.open(self.directory, segment_name(number), False)
        if number != self.tail:
            self._open_sealed = [i for i in self._open_sealed
                                 if self.at[<uint32_t>i].fd >= 0 and i != number and i != self.tail]
            self._open_sealed.append(number)
            if <uint32_t>len(self._open_sealed) > OPEN_MAX:
                other = self._open_sealed[0]
                if not self.at[other].syncing and not self.at[other].dirty and other not in self._patched:
                    self.close_file(&self.at[other])
        return segment.fd

    cdef Load view(self, uint32_t number, uint32_t offset, uint32_t n, bint wait, char** out, uint32_t* have) except *:
        cdef Segment* segment = &self.at[number]
        cdef bint drop
        assert segment.state == IN_LOG and offset < segment.used
        have[0] = min(n, segment.used - offset)
        if segment.buffer != NULL and offset >= segment.buffer_from:
            out[0] = segment.buffer + (offset - segment.buffer_from)
            return FOUND
        out[0] = self.cache.find(segment.cache_id, offset, have[0])
        if out[0] != NULL:
            if self.cache.is_fresh() and segment.fd >= 0:
                self.cache.read_ahead(segment.fd, segment.packed, segment.synced)
            return FOUND
        have[0] = min(n, segment.synced - offset)          # behind that a worker may be writing still
        drop = self.drops_pages and number != self.tail and segment.synced == segment.used
        return self.cache.fetch(segment.cache_id, self.fd(number), segment.packed, offset, have[0], segment.synced,
                                wait, drop, self.arrived, out)

    cdef size_t read(self, uint32_t number, char* data, size_t n, uint32_t offset) except? 0xFFFFFFFFFFFFFFFF:
        cdef Segment* segment = &self.at[number]
        if segment.packed == NULL:
            return self.disk.read(self.fd(number), data, n, offset)
        packed_read(self.disk, self.fd(number), segment.packed, offset, <uint32_t>n, data)
        return n

    cdef int view_around(self, uint32_t number, uint32_t offset, uint32_t n, char** out, uint32_t* have) except -1:
        cdef Segment* segment = &self.at[number]
        have[0] = min(n, segment.synced - offset)
        out[0] = self.cache.fetch_around(segment.cache_id, self.fd(number), segment.packed, offset, have)
        return 0

    cdef char* peek(self, uint32_t number, uint32_t offset, uint32_t n) noexcept:
        cdef Segment* segment = &self.at[number]
        if segment.buffer != NULL and offset >= segment.buffer_from:
            return segment.buffer + (offset - segment.buffer_from)
        return self.cache.find(segment.cache_id, offset, n)

    cdef bint proven(self, uint64_t generation, uint32_t offset) noexcept:
        return generation < self._proof.generation or (generation == self._proof.generation
                                                       and offset < self._proof.offset)

    cdef bint has_begun(self) noexcept:
        return not self._batch_begins

    cdef int scrub(self, uint64_t generation) except -1:
        """Files that held an earlier copy of what is erased are removed, not used again."""
        cdef uint32_t i
        for i in range(self.count):
            if self.at[i].generation < generation:
                self.discard(i)
        return 0

    cdef int discard(self, uint32_t number) except -1:
        if self.at[number].state == SPARE:
            self.release(number)
        self.at[number].scrub = True
        return 0

    # --- life ---

    def names_failed(self):
        """A sync has failed, perhaps the directory's. The next start is to rely on names, if the disk lets it."""
        try:
            self.name_again(self.order)
        except OSError:
            pass                                       # it has failed already

    cdef int prove(self, Committer committer, Target witness, list fds, bint wait) except -1:
        self.close_files()                             # a log that rests has none
        self._proof_runs = Proof(committer, witness, fds, self.directory) if fds else None
        return self.settle() if wait else 0

    cpdef int settle(self) except -1:
        if self._proof_runs is not None:
            self._proof_runs.wait()
            self._proof_runs = None                    # else it fails again, for whoever asks
            self.committed_upto = self.found_upto
            self.reclaim()
        return 0

    cdef void _free_buffer(self, Segment* segment) noexcept:
        free(segment.buffer)
        segment.buffer, segment.buffer_bytes = NULL, 0

    cdef int close_files(self) except -1:
        """Those that are needed again are opened again."""
        cdef uint32_t i
        for i in range(self.count):
            if not self.at[i].syncing and not self.at[i].dirty:
                self.close_file(&self.at[i])
        return 0

    cpdef int close(self) except -1:
        """Gives everything back but the files. What was not written is gone."""
        cdef uint32_t i
        try:
            self.settle()
        except OSError:
            pass                                   # nobody believes it
        for i in range(self.count):
            self.close_file(&self.at[i])
            self._free_buffer(&self.at[i])
            packed_let_go(&self.at[i].packed)
            self.cache.forget(self.at[i].cache_id)
        self.close_names()
        self.forget_later_files()
        self.count = 0
        self.arrived = None
        self.order.clear()
        self.tail = NO_SEGMENT
        return 0

    cdef uint64_t memory_bytes(self) noexcept:
        cdef uint64_t n = <uint64_t>self._count_max * sizeof(Segment)
        cdef uint32_t i
        for i in range(self.count):
            n += self.at[i].buffer_bytes + packed_memory(self.at[i].packed)
        return n

    def order_list(self):
        """The numbers of the segments in the log, oldest first."""
        return list(self.order)

    def files(self):
        """How many files there are, spares included."""
        return len([i for i in range(self.count) if self.at[<uint32_t>i].state != ABSENT])

    cpdef list check(self):
        """What is wrong with the table of segments, in words."""
        cdef list wrong = []
        cdef uint64_t generation = 0, live = 0, bytes = 0
        cdef uint32_t number
        cdef Segment* segment
        for number in self.order:
            segment = &self.at[number]
            if segment.state != IN_LOG or segment.generation <= generation or segment.generation > self.generation:
                wrong.append(f"{segment_name(number)} is not where it should be in the log")
            if not segment.synced <= segment.written <= segment.used <= segment.bytes:
                wrong.append(f"{segment_name(number)}: {segment.synced} <= {segment.written} <= {segment.used}")
            generation = segment.generation
            live += segment.live_bytes
            bytes += segment.bytes
        if live != self.live_bytes or bytes != self.log_bytes:
            wrong.append(f"{self.live_bytes} live of {self.log_bytes} bytes, counted {live} of {bytes}")
        if self.order and self.tail != NO_SEGMENT and self.order[len(self.order) - 1] != self.tail:
            wrong.append("the tail is not the end of the log")
        return wrong

    cpdef list check_live(self, dict live):
        """What its counts say that {number: (live messages, their bytes)} does not, in words."""
        cdef list wrong = []
        cdef uint32_t number
        for number in self.order:
            if (self.at[number].live, self.at[number].live_bytes) != live.pop(number, (0, 0)):
                wrong.append(f"{segment_name(number)}: {self.at[number].live} messages live, counted otherwise")
        if live:
            wrong.append(f"live messages outside the log: {live}")
        return wrong
