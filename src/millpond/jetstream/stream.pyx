"""One stream: its life, its configuration in force, and what the API asks of it.

Publishes, commits, expiry and what follows from them are in stream_core.

States: open, failed (reads only; every publish is refused with 10047), stopped.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.base.clock cimport Clock
from millpond.broker.router cimport Router
from millpond.broker.turn cimport Turn
from millpond.jetstream.acks cimport OwedReplies
from millpond.jetstream.atomic_batches cimport AtomicBatches
from millpond.jetstream.batch_totals cimport BatchTotals
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.direct_get cimport DirectGets
from millpond.jetstream.follower cimport Follower
from millpond.jetstream.fast_batches cimport FastBatches
from millpond.jetstream.host cimport ExpiryTimer, GoingOn, Owner
from millpond.jetstream.ingest cimport Ingest
from millpond.jetstream.pub_ack cimport AnswerRing
from millpond.jetstream.pump cimport CommitPhase, Pump
from millpond.jetstream.purging cimport Lowering, Purge, Removals, is_short, removals_for
from millpond.jetstream.recovery_tail cimport rebuild_window, roll_up_tail, take_back_tail
from millpond.jetstream.republish cimport Republisher
from millpond.jetstream.listeners cimport Listeners
from millpond.jetstream.retention cimport Retention
from millpond.jetstream.schedules cimport Schedules
from millpond.jetstream.storage_room cimport StorageRoom
from millpond.jetstream.stream_core cimport StreamCore
from millpond.jetstream.waiting_room cimport WaitingRoom
from millpond.store.api cimport COLD, FOUND, Filters, Limits, Load, Record, Store
from millpond.store.consumer_journal cimport ConsumerJournal
from millpond.store.search cimport Search

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.file_store import FileStore
from millpond.subjects.transform import Transform

cdef uint32_t DEDUPE_EXPIRE_BUDGET = 20_000
cdef str CLOSED = "stream closed"                       # what the trace of a message says that still waited
cdef uint64_t SEARCH_LOOKS = limits.SEARCH_STEP_ROWS
cdef int64_t AGE_MAX_NS = 0x3FFFFFFFFFFFFFFF            # 146 years


class Cold(Exception):
    """The message must be read from disk first; `on_warm` says when to ask again."""


cdef class MessageSearch:
    """See Stream.search; a stream that was deleted meanwhile has nothing."""

    cdef Stream _stream
    cdef Search _search
    cdef readonly bint is_short

    def __init__(self, Stream stream, uint64_t from_seq, bytes last, bytes following):
        self._stream, self._search = stream, Search(stream.store, Filters([last or following]))
        self._search.begin(0 if last else from_seq, stream.store.state.last_seq, bool(last))
        self.is_short = self._search.is_short()

    @property
    def found(self):
        """The sequence, when the search is over."""
        return self._search.found

    def step(self):
        """False: this was the last one."""
        cdef uint64_t looks = SEARCH_LOOKS
        return not self._stream._stopped and self._search.step(&looks)


cdef class Stream(StreamCore):
    """See the head of this file; the methods are described in stream.pxd."""

    def __init__(self, str name, object config, int64_t created_ns, Store store, ConsumerJournal journal,
                 Router router, Turn turn, Clock clock, object committer, Pump pump, CommitPhase commit, str domain=""):
        self.name, self.config, self.created_ns = name, config, created_ns
        self.store, self.journal, self.router, self.turn, self.clock = store, journal, router, turn, clock
        self.pump, self.commit_phase = pump, commit
        self.consumers, self._listeners = {}, Listeners()
        self._subs, self._gets_for, self._after, self._on_warm = [], [], [], []
        self._removals, self._lowering, self._going_on = Removals(self, store, pump, turn), Lowering(), GoingOn()
        self._going_on.host = self
        self.failure = ""
        self._retention = Retention(store, self._listeners, pump)
        self._apply_features()
        self._dedupe = Dedupe(config.duplicate_window)
        self._answers = AnswerRing(name, domain)
        self._owed = OwedReplies()
        self._commit_store = getattr(store, "commit", None)
        self._owner = Owner()
        self._owner.host = self
        store.owner = self._owner
        self._expiry = ExpiryTimer()
        self._expiry.host = self
        self._gets = DirectGets(name, store, router, pump, turn)
        self._waiting = WaitingRoom()
        self._room = self._share = StorageRoom(-1)
        self.use_bounds(limits.INFLIGHT_MESSAGES_PER_STREAM_MAX, limits.INFLIGHT_BYTES_PER_STREAM_MAX)
        self.use_batches(BatchTotals(), None)
        if journal is not None:
            journal.on_committed = self._journal_committed
            journal.on_failed = self._journal_failed

    cpdef int report_damage(self) except -1:
        found = [*getattr(self.store, "damage", ()), *(self.journal.damage if self.journal is not None else ())]
        if found and self.tell_damage is not None:
            self.tell_damage(self.name, self.store.losses.ranges, found)
        return 0

    cpdef int use_batches(self, BatchTotals totals, object abandoned) except -1:
        self._abandoned = abandoned
        self._atomic = AtomicBatches(self, self.store, self._dedupe, self.clock, self.turn.timers, totals)
        self._fast = FastBatches(self, self.store, self._dedupe, self.clock, self.turn.timers, totals)
        return 0

    cpdef int use_bounds(self, size_t inflight_messages, uint64_t inflight_bytes) except -1:
        self._inflight_messages, self._inflight_bytes = inflight_messages, inflight_bytes
        return 0

    cpdef int use_room(self, StorageRoom room, StorageRoom share) except -1:
        self._room.took(-<int64_t>self.store.state.bytes)
        self._share.took(-<int64_t>self.store.state.bytes)
        self._room, self._share = room, share
        room.took(<int64_t>self.store.state.bytes)
        share.took(<int64_t>self.store.state.bytes)
        return 0

    def _journal_committed(self):
        self.store_committed()

    def _journal_failed(self):
        """For good: who waits for it is told."""
        if not self._stopped:
            self._give_up_owed()
            self.answer_later()
            self.turn.wake()

    # --- life ---

    cpdef int start(self) except -1:
        first = take_back_tail(self.store, self.config.allow_atomic)
        self._apply_limits(False)        # a message makes its room first, then come the purges that it asks for
        if self._ingest.may_roll_up:
            roll_up_tail(self.store, max(first, self.rolled_through + 1))
        self._dedupe.last_msg_id = rebuild_window(self.store, self._dedupe, self.clock.wall_ns)
        return self._open()

    def believe_rolled(self, uint64_t through_seq):
        """Rollups up to here were done, or stored without effect: a restart does not do them. Before start()."""
        self.rolled_through = through_seq

    def start_restored(self, bytes last_msg_id):
        """start() for a whole log whose message ids adopt_window() knows: nothing is read."""
        self._dedupe.last_msg_id = last_msg_id
        self._open()

    def adopt_window(self, Dedupe window):
        """Message ids that are in the store already. Before use_batches()."""
        self._dedupe = window

    cdef int _open(self) except -1:
        self._apply_limits(False)
        self._told_seq = self._ready_seq = self.store.state.last_seq
        self._apply_schedules()
        self._subscribe()
        self._arm_expiry(self.clock.wall_ns)
        return 0

    cpdef list retire(self):
        cdef list halted = self._listeners.clear()
        self._unsubscribe()
        self.answer_gets_for("")
        self.consumers = {}
        for consumer in list(halted):
            (<Follower>consumer).halt()
        return halted

    cpdef int stop(self, bint delete) except -1:
        if self._stopped:
            return 0
        if delete:
            self._removals.end_all()
            self._leave()
        for consumer in self.retire():
            (<Follower>consumer).stop("409 Consumer Deleted" if delete else "")
        if delete:
            self._run_after_commit()     # who waited for a consumer's count was told just now
        self._stopped = True
        self._retention.stop()
        self.turn.timers.cancel(self._expiry)
        self._atomic.drop_all()
        self._fast.drop_all()
        if self._schedules is not None:
            self._schedules.stop()
        self._gets.stop()
        self._after, asked = [], self._on_warm
        self._on_warm = []
        self._removals.drop_all()
        for traced in self._waiting.drop_all():
            traced.refused(CLOSED)
            traced.finish(b"", False)
        self._room.took(-<int64_t>self.store.state.bytes)
        self._share.took(-<int64_t>self.store.state.bytes)
        if not delete:
            self.store.close()
            return 0
        self.store.destroy()
        for ask in asked:
            ask()
        return 0

    def fail_unless_kept(self, str failure):
        """What became of a save of the configuration: a stream whose one could not be written takes nothing more."""
        if failure:
            self.store_failed(failure)

    cpdef int update(self, object config) except -1:
        old, self.config = self.config, config
        rolled_up = self._ingest.may_roll_up
        self._apply_features()
        if self._ingest.may_roll_up and not rolled_up:
            self.rolled_through = self.store.state.last_seq
        self._apply_schedules()
        if not config.allow_atomic:
            self._atomic.drop_all()
        if not config.allow_batched:
            self._fast.drop_all()
        self._dedupe.window_ns = config.duplicate_window
        if old.subjects != config.subjects or old.allow_direct != config.allow_direct:
            self._unsubscribe()
            self._subscribe()
        self._apply_limits(True)
        if old.retention != config.retention:
            self.review(1, not self.consumers)     # with consumers, what none of them ever wanted stays
        self._arm_expiry(self.clock.wall_ns)
        return self.answer_later()

    cdef int _subscribe(self) except -1:
        for subject in self.config.subjects:
            self._subs.append(self.router.subscribe(subject.encode(), self))
        if self.config.allow_direct:
            self._subs += self._gets_under(self.name)
        return 0

    cdef list _gets_under(self, str name):
        """Subscriptions on direct gets, shared with the mirrors of that stream."""
        cdef bytes prefix = b"$JS.API.DIRECT.GET." + name.encode()
        return [self.router.subscribe(prefix, self._gets, b"_sys_", 0),
                self.router.subscribe(prefix + b".>", self._gets, b"_sys_", 1)]

    cpdef int answer_gets_for(self, str origin) except -1:
        for sub in self._gets_for:
            self.router.unsubscribe(sub)
        self._gets_for = self._gets_under(origin) if origin else []
        return 0

    cdef int _unsubscribe(self) except -1:
        for sub in self._subs:
            self.router.unsubscribe(sub)
        self._subs = []
        return 0

    cdef int _apply_features(self) except -1:
        config = self.config
        transform = config.subject_transform
        self._ingest = Ingest(config)
        self._transform = Transform(transform.src, transform.dest) if transform is not None else None
        self._republisher = Republisher(config) if config.republish is not None and config.republish.dest else None
        return 0

    cdef int _apply_schedules(self) except -1:
        """A sealed stream takes no messages, so none of its schedules fires."""
        wanted = self.config.allow_msg_schedules and not self.config.sealed
        if wanted and self._schedules is None:
            self._schedules = Schedules(self, self.store, self.clock, self.turn.timers)
            self._schedules.recover()
        elif not wanted and self._schedules is not None:
            self._schedules.stop()
            self._schedules = None
        return 0

    cdef int _apply_limits(self, bint updated) except -1:
        cdef Limits bounds
        cdef uint64_t per_subject_max
        config = self.config
        self._retention.apply(config.retention)
        if config.discard == "old":                # "new" is judged before; it evicts nothing, not even for a marker
            bounds.messages_max = max(config.max_msgs, 0)
            bounds.bytes_max = max(config.max_bytes, 0)
        else:
            bounds.messages_max = bounds.bytes_max = 0
        per_subject_max = max(config.max_msgs_per_subject, 0)
        # An age whose end no clock can show is none; sums with it would overflow.
        bounds.age_max_ns = config.max_age if config.max_age <= AGE_MAX_NS else 0
        self._owner.marks_expiry = config.subject_delete_marker_ttl > 0 and not config.sealed
        if updated:                                # nats-server's order; after a crash it is that of an append
            bounds.per_subject_max = self.store.limits.per_subject_max
            self.store.set_limits(bounds)
        bounds.per_subject_max = per_subject_max
        self.store.set_limits(bounds)
        if isinstance(self.store, FileStore):
            self.store.compress(config.compression == "s2")
        return self._lower() if self.store.over_limits else 0

    cpdef int set_first_seq(self, uint64_t first_seq) except -1:
        self.store.set_first_seq(first_seq)
        self._told_seq = self._ready_seq = self.store.state.last_seq
        return self.answer_later()

    cpdef int add_consumer(self, object consumer) except -1:
        assert consumer.name not in self.consumers
        self.consumers[consumer.name] = <Follower?>consumer
        self._listeners.enter(consumer)
        return self._bound_removals()

    cdef int _bound_removals(self) except -1:
        self.store.removals_max = removals_for(len(self.consumers))
        return 0

    cpdef int remove_consumer(self, object consumer) except -1:
        self.consumers.pop(consumer.name, None)
        self._listeners.leave(consumer)
        self._bound_removals()
        self.was_purged |= not self.consumers and self.config.retention == "interest"
        return 0 if self._stopped else self.review(1, True)

    # --- for the API ---

    cpdef dict state(self):
        cdef Store store = self.store
        return {
            "messages": store.state.messages,
            "bytes": store.state.bytes,
            "first_seq": store.state.first_seq,
            "last_seq": store.state.last_seq,
            "first_ts_ns": store.first_ts_ns(),
            "last_ts_ns": store.state.last_ts_ns,
            "num_deleted": store.state.num_deleted,
            "num_subjects": store.state.num_subjects,
        }

    def dedupe_bytes(self):
        """What the window of message ids holds in memory, after it has forgotten what is due."""
        self._dedupe.expire(self.clock.wall_ns, DEDUPE_EXPIRE_BUDGET)
        return self._dedupe.memory_bytes()

    def schedule_bytes(self):
        """What is known of when schedules fire."""
        return self._schedules.memory_bytes() if self._schedules is not None else 0

    def waiting_bytes(self):
        """Of publishes that wait for a cold read or a rollup."""
        return self._waiting.bytes

    def dedupe_count(self):
        """How many message ids the window holds."""
        return len(self._dedupe)

    cpdef uint64_t seq_at_time(self, int64_t ts_ns) except 0:
        return self.store.seq_at_time(ts_ns)

    cpdef object search(self, uint64_t stream_seq, bytes last_by_subject, bytes next_by_subject):
        return MessageSearch(self, stream_seq, last_by_subject, next_by_subject)

    cpdef object get_message(self, uint64_t stream_seq):
        cdef Record record
        cdef Load found
        if self._stopped or not stream_seq:
            return None
        found = self.store.load(stream_seq, &record)
        if found == COLD:
            raise Cold
        if found != FOUND:
            return None
        return {
            "seq": record.seq,
            "subject": PyBytes_FromStringAndSize(record.subject, record.subject_len),
            "hdr": PyBytes_FromStringAndSize(record.hdr, record.hdr_len),
            "body": PyBytes_FromStringAndSize(record.body, record.body_len),
            "ts_ns": record.ts_ns,
        }

    cpdef bint delete_message(self, uint64_t stream_seq, bint secure) except *:
        if self.failure:                           # its store may not have failed: what it does is not undone
            raise StoreError(self.failure)
        removed = self.store.remove(stream_seq, secure)
        self.answer_later()
        return removed

    cdef bint delete_quickly(self, uint64_t stream_seq, bint secure, const char* reply, uint32_t reply_len,
                             const char* body, uint32_t body_len) except -1:
        if self._stopped or self.failure or self._removals.busy() or self.config.sealed or self.config.deny_delete:
            return False
        if not self.store.exists(stream_seq):
            return False
        return self._remove_quickly(stream_seq, secure, reply, reply_len, body, body_len)

    cdef bint purge_quickly(self, const char* subject, uint32_t subject_len, const char* reply, uint32_t reply_len,
                            const char* none, const char* one, uint32_t body_len) except -1:
        cdef uint64_t count
        if self._stopped or self.failure or self._removals.busy() or self.config.sealed or self.config.deny_purge:
            return False
        count = self.store.count_for(subject, subject_len)
        if count > 1 or self.consumers:
            return False
        if count == 0:
            self.reply_after_commit(reply, reply_len, self.journal is not None, none, body_len)
            self.turn.wake()
            return True
        self.purging = True
        try:
            return self._remove_quickly(self.store.last_for(subject, subject_len), False, reply, reply_len, one, body_len)
        finally:
            self.purging = False

    cdef bint _remove_quickly(self, uint64_t stream_seq, bint secure, const char* reply, uint32_t reply_len,
                              const char* body, uint32_t body_len) except -1:
        try:
            self.delete_message(stream_seq, secure)
        except (OSError, StoreError):
            return False
        self.reply_after_commit(reply, reply_len, self.journal is not None, body, body_len)
        self.turn.wake()
        return True

    cpdef uint64_t purge(self, bytes subject, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t purged = self._purge(Filters([subject] if subject else []), below_seq, keep)
        self.was_purged |= not below_seq and not keep and (not subject or subject == b">")
        self.answer_later()
        return purged

    cpdef int start_purge(self, bytes subject, uint64_t below_seq, uint64_t keep, object done,
                          object failed=None) except -1:
        cdef Filters filters = Filters([subject] if subject else [])
        if self.failure:
            raise StoreError(self.failure)
        if is_short(self.store, filters) and not self._removals.busy():
            done(self.purge(subject, below_seq, keep))
            return 0
        return self._removals.add(Purge(self.store, filters, below_seq, keep, done, failed))

    cpdef int after_removals(self, object ask) except -1:
        if self._removals.busy():
            return self._removals.add(ask)
        ask()
        return 0

    def subject_ids(self):
        """See IndexedStore."""
        return self.store.subject_ids()

    def subjects_part(self, bytes filter, uint32_t from_id, uint32_t ids):
        """See IndexedStore."""
        return self.store.subjects_part(Filters([filter]), from_id, ids)

    def subject_count(self, bytes subject):
        """Live messages of one literal subject."""
        return self.store.count_of(subject)

    cpdef tuple deleted_part(self, uint64_t from_seq, uint64_t most):
        return self.store.deleted_part(from_seq, most)


def totals(list streams):
    """(messages, consumers) of all these."""
    cdef Stream stream
    cdef uint64_t messages = 0
    cdef Py_ssize_t consumers = 0
    for stream in streams:
        messages += stream.store.state.messages
        consumers += len(stream.consumers)
    return messages, consumers
