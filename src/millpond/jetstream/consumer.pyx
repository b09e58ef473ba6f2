"""One consumer: which message next, to whom, what waits for an acknowledgement, what again and when.

It owns its waiting pull requests, its redelivery queue and its flow-control window; floors and pending
acknowledgements live in its `ConsumerState`. Messages leave only in the pump phase; requests, acks, timers
and commits change what the next pump finds. A message that waits for redelivery keeps its place among the
pending with the timestamp QUEUED, so that it is in the queue exactly once however often it was asked for.

One timer serves all of a consumer's deadlines: it is armed for the nearest of acknowledgement wait, request
expiry, heartbeats, interest, pause, replay and inactivity, and looks at each when it fires.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from functools import partial

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.base.clock cimport Clock
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.acks cimport body_is, put_number, read_numbers
from millpond.jetstream.flow_control cimport Window
from millpond.jetstream.follower cimport Follower
from millpond.jetstream.headers_only cimport BodyStripper
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.pull cimport PullQueue, Waiting
from millpond.jetstream.pump cimport Pump
from millpond.jetstream.redelivery cimport RedeliveryQueue
from millpond.jetstream.starts cimport start_seq
from millpond.jetstream.stream cimport Stream
from millpond.store.api cimport COLD, FOUND, Filters, Load, Record, Store
from millpond.store.consumer_state cimport ConsumerState, Pending
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.jetstream.pull_request import parse_nak_delay

cdef enum Tag:
    NEXT = 1
    ACK = 2
    FLOW = 3

cdef enum Step:
    DELIVERED = 1
    DRY = 2           # nothing committed is left under the filters
    HELD = 3          # max_ack_pending, window, cold read, replay, rate, no taker

cdef enum:
    QUEUED = -1       # Pending.ts_ns of what waits in the redelivery queue
    MILLISECOND = 1_000_000
    HELD_NOW = -2     # _deliver_one: there is something, but not now
    POLL_MIN_NS = 5_000_000
    POLL_MAX_NS = 100_000_000

cdef int64_t WINDOW_MAX = limits.FLOW_CONTROL_WINDOW_BYTES_MAX


cdef class ConsumerTimer(Timer):
    """All deadlines of one consumer."""

    cdef int fire(self, int64_t now_ns) except -1:
        return self.consumer._tick(now_ns) if self.consumer is not None else 0


cdef inline int64_t _nearer(int64_t a, int64_t b) noexcept:
    """The earlier deadline; 0 means none."""
    return b if a == 0 else a if b == 0 or a < b else b


cdef class Consumer(Follower):
    """See the head of this file. `advisories.send(subject, kind, fields)`; `on_inactive(consumer)` deletes it."""

    def __init__(self, str name, config, int64_t created_ns, Stream stream, ConsumerState state, advisories,
                 on_inactive, Clock clock, Timers timers, Pump pump):
        self.name, self.config, self.created_ns = name, config, created_ns
        self.stream, self.state = stream, state
        self._advisories, self._on_inactive = advisories, on_inactive
        self._clock, self._timers, self._pump = clock, timers, pump
        self._subs = []
        self._notices = Notices(stream.router, self, state)
        self._pulls = PullQueue(self._notices)
        self._redeliveries = RedeliveryQueue()
        self._timer = ConsumerTimer()
        self._timer.consumer = self
        self._poll_ns = POLL_MIN_NS
        prefix = f"$JS.ACK.{stream.name}.{name}.".encode()
        assert len(prefix) + 5 * 21 <= sizeof(self._ack), "names are bounded"
        self._ack_prefix = len(prefix)
        memcpy(self._ack, PyBytes_AS_STRING(prefix), self._ack_prefix)
        self._configure()

    # --- life ---

    cdef int _configure(self) except -1:
        config = self.config
        subjects = config.filter_subjects or ([config.filter_subject] if config.filter_subject else [])
        self.filters = Filters([subject.encode() for subject in subjects])
        self._push = bool(config.deliver_subject)
        self._deliver_subject = config.deliver_subject.encode()
        self._tracked = config.ack_policy != "none"
        self._ack_all = config.ack_policy == "all"
        self._stripper = BodyStripper() if config.headers_only else None
        self._backoff = list(config.backoff)
        self._ack_wait_ns = config.ack_wait or limits.ACK_WAIT_DEFAULT_NS
        self._max_deliver = config.max_deliver if config.max_deliver > 0 else 0
        self._max_ack_pending = config.max_ack_pending if self._tracked and config.max_ack_pending > 0 else 0
        self._heartbeat_ns = config.idle_heartbeat
        self._inactive_ns = config.inactive_threshold
        self._pause_until_ns = config.pause_until_ns
        self._rate_bps = config.rate_limit_bps
        if config.flow_control and self._window is None:
            self._window = Window(f"$JS.FC.{self.stream.name}.{self.name}.", WINDOW_MAX)
        return 0

    cpdef int start(self, bint recovered) except -1:
        cdef Router router = self.stream.router
        cdef uint64_t last_seq = self.stream.store.state.last_seq
        cdef int64_t now_ns = self._clock.mono_ns
        where = f"{self.stream.name}.{self.name}"
        self._subs.append(router.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.{where}".encode(), self, b"", NEXT))
        self._subs.append(router.subscribe(f"$JS.ACK.{where}.>".encode(), self, b"", ACK))
        if self._push:
            self._subs.append(router.subscribe(f"$JS.FC.{where}.>".encode(), self, b"", FLOW))
        if not recovered:
            self._take_start()
        elif self.state.delivered_stream_seq > last_seq:
            self.state.reset(last_seq)
        if recovered and self.stream.store.state.first_seq > 1:
            self.state.advance(self.stream.store.state.first_seq - 1)
        if self.config.replay_policy == "original":
            self._replay, self._replay_end_seq = True, last_seq
        self._recount()
        self._last_active_ns = now_ns
        self._heartbeat_due_ns = now_ns + self._heartbeat_ns if self._push and self._heartbeat_ns else 0
        self._expiry_due_ns = now_ns if self.state.num_pending_acks else 0
        self._check_interest()
        self._arm()
        return self.ready()

    cpdef int stop(self, str status) except -1:
        if self._stopped:
            return 0
        self._stopped = True
        for sub in self._subs:
            self.stream.router.unsubscribe(sub)
        self._subs.clear()
        self._timers.cancel(self._timer)
        self._timer.consumer = None
        return self._pulls.end(status)

    cpdef int update(self, object config) except -1:
        self.config = config
        self._configure()
        self._recount()
        self._seen_generation = 0
        self._expiry_due_ns = self._clock.mono_ns if self.state.num_pending_acks else 0
        self._check_interest()
        self._arm()
        return self.ready()

    cpdef dict info(self):
        self._check_interest()
        return {
            **self.state.info(),
            "num_waiting": len(self._pulls.waiting),
            "num_pending": self.num_pending,
            "push_bound": bool(self._push and self._active),
        }

    cdef int _take_start(self) except -1:
        cdef Store store = self.stream.store
        if self.config.deliver_policy == "last_per_subject":
            self._skip = store.last_seqs(self.filters, 0, 0) or None
            self._skip_at, self._resume = 0, store.state.last_seq
        self.state.reset(start_seq(self.config, store, self.filters, self._skip) - 1)
        return 0

    cdef int _recount(self) except -1:
        if self._skip is not None:
            self.num_pending = len(self._skip) - self._skip_at
            self.num_pending += self.stream.store.count_match(self._resume + 1, self.filters)
        else:
            self.num_pending = self.stream.store.count_match(self.state.delivered_stream_seq + 1, self.filters)
        return 0

    # --- told by the stream ---

    cdef int appended(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        if self.filters.all or self.filters.matches(subject, subject_len):
            self.num_pending += 1
        return 0

    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        if stream_seq > self.state.delivered_stream_seq:
            if self._skip is not None and stream_seq <= self._resume:
                if stream_seq in self._skip[self._skip_at:]:
                    self._skip.remove(stream_seq)
                    self.num_pending -= 1
                    if self._skip_at == <size_t>len(self._skip):
                        self._skip = None
            elif self.num_pending and (self.filters.all or self.filters.matches(subject, subject_len)):
                self.num_pending -= 1
        elif self.state.ack(stream_seq, self.state.acked_ts_ns):
            self.ready()
        return 0

    cdef int purged(self, uint64_t first_seq) except -1:
        if first_seq:
            self.state.advance(first_seq - 1)
        if self._skip is not None:
            self._skip = [seq for seq in self._skip[self._skip_at:] if seq >= first_seq] or None
            self._skip_at = 0
        self._recount()
        return self.ready()

    cdef int ready(self) except -1:
        if self._stopped:
            return 0
        if self._pumping:
            self._again = True
        elif not self.queued:
            self.queued = True
            self._pump.add(self)
            self.stream.turn.wake()
        return 0

    # --- pump ---

    cdef int pump(self, uint32_t messages_budget, uint32_t bytes_budget) except -1:
        cdef int64_t now_ns = self._clock.mono_ns
        cdef int step = DELIVERED, size
        cdef uint64_t used = 0
        self.queued = False
        if self._stopped:
            return 0
        self._pumping, self._again = True, False
        try:
            self._check_interest()
            while messages_budget and used < bytes_budget and self._may_deliver(now_ns):
                size = self._deliver_one(now_ns)
                if size <= 0:
                    step = DRY if size == 0 else HELD
                    break
                used += size
                messages_budget -= 1
            else:
                step = DELIVERED if messages_budget == 0 or used >= bytes_budget else HELD
            if self._pulls.waiting and step != DELIVERED:
                self._pulls.sweep(step == DRY, now_ns)
        finally:
            self._pumping = False
        self._arm()
        if self._stopped:
            return 0
        self.queued = step == DELIVERED or self._again
        return self.queued

    cdef bint _may_deliver(self, int64_t now_ns) except *:
        if self._stopped or (self._pause_until_ns and self._pause_until_ns > self._clock.wall_ns):
            return False
        if self._hold_until_ns > now_ns:
            return False
        if not self._push:
            return bool(self._pulls.waiting)
        return self._active and (self._window is None or not self._window.closed())

    cdef int _deliver_one(self, int64_t now_ns) except -1:
        """Bytes delivered; 0: nothing committed is left; HELD_NOW: something is, but not now."""
        cdef ConsumerState state = self.state
        cdef Store store = self.stream.store
        cdef Record record
        cdef Waiting request = None
        cdef Msg msg
        cdef uint32_t deliveries = 1
        cdef uint64_t stream_seq = self._next_again(), pending = self.num_pending, consumer_seq
        cdef bint again = stream_seq != 0
        cdef bytes subject = self._deliver_subject
        cdef int64_t size
        if not again:
            if self._max_ack_pending and state.num_pending_acks >= <uint64_t>self._max_ack_pending:
                return HELD_NOW
            stream_seq = self._next_new()
            if stream_seq == 0:
                return 0
            pending -= pending > 0
        found = store.load(stream_seq, &record)
        if found != FOUND:
            assert found == COLD or again, "the index names only live messages"
            if found != COLD:
                state.ack(stream_seq, state.acked_ts_ns)
                self._redeliveries.pop()
                return self._deliver_one(now_ns)
            return HELD_NOW
        assert record.seq == stream_seq <= store.committed_seq
        if again:
            deliveries = self._deliveries(stream_seq) + 1
        if self._replay and self._held_by_replay(record.ts_ns, now_ns):
            return HELD_NOW
        msg = Msg(record.subject, record.subject_len, <const char*>&self._ack[0], 0, record.hdr, record.hdr_len,
                  record.body, record.body_len)
        msg.reply_len = self._encode_ack(
            deliveries, stream_seq, state.delivered_consumer_seq + 1, record.ts_ns, pending
        )
        if self._stripper is not None:
            self._stripper.strip(&msg)
        size = msg.subject_len + msg.reply_len + msg.hdr_len + msg.body_len
        if not self._push:
            request = self._pulls.take(size, now_ns)
            if request is None:
                return HELD_NOW
            subject = request.reply
        if again:
            self._redeliveries.pop()
            state.redeliver(stream_seq, self._clock.wall_ns, &deliveries)
        else:
            self._step_over(stream_seq)
            self.num_pending = pending
            state.deliver(stream_seq, self._clock.wall_ns, self._tracked)
        if self._tracked:
            self._expiry_due_ns = _nearer(self._expiry_due_ns, now_ns + self._wait_ns(deliveries))
        self._replay_ts_ns = record.ts_ns
        self.stream.router.route(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject), &msg, self)
        self._delivered(subject, request, size, now_ns)
        return <int>size if size > 0 else 1

    cdef int _delivered(self, bytes subject, Waiting request, int64_t size, int64_t now_ns) except -1:
        """What follows from one delivery: statuses, heartbeat, rate limit, flow control."""
        self._last_active_ns = now_ns
        if request is not None and request.batch_left <= 0 and request.bytes_left > 0:
            self._notices.ended(request.reply, "409 Batch Completed", request.batch_left, request.bytes_left)
        if self._heartbeat_due_ns:
            self._heartbeat_due_ns = now_ns + self._heartbeat_ns
        if self._rate_bps:
            self._rate_free_ns = max(self._rate_free_ns, now_ns) + size * 8_000_000_000 // self._rate_bps
            self._hold_until_ns = self._rate_free_ns
        if self._window is not None and self._window.count(size + PyBytes_GET_SIZE(subject)):
            self._notices.send(subject, self._window.reply, b"NATS/1.0 100 FlowControl Request\r\n\r\n")
        return 0

    cdef uint32_t _deliveries(self, uint64_t stream_seq) noexcept:
        cdef Pending pending
        return pending.deliveries if self.state.get(stream_seq, &pending) else 0

    cdef bint _held_by_replay(self, int64_t ts_ns, int64_t now_ns) except *:
        """Replay as it came: hold the next message for as long as it came after the one before."""
        if self.state.delivered_stream_seq >= self._replay_end_seq:
            self._replay = False
        elif self._replay_ts_ns and self._hold_until_ns == 0 and ts_ns - self._replay_ts_ns > MILLISECOND:
            self._hold_until_ns = now_ns + ts_ns - self._replay_ts_ns
            return True
        self._hold_until_ns = 0
        return False

    cdef uint64_t _next_again(self) except? 0xFFFFFFFFFFFFFFFF:
        """What is to be redelivered next, still at the head of the queue; 0 = nothing."""
        cdef Pending pending
        cdef uint64_t stream_seq
        while self._redeliveries.size():
            stream_seq = self._redeliveries.peek()
            if self.state.get(stream_seq, &pending) and pending.ts_ns == QUEUED:
                if not self._max_deliver or pending.deliveries < self._max_deliver:
                    return stream_seq
                self._exceeded(stream_seq, pending.deliveries)
            self._redeliveries.pop()
        return 0

    cdef uint64_t _next_new(self) except? 0xFFFFFFFFFFFFFFFF:
        """The next committed message that was never delivered; 0 = none."""
        cdef Store store = self.stream.store
        cdef uint64_t stream_seq
        if self._skip is not None:
            stream_seq = self._skip[self._skip_at]
        else:
            stream_seq = self.state.delivered_stream_seq + 1
            if self.filters.all:
                stream_seq = store.next_live(stream_seq)
            else:
                stream_seq = store.next_match(stream_seq, self.filters)
        return stream_seq if stream_seq <= store.committed_seq else 0

    cdef int _step_over(self, uint64_t stream_seq) except -1:
        if self._skip is not None:
            assert self._skip[self._skip_at] == stream_seq
            self._skip_at += 1
            if self._skip_at == <size_t>len(self._skip):
                self._skip = None
        return 0

    cdef uint32_t _encode_ack(self, uint64_t deliveries, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns,
                              uint64_t pending) noexcept:
        cdef char* at = self._ack + self._ack_prefix
        at = put_number(at, deliveries, c".")
        at = put_number(at, stream_seq, c".")
        at = put_number(at, consumer_seq, c".")
        at = put_number(at, <uint64_t>ts_ns, c".")
        at = put_number(at, pending, 0)
        return <uint32_t>(at - <char*>self._ack)

    # --- what clients send ---

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        if self._stopped:
            return 0
        if sub.tag == ACK:
            self._acked(msg)
        elif sub.tag == FLOW:
            if self._window is not None and self._window.answered(
                PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
            ):
                self.ready()
        elif msg.reply_len:
            self._next_request(PyBytes_FromStringAndSize(msg.reply, msg.reply_len),
                               PyBytes_FromStringAndSize(msg.body, msg.body_len))
            self._arm()
        return 1

    cdef int _next_request(self, bytes reply, bytes body) except -1:
        cdef uint64_t ready = self.num_pending + self._redeliveries.size()
        self._last_active_ns = self._clock.mono_ns
        if self._push:
            return self._notices.status(reply, "409 Consumer is push based")
        return self.ready() if self._pulls.add(self.config, reply, body, ready, self._last_active_ns) else 0

    cdef int _acked(self, const Msg* msg) except -1:
        cdef uint64_t[3] numbers         # deliveries, stream_seq, consumer_seq
        cdef bytes body, reply
        if not read_numbers(msg.subject + self._ack_prefix, <int64_t>msg.subject_len - self._ack_prefix, numbers):
            return 0
        cdef uint64_t stream_seq = numbers[1]
        if stream_seq == 0 or stream_seq > self.state.delivered_stream_seq:
            return 0
        self._last_active_ns = self._clock.mono_ns
        reply = PyBytes_FromStringAndSize(msg.reply, msg.reply_len) if msg.reply_len else b""
        if msg.body_len == 0 or body_is(msg, b"+ACK", 4) or body_is(msg, b"+OK", 3):
            self._settle(stream_seq)
        else:
            body = PyBytes_FromStringAndSize(msg.body, msg.body_len)
            if body.startswith(b"+NXT"):
                self._settle(stream_seq)
                return self._next_request(reply, body[4:]) if reply else 0
            if body.startswith(b"-NAK"):
                self._nak(stream_seq, numbers[2], body[4:])
            elif body == b"+WPI":
                self.state.touch(stream_seq, self._clock.wall_ns)
            elif body.startswith(b"+TERM"):
                self._terminate(stream_seq, numbers[2], body[5:].strip())
        if reply:
            if self.state.journal is None:
                self._notices.send(reply, b"", b"")
            else:
                self.stream.after_commit(partial((<object>self.stream.router).publish, reply, b""))
        return 0

    cdef int _settle(self, uint64_t stream_seq) except -1:
        cdef uint64_t before = self.state.num_pending_acks
        if self._ack_all:
            self.state.ack_through(stream_seq, self._clock.wall_ns)
        else:
            self.state.ack(stream_seq, self._clock.wall_ns)
        if self._max_ack_pending and before >= <uint64_t>self._max_ack_pending > self.state.num_pending_acks:
            return self.ready()
        return 0

    cdef int _nak(self, uint64_t stream_seq, uint64_t consumer_seq, bytes argument) except -1:
        cdef Pending pending
        if not self.state.get(stream_seq, &pending):
            return 0
        self._advise("MSG_NAKED", "nak", {"consumer_seq": consumer_seq, "stream_seq": stream_seq,
                                          "deliveries": pending.deliveries})
        delay_ns = parse_nak_delay(argument)
        if delay_ns is None:
            self._queue_again(stream_seq)
            return self.ready()
        self.state.touch(stream_seq, max(0, self._clock.wall_ns - self._wait_ns(pending.deliveries) + delay_ns))
        self._expiry_due_ns = _nearer(self._expiry_due_ns, self._clock.mono_ns + max(delay_ns, 0))
        return self._arm()

    cdef int _terminate(self, uint64_t stream_seq, uint64_t consumer_seq, bytes reason) except -1:
        cdef Pending pending
        if not self.state.get(stream_seq, &pending):
            return 0
        self.state.ack(stream_seq, self._clock.wall_ns)
        fields = {"consumer_seq": consumer_seq, "stream_seq": stream_seq, "deliveries": pending.deliveries}
        if reason:
            fields["reason"] = reason.decode("utf-8", "replace")
        self._advise("MSG_TERMINATED", "terminated", fields)
        return self.ready()

    def _advise(self, str event, str kind, dict fields):
        self._advisories.send(f"CONSUMER.{event}.{self.stream.name}.{self.name}", kind,
                              {"stream": self.stream.name, "consumer": self.name, **fields})

    # --- redelivery ---

    cdef int _queue_again(self, uint64_t stream_seq) except -1:
        cdef Pending pending
        if not self.state.get(stream_seq, &pending) or pending.ts_ns == QUEUED:
            return 0
        self.state.touch(stream_seq, QUEUED)
        return self._redeliveries.push(stream_seq)

    cdef int64_t _wait_ns(self, uint32_t deliveries) noexcept:
        """How long a message delivered so often may stay unacknowledged."""
        cdef Py_ssize_t steps = len(self._backoff), at = deliveries - 1 if deliveries else 0
        if steps == 0:
            return self._ack_wait_ns
        return self._backoff[at if at < steps else steps - 1]

    cdef int _expire(self, int64_t now_ns) except -1:
        """Queues what waited too long. Looks at all pending; so it rests ten times as long as it takes."""
        cdef Pending pending
        cdef uint64_t at = 0
        cdef int64_t wall_ns = self._clock.wall_ns, left, nearest = 0
        cdef bint queued = False
        while self.state.next_pending(at, &pending):
            at = pending.stream_seq + 1
            if pending.ts_ns == QUEUED and self._redeliveries.size():
                continue
            left = pending.ts_ns + self._wait_ns(pending.deliveries) - wall_ns
            if left > 0:
                nearest = _nearer(nearest, left)
            elif self._max_deliver and pending.deliveries >= self._max_deliver:
                self._exceeded(pending.stream_seq, pending.deliveries)
            else:
                if pending.ts_ns == QUEUED:      # recovered so; its queue is gone
                    self.state.touch(pending.stream_seq, 0)
                self._queue_again(pending.stream_seq)
                queued = True
        if nearest:
            self._expiry_due_ns = now_ns + max(nearest, MILLISECOND, <int64_t>self.state.num_pending_acks * 1000)
        else:
            self._expiry_due_ns = 0
        return self.ready() if queued else 0

    cdef int _exceeded(self, uint64_t stream_seq, uint32_t deliveries) except -1:
        self.state.ack(stream_seq, self.state.acked_ts_ns)
        self._advise("MAX_DELIVERIES", "max_deliver", {"stream_seq": stream_seq, "deliveries": deliveries})
        return 0

    # --- push ---

    cdef int _check_interest(self) except -1:
        cdef Router router = self.stream.router
        cdef bint was = self._active
        if not self._push or self._seen_generation == router.sublist.generation:
            return 0
        self._seen_generation = router.sublist.generation
        self._active = router.has_interest(
            PyBytes_AS_STRING(self._deliver_subject), PyBytes_GET_SIZE(self._deliver_subject)
        )
        if self._active:
            self._poll_ns = POLL_MIN_NS
            if not was:
                self.ready()
        if was and not self._active:
            self._last_active_ns = self._clock.mono_ns
        return 0

    # --- time ---

    cdef int _arm(self) except -1:
        cdef int64_t now_ns = self._clock.mono_ns, due = self._expiry_due_ns
        if self._stopped:
            return 0
        due = _nearer(_nearer(due, self._pulls.due_ns()), self._heartbeat_due_ns)
        if self._hold_until_ns > now_ns:
            due = _nearer(due, self._hold_until_ns)
        if self._pause_until_ns > self._clock.wall_ns:
            due = _nearer(due, now_ns + self._pause_until_ns - self._clock.wall_ns)
        if self._push and not self._active:
            due = _nearer(due, now_ns + self._poll_ns)
        elif self._push and self._inactive_ns:           # notice that the last listener has gone
            due = _nearer(due, now_ns + min(self._inactive_ns, <int64_t>1_000_000_000))
        if self._inactive_ns and not self._pulls.waiting and not (self._push and self._active):
            due = _nearer(due, self._last_active_ns + self._inactive_ns)
        if due == 0:
            return self._timers.cancel(self._timer)
        return self._timers.arm(self._timer, due)

    cdef int _tick(self, int64_t now_ns) except -1:
        self._check_interest()
        if self._push and not self._active:
            self._poll_ns = min(self._poll_ns * 2, <int64_t>POLL_MAX_NS)
        if self._expiry_due_ns and now_ns >= self._expiry_due_ns:
            self._expire(now_ns)
        if self._heartbeat_due_ns and now_ns >= self._heartbeat_due_ns:
            self._heartbeat_due_ns = now_ns + self._heartbeat_ns
            if self._active:
                self._notices.heartbeat(
                    self._deliver_subject, None if self._window is None else self._window.reply
                )
        if self._pulls.waiting:
            self._pulls.sweep(False, now_ns)
        if self._inactive_ns and not self._pulls.waiting and not (self._push and self._active):
            if now_ns - self._last_active_ns >= self._inactive_ns:
                self._on_inactive(self)
                return 0
        self._arm()
        return self.ready() if self._pulls.waiting or self._active else 0
