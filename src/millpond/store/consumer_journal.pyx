"""The journal that makes the states of one file stream's consumers survive.

Every change of a state is one op, gathered in an `OpLog`; a commit writes what is gathered as one frame with
one checksum. Deliveries ride along with the next write; everything that somebody waits for (acks,
configurations, deletions) asks the committer for one. Recovery replays ops through the very methods that made
them. The file is started over, in the other of its two names, when its records outgrow its checkpoint; also
after a failed sync, so that nothing is ever synced twice from the same pages. On a full disk the committer gives what
is set aside, or has the journal wait; then a checkpoint takes the place of what was gathered, which stays small.

What follows from a removal is not written before the log has committed that: what is gathered is sealed as a frame, with
the position of the log that it needs, and waits; what comes meanwhile is the next frame's.

A large checkpoint is written a part at a time, one in each turn. What changes between two parts is written between them;
replayed, it meets what came before, and what comes later has it already. Until the last part is on disk the other file
is the truth, and nothing that was gathered since is confirmed.

    appending ──outgrown, failed, new──> parts: the states that are left, one piece a turn ──the last one, synced──> appending
                                              └── refused or failed: all of it again
"""

import logging
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.store.committer cimport SYNCED, Committer, Target
from millpond.store.consumer_ops cimport (
    DELETE, DELIVER, END, EXHAUST, OPEN, PARTS, RESET, ROWS, STATE,
    OpChange, OpId, OpLog, OpOpen, OpPending, OpRows, OpState,
)
from millpond.store.consumer_state cimport ConsumerState

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.consumer_file import JournalFiles
from millpond.store.checksum import checksum
from millpond.store.space import passes

log = logging.getLogger("millpond")

cdef uint64_t SWAP_BYTES_MIN = 64 * 1024
cdef size_t STEP_BYTES = limits.CHECKPOINT_STEP_BYTES
cdef int ERRORS_MAX = 2                        # failed syncs in a row before the journal gives up


cdef class Frame:
    """See the `.pxd`."""


cdef class ConsumerJournal(Target):
    """Two files for all consumers of one stream (see the head of this file)."""

    def __init__(self, str directory, Committer committer, uint32_t identity=0, FileStore store=None, object present=None):
        self._committer, self._store = committer, store
        self._files = JournalFiles(directory, checksum, identity, committer.disk, committer.ever_syncs,
                                   put=self._put, note=committer.note)
        self.log, self.step_bytes = OpLog(committer, self, store), STEP_BYTES
        self.failure = ""
        self._states, self._configs, self._ids = {}, {}, {}
        self._next_id = 1
        self.generation, frames = self._files.recover(present)
        for text in self._files.damage:
            log.error("%s: %s", directory, text)
        self._files.identity = self._files.identity or int.from_bytes(os.urandom(4), "little") or 1
        for frame in frames:
            self._replay(frame)
        for state in self._states.values():
            wrong = state.check()
            (<ConsumerState>state).replaying = False
            if wrong:
                raise StoreError(f"consumer journal in {directory}: {wrong[0]}")
        self._swap_next = True           # the first write leaves a possibly torn tail behind
        if self._files.found_upto is not None and committer.tier == SYNCED:
            self._proven_generation, self._proven_end = self._files.found_upto
            committer.testify_later(self)

    @property
    def identity(self):
        """Of the stream's log, that is to have it too."""
        return self._files.identity

    @property
    def damage(self):
        """What was found wrong with the files, in words."""
        return self._files.damage

    @property
    def position(self):
        """What `committed_position` has to reach for all that somebody waits for."""
        return self.log.position

    cpdef dict recovered(self):
        return {name: (self._configs[name], state) for name, state in self._states.items()}

    cpdef ConsumerState open_consumer(self, str name, bytes config):
        cdef ConsumerState state = self._states.get(name)
        if state is None:
            state = ConsumerState()
            state.log = self.log
            state.id = self._next_id
            self._next_id += 1
            self._states[name] = state
            self._ids[state.id] = name
        self._configs[name] = config
        self._put_open(state.id, name.encode(), config)
        self.log.owe()
        return state

    cpdef int set_config(self, str name, bytes config) except -1:
        cdef ConsumerState state = self._states[name]
        self._configs[name] = config
        self._put_open(state.id, name.encode(), config)
        return self.log.owe()

    cpdef int delete_consumer(self, str name) except -1:
        cdef ConsumerState state = self._states.pop(name)
        cdef OpId* op
        del self._configs[name]
        del self._ids[state.id]
        state.log = None
        op = <OpId*>self.log.reserve(sizeof(OpId))
        op[0] = OpId(DELETE, state.id)
        return self.log.owe()

    cpdef int close(self) except -1:
        """Writes and syncs what is gathered; the states live on in memory only."""
        if self._closed:
            return 0
        if not self.failure and (self.log.used or self._sealed is not None or self.stalled or self.enlisted):
            self.log.owe()
            self._committer.drain()
        return self._end()

    def renew(self):
        """Both files anew, durably, for a repair. Raises StoreError when the disk refuses."""
        for _ in range(2):
            self._swap_next = True
            self._committer.enlist(self)
            self._committer.drain()
            if self.failure or self.stalled:
                raise StoreError(self.failure or f"no room for the consumers' journal in {self._files.directory}")

    cpdef int hold(self) except -1:
        return self._committer.hold(self)

    cpdef int go_on(self) except -1:
        return self._committer.go_on(self)

    cpdef int discard(self) except -1:
        return 0 if self._closed else self._end()

    cdef int _end(self) except -1:
        self._closed = self.log.closed = True
        self._store = self.log.store = None
        for state in self._states.values():
            (<ConsumerState>state).log = None
        return self._committer.let_go(self, self._files.close)

    # --- Target ---

    cdef int write(self) except -2:
        if self.failure or self._closed:
            return -1
        try:
            if self._sealed is None:
                if self.log.used == 0 and not self._swap_next and self._unwritten is None:
                    return -1
                if not self._seal():
                    self._committer.enlist(self)
                    return -1
            if self._must_wait():
                return -1
            if self._put_sealed():
                self._committer.enlist(self)
                return -1
            directory_fd = self._files.directory_descriptor()
        except (OSError, MemoryError) as error:
            self._committer.forget(self)
            self._start_over()
            if not isinstance(error, OSError) or passes(error):
                raise
            return self._failed(error.errno or 5)
        self._written_generation = self.generation
        if directory_fd >= 0:
            self.sync_also(directory_fd)
        return self._files.descriptor()

    cdef bint _must_wait(self) except *:
        """What is sealed may not be on disk yet. Parts of a checkpoint mean nothing before its end is."""
        if self._sealed.goes_on or self._store is None or self._sealed.needs <= self._store.committed_position:
            return False
        if self._store.failure:
            self._give_up(f"it waits for the log: {self._store.failure}")
        else:
            self._committer.follow(self, self._store._writer)
            if self.log.used > max(SWAP_BYTES_MIN, 2 * self._checkpoint_bytes):
                self._start_over()                     # it may take long: on a full disk
        return True

    cdef int _put_sealed(self) except -1:
        """Returns 1 when more of its checkpoint is to come."""
        cdef Frame frame = self._sealed
        if frame.begins:
            self._files.swap(self.generation)
        self._file_bytes = self._files.append(frame.payload, frame.goes_on)
        self._sealed = None
        if frame.goes_on:
            return 1
        if self._unwritten is not None:
            self._checkpoint_bytes = self._file_bytes
            self._unwritten = None
        self._written_position = frame.position
        return 0

    cdef int synced(self, int error) except -1:
        if error:
            self._failed(error)
            return 0
        self._errors = 0
        self._files.synced()
        if self._committer.tier == SYNCED:
            self._proven_generation, self._proven_end = self._written_generation, self._files.end()
            self._committer.testify_later(self)
        self.committed_position = self._written_position
        if self.log.position > self._written_position:
            self._committer.enlist(self)           # it was asked for while what is written now waited
        if self.on_committed is not None:
            self.on_committed()
        return 0

    cdef bint writes_anew(self) except *:
        self._start_over()
        return True

    def _put(self, fd, data, offset):
        self._committer.put_bytes(self, fd, data, offset)

    cdef int testify(self) except -1:
        self._files.testify(self._proven_generation, self._proven_end)
        return 0

    def _failed(self, int error):
        """Write it all again, into the other file; a second failure in a row is the end."""
        self._errors += 1
        self._files.unsynced()
        if self._errors >= ERRORS_MAX:
            return self._give_up(f"error {error}")
        self._start_over()
        self._committer.enlist(self)
        return -1

    def _give_up(self, str why):
        self.failure = f"consumer journal: {why}"
        self.log.closed = True
        self._start_over()
        log.error("the consumer journal in %s cannot be written (%s): what consumers do is not kept, and "
                  "acknowledgements are not confirmed, until a restart", self._files.directory, why)
        if self.on_failed is not None:
            self.on_failed()
        return -1

    cpdef uint64_t needs(self) noexcept:
        """The position of the stream's log that is to be committed before all that is gathered is written. Messages that
        came behind the last removal do not count, but for those that a consumer has behind it."""
        if self._store is None:
            return 0
        return max(min(self.log.needs, self._store.removed_position), self.log.passed)

    def gathered(self):
        """How many bytes wait for their frame."""
        return self.log.used

    def fail_sync(self, int error):
        """As if the sync of the last write had failed, for tests."""
        self.synced(error)

    def fail_write(self):
        """As if the last write had been refused, for tests."""
        self._start_over()
        self._committer.enlist(self)

    # --- inside ---

    cdef int _put_open(self, uint32_t id, bytes name, bytes config) except -1:
        cdef size_t name_len = PyBytes_GET_SIZE(name), config_len = PyBytes_GET_SIZE(config)
        cdef char* at = self.log.reserve(sizeof(OpOpen) + name_len + config_len)
        (<OpOpen*>at)[0] = OpOpen(OPEN, id, <unsigned short>name_len, <uint32_t>config_len)
        memcpy(at + sizeof(OpOpen), PyBytes_AS_STRING(name), name_len)
        memcpy(at + sizeof(OpOpen) + name_len, PyBytes_AS_STRING(config), config_len)
        return 0

    cdef bint _seal(self) except *:
        """What is gathered becomes the next frame; or one piece of all states does, behind what was gathered since the
        last piece, in the other file."""
        cdef Frame frame = Frame()
        cdef uint64_t appended = self.log.appended
        if self._unwritten is not None or self._swap_next or \
                self._file_bytes > max(SWAP_BYTES_MIN, 2 * self._checkpoint_bytes):
            self.checkpoint_steps += 1
            frame.begins = self._unwritten is None
            if frame.begins:
                if self._files.shorten():
                    return False
                self._begin_checkpoint()
            frame.goes_on = self._gather()
            self.log.appended = appended
        frame.payload = PyBytes_FromStringAndSize(self.log.buffer, self.log.used)
        frame.needs, frame.position = self.needs(), appended
        self.log.used = 0
        self._sealed = frame
        return True

    cdef int _begin_checkpoint(self) except -1:
        self.log.used = 0                              # what was gathered is in the states
        self.generation += 1
        self._unwritten = list(self._states.values())
        self._swap_next = False
        return 0

    cdef bint _gather(self) except -1:
        """As much as one turn may write. Consumers that are new since the checkpoint began are in what was gathered."""
        cdef ConsumerState state
        cdef OpId* op
        cdef size_t end = self.log.used + self.step_bytes
        while self._unwritten and self.log.used < end:
            state = self._unwritten[len(self._unwritten) - 1]
            if state.log is not None:                  # it was not deleted meanwhile
                if not state.parted:
                    name = self._ids[state.id]
                    self._put_open(state.id, name.encode(), self._configs[name])
                if state.put_part(1 + (max(end, self.log.used) - self.log.used) // sizeof(OpPending)):
                    continue
            self._unwritten.pop()
        if self._unwritten:
            return True
        op = <OpId*>self.log.reserve(sizeof(OpId))
        op[0] = OpId(END, self._next_id)
        return False

    cdef int _start_over(self) except -1:
        """What was gathered, and what a checkpoint has so far, is in the states; the next write begins a new one."""
        if self._unwritten:
            (<ConsumerState>self._unwritten[len(self._unwritten) - 1]).take_no_parts()
        self._unwritten = self._sealed = None
        self._swap_next = True
        self.log.used = 0
        return 0

    cdef int _replay(self, bytes frame) except -1:
        cdef const char* at = PyBytes_AS_STRING(frame)
        cdef const char* end = at + PyBytes_GET_SIZE(frame)
        cdef size_t size
        while at < end:
            size = self._replay_op(at, end - at)
            assert 0 < size <= <size_t>(end - at)
            at += size
        return 0

    cdef size_t _replay_op(self, const char* at, size_t left) except 0:
        """Applies one op; returns its size. A frame has a valid checksum: what does not fit is our own fault."""
        cdef uint8_t kind = <uint8_t>at[0]
        cdef OpChange change
        if DELIVER <= kind <= RESET or EXHAUST <= kind <= PARTS:
            assert left >= sizeof(OpChange)
            change = (<OpChange*>at)[0]
            name = self._ids.get(change.id)
            if name is not None:
                (<ConsumerState>self._states[name]).apply(
                    kind, change.stream_seq, change.consumer_seq, change.ts_ns
                )
            return sizeof(OpChange)
        if kind == OPEN:
            return self._replay_open(at, left)
        if kind == STATE:
            assert left >= sizeof(OpState)
            return (<ConsumerState>self._states[self._ids[(<OpState*>at).id]]).take_checkpoint(at, left)
        if kind == ROWS:
            assert left >= sizeof(OpRows)
            return (<ConsumerState>self._states[self._ids[(<OpRows*>at).id]]).take_rows(at, left)
        assert kind == DELETE or kind == END, f"unknown op {kind}"
        assert left >= sizeof(OpId)
        if kind == END:
            self._next_id = max(self._next_id, (<OpId*>at).id)
            return sizeof(OpId)
        name = self._ids.pop((<OpId*>at).id, None)
        if name is not None:
            del self._states[name]
            del self._configs[name]
        return sizeof(OpId)

    cdef size_t _replay_open(self, const char* at, size_t left) except 0:
        assert left >= sizeof(OpOpen)
        cdef OpOpen op = (<OpOpen*>at)[0]
        cdef size_t size = sizeof(OpOpen) + op.name_len + op.config_len
        assert left >= size
        cdef ConsumerState state
        name = PyBytes_FromStringAndSize(at + sizeof(OpOpen), op.name_len).decode()
        if name not in self._states:
            state = ConsumerState()
            state.log = self.log
            state.id = op.id
            state.replaying = True
            self._states[name] = state
            self._ids[op.id] = name
            self._next_id = max(self._next_id, op.id + 1)
        self._configs[name] = PyBytes_FromStringAndSize(at + sizeof(OpOpen) + op.name_len, op.config_len)
        return size
