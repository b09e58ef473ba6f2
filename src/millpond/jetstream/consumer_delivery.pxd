# One delivery: the next message finds its taker, is written with its ack subject, and is on its way.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.sink cimport Sink
from millpond.jetstream.acks cimport AckSubject
from millpond.jetstream.consumer_cursor cimport Cursor
from millpond.jetstream.consumer_pace cimport Pace
from millpond.jetstream.headers_only cimport HeaderWriter
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.pull cimport PullQueue
from millpond.jetstream.pull_priority cimport Moment, Priority
from millpond.jetstream.pull_request cimport Waiting
from millpond.jetstream.push cimport PushTarget
from millpond.jetstream.redelivery cimport Redelivery
from millpond.store.api cimport Record, Store
from millpond.structures.buffers cimport ByteBuffer
from millpond.store.consumer_state cimport ConsumerState
from millpond.wire.message cimport Msg

cdef enum Outcome:           # of one step, when nothing was delivered
    DRY = 0                  # nothing to deliver, or nobody to take it: one-shot requests are over
    HELD = -2                # there is something, but not now: max_ack_pending, pace
    RETRY = -3               # something changed under the step: once more
    SEARCHING = -4           # the next message is far: once more, in a later turn
    READING = -5             # it is being read from the disk

cdef struct Pick:            # the message to deliver
    uint64_t stream_seq
    bint again
    uint32_t deliveries      # this one included
    uint64_t pending         # messages to come after it

cdef class Delivery:
    cdef ConsumerState state
    cdef Cursor cursor
    cdef Redelivery redelivery
    cdef PullQueue pulls
    cdef PushTarget push                     # None: a pull consumer
    cdef Priority priority
    cdef Pace pace
    cdef Notices notices
    cdef int64_t max_ack_pending             # 0 = no bound
    cdef bint headers_only, tracked, ack_by_flow
    cdef int64_t last_ns                     # monotonic: of the last delivery
    cdef Store _store
    cdef Clock _clock
    cdef Sink _source
    cdef AckSubject _ack
    cdef HeaderWriter _headers
    cdef bytes _pin_line
    cdef ByteBuffer _copy
    # Delivers one message: its bytes (> 0), or an Outcome.
    cdef int64_t step(self, int64_t now_ns) except -1
    cdef Moment moment(self, uint64_t pending) noexcept
    cdef bint at_limit(self) noexcept        # as many are unacknowledged as may be
    cdef int ask_flow(self) except -1        # a flow-control request, when a window is kept and none is open
    cdef int _pick(self, Pick* pick) except -1
    cdef int _write(self, const Record* record, const Pick* pick, Msg* msg) except -1
    cdef int _own(self, Msg* msg) except -1
    cdef int _record(self, const Pick* pick) except -1
    cdef int _sent(self, bytes subject, Waiting request, const Msg* msg, int64_t now_ns) except -1
