"""Removals in steps.

A purge takes what was there when it was asked for, and is answered when all of that is gone.

    asked for ──> waits for those before ──> finds where what it keeps begins ──> removes, oldest first ──> looks for
                                                                                  the first one that is left

Between two steps the stream works: publishes come behind what is purged, consumers may still get what is about to go,
the limits may evict some of it. Deletions and purges wait, so that answers tell of one order. Whoever crashes in the
middle has purged the messages before.

A rollup is a purge that publishes wait for: its message is stored, and acknowledged when what it replaces is gone.
So it is the last one in the log while that goes on, and after a crash recovery_tail finishes it. Limits that were
lowered by an update are reached in steps too; the update is answered then.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t

from millpond.broker.turn cimport Phase, Turn
from millpond.jetstream.host cimport Host
from millpond.jetstream.pump cimport Pump
from millpond.store.api cimport Filters, Store

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.space import passes

cdef uint64_t STEP = limits.PURGE_STEP_MESSAGES
cdef uint64_t STEP_ROWS = limits.SEARCH_STEP_ROWS
cdef uint64_t HEAR = limits.CONSUMERS_PER_REMOVAL


cdef uint64_t removals_for(uint64_t consumers) noexcept:
    return max(STEP * HEAR // (HEAR + consumers), 1)


cdef bint is_short(Store store, Filters filters) noexcept:
    cdef bytes subject
    if store.state.messages <= store.removals_max:
        return True
    if not filters.literal:
        return False
    subject = filters.subjects[0]
    return store.count_for(PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)) <= store.removals_max


cdef class Work:
    """Override `step` and `end`."""

    cdef bint step(self, Store store) except *:
        raise NotImplementedError(type(self).__name__)

    cdef int end(self, Host host) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int fail(self, str why) except -1:
        return 0


cdef class Purge(Work):
    """`below_seq` 0: all; `keep`: that many of the last stay."""

    def __init__(self, Store store, Filters filters, uint64_t below_seq, uint64_t keep, done=None, failed=None,
                 bint holds=False):
        self.filters, self.done, self.failed, self.holds = filters, done, failed, holds
        self._at, self._end_seq, self._keep, self._below_seq = 1, store.state.last_seq, keep, below_seq
        if below_seq:
            self._end_seq = min(self._end_seq, below_seq - 1)

    cdef bint step(self, Store store) except *:
        self._pass_over(store)
        if self._keep:
            return True
        if self._at:
            self.purged += store.purge_part(self.filters, &self._at, self._end_seq, store.removals_max)
            if self._at:
                return True
            self._look_at = self._end_seq + 1
        if self.filters.all:
            if store.state.messages == 0 and self._below_seq > store.state.first_seq:
                store.set_first_seq(self._below_seq)
            return False
        return self._look(store)

    cdef int _pass_over(self, Store store) except -1:
        """Some of the last messages, which are kept: the end moves down to below them."""
        cdef uint64_t seq, resume, rows = STEP_ROWS, stopped
        while self._keep and rows:
            seq = store.search_down(self._end_seq, 1, self.filters, rows, &resume)
            stopped = seq or resume
            if stopped == 0:
                self._keep = self._end_seq = 0               # fewer than those to keep
                return 0
            rows -= min(rows, self._end_seq - stopped + 1)
            if seq == 0:
                self._end_seq = resume
                return 0
            self._end_seq, self._keep = seq - 1, self._keep - 1
        return 0

    cdef bint _look(self, Store store) except *:
        """Consumers will ask for the first one that is left."""
        cdef uint64_t resume
        self.first_left = store.search(self._look_at, store.state.last_seq, self.filters, STEP_ROWS, &resume)
        self._look_at = resume
        return self.first_left == 0 and resume != 0

    cdef int end(self, Host host) except -1:
        host.purged(self.filters, self.first_left)
        if self.done is not None:
            self.done(self.purged)
        return 0

    cdef int fail(self, str why) except -1:
        if self.failed is not None:
            self.failed(why)
        return 0


cdef class Lowering(Work):
    """The limits are lower than what the stream holds."""

    cdef bint step(self, Store store) except *:
        return store.enforce_part(store.removals_max)

    cdef int end(self, Host host) except -1:
        self.under_way = False
        return 0

    cdef int fail(self, str why) except -1:
        self.under_way = False
        return 0


cdef class Removals(Phase):
    """See the head of this file."""

    def __init__(self, Host host, Store store, Pump pump, Turn turn):
        self._host, self._store, self._pump, self._turn = host, store, pump, turn
        self._queue, self._owed = [], []

    cdef bint busy(self) noexcept:
        return len(self._queue) > 0

    cdef int add(self, object work) except -1:
        self._queue.append(work)
        if isinstance(work, Work):
            self.holding += (<Work>work).holds
        self._pump.add(self)
        return self._turn.wake()

    cdef int owe(self, object callback) except -1:
        self._owed.append(callback)
        return 0

    cdef int run(self) except -1:
        if not self._queue:
            return 0
        first = self._queue[0]
        if not isinstance(first, Work):
            self._queue.pop(0)
            first()
        elif not self._step(<Work>first):
            # Its end may have ended everything.
            self._let_go(<Work>first)
        return 1 if self._queue else 0

    cdef bint _step(self, Work work) except *:
        """True: there is more of it."""
        self._host.purging = isinstance(work, Purge)
        try:
            if work.step(self._store):
                self._host.answer_later()
                return True
        except (OSError, StoreError, MemoryError) as error:
            self._queue.pop(0)
            work.fail(str(error))
            if work.holds or not (isinstance(error, MemoryError) or passes(error)):
                self._host.store_failed(str(error))   # an acknowledgement waits: it becomes a refusal
            return False
        finally:
            self._host.purging = False
        self._queue.pop(0)
        work.end(self._host)
        self._host.answer_later()
        self._turn.wake()
        return False

    cdef int _let_go(self, Work work) except -1:
        cdef list owed
        if not work.holds or not self.holding:
            return 0
        self.holding -= 1
        if self.holding:
            return 0
        owed, self._owed = self._owed, []
        for callback in owed:
            callback()
        return self._host.go_on_later()

    cdef int end_all(self) except -1:
        cdef list queue = self._queue, owed = self._owed
        self._queue, self._owed, self.holding = [], [], 0
        for item in queue:
            if isinstance(item, Work):
                (<Work>item).end(self._host)
            else:
                item()
        for callback in owed:
            callback()
        return 0

    cdef int drop_all(self) except -1:
        self._queue, self._owed, self.holding = [], [], 0
        return 0
