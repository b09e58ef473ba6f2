"""The floors of one consumer, and the table of what waits for its acknowledgement.

The table is an array ascending by stream sequence (first deliveries only ever go up), found by bisection.
What leaves becomes a hole; holes at the head are skipped for good, the others are closed when they are half.

    [ done and gone | _head: pending, hole, pending ... | _count ... capacity )

A message that was delivered as often as allowed leaves the table and is remembered as exhausted: it holds back
no floor, counts as redelivered, and may still be acknowledged.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from millpond.store.consumer_ops cimport (
    ACK, ACK_THROUGH, ADVANCE, CUT, DELIVER, DELIVER_ACKED, EXHAUST, MOVE, PARTS, POSTPONED, REDELIVER, RESET, ROWS,
    STATE, OpChange, OpLog, OpPending, OpRows, OpSeq, OpState,
)

cdef enum:
    TABLE_MIN = 16


cdef class ConsumerState:
    """Floors, pending acknowledgements and delivery counts of one consumer."""

    def __dealloc__(self):
        free(self._table)
        free(self._exhausted)

    # --- deliveries ---

    cdef uint64_t deliver(self, uint64_t stream_seq, int64_t ts_ns, bint tracked) except 0:
        assert stream_seq > self.delivered_stream_seq, "first deliveries go up"
        self.delivered_stream_seq = stream_seq
        self.delivered_consumer_seq += 1
        self.delivered_ts_ns = ts_ns
        if tracked:
            self._push(Pending(stream_seq, self.delivered_consumer_seq, ts_ns, 1, TIMED))
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
        self.num_queued -= pending.place == QUEUED
        pending.place = MOVED
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

    cdef bint move(self, uint64_t stream_seq, int64_t ts_ns, Place place) noexcept:
        cdef size_t slot = self._find(stream_seq)
        if slot >= self._count:
            return False
        self.move_slot(slot + 1, ts_ns, place)
        return True

    cdef void move_slot(self, size_t slot, int64_t ts_ns, Place place) noexcept:
        cdef Pending* pending = &self._table[slot - 1]
        self.num_queued -= pending.place == QUEUED
        self.num_queued += place == QUEUED
        pending.ts_ns, pending.place = ts_ns, place

    cdef bint postpone(self, uint64_t stream_seq, int64_t ts_ns) except *:
        if not self.move(stream_seq, ts_ns, MOVED):
            return False
        self._log(MOVE, stream_seq, 0, ts_ns, False)
        return True

    cdef bint next_pending(self, uint64_t from_seq, Pending* out) noexcept:
        cdef size_t slot = _lower_bound(self._table, self._head, self._count, from_seq)
        while slot < self._count and self._table[slot].deliveries == 0:
            slot += 1
        if slot >= self._count:
            return False
        out[0] = self._table[slot]
        return True

    cdef bint next_slot(self, size_t* slot, Pending* out) noexcept:
        slot[0] = max(slot[0], self._head)
        while slot[0] < self._count:
            slot[0] += 1
            if self._table[slot[0] - 1].deliveries:
                out[0] = self._table[slot[0] - 1]
                return True
        return False

    cdef bint is_exhausted(self, uint64_t stream_seq) noexcept:
        cdef size_t slot = _lower_seq(self._exhausted, self._exhausted_count, stream_seq)
        return slot < self._exhausted_count and self._exhausted[slot] == stream_seq

    # --- leaving ---

    cdef Left ack(self, uint64_t stream_seq, int64_t ts_ns) except *:
        cdef size_t slot = self._find(stream_seq)
        cdef Left found = WAS_PENDING
        if slot < self._count:
            self._drop(slot)
            self.acked_ts_ns = ts_ns
            self._settle_floors()
        elif self._forget_exhausted(stream_seq):
            found = WAS_EXHAUSTED
        else:
            return NOTHING
        self._log(ACK, stream_seq, 0, ts_ns, True)
        return found

    cdef uint64_t ack_through(self, uint64_t stream_seq, uint64_t consumer_seq,
                              int64_t ts_ns) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t dropped = 0
        if stream_seq <= self.floor_stream_seq or stream_seq > self.delivered_stream_seq:
            return 0
        while self._head < self._count and self._table[self._head].stream_seq <= stream_seq:
            if self._table[self._head].deliveries:
                self._drop(self._head)
                dropped += 1
            else:
                self._head += 1
        self._forget_exhausted_through(stream_seq)
        self.acked_ts_ns = ts_ns
        self.floor_stream_seq = stream_seq
        consumer_seq = min(consumer_seq, self.delivered_consumer_seq)
        if self.num_pending_acks:
            consumer_seq = min(consumer_seq, self._table[self._head].consumer_seq - 1)
        self.floor_consumer_seq = max(self.floor_consumer_seq, consumer_seq)
        self._log(ACK_THROUGH, stream_seq, consumer_seq, ts_ns, True)
        return dropped

    cdef bint exhaust(self, uint64_t stream_seq) except *:
        cdef size_t slot = self._find(stream_seq)
        if slot >= self._count:
            return False
        self._drop(slot)
        self._add_exhausted(stream_seq)
        self._settle_floors()
        self._log(EXHAUST, stream_seq, 0, 0, True)
        return True

    cdef uint64_t lowest(self) noexcept:
        cdef Pending first
        cdef uint64_t pending = first.stream_seq if self.next_pending(0, &first) else 0
        if self._exhausted_count and (pending == 0 or self._exhausted[0] < pending):
            return self._exhausted[0]
        return pending

    cdef int advance(self, uint64_t stream_seq) except -1:
        cdef Pending first
        if stream_seq <= self.floor_stream_seq and not (self._exhausted_count and self._exhausted[0] <= stream_seq):
            return 0
        while self.next_pending(0, &first) and first.stream_seq <= stream_seq:
            self._drop(self._find(first.stream_seq))
        self._forget_exhausted_through(stream_seq)
        self._settle_floors()
        if stream_seq > self.delivered_stream_seq:
            self.delivered_stream_seq = stream_seq
        if stream_seq > self.floor_stream_seq:
            self.floor_stream_seq = stream_seq
        return self._log(ADVANCE, stream_seq, 0, 0, False)

    cdef int cut(self, uint64_t stream_seq) except -1:
        self.parted = False                         # what a checkpoint has of it so far is said anew
        cdef size_t slot, kept = _lower_bound(self._table, self._head, self._count, stream_seq + 1)
        for slot in range(kept, self._count):
            if self._table[slot].deliveries:
                self._drop(slot)
        if self._count:
            self._count = kept                   # its holes may not lie before what is delivered next
        self._keep_exhausted_through(stream_seq)
        self.delivered_stream_seq = min(self.delivered_stream_seq, stream_seq)
        self.floor_stream_seq = min(self.floor_stream_seq, stream_seq)
        self._settle_floors()
        return self._log(CUT, stream_seq, 0, 0, True)

    cdef int reset(self, uint64_t stream_seq, bint anew) except -1:
        self.parted = False
        self._head = self._count = self._exhausted_count = 0
        self.num_pending_acks = self.num_redelivered = self.num_queued = 0
        self.delivered_stream_seq = self.floor_stream_seq = self.began_stream_seq = stream_seq
        if anew:
            self.delivered_consumer_seq = 0
            self.delivered_ts_ns = self.acked_ts_ns = 0
        self.floor_consumer_seq = self.delivered_consumer_seq
        self._log(RESET, stream_seq, 1 if anew else 0, 0, True)
        return 0

    cdef int knows_of(self, uint64_t position) noexcept:
        self._knows_of = position
        return 0

    cdef uint64_t memory_bytes(self) noexcept:
        return self._capacity * sizeof(Pending) + self._exhausted_capacity * sizeof(uint64_t)

    # --- inside ---

    cdef size_t _find(self, uint64_t stream_seq) noexcept:
        """Slot of a pending message, `_count` when it is not pending."""
        cdef size_t slot
        if self._head < self._count and self._table[self._head].stream_seq == stream_seq:
            return self._head                            # acknowledgements in order; the head is never a hole
        slot = _lower_bound(self._table, self._head, self._count, stream_seq)
        if slot < self._count and self._table[slot].stream_seq == stream_seq and self._table[slot].deliveries:
            return slot
        return self._count

    cdef int _push(self, Pending row) except -1:
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
        self._table[self._count] = row
        self._count += 1
        self.num_pending_acks += 1
        self.num_redelivered += row.deliveries > 1
        self.num_queued += row.place == QUEUED
        return 0

    cdef void _drop(self, size_t slot) noexcept:
        self.num_redelivered -= self._table[slot].deliveries > 1
        self.num_queued -= self._table[slot].place == QUEUED
        self._table[slot].deliveries = 0
        self.num_pending_acks -= 1
        while self._head < self._count and self._table[self._head].deliveries == 0:
            self._head += 1
        if self._head == self._count:
            self._head = self._count = 0

    cdef int _add_exhausted(self, uint64_t stream_seq) except -1:
        cdef size_t slot = _lower_seq(self._exhausted, self._exhausted_count, stream_seq), capacity
        cdef uint64_t* grown
        if self._exhausted_count == self._exhausted_capacity:
            capacity = self._exhausted_capacity * 2 if self._exhausted_capacity else TABLE_MIN
            grown = <uint64_t*>realloc(self._exhausted, capacity * sizeof(uint64_t))
            if grown == NULL:
                raise MemoryError()
            self._exhausted, self._exhausted_capacity = grown, capacity
        memmove(self._exhausted + slot + 1, self._exhausted + slot, (self._exhausted_count - slot) * sizeof(uint64_t))
        self._exhausted[slot] = stream_seq
        self._exhausted_count += 1
        self.num_redelivered += 1
        return 0

    cdef bint _forget_exhausted(self, uint64_t stream_seq) noexcept:
        cdef size_t slot
        if not self.is_exhausted(stream_seq):
            return False
        slot = _lower_seq(self._exhausted, self._exhausted_count, stream_seq)
        self._exhausted_count -= 1
        self.num_redelivered -= 1
        memmove(self._exhausted + slot, self._exhausted + slot + 1, (self._exhausted_count - slot) * sizeof(uint64_t))
        return True

    cdef void _keep_exhausted_through(self, uint64_t stream_seq) noexcept:
        cdef size_t kept = _lower_seq(self._exhausted, self._exhausted_count, stream_seq + 1)
        self.num_redelivered -= self._exhausted_count - kept
        self._exhausted_count = kept

    cdef void _forget_exhausted_through(self, uint64_t stream_seq) noexcept:
        cdef size_t gone = _lower_seq(self._exhausted, self._exhausted_count, stream_seq + 1)
        self._exhausted_count -= gone
        self.num_redelivered -= gone
        if gone:
            memmove(self._exhausted, self._exhausted + gone, self._exhausted_count * sizeof(uint64_t))

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

    # --- the journal ---

    cdef int _log(self, uint8_t kind, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns, bint owed) except -1:
        if self.log is not None and not self.replaying:
            self.log.follow(self._knows_of, self.delivered_stream_seq)
            self.log.change(kind, self.id, stream_seq, consumer_seq, ts_ns, owed)
        return 0

    cdef int apply(self, uint8_t kind, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns) except -1:
        """Replays one op. Ops that no longer fit were overtaken by a checkpoint and change nothing."""
        cdef uint32_t deliveries
        if kind == PARTS:
            self.reset(stream_seq, True)
            self.parted = True
        elif self.parted and kind != RESET and kind != CUT:
            self._apply_to_part(kind, stream_seq, ts_ns)
        elif kind == DELIVER or kind == DELIVER_ACKED:
            if stream_seq > self.delivered_stream_seq:
                self.delivered_consumer_seq = consumer_seq - 1
                self.deliver(stream_seq, ts_ns, kind == DELIVER)
        elif kind == REDELIVER:
            if self._find(stream_seq) < self._count:
                self.redeliver(stream_seq, ts_ns, &deliveries)
        elif kind == ACK:
            self.ack(stream_seq, ts_ns)
        elif kind == ACK_THROUGH:
            self.ack_through(stream_seq, consumer_seq, ts_ns)
        elif kind == ADVANCE:
            self.advance(stream_seq)
        elif kind == EXHAUST:
            self.exhaust(stream_seq)
        elif kind == CUT:
            self.cut(stream_seq)
        elif kind == MOVE:
            self.move(stream_seq, ts_ns, MOVED)
        else:
            assert kind == RESET, "unknown change"
            self.reset(stream_seq, consumer_seq != 0)
        return 0

    cdef int _apply_to_part(self, uint8_t kind, uint64_t stream_seq, int64_t ts_ns) except -1:
        """What has not come yet comes as it was after this change; the STATE behind it has everything but the rows."""
        cdef uint32_t deliveries
        cdef size_t slot = self._find(stream_seq)
        if kind == ACK_THROUGH or kind == ADVANCE:
            while self._head < self._count and self._table[self._head].stream_seq <= stream_seq:
                self._drop(self._head)
        elif slot < self._count:
            if kind == ACK or kind == EXHAUST:
                self._drop(slot)
            elif kind == REDELIVER:
                self.redeliver(stream_seq, ts_ns, &deliveries)
            elif kind == MOVE:
                self.move(stream_seq, ts_ns, MOVED)
        return 0

    cdef int put_checkpoint(self) except -1:
        cdef OpPending* out
        (<OpChange*>self.log.reserve(sizeof(OpChange)))[0] = OpChange(RESET, self.id, self.began_stream_seq, 1, 0)
        self._put_state(self.num_pending_acks)
        out = <OpPending*>self.log.reserve(self.num_pending_acks * sizeof(OpPending))
        if self._put_rows(out, 0, self.num_pending_acks) != self.num_pending_acks:
            raise AssertionError("the table holds as many as it counts")
        return self._put_exhausted()

    cdef bint put_part(self, size_t rows_max) except -1:
        cdef OpRows* op
        cdef size_t count
        if not self.parted:
            if self.num_pending_acks <= rows_max:
                self.put_checkpoint()
                return False
            (<OpChange*>self.log.reserve(sizeof(OpChange)))[0] = OpChange(PARTS, self.id, self.began_stream_seq, 0, 0)
            self.parted, self._parted_seq = True, 0
        op = <OpRows*>self.log.reserve(sizeof(OpRows) + rows_max * sizeof(OpPending))
        count = self._put_rows(<OpPending*>(op + 1), self._parted_seq + 1, rows_max)
        op[0] = OpRows(ROWS, self.id, count)
        self.log.give_back((rows_max - count) * sizeof(OpPending))
        if count == rows_max:
            self._parted_seq = (<OpPending*>(op + 1))[count - 1].stream_seq
            return True
        self.parted = False
        self._put_state(0)
        self._put_exhausted()
        return False

    cdef int take_no_parts(self) noexcept:
        self.parted = False
        return 0

    cdef int _put_state(self, uint64_t count) except -1:
        cdef OpState* op = <OpState*>self.log.reserve(sizeof(OpState))
        op[0] = OpState(
            STATE, self.id, self.delivered_stream_seq, self.delivered_consumer_seq, self.floor_stream_seq,
            self.floor_consumer_seq, self.delivered_ts_ns, self.acked_ts_ns, count, self._exhausted_count,
        )
        return 0

    cdef size_t _put_rows(self, OpPending* out, uint64_t from_seq, size_t most) noexcept:
        """The first so many pending from there on; returns how many there were."""
        cdef Pending row
        cdef size_t count = 0, slot = _lower_bound(self._table, self._head, self._count, from_seq)
        while count < most and self.next_slot(&slot, &row):
            out[count] = OpPending(row.stream_seq, row.consumer_seq, 0 if row.place == QUEUED else row.ts_ns,
                                   row.deliveries if row.place == TIMED else row.deliveries | POSTPONED)
            count += 1
        return count

    cdef int _put_exhausted(self) except -1:
        cdef size_t size = self._exhausted_count * sizeof(OpSeq)
        if size:
            memcpy(self.log.reserve(size), self._exhausted, size)
        return 0

    cdef size_t take_rows(self, const char* at, size_t left) except 0:
        assert left >= sizeof(OpRows) and self.parted
        cdef uint64_t i, count = (<const OpRows*>at).count
        assert count <= (left - sizeof(OpRows)) // sizeof(OpPending)
        cdef const OpPending* row = <const OpPending*>(at + sizeof(OpRows))
        for i in range(count):
            self._take_row(&row[i])
        return sizeof(OpRows) + count * sizeof(OpPending)

    cdef int _take_row(self, const OpPending* row) except -1:
        return self._push(Pending(row.stream_seq, row.consumer_seq, row.ts_ns, row.deliveries & ~POSTPONED,
                                  MOVED if row.deliveries & POSTPONED else TIMED))

    cdef size_t take_checkpoint(self, const char* at, size_t left) except 0:
        assert left >= sizeof(OpState)
        cdef OpState op = (<OpState*>at)[0]
        assert op.count <= left // sizeof(OpPending) and op.exhausted <= left // sizeof(OpSeq)
        cdef size_t pending_bytes = op.count * sizeof(OpPending)
        cdef size_t size = sizeof(OpState) + pending_bytes + op.exhausted * sizeof(OpSeq)
        assert left >= size
        cdef const OpPending* row = <const OpPending*>(at + sizeof(OpState))
        cdef const OpSeq* exhausted = <const OpSeq*>(at + sizeof(OpState) + pending_bytes)
        cdef uint64_t i
        cdef uint64_t began = self.began_stream_seq          # a RESET came before
        if self.parted:
            assert op.count == 0                             # its rows came before
            self.parted = False
        else:
            self.reset(op.floor_stream_seq, True)
            self.began_stream_seq = began
        self.delivered_stream_seq, self.delivered_consumer_seq = op.delivered_stream_seq, op.delivered_consumer_seq
        self.floor_stream_seq, self.floor_consumer_seq = op.floor_stream_seq, op.floor_consumer_seq
        self.delivered_ts_ns, self.acked_ts_ns = op.delivered_ts_ns, op.acked_ts_ns
        for i in range(op.count):
            self._take_row(&row[i])
        for i in range(op.exhausted):
            self._add_exhausted(exhausted[i].stream_seq)
        return size

    def restore(self, delivered, floor, pending, exhausted):
        """A new consumer's state is what a backup says: (stream_seq, consumer_seq) twice, then rows as pending() and
        exhausted() give them. They fit together; check() is [] afterwards."""
        cdef int64_t last_ns = 0
        assert self.delivered_stream_seq == 0 and self.num_pending_acks == 0, "only a new consumer is restored"
        self.delivered_stream_seq, self.delivered_consumer_seq = delivered
        self.floor_stream_seq, self.floor_consumer_seq = floor
        for stream_seq, consumer_seq, ts_ns, deliveries in pending:
            in_order = deliveries == 1 and ts_ns >= last_ns
            self._push(Pending(stream_seq, consumer_seq, ts_ns, deliveries, TIMED if in_order else MOVED))
            last_ns = max(last_ns, <int64_t>ts_ns)
        for stream_seq in exhausted:
            self._add_exhausted(stream_seq)
        if self.log is not None:
            self.put_checkpoint()
            self.log.owe()

    # --- care ---

    cpdef list check(self):
        """Every broken invariant as a sentence; [] = sound."""
        wrong = []
        cdef uint64_t last = self.floor_stream_seq, live = 0, redelivered = self._exhausted_count, queued = 0
        cdef size_t slot
        for slot in range(self._head, self._count):
            if self._table[slot].deliveries == 0:
                continue
            live += 1
            redelivered += self._table[slot].deliveries > 1
            queued += self._table[slot].place == QUEUED
            if self._table[slot].stream_seq <= last:
                wrong.append(f"pending {self._table[slot].stream_seq} is not above {last}")
            if self._table[slot].consumer_seq <= self.floor_consumer_seq:
                wrong.append(f"pending consumer sequence {self._table[slot].consumer_seq} is at or below its floor")
            last = self._table[slot].stream_seq
        if (live, redelivered, queued) != (self.num_pending_acks, self.num_redelivered, self.num_queued):
            wrong.append("counters disagree with the table of pending acknowledgements")
        if last > self.delivered_stream_seq:
            wrong.append(f"{last} is above what was delivered ({self.delivered_stream_seq})")
        if self.floor_consumer_seq > self.delivered_consumer_seq:
            wrong.append("the consumer floor is above what was delivered")
        if self.replaying and self.parted:
            wrong.append("its parts in a checkpoint have no end")
        for slot in range(1, self._exhausted_count):
            if self._exhausted[slot - 1] >= self._exhausted[slot]:
                wrong.append("the exhausted sequences are not ascending")
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

    def py_ack_through(self, stream_seq, consumer_seq, ts_ns=0):
        return self.ack_through(stream_seq, consumer_seq, ts_ns)

    def py_postpone(self, stream_seq, ts_ns):
        return self.postpone(stream_seq, ts_ns)

    def py_exhaust(self, stream_seq):
        return self.exhaust(stream_seq)

    def py_cut(self, stream_seq):
        self.cut(stream_seq)

    def py_reset(self, stream_seq, anew=True):
        self.reset(stream_seq, anew)

    def py_knows_of(self, position):
        self.knows_of(position)

    def py_advance(self, stream_seq):
        self.advance(stream_seq)

    def pending(self):
        """[(stream_seq, consumer_seq, ts_ns, deliveries)] ascending."""
        cdef Pending row
        cdef uint64_t at = 0
        rows = []
        while self.next_pending(at, &row):
            rows.append((row.stream_seq, row.consumer_seq, row.ts_ns, row.deliveries))
            at = row.stream_seq + 1
        return rows

    def exhausted(self):
        """Sequences, ascending."""
        return [self._exhausted[i] for i in range(self._exhausted_count)]


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


cdef size_t _lower_seq(const uint64_t* seqs, size_t high, uint64_t stream_seq) noexcept nogil:
    """The same in a plain ascending array."""
    cdef size_t low = 0, middle
    while low < high:
        middle = (low + high) // 2
        if seqs[middle] < stream_seq:
            low = middle + 1
        else:
            high = middle
    return low
