"""What must survive of consumers, and the journal that makes it survive.

`ConsumerState` owns the floors and the table of pending acknowledgements of one consumer: an array
ascending by stream sequence (first deliveries only ever go up), found by bisection. What leaves
becomes a hole; holes at the head are skipped for good, the others are closed when they are half.

    [ done and gone | _head: pending, hole, pending ... | _count ... capacity )

`ConsumerJournal` owns the states of one file stream's consumers. Every change of a state is one *op*,
gathered in a buffer; a commit writes the buffer as one frame with one checksum. Deliveries ride along
with the next write; everything that somebody waits for (acks, configurations, deletions) asks the
committer for one. Recovery replays ops through the very methods that made them. The file is started
over, in the other of its two names, when its records outgrow its checkpoint; also after a failed sync,
so that nothing is ever synced twice from the same pages.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from millpond.store.committer cimport Committer, Target

from millpond.base.errors import StoreError
from millpond.store.consumer_file import JournalFiles
from millpond.store.checksum import checksum

cdef enum Op:
    OPEN = 1          # id u32, name length u16, config length u32, name, config
    DELETE = 2        # id u32
    DELIVER = 3       # OpChange from here to RESET
    DELIVER_ACKED = 4
    REDELIVER = 5
    ACK = 6
    ACK_THROUGH = 7
    ADVANCE = 8
    RESET = 9
    STATE = 10        # id u32, OpState, then `count` Pending
    END = 11          # the checkpoint is whole

cdef packed struct OpChange:
    uint8_t kind
    uint32_t id
    uint64_t stream_seq
    uint64_t consumer_seq
    int64_t ts_ns

cdef packed struct OpOpen:
    uint8_t kind
    uint32_t id
    uint16_t name_len
    uint32_t config_len

cdef packed struct OpState:
    uint8_t kind
    uint32_t id
    uint64_t delivered_stream_seq
    uint64_t delivered_consumer_seq
    uint64_t floor_stream_seq
    uint64_t floor_consumer_seq
    int64_t delivered_ts_ns
    int64_t acked_ts_ns
    uint64_t count

cdef packed struct OpPending:
    uint64_t stream_seq
    uint64_t consumer_seq
    int64_t ts_ns
    uint32_t deliveries

cdef packed struct OpId:
    uint8_t kind
    uint32_t id

cdef size_t LAZY_BYTES_MAX = 64 * 1024          # deliveries wait for a write no longer than this
cdef uint64_t SWAP_BYTES_MIN = 64 * 1024
cdef uint64_t TABLE_MIN = 16
cdef int ERRORS_MAX = 2                        # failed syncs in a row before the journal gives up


cdef class ConsumerState:
    """Floors, pending acknowledgements and delivery counts of one consumer."""

    def __dealloc__(self):
        free(self._table)

    # --- deliveries ---

    cdef uint64_t deliver(self, uint64_t stream_seq, int64_t ts_ns, bint tracked) except 0:
        assert stream_seq > self.delivered_stream_seq, "first deliveries go up"
        self.delivered_stream_seq = stream_seq
        self.delivered_consumer_seq += 1
        self.delivered_ts_ns = ts_ns
        if tracked:
            self._push(stream_seq, self.delivered_consumer_seq, ts_ns, 1)
        elif self.num_pending_acks == 0:
            self.floor_stream_seq = stream_seq
            self.floor_consumer_seq = self.delivered_consumer_seq
        self._log(DELIVER if tracked else DELIVER_ACKED, stream_seq, self.delivered_consumer_seq, ts_ns, False)
        return self.delivered_consumer_seq

    cdef uint64_t redeliver(self, uint64_t stream_seq, int64_t ts_ns, uint32_t* deliveries) except 0:
        cdef size_t slot = self._find(stream_seq)
        assert slot < self._count, "only what is pending is redelivered"
        cdef Pending* pending = &self._table[slot]
        pending.deliveries += 1
        pending.ts_ns = ts_ns
        if pending.deliveries == 2:
            self.num_redelivered += 1
        self.delivered_consumer_seq += 1
        self.delivered_ts_ns = ts_ns
        deliveries[0] = pending.deliveries
        self._log(REDELIVER, stream_seq, self.delivered_consumer_seq, ts_ns, False)
        return self.delivered_consumer_seq

    # --- looking ---

    cdef bint get(self, uint64_t stream_seq, Pending* out) noexcept:
        cdef size_t slot = self._find(stream_seq)
        if slot >= self._count:
            return False
        out[0] = self._table[slot]
        return True

    cdef bint touch(self, uint64_t stream_seq, int64_t ts_ns) noexcept:
        cdef size_t slot = self._find(stream_seq)
        if slot >= self._count:
            return False
        self._table[slot].ts_ns = ts_ns
        return True

    cdef bint next_pending(self, uint64_t from_seq, Pending* out) noexcept:
        cdef size_t slot = _lower_bound(self._table, self._head, self._count, from_seq)
        while slot < self._count and self._table[slot].deliveries == 0:
            slot += 1
        if slot >= self._count:
            return False
        out[0] = self._table[slot]
        return True

    # --- leaving ---

    cdef bint ack(self, uint64_t stream_seq, int64_t ts_ns) except *:
        cdef size_t slot = self._find(stream_seq)
        if slot >= self._count:
            return False
        self._drop(slot)
        self.acked_ts_ns = ts_ns
        self._settle_floors()
        self._log(ACK, stream_seq, 0, ts_ns, True)
        return True

    cdef uint64_t ack_through(self, uint64_t stream_seq, int64_t ts_ns) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t dropped = 0
        while self._head < self._count and self._table[self._head].stream_seq <= stream_seq:
            if self._table[self._head].deliveries == 0:
                self._head += 1
                continue
            self._drop(self._head)
            dropped += 1
        if dropped:
            self.acked_ts_ns = ts_ns
            self._settle_floors()
            self._log(ACK_THROUGH, stream_seq, 0, ts_ns, True)
        return dropped

    cdef int advance(self, uint64_t stream_seq) except -1:
        cdef bint moved = stream_seq > self.floor_stream_seq
        cdef Pending first
        while self.next_pending(0, &first) and first.stream_seq <= stream_seq:
            self._drop(self._find(first.stream_seq))
        self._settle_floors()
        if stream_seq > self.delivered_stream_seq:
            self.delivered_stream_seq = stream_seq
        if stream_seq > self.floor_stream_seq:
            self.floor_stream_seq = stream_seq
        if moved:
            self._log(ADVANCE, stream_seq, 0, 0, False)
        return 0

    cdef int reset(self, uint64_t stream_seq) except -1:
        self._head = self._count = 0
        self.num_pending_acks = self.num_redelivered = 0
        self.delivered_stream_seq = self.floor_stream_seq = stream_seq
        self.floor_consumer_seq = self.delivered_consumer_seq
        self._log(RESET, stream_seq, 0, 0, True)
        return 0

    cdef uint64_t memory_bytes(self) noexcept:
        return self._capacity * sizeof(Pending)

    # --- inside ---

    cdef size_t _find(self, uint64_t stream_seq) noexcept:
        """Slot of a pending message, `_count` when it is not pending."""
        cdef size_t slot = _lower_bound(self._table, self._head, self._count, stream_seq)
        if slot < self._count and self._table[slot].stream_seq == stream_seq and self._table[slot].deliveries:
            return slot
        return self._count

    cdef int _push(self, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns, uint32_t deliveries) except -1:
        cdef size_t slot, kept = 0, capacity
        cdef Pending* table
        if self._count == self._capacity:
            for slot in range(self._head, self._count):      # close the holes first
                if self._table[slot].deliveries:
                    self._table[kept] = self._table[slot]
                    kept += 1
            self._head, self._count = 0, kept
            assert kept == self.num_pending_acks
            capacity = self._capacity
            if kept * 2 >= capacity:
                capacity = capacity * 2 if capacity else TABLE_MIN
            elif capacity > TABLE_MIN and kept * 8 < capacity:
                capacity //= 2
            table = <Pending*>realloc(self._table, capacity * sizeof(Pending))
            if table == NULL:
                raise MemoryError()
            self._table, self._capacity = table, capacity
        assert self._count < self._capacity
        self._table[self._count] = Pending(stream_seq, consumer_seq, ts_ns, deliveries)
        self._count += 1
        self.num_pending_acks += 1
        if deliveries > 1:
            self.num_redelivered += 1
        return 0

    cdef void _drop(self, size_t slot) noexcept:
        if self._table[slot].deliveries > 1:
            self.num_redelivered -= 1
        self._table[slot].deliveries = 0
        self.num_pending_acks -= 1
        while self._head < self._count and self._table[self._head].deliveries == 0:
            self._head += 1
        if self._head == self._count:
            self._head = self._count = 0

    cdef void _settle_floors(self) noexcept:
        """Just below the lowest pending; all of what was delivered when nothing is pending."""
        cdef uint64_t consumer_seq = self.delivered_consumer_seq, stream_seq = self.delivered_stream_seq
        if self.num_pending_acks:
            consumer_seq = self._table[self._head].consumer_seq - 1
            stream_seq = self._table[self._head].stream_seq - 1
        if stream_seq > self.floor_stream_seq:
            self.floor_stream_seq = stream_seq
        if consumer_seq > self.floor_consumer_seq:
            self.floor_consumer_seq = consumer_seq

    cdef int _log(self, uint8_t kind, uint64_t a, uint64_t b, int64_t ts_ns, bint owed) except -1:
        cdef OpChange* op
        if self.journal is None or self._replaying:
            return 0
        op = <OpChange*>self.journal._reserve(sizeof(OpChange))
        op[0] = OpChange(kind, self._id, a, b, ts_ns)
        if owed or self.journal._used > LAZY_BYTES_MAX:
            self.journal._owe()
        return 0

    cdef int _apply(self, uint8_t kind, uint64_t a, uint64_t b, int64_t ts_ns) except -1:
        """Replays one op. Ops that no longer fit were overtaken by a checkpoint and change nothing."""
        cdef uint32_t deliveries
        if kind == DELIVER or kind == DELIVER_ACKED:
            if a > self.delivered_stream_seq:
                self.delivered_consumer_seq = b - 1
                self.deliver(a, ts_ns, kind == DELIVER)
        elif kind == REDELIVER:
            if self._find(a) < self._count:
                self.redeliver(a, ts_ns, &deliveries)
        elif kind == ACK:
            self.ack(a, ts_ns)
        elif kind == ACK_THROUGH:
            self.ack_through(a, ts_ns)
        elif kind == ADVANCE:
            self.advance(a)
        else:
            assert kind == RESET, "unknown change"
            self.reset(a)
        return 0

    cpdef list check(self):
        """Every broken invariant as a sentence; [] = sound."""
        wrong = []
        cdef uint64_t last = self.floor_stream_seq, live = 0, redelivered = 0
        cdef size_t slot
        for slot in range(self._head, self._count):
            if self._table[slot].deliveries == 0:
                continue
            live += 1
            redelivered += self._table[slot].deliveries > 1
            if self._table[slot].stream_seq <= last:
                wrong.append(f"pending {self._table[slot].stream_seq} is not above {last}")
            if self._table[slot].consumer_seq <= self.floor_consumer_seq:
                wrong.append(f"pending consumer sequence {self._table[slot].consumer_seq} is at or below its floor")
            last = self._table[slot].stream_seq
        if live != self.num_pending_acks or redelivered != self.num_redelivered:
            wrong.append("counters disagree with the table of pending acknowledgements")
        if last > self.delivered_stream_seq:
            wrong.append(f"{last} is above what was delivered ({self.delivered_stream_seq})")
        if self.floor_consumer_seq > self.delivered_consumer_seq:
            wrong.append("the consumer floor is above what was delivered")
        return wrong

    def info(self):
        """Positions and counters, as consumer info shows them."""
        return {
            "delivered": {"consumer_seq": self.delivered_consumer_seq, "stream_seq": self.delivered_stream_seq,
                          "last_active_ns": self.delivered_ts_ns},
            "ack_floor": {"consumer_seq": self.floor_consumer_seq, "stream_seq": self.floor_stream_seq,
                          "last_active_ns": self.acked_ts_ns},
            "num_ack_pending": self.num_pending_acks,
            "num_redelivered": self.num_redelivered,
        }

    # --- Python's door: the same calls for tests and tools ---

    def py_deliver(self, stream_seq, ts_ns=0, tracked=True):
        return self.deliver(stream_seq, ts_ns, tracked)

    def py_redeliver(self, stream_seq, ts_ns=0):
        cdef uint32_t deliveries = 0
        return self.redeliver(stream_seq, ts_ns, &deliveries), deliveries

    def py_ack(self, stream_seq, ts_ns=0):
        return self.ack(stream_seq, ts_ns)

    def py_ack_through(self, stream_seq, ts_ns=0):
        return self.ack_through(stream_seq, ts_ns)

    def py_advance(self, stream_seq):
        self.advance(stream_seq)

    def py_reset(self, stream_seq):
        self.reset(stream_seq)

    def pending(self):
        """[(stream_seq, consumer_seq, ts_ns, deliveries)] ascending."""
        cdef Pending row
        cdef uint64_t at = 0
        rows = []
        while self.next_pending(at, &row):
            rows.append((row.stream_seq, row.consumer_seq, row.ts_ns, row.deliveries))
            at = row.stream_seq + 1
        return rows


cdef size_t _lower_bound(const Pending* table, size_t low, size_t high, uint64_t stream_seq) noexcept nogil:
    """First slot in [low, high) at or above stream_seq; `high` when there is none."""
    cdef size_t middle
    while low < high:
        middle = (low + high) // 2
        if table[middle].stream_seq < stream_seq:
            low = middle + 1
        else:
            high = middle
    return low


cdef class ConsumerJournal(Target):
    """Two files for all consumers of one stream (see the head of this file)."""

    def __init__(self, str directory, Committer committer):
        self._committer = committer
        self._files = JournalFiles(directory, checksum)
        self.failure = ""
        self._states, self._configs, self._ids = {}, {}, {}
        self._next_id = 1
        self.generation, frames = self._files.recover()
        for frame in frames:
            self._replay(frame)
        for state in self._states.values():
            (<ConsumerState>state)._replaying = False
            wrong = state.check()
            if wrong:
                raise StoreError(f"consumer journal in {directory}: {wrong[0]}")
        self._swap_next = True           # the first write leaves a possibly torn tail behind

    def __dealloc__(self):
        free(self._buffer)

    cpdef dict recovered(self):
        return {name: (self._configs[name], state) for name, state in self._states.items()}

    cpdef ConsumerState open_consumer(self, str name, bytes config):
        cdef ConsumerState state = self._states.get(name)
        if state is None:
            state = ConsumerState()
            state.journal = self
            state._id = self._next_id
            self._next_id += 1
            self._states[name] = state
            self._ids[state._id] = name
        self._configs[name] = config
        self._put_open(state._id, name.encode(), config)
        self._owe()
        return state

    cpdef int set_config(self, str name, bytes config) except -1:
        cdef ConsumerState state = self._states[name]
        self._configs[name] = config
        self._put_open(state._id, name.encode(), config)
        return self._owe()

    cpdef int delete_consumer(self, str name) except -1:
        cdef ConsumerState state = self._states.pop(name)
        cdef OpId* op
        del self._configs[name]
        del self._ids[state._id]
        state.journal = None
        op = <OpId*>self._reserve(sizeof(OpId))
        op[0] = OpId(DELETE, state._id)
        return self._owe()

    cpdef int close(self) except -1:
        """Writes and syncs what is gathered; the states live on in memory only."""
        if self._closed:
            return 0
        if not self.failure and self._used:
            self._owe()
            self._committer.drain()
        self._closed = True
        for state in self._states.values():
            (<ConsumerState>state).journal = None
        self._files.close()
        return 0

    # --- Target ---

    cdef int write(self) except -2:
        if self.failure or self._closed or (self._used == 0 and not self._swap_next):
            return -1
        try:
            if self._swap_next or self._file_bytes > max(SWAP_BYTES_MIN, 2 * self._checkpoint_bytes):
                self._checkpoint()
            else:
                self._file_bytes = self._files.append(PyBytes_FromStringAndSize(self._buffer, self._used))
        except OSError as error:
            return self._failed(error.errno or 5)
        self._used = 0
        self._written_position = self._appended
        return self._files.descriptor()

    cdef int synced(self, int error) except -1:
        if error:
            self._failed(error)
            return 0
        self._errors = 0
        self.committed_position = self._written_position
        if self.on_committed is not None:
            self.on_committed()
        return 0

    def _failed(self, int error):
        """Write it all again, into the other file; a second failure in a row is the end."""
        self._errors += 1
        if self._errors >= ERRORS_MAX:
            self.failure = f"consumer journal: error {error}"
            return -1
        self._swap_next = True
        self._committer.enlist(self)
        return -1

    # --- inside ---

    cdef int _owe(self) except -1:
        """Somebody waits for what is gathered: `position` covers it, and a commit is asked for."""
        self.position = self._appended
        if not self._closed and not self.failure:
            self._committer.enlist(self)
        return 0

    cdef char* _reserve(self, size_t size) except NULL:
        """Room for one op at the end of the buffer; it counts as used from here."""
        cdef size_t capacity = self._capacity
        cdef char* buffer
        while self._used + size > capacity:
            capacity = capacity * 2 if capacity else 4096
        if capacity != self._capacity:
            buffer = <char*>realloc(self._buffer, capacity)
            if buffer == NULL:
                raise MemoryError()
            self._buffer, self._capacity = buffer, capacity
        self._used += size
        self._appended += size
        return self._buffer + self._used - size

    cdef int _put_open(self, uint32_t id, bytes name, bytes config) except -1:
        cdef size_t name_len = PyBytes_GET_SIZE(name), config_len = PyBytes_GET_SIZE(config)
        cdef char* at = self._reserve(sizeof(OpOpen) + name_len + config_len)
        (<OpOpen*>at)[0] = OpOpen(OPEN, id, <uint16_t>name_len, <uint32_t>config_len)
        memcpy(at + sizeof(OpOpen), PyBytes_AS_STRING(name), name_len)
        memcpy(at + sizeof(OpOpen) + name_len, PyBytes_AS_STRING(config), config_len)
        return 0

    cdef int _put_state(self, ConsumerState state) except -1:
        cdef Pending row
        cdef OpPending* out
        cdef uint64_t at = 0
        cdef OpState* op = <OpState*>self._reserve(sizeof(OpState))
        op[0] = OpState(
            STATE, state._id, state.delivered_stream_seq, state.delivered_consumer_seq, state.floor_stream_seq,
            state.floor_consumer_seq, state.delivered_ts_ns, state.acked_ts_ns, state.num_pending_acks,
        )
        while state.next_pending(at, &row):
            out = <OpPending*>self._reserve(sizeof(OpPending))
            out[0] = OpPending(row.stream_seq, row.consumer_seq, row.ts_ns, row.deliveries)
            at = row.stream_seq + 1
        return 0

    cdef int _checkpoint(self) except -1:
        """All states, as they are now, become the first frame of the other file; gathered ops are in them."""
        cdef uint64_t appended = self._appended
        cdef ConsumerState state
        cdef OpId* op
        self._used = 0
        for name, held in self._states.items():
            state = held
            self._put_open(state._id, name.encode(), self._configs[name])
            self._put_state(state)
        op = <OpId*>self._reserve(sizeof(OpId))
        op[0] = OpId(END, self._next_id)
        self._appended = appended
        self.generation += 1
        first = self._checkpoint_bytes == 0
        self._file_bytes = self._files.swap(self.generation, PyBytes_FromStringAndSize(self._buffer, self._used))
        self._checkpoint_bytes = self._file_bytes
        self._swap_next = False
        if first or self.generation <= 2:
            self._files.sync_directory()
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
        cdef ConsumerState state
        if DELIVER <= kind <= RESET:
            assert left >= sizeof(OpChange)
            change = (<OpChange*>at)[0]
            name = self._ids.get(change.id)
            if name is not None:
                state = self._states[name]
                state._apply(kind, change.stream_seq, change.consumer_seq, change.ts_ns)
            return sizeof(OpChange)
        if kind == OPEN:
            return self._replay_open(at, left)
        if kind == STATE:
            return self._replay_state(at, left)
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
            state.journal = self
            state._id = op.id
            state._replaying = True
            self._states[name] = state
            self._ids[op.id] = name
            self._next_id = max(self._next_id, op.id + 1)
        self._configs[name] = PyBytes_FromStringAndSize(at + sizeof(OpOpen) + op.name_len, op.config_len)
        return size

    cdef size_t _replay_state(self, const char* at, size_t left) except 0:
        assert left >= sizeof(OpState)
        cdef OpState op = (<OpState*>at)[0]
        cdef size_t size = sizeof(OpState) + op.count * sizeof(OpPending)
        assert left >= size
        cdef const OpPending* row = <const OpPending*>(at + sizeof(OpState))
        cdef uint64_t i
        cdef ConsumerState state = self._states[self._ids[op.id]]
        state.delivered_stream_seq, state.delivered_consumer_seq = op.delivered_stream_seq, op.delivered_consumer_seq
        state.floor_stream_seq, state.floor_consumer_seq = op.floor_stream_seq, op.floor_consumer_seq
        state.delivered_ts_ns, state.acked_ts_ns = op.delivered_ts_ns, op.acked_ts_ns
        for i in range(op.count):
            state._push(row[i].stream_seq, row[i].consumer_seq, row[i].ts_ns, row[i].deliveries)
        return size
