"""The file store.

    append ──> record in the log's buffer, entry in the index            position moves
    remove ──> out of the index; gathered                                position moves
    write()    compaction takes a step; gathered removals become one record; TRIM; one write
    synced()   committed_position and committed_seq move; emptied segments are used again; the owner hears of it

A kill may cut a write short. So that any part of it is what some first part of the operations makes, gathered
removals are logged before the next append: of several in a row one record, of those from the front one floor. Two
kinds wait. What the limits evict goes with the next record of removals or with the write's end, for the limits evict
the same again after a restart: an append adds one message and takes away one of its subject at most, so limits on
counts never ask for less later. With a limit on bytes too, a smaller message in a larger one's place could make them
ask for less; then evictions do not wait. And what a batch removes is logged behind all of the batch: who takes back
the beginning of one must find what it replaced.

A secure removal is logged first; once that is committed, and a record of a write behind the message's own, the
message is overwritten where it lies. Recovery does that again if it has to. Why the second condition: damage in the
newest write of all may be a torn write, whose removals recovery does not believe. An erasure that is cut short must
not make a write look torn that was answered.

A full disk is no failure. An append that finds no place raises OSError and has done nothing. Removals spend what is set
aside (space.py); when that is gone they stay gathered, appends behind them are refused, and the committer asks again. What
is buffered and refused stays so, and nothing is taken until it is written.

After any other failed write or sync nothing is written any more: the kernel may call pages clean that are not on the disk.
`failure` says why, changes are refused, reads go on. A record that does not verify is read once more, then lost: logged,
counted, taken out of the index (not out of the log), never delivered.
"""

import logging
import os

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from millpond.store.api cimport COLD, FOUND, MISSING, Filters, Limits, Load, Record, StoreOwner
from millpond.store.committer cimport SYNCED, Committer, Target
from millpond.store.erasing cimport erase_committed
from millpond.store.index cimport Entry, Index
from millpond.store.indexed_store cimport IndexedStore
from millpond.store.pin cimport Kept, Pin
from millpond.store.record cimport CLEAN, FIRST, FLOOR, MESSAGE, REMOVE, SECURE, Erasure, Head, aligned, record_message
from millpond.store.recovery cimport Recovery
from millpond.store.segment cimport NO_SEGMENT, segment_name
from millpond.store.witness cimport testify
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.space import is_full, is_shortage, no_room, passes

log = logging.getLogger("millpond")

cdef uint32_t SEGMENT_BYTES_SMALL = limits.SEGMENT_BYTES_SMALL, SUMMARY_BYTES_LEAST = limits.SUMMARY_SEGMENT_BYTES_LEAST
cdef uint64_t RECORD_BYTES_MAX = limits.RECORD_BYTES_MAX, COMPACT_STEP = limits.COMPACT_STEP_BYTES
cdef uint64_t HELD_FOR_REMOVALS = limits.RESERVE_BYTES // 2      # compaction spends no more of it

cdef enum:
    REMOVAL_BYTES = 8                # what one removal moves `position` by
    MORE_BYTES = 16                  # a record is at most this much longer than what it is accounted for
    REMOVALS_MAX = 8192              # in one record


cdef class Secure:
    """See the `.pxd`."""


cdef class Writer(Target):
    """Hands the committer's calls on."""

    cdef int write(self) except -2:
        return -1 if self.store is None else self.store.write()

    cdef int synced(self, int error) except -1:
        return 0 if self.store is None else self.store.synced(error)

    cdef bint writes_anew(self) except *:
        return False                               # the log has gone on

    cdef int testify(self) except -1:
        return 0 if self.store is None else testify(self.store.log, self.store._committer, self.store.committed_seq)


cdef class FileStore(IndexedStore):
    """The stream in the directory `slot`, recovered. Raises StoreError, OSError when it cannot be read at all.

    cache: the server's; None makes one of its own. segment_bytes: of the smallest segments, summary_bytes: of the
    smallest that get a summary (tests). present: the names in `slot`. Not `wait`: log.settle() comes before all else.
    """

    def __init__(self, str slot, Committer committer, ReadCache cache=None, StoreOwner owner=None,
                 uint32_t segment_bytes=SEGMENT_BYTES_SMALL, uint32_t summary_bytes=SUMMARY_BYTES_LEAST,
                 object present=None, bint wait=True):
        self.owner, self._committer = owner, committer
        self._own_cache, self._cache = cache is None, cache if cache is not None else ReadCache()
        self._secure, self._secure_logged, self._secure_writing, self._erasures = [], [], [], []
        self._home, self._writer = NO_SEGMENT, Writer()
        self._writer.store = self
        self.log = SegmentLog(slot, self._cache, self.arrived, committer.tier == SYNCED, segment_bytes)
        self.log.space, self.log.closer, self.log.committer = committer.space, committer.closer, committer
        self._compactor = Compactor(self, self.log)
        self._repacker = Repacker(self.log, self._cache.packer, self.arrived, summary_bytes)
        recovery = Recovery(self, self.log, self._repacker, self.log.disk.names(slot) if present is None else present)
        recovery.run()
        self.damage, self.losses, self.cut_short = recovery.damage, recovery.lost, not recovery.clean
        self.state, self._erasures, self.torn_seq = self.index.state, recovery.erasures, recovery.torn_seq
        try:
            self._start_committed(recovery.first_ts_ns)
        finally:
            self.log.prove(committer, self._writer, recovery.unproven, wait)

    def __dealloc__(self):
        free(self._gone)

    def _start_committed(self, int64_t first_ts_ns):
        """What was recovered is committed; the first message's time is exact."""
        self.committed_seq = self._writing_seq = self.state.last_seq
        self._is_first_ts_near, self.state.first_ts_ns = not first_ts_ns, first_ts_ns or self.state.first_ts_ns
        self.first_ts_ns(True)
        if self._erasures:
            self._committer.enlist(self._writer)

    cdef uint64_t message_size(self, uint32_t subject_len, uint32_t hdr_len, uint32_t body_len) noexcept:
        return 30 + <uint64_t>subject_len + (4 + hdr_len if hdr_len else 0) + body_len

    # --- changes ---

    cdef int _healthy(self) except -1:
        assert not self.closed
        if self.failure:
            raise StoreError(self.failure)
        return 0

    cdef int _ready(self) except -1:
        """Something may be added: what was removed before is logged before."""
        self._healthy()
        if self._unwritten or self._writer.refused or (self.log.has_later_files() and self._committer.space.full):
            raise no_room(self.log.directory)
        return self._keep_order()

    cdef int _moved_on(self, uint64_t n) except -1:
        self.position += n
        return self._committer.enlist(self._writer)

    cdef uint64_t append(self, const Msg* msg, int64_t ts_ns, int64_t expires_ns) except 0:
        cdef uint64_t seq = self.state.last_seq + 1
        cdef uint32_t number, offset
        cdef uint32_t size = <uint32_t>self.message_size(msg.subject_len, msg.hdr_len, msg.body_len)
        assert <uint64_t>msg.hdr_len + msg.body_len <= RECORD_BYTES_MAX, "refused before it came here"
        self._ready()
        ts_ns = max(ts_ns, self.state.last_ts_ns)
        self.log.put_message(seq, ts_ns, expires_ns, msg, &number, &offset)
        try:
            if number != self._home:
                self.index.open_run(number, ts_ns)
                self._home = number
            self.index.add(seq, msg.subject, msg.subject_len, offset, size, ts_ns)
        except BaseException:
            self.log.undo(number, offset)
            self.log.last_seq, self.log.last_ts_ns = self.state.last_seq, self.state.last_ts_ns
            raise
        self.log.added(number, size)
        self.refresh()
        self._moved_on(size)
        if expires_ns:
            self.note_expiry(seq, expires_ns)
        assert self.state.last_seq == seq
        self.enforce(msg.subject, msg.subject_len)
        return seq

    cdef int erased(self, const Entry* entry, bint secure, bint evicted) except -1:
        self.log.gone(entry.run_id, entry.size)
        if secure:
            self._note_secure(entry)
        elif entry.seq == self.state.first_seq:    # as it was before this removal
            self._floor_due = True
        else:
            self._note_gone(entry.seq)
        if not self._removals_first and (not evicted or (self.limits.bytes_max and self.limits.per_subject_max)):
            self._removals_first, self._removals_at = True, self.position
        self.removed_position = self.position + REMOVAL_BYTES
        return self._moved_on(REMOVAL_BYTES)

    cdef int _note_secure(self, const Entry* entry) except -1:
        cdef Secure removal = Secure()
        removal.seq, removal.number, removal.offset, removal.size = entry.seq, entry.run_id, entry.offset, entry.size
        removal.generation, removal.gone_upto = self.log.at[entry.run_id].generation, self._gone_count
        removal.floor = self.state.first_seq if self._floor_due else 0
        self._floor_due = False
        self._secure.append(removal)
        return 0

    cdef int _note_gone(self, uint64_t seq) except -1:
        cdef uint32_t gone_max
        cdef void* grown
        if self._gone_count == self._gone_max:
            gone_max = self._gone_max * 2 + 64
            grown = realloc(self._gone, <size_t>gone_max * sizeof(uint64_t))
            if grown == NULL:
                raise MemoryError
            self._gone, self._gone_max = <uint64_t*>grown, gone_max
        self._gone[self._gone_count] = seq
        self._gone_count += 1
        return 0

    cdef int _keep_order(self) except -1:
        if self._removals_first and self._batch != GOES_ON:
            self._put_removals()
        if self._batch == BEGINS:
            self._batch = GOES_ON
        return 0

    cdef int begin_batch(self) except -1:
        self._batch = BEGINS
        return 0

    def promise_batch(self, uint64_t bytes, uint32_t largest):
        """Records of so many bytes, none larger than `largest`, will have room. OSError: they have not."""
        self._ready()
        self.log.begin_batch(bytes, largest)

    cdef int end_batch(self) except -1:
        self._batch = NO_BATCH
        self.log.end_batch()
        return 0

    cdef int floor_raised(self) except -1:
        """Logged like a removal: before what is appended next, and when there is room for it."""
        self._first_due = True
        if not self._removals_first:
            self._removals_first, self._removals_at = True, self.position
        self.removed_position = self.position + sizeof(Head)
        return self._moved_on(sizeof(Head))

    cdef int skip_through(self, uint64_t stream_seq, int64_t ts_ns) except -1:
        self._ready()
        self.log.make_room(sizeof(Head))
        return IndexedStore.skip_through(self, stream_seq, ts_ns)

    cdef int last_raised(self) except -1:
        self._keep_order()
        self.log.put(FIRST, 0, self.state.last_seq + 1, NULL, 0)     # a new segment's head names what came before it
        self.log.last_seq, self.log.last_ts_ns = self.state.last_seq, self.state.last_ts_ns
        return self._moved_on(sizeof(Head))

    cdef bint remove(self, uint64_t stream_seq, bint secure) except *:
        self._healthy()
        return self.drop(stream_seq, secure)

    cdef uint64_t purge(self, Filters filters, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF:
        self._healthy()
        return IndexedStore.purge(self, filters, below_seq, keep)

    cdef int64_t expire(self, int64_t now_ns, uint32_t budget) except? -1:
        return 0 if self.failure else IndexedStore.expire(self, now_ns, budget)

    cdef int set_limits(self, Limits limits) except -1:
        if self.failure:
            self.limits = limits                   # what is over them stays: no removal could be logged
            return 0
        return IndexedStore.set_limits(self, limits)

    cdef bint enforce_part(self, uint64_t most) except *:
        self.over_limits = False
        return False if self.failure else IndexedStore.enforce_part(self, most)

    cdef int set_first_seq(self, uint64_t first_seq) except -1:
        self._healthy()
        return IndexedStore.set_first_seq(self, first_seq)

    # --- commit ---

    cdef int write(self) except -2:
        if self.failure or self.closed:
            return -1
        self.log.urgent = True
        try:
            return self._write()
        except (OSError, StoreError, MemoryError) as error:
            if passes(error):
                raise
            self._committer.forget(self._writer)
            self.fail(f"cannot write {self.log.directory}: {error}")
            return -1
        finally:
            self.log.urgent = False

    cdef int _write(self) except -2:
        self.log.make_later_files()
        more = self.log.reclaim()
        if not self._unwritten:                    # else the same once more: a TRIM ends its write
            self._put_work()
        self._unwritten = True
        fd = self.log.write(self._writer)
        self._unwritten = self.log.has_later_files()           # they are made before it is written
        if fd < 0 and (more or self._unwritten or self.log.reclaim()):
            self._committer.enlist(self._writer)
        return fd

    cdef int _put_work(self) except -1:
        """What goes behind the messages of this write."""
        self._append_work()
        if self._erasures:
            self._erasures = erase_committed(self.log, self._repacker, self._erasures, &self._unproven)
        self._writing_position, self._writing_seq = self.position, self.state.last_seq
        try:
            self._put_what_is_due()
        except OSError as error:
            if not passes(error):
                raise
            if self._removals_first:
                self._writing_position = self._removals_at
            self._committer.stall(self._writer)    # what is appended can be written
        return 0

    cdef int _put_what_is_due(self) except -1:
        self._put_removals()
        self._secure_writing += self._secure_logged
        self._secure_logged = []
        if not self.pins:
            self.log.trim()
        if self._unproven and not self.log.has_begun():
            self.log.put(REMOVE, 0, 0, NULL, 0)    # of nothing: it proves the write before
        return 0

    cdef int _append_work(self) except -1:
        """Compaction's share of this commit; on a full disk as far as it comes."""
        if self._stopping or self._committer.draining or self.pins or not self._compactor.due():
            return 0
        self.log.urgent = self._committer.space.held > HELD_FOR_REMOVALS
        try:
            self.position += self._compactor.step(max(COMPACT_STEP, 4 * (self.position - self.committed_position)))
        except OSError as error:
            if not passes(error):
                raise
        finally:
            self.log.urgent = True
        return 0

    cdef int _put_removals(self) except -1:
        """Logs what is gathered, in its order. Raises OSError, MemoryError; then it stays gathered."""
        cdef uint32_t begin = 0
        cdef uint64_t floor = min(self.index.state.first_seq, self.log.last_seq + 1) if self._floor_due else 0
        cdef Secure removal
        for removal in self._secure:               # few, and asked for one by one
            begin = self._put_gone(begin, removal.gone_upto, removal.floor)
            self._put_secure(removal)
        self._put_gone(begin, self._gone_count, floor)
        for removal in self._secure:
            self._secure_logged.append((removal.seq, removal.number, removal.generation, removal.offset, removal.size))
        self._secure = []
        self._gone_count, self._floor_due = 0, False
        if self._first_due:                        # the stream is empty
            self.log.put(FIRST, 0, self.state.first_seq, NULL, 0)
            self.log.last_seq, self._first_due = self.state.last_seq, False
        self._removals_first = False
        if self._gone_max > REMOVALS_MAX:
            free(self._gone)
            self._gone, self._gone_max = NULL, 0
        return 0

    cdef uint32_t _put_gone(self, uint32_t begin, uint32_t end, uint64_t floor) except? 0xFFFFFFFF:
        """What is gone of `_gone`, and everything below `floor`, in one record if it is no more than fits. -> end"""
        cdef uint32_t i, n, kept = begin
        for i in range(begin, end):                # kept <= i
            if self._gone[i] >= floor:
                self._gone[kept] = self._gone[i]
                kept += 1
        if floor and kept == begin:
            self.log.put(FLOOR, 0, floor, NULL, 0)
        while begin < kept:
            n = min(kept - begin, <uint32_t>REMOVALS_MAX)
            self.log.put(REMOVE, 0, floor, self._gone + begin, n * <uint32_t>sizeof(uint64_t))
            begin += n
        return end

    cdef int _put_secure(self, Secure removal) except -1:
        cdef Erasure erasure = Erasure(removal.seq, removal.generation, removal.offset, removal.size)
        return self.log.put(REMOVE, SECURE, 0, &erasure, sizeof(Erasure))

    cdef int synced(self, int error) except -1:
        cdef uint32_t number
        cdef bint more
        if self.closed:
            return 0
        if error:
            self.log.names_failed()
            what = "write" if self._writer.write_failed else "sync"
            return self.fail(f"cannot {what} {self.log.directory}: {os.strerror(error)}")
        self._erasures, self._secure_writing = self._erasures + self._secure_writing, []
        try:
            for number in self.log.committed():
                self.index.drop_run(number)
                self.log.release(number)
                if number == self._home:
                    self._home = NO_SEGMENT
            more = self.log.reclaim()
        except (OSError, MemoryError) as failed:
            return self.fail(f"cannot put segments in {self.log.directory} in order: {failed}")
        self.committed_position, self.committed_seq = self._writing_position, self._writing_seq
        self._committer.testify_later(self._writer)
        if more or self._erasures or self.position > self._writing_position \
                or (self._compactor.due() and not self._committer.draining):
            self._committer.enlist(self._writer)
        if self.owner is not None:
            self.owner.committed()
        return self._repacker.look()

    cpdef int fail(self, str reason) except -1:
        """Nothing is written any more."""
        if self.failure:
            return 0
        self.failure = reason
        log.error("%s. Its messages can still be read; nothing more is taken. Check the disk, then restart", reason)
        if self.owner is not None:
            self.owner.failed(reason)
        return 0

    # --- reading ---

    cdef Load load(self, uint64_t stream_seq, Record* out, bint wait=False) except *:
        cdef Entry entry
        cdef Load found
        if not self.index.get(stream_seq, &entry):
            return MISSING
        try:
            found = self._read(&entry, out, wait)
            if found == MISSING:                   # memory or disk: a second look at the disk decides
                self._cache.forget(self.log.at[entry.run_id].cache_id)
                found = self._read(&entry, out, True)
            return found if found != MISSING else self._damaged(stream_seq, "its bytes do not verify")
        except OSError as error:                   # of its window: the message itself may be readable
            if self._committer.space.waits(error, None if wait else self.arrived):
                return COLD
            found = self._read_alone(&entry, out)
            return found if found != MISSING else self._damaged(stream_seq, str(error))

    cdef Load _read(self, const Entry* entry, Record* out, bint wait) except *:
        """FOUND only what verifies and is what the index says."""
        cdef char* at
        cdef uint32_t have
        cdef Load found = self.log.view(entry.run_id, entry.offset, entry.size + MORE_BYTES, wait, &at, &have)
        return self._verified(entry, at, have, out) if found == FOUND else found

    cdef Load _read_alone(self, const Entry* entry, Record* out) except *:
        cdef char* at
        cdef uint32_t have
        try:
            self.log.view_around(entry.run_id, entry.offset, entry.size + MORE_BYTES, &at, &have)
        except OSError as error:
            if is_shortage(error):
                raise
            return MISSING
        return self._verified(entry, at, have, out)

    cdef Load _verified(self, const Entry* entry, const char* at, uint32_t have, Record* out) except *:
        if not record_message(at, have, self.log.at[entry.run_id].seed, out) \
                or out.seq != entry.seq or out.subject_len != entry.subject_len:
            return MISSING
        if entry.subject != NULL and memcmp(out.subject, entry.subject, entry.subject_len) != 0:
            return MISSING
        return FOUND

    cdef Kept kept_of(self, const Entry* entry, size_t* copy_bytes) except *:
        """Its place: while there are pins, no segment leaves the log."""
        return Kept(entry.seq, entry.run_id, entry.offset, entry.size, entry.subject_len, NULL)

    cdef Load load_kept(self, const Kept* kept, Record* out) except *:
        cdef Entry entry
        entry.seq, entry.run_id, entry.offset, entry.size = kept.seq, kept.number, kept.offset, kept.size
        entry.subject, entry.subject_len = NULL, kept.subject_len
        return self._read(&entry, out, False)

    cdef int remove_pin(self, Pin pin) except -1:
        IndexedStore.remove_pin(self, pin)
        return 0 if self.closed or self.failure else self._committer.enlist(self._writer)

    cdef Load _damaged(self, uint64_t seq, str reason) except *:
        """Takes a message that cannot be read out of the index. Its bytes stay as they are."""
        cdef Entry entry
        if not self.index.remove(seq, &entry):
            return MISSING
        self.losses.add(seq, seq, entry.size)
        log.error("message %d in %s/%s at %d is lost: %s", seq, self.log.directory, segment_name(entry.run_id),
                  entry.offset, reason)
        self.log.gone(entry.run_id, entry.size)
        self.refresh()
        if self.owner is not None:
            self.owner.removed(seq, entry.subject, entry.subject_len, entry.size)
            self.owner.damaged(seq, reason)
        return MISSING

    cdef bint exact_ts(self, const Entry* entry, int64_t* ts_ns) noexcept:
        cdef const Head* head = <const Head*>self.log.peek(entry.run_id, entry.offset, sizeof(Head))
        if head == NULL or head.kind != MESSAGE or head.seq != entry.seq:
            return False
        ts_ns[0] = head.ts_ns
        return True

    cdef uint64_t seq_at_time(self, int64_t ts_ns) noexcept:
        """Exact: where the index's milliseconds do not decide, the record is read, waiting for the disk if need be."""
        cdef uint64_t found = self.index.seq_at_time(ts_ns)
        cdef Entry entry
        cdef Record record
        while self.index.get(found, &entry) and entry.ts_ns < ts_ns:
            try:
                if self.load(found, &record, True) == FOUND and record.ts_ns >= ts_ns:
                    break
            except Exception:
                log.exception("time of message %d", found)
            found = self.index.next_live(found + 1) or self.state.last_seq + 1
        return found

    cdef bint has_headers(self, uint32_t run_id) noexcept:
        return self.log.at[run_id].headers

    cpdef int arrived(self) except -1:
        """A cold read is there, for whoever asked; or removed files have given back their room."""
        if self.closed:
            return 0
        if self._erasures or self.log.released or self._compactor.due():
            self._committer.enlist(self._writer)
        if self.owner is not None:
            self.owner.warm()
        return 0

    cpdef int compress(self, bint on) except -1:
        return self._repacker.compress(on)

    # --- life ---

    cpdef int hold(self) except -1:
        return self._committer.hold(self._writer)

    cpdef int go_on(self) except -1:
        return self._committer.go_on(self._writer)

    cpdef int close(self) except -1:
        return self._end(False)

    cpdef int destroy(self) except -1:
        return self._end(True)

    def _end(self, bint discard):
        cdef bint touched
        if self.closed:
            return 0
        self._stopping = True
        try:
            self.log.settle()
        except OSError as error:
            self.failure = self.failure or str(error)
        if discard:
            self.failure = self.failure or "the stream is deleted"
        elif self._writer.enlisted or self._writer.syncing or self._writer.stalled:
            self._committer.drain()
        touched = self.position > 0 and not (self.failure or self._unwritten or self._writer.held or self._writer.refused)
        if self._writer.owes_testimony and not discard:
            self._writer.testify()
        self.closed = self.log.urgent = True
        self._repacker.close()
        try:
            if touched:
                self.log.put(CLEAN, 0, self.log.last_seq, NULL, 0)     # of what is logged: a full disk may have refused more
                self.log.write(None)
        except OSError as error:
            if not is_full(error):                 # without its last record the next start syncs what it finds
                raise
        finally:
            self._writer.store = None
            self._committer.let_go(self._writer, self.log.close)
            if self._own_cache:
                self._cache.close()
            self.index = Index()
            self.state = self.index.state
            self.committed_seq = 0
        return 0

    @property
    def lost(self):
        """Messages that were found damaged and are not delivered."""
        return self.losses.messages

    def figures(self):
        """What the log is made of: counts and bytes, by name."""
        return {
            "segments": len(self.log.order), "files": self.log.files(), "log_bytes": self.log.log_bytes,
            "live_bytes": self.log.live_bytes, "copied_bytes": self._compactor.copied_bytes,
            "names_made": self.log.names_made, "lost": self.lost, **self._repacker.figures(),
        }

    cpdef dict memory(self):
        cdef size_t buffers = self.log.memory_bytes() + self._writer.put_size + self._gone_max * sizeof(uint64_t)
        return {"index": self.index.memory_bytes(), "subjects": self.index.subject_bytes(),
                "expiry": self.expiries.memory_bytes(), "buffers": buffers}

    cpdef list check(self):
        cdef dict live = {}
        return IndexedStore.check(self) + self.log.check() + self.check_messages(live) + self.log.check_live(live)
