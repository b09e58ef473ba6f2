"""One consumer: it ties its rooms (consumer.pxd) to the stream, the clients, the clock and the API.

Messages leave only in the pump phase; requests, acks, timers and commits change what the next pump finds.

One timer serves all deadlines: acknowledgement wait, request expiry, heartbeats, pins, pause, pace and
inactivity. It is armed for the nearest and looks at each when it fires; a deadline that moved away meanwhile
costs one look, one that moved nearer arms it anew.
"""

import re

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.base.clock cimport Clock
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.consumer_acks cimport IGNORED, NEXT, READY, Acks, Effect
from millpond.jetstream.consumer_cursor cimport Cursor
from millpond.jetstream.consumer_delivery cimport DRY, HELD, READING, RETRY, SEARCHING, Delivery
from millpond.jetstream.consumer_pace cimport Pace
from millpond.jetstream.consumer_resume cimport bring_in_line, holds_others
from millpond.jetstream.flow_control cimport Window
from millpond.jetstream.follower cimport Follower
from millpond.jetstream.headers cimport header
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.pull cimport PullQueue
from millpond.jetstream.pull_priority cimport Moment, Priority
from millpond.jetstream.pump cimport Pump
from millpond.jetstream.push cimport PushTarget
from millpond.jetstream.redelivery cimport Redelivery
from millpond.jetstream.stream cimport Stream
from millpond.store.api cimport Filters, Store
from millpond.store.consumer_image cimport image_of, take_back
from millpond.store.consumer_state cimport WAS_PENDING, ConsumerState, Pending
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.jetstream.consumer_reset import reset_seq
from millpond.jetstream.go_time import format_time, int64_ns

cdef enum Tag:
    PULL = 1
    ACK_V1 = 2
    ACK_V2 = 3
    FLOW = 4

cdef enum:
    MILLISECOND = 1_000_000
    LOOK_NS = 1_000_000_000                  # how late the leaving of the last listener may be noticed, at most
    LOOK_NS_MIN = 50_000_000                 # and how often it is looked for, at most

cdef object DIGITS = re.compile(rb"[0-9]{1,18}").fullmatch
cdef object FOR_EVER = 2**62                 # wall ns, in the year 2116
cdef int64_t WINDOW_MAX = limits.FLOW_CONTROL_WINDOW_BYTES_MAX
cdef uint64_t PAYLOAD_MAX = limits.PAYLOAD_BYTES_MAX
cdef bytes API_LEVEL_HEADER = b"Nats-Required-Api-Level"
cdef int API_LEVEL = limits.API_LEVEL
cdef uint64_t STEP_ROWS = limits.SEARCH_STEP_ROWS


cdef class ConsumerTimer(Timer):
    """All deadlines of one consumer."""

    cdef int fire(self, int64_t now_ns) except -1:
        return self.consumer._tick(now_ns) if self.consumer is not None else 0


cdef inline int64_t _nearer(int64_t a, int64_t b) noexcept:
    """The earlier deadline; 0 means none."""
    return b if a == 0 else a if b == 0 or a < b else b


cdef class Consumer(Follower):
    """See the head of this file. `advisories.send(subject, kind, fields)`; `on_inactive(consumer)` deletes it;
    `scope` is the part of v2 ack subjects that names domain and account."""

    def __init__(self, str name, config, int64_t created_ns, Stream stream, ConsumerState state, advisories,
                 on_inactive, Clock clock, Timers timers, Pump pump, str scope="_._"):
        self.name, self.config, self.created_ns = name, config, created_ns
        self.stream, self.state = stream, state
        self._on_inactive, self._scope = on_inactive, scope
        self._clock, self._timers, self._pump = clock, timers, pump
        self._subs, self._on_counted, self.changes = [], [], []
        self._timer = ConsumerTimer()
        self._timer.consumer = self
        self._notices = Notices(stream.router, self, advisories, stream.name, name)
        self.priority = Priority(self._notices, clock)
        self.pulls = PullQueue(self._notices, self.priority)
        self.push = PushTarget() if config.deliver_subject else None
        self.cursor = Cursor(stream.store, state)
        self.redelivery = Redelivery(state, self._notices)
        self._acks = Acks(stream, state, self.redelivery, self._notices, clock)
        self._delivery = Delivery(stream.name, name, stream.store, state, self.cursor, self, clock)
        self._delivery.redelivery, self._delivery.notices = self.redelivery, self._notices
        self._delivery.pulls, self._delivery.priority, self._delivery.push = self.pulls, self.priority, self.push
        self._configure()

    @property
    def num_pending(self):
        """Messages still to come; exact."""
        return self.cursor.num_pending

    # --- life ---

    cdef int _configure(self) except -1:
        config = self.config
        cdef int64_t max_ack_pending = 0 if config.ack_policy == "none" else max(config.max_ack_pending, 0)
        self.redelivery.configure(config)
        self.priority.configure(config)
        self.pulls.configure(config)
        self._acks.ack_all = config.ack_policy in ("all", "flow_control")
        self._acks.sample_percent = int(config.sample_freq.removesuffix("%")) if config.sample_freq else 0
        self._acks.max_ack_pending = self._delivery.max_ack_pending = max_ack_pending
        self._delivery.headers_only = config.headers_only
        self._delivery.tracked = config.ack_policy != "none"
        self._delivery.ack_by_flow = config.ack_policy == "flow_control"
        self._inactive_ns = min(config.inactive_threshold, FOR_EVER // 2)
        self._pause_until_ns = max(0, min(config.pause_until_ns, FOR_EVER))
        self._pause_told = self._pause_until_ns <= self._clock.wall_ns
        if config.rate_limit_bps or config.replay_policy == "original" or self._delivery.pace is not None:
            self._delivery.pace = self._delivery.pace or Pace()
            burst = self.stream.config.max_msg_size
            self._delivery.pace.limit(config.rate_limit_bps, burst if burst > 0 else PAYLOAD_MAX)
        if self.push is not None:
            self.push.configure(config)
            if config.flow_control and self.push.window is None:
                self.push.window = Window(f"$JS.FC.{self.stream.name}.{self.name}.", WINDOW_MAX)
        return 0

    cdef int _set_filters(self, bint stray) except -1:
        subjects = self.config.filter_subjects or ([self.config.filter_subject] if self.config.filter_subject else [])
        filters = Filters([subject.encode() for subject in subjects])
        self._at_end = False
        self.stream.follows(self, filters, stray)
        return self.cursor.set_filters(filters)

    cdef int _subscribe(self) except -1:
        cdef Router router = self.stream.router
        where = f"{self.stream.name}.{self.name}"
        v1, v2 = f"$JS.ACK.{where}.".encode(), f"$JS.ACK.{self._scope}.{where}.".encode()
        self._ack_v1_at, self._ack_v2_at = len(v1), len(v2)
        self._subs.append(router.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.{where}".encode(), self, b"", PULL))
        if self.config.ack_policy in ("explicit", "all"):
            self._subs.append(router.subscribe(v1 + b">", self, b"", ACK_V1))
            self._subs.append(router.subscribe(v2 + b">", self, b"", ACK_V2))
        if self.config.flow_control:
            self._subs.append(router.subscribe(f"$JS.FC.{where}.*".encode(), self, b"", FLOW))
        return 0

    cpdef int start(self, bint recovered) except -1:
        self._subscribe()
        self._set_filters(False)
        if recovered:
            self._resume()
            if holds_others(self.state, self.stream.store, self.cursor.filters):
                self.stream.follows(self, self.cursor.filters, True)
        else:
            self.cursor.start(self.config)
        if self.config.replay_policy == "original":
            self._delivery.pace.replay(self.stream.store.state.last_seq)
        self._used_ns = self._clock.mono_ns
        if self.push is not None:
            self.push.heartbeat_due_ns = self._used_ns + self.push.heartbeat_ns if self.push.heartbeat_ns else 0
            self._look()
        self._arm()
        return self.ready()

    cdef int _resume(self) except -1:
        bring_in_line(self.state, self.stream.store, self.config)
        self.redelivery.rebuild()
        return self.cursor.go_on()

    cpdef int halt(self) except -1:
        if self._stopped:
            return 0
        self._stopped = True
        self._pump.forget(self)
        self._timer.consumer = None
        return self._tell_counted()

    cpdef int stop(self, str status) except -1:
        self.halt()
        while self._subs:
            self.stream.router.unsubscribe(self._subs.pop())
        self._timers.cancel(self._timer)
        return self.pulls.end(status)

    cpdef int when_counted(self, object callback) except -1:
        self._on_counted.append(callback)
        return 0 if self.cursor.counting else self._tell_counted()

    cdef int _tell_counted(self) except -1:
        callbacks, self._on_counted = self._on_counted, []
        for callback in callbacks:
            callback()
        return 0

    cpdef int update(self, object config) except -1:
        self._catch_up()
        old, self.config = self.config, config
        self._configure()
        if (old.filter_subject, old.filter_subjects) != (config.filter_subject, config.filter_subjects):
            self._set_filters(True)
            self.stream.review(self.state.floor_stream_seq + 1, True)
        if self.push is not None:
            if old.deliver_subject != config.deliver_subject:
                self.redelivery.again_all()
            self._look()
        if old.pause_until_ns != config.pause_until_ns:
            self.tell_pause()
        if config.sourcing:
            self.reset(0)
        if old.inactive_threshold != config.inactive_threshold:
            self._used_ns = self._clock.mono_ns
        self._catch_up()
        self._arm()
        return self.ready()

    cpdef uint64_t reset(self, uint64_t stream_seq) except 0:
        cdef Store store = self.stream.store
        start_ns = self.config.opt_start_time_ns
        stream_seq = reset_seq(self.config, stream_seq, self.state.floor_stream_seq,
                               store.seq_at_time(int64_ns(start_ns)) if start_ns else 0)
        self._at_end = False
        self.state.reset(stream_seq - 1, True)
        self.redelivery.forget()
        self.cursor.go_on()
        self.stream.passed_over(stream_seq)
        self._arm()
        self.ready()
        return stream_seq

    cpdef bytes image(self):
        return image_of(self.state)

    cpdef int take_back(self, bytes image) except -1:
        if self._stopped:
            return 0
        self._at_end = False
        take_back(self.state, image)
        self.redelivery.forget()
        self._resume()
        self._arm()
        return self.ready()

    cpdef int hold(self) except -1:
        self._held = True
        return 0

    cpdef int go_on(self) except -1:
        held, self._held = self._held, False
        return self.ready() if held else 0

    cpdef int unpin(self, str group) except -1:
        self.priority.unpin(group, "admin")
        return self.ready()

    cpdef tuple pin(self):
        return self.priority.pin_id, self.priority.pinned_wall_ns

    cpdef int tell_pause(self) except -1:
        paused, until = self._pause_until_ns > self._clock.wall_ns, format_time(self._pause_until_ns)
        return self._notices.advise("CONSUMER.PAUSE", "consumer_pause", {"paused": paused, "pause_until": until})

    cpdef dict info(self):
        self._catch_up()
        if self.push is not None:
            self._look()
        self._sweep(False)
        self._catch_up()
        cdef dict info = self.state.info()
        if self.config.max_deliver == 1:                 # nothing is ever redelivered
            info["num_redelivered"] = 0
        if self.state.log is None and self.state.delivered_consumer_seq == self.state.delivered_stream_seq == 0:
            info["delivered"]["stream_seq"] = self.cursor.position       # passed over without a delivery
        info["num_waiting"], info["num_pending"] = self.pulls.count, self.cursor.num_pending
        info["push_bound"] = self.push is not None and bool(self.push.bound)
        return info

    # --- asked and told by the stream ---

    cdef bint needs(self, uint64_t stream_seq) except *:
        cdef Pending pending
        if stream_seq > self.cursor.position or self.state.is_exhausted(stream_seq):
            return True
        if stream_seq <= self.state.floor_stream_seq:
            # A work queue keeps what a reset has passed over: nobody acknowledged it.
            return stream_seq <= self.state.began_stream_seq and self.stream.config.retention == "workqueue"
        return self._acks.ack_all or self.state.get(stream_seq, &pending)

    cdef int appended(self, uint64_t stream_seq) except -1:
        if self._at_end:
            self._at_end = False
            self.cursor.pass_over(stream_seq - 1)
        self.cursor.appended(stream_seq)
        if self.push is not None or self.pulls.count:
            self.stream.expect(self, stream_seq)
        return 0

    cdef int _catch_up(self) except -1:
        """Who waits at the end of the stream hears only of what it wants (listeners.pyx), and is through with all else.

        Called before its position is looked at, and after what may have ended the waiting."""
        if self._at_end:
            self.cursor.pass_over(self.stream.store.state.last_seq)
            self._at_end = self._may_deliver(self._clock.mono_ns)
        return 0

    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        self.cursor.removed(stream_seq, subject, subject_len)
        if stream_seq <= self.state.delivered_stream_seq:
            return self._gone(stream_seq)
        return self.state.knows_of(self.stream.store.position)       # it will be passed over

    cdef int _gone(self, uint64_t stream_seq) except -1:
        """A message that was delivered has left the stream."""
        cdef Pending pending
        if not self.state.get(stream_seq, &pending) and not self.state.is_exhausted(stream_seq):
            return 0                                 # a client has settled it
        self.state.knows_of(self.stream.store.position)
        if self.state.ack(stream_seq, self._clock.wall_ns) == WAS_PENDING:
            if not self.stream.purging:
                self._notices.advise("CONSUMER.MSG_TERMINATED", "terminated", {
                    "consumer_seq": pending.consumer_seq, "stream_seq": stream_seq, "deliveries": pending.deliveries,
                    "reason": "Unacknowledged message was deleted",
                })
            self.ready()
        return 0

    cdef int purged(self, Filters filters, uint64_t first_left) except -1:
        """What is still pending is still there: it was delivered under filters that have changed since."""
        self._catch_up()
        cdef uint64_t first_seq = self.cursor.after_purge(filters, first_left), kept = self.state.lowest()
        if first_seq > self.state.floor_stream_seq + 1:
            self.state.knows_of(self.stream.store.position)
            self.state.advance((min(first_seq, kept) if kept else first_seq) - 1)
        return self.ready()

    cdef int ready(self) except -1:
        if self._stopped or (self.push is None and self.pulls.count == 0 and not self.cursor.counting):
            return 0
        return self._queue()

    cdef int _queue(self) except -1:
        if self._pumping:
            self._again = True
        elif not self.queued:
            self.queued = True
            self._pump.add(self)
            self.stream.turn.wake()
        return 0

    # --- pump ---

    cdef int pump(self, uint32_t messages_budget, uint32_t bytes_budget) except -1:
        cdef int64_t now_ns = self._clock.mono_ns, outcome = DRY
        self.queued = False
        if self._stopped:
            return 0
        if self.cursor.counting:
            if self.cursor.count_on():
                self.queued = True
                return 1
            self._tell_counted()
        if self._stopped or self._held:
            return 0
        self._catch_up()
        self._pumping, self._again, self._at_end = True, False, False
        self.cursor.rows_left = STEP_ROWS
        try:
            if self.push is not None:
                self._look()
            self._deliver_many(messages_budget, bytes_budget, now_ns, &outcome)
            if outcome == DRY and self.pulls.no_wait:
                self._sweep(True)
        finally:
            self._pumping = False
        self._arm()
        self.queued = not self._stopped and (outcome > 0 or outcome == SEARCHING or self._again)
        if outcome == READING:
            self.stream.await_read(self)
        elif outcome == DRY and self._may_deliver(now_ns):
            self._wait()
        return self.queued

    cdef int _wait(self) except -1:
        """There is nothing to deliver now: for a message that it wants, or for the commit of one that is there."""
        self._at_end = self.cursor.is_through() and self.state.num_queued == 0
        if self.cursor.num_pending:
            self.stream.expect(self, self.stream.store.committed_seq + 1)
        return 0

    cdef uint64_t _deliver_many(self, uint32_t messages, uint64_t bytes, int64_t now_ns,
                                int64_t* last) except? 0xFFFFFFFFFFFFFFFF:
        """Bytes delivered. `last`: an Outcome, or > 0 when the budget is used up."""
        cdef uint64_t used = 0
        last[0] = DRY
        while self._may_deliver(now_ns):
            last[0] = self._delivery.step(now_ns)
            if last[0] == RETRY:
                continue
            if last[0] <= 0:
                return used
            if not self._delivery.tracked:
                self.stream.settled(self.state.delivered_stream_seq)
            used += last[0]
            messages -= 1
            if messages == 0 or used >= bytes:
                return used
            last[0] = HELD if self._delivery.pace is not None else DRY
        return used

    cdef bint _may_deliver(self, int64_t now_ns) except *:
        if self._stopped or self.cursor.counting or (self._pause_until_ns and self._pause_until_ns > self._clock.wall_ns):
            return False
        if self._delivery.pace is not None and self._delivery.pace.hold_until_ns > now_ns:
            return False
        return self.pulls.count != 0 if self.push is None else self.push.takes()

    # --- what clients send ---

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        if self._stopped:
            return 0
        if sub.tag == ACK_V1:
            return self._ack(msg, self._ack_v1_at, False)
        if sub.tag == ACK_V2:
            return self._ack(msg, self._ack_v2_at, True)
        if sub.tag == FLOW:
            return self._flow_answered(msg)
        if msg.reply_len == 0:
            return 1
        level = header(msg, API_LEVEL_HEADER) if msg.hdr_len and self.push is None else b""
        if level and (not level.isdigit() or int(level) > API_LEVEL):
            self._notices.status(PyBytes_FromStringAndSize(msg.reply, msg.reply_len), "412 Required Api Level")
        else:
            self._request(msg, 0)
        return 1

    cdef int _request(self, const Msg* msg, uint32_t skipped) except -1:
        """A pull request whose words begin behind the first `skipped` bytes of the body."""
        self._catch_up()
        cdef Moment at = self._delivery.moment(self.cursor.num_pending)
        cdef bytes reply = PyBytes_FromStringAndSize(msg.reply, msg.reply_len)
        cdef uint64_t ready = self.cursor.num_pending + self.state.num_queued + self.cursor.counting
        self._used_ns = at.now_ns
        if not self.pulls.add(reply, msg.body + skipped, msg.body_len - skipped, ready, &at):
            return self._catch_up()
        self._arm()
        return self.ready()

    cdef int _ack(self, const Msg* msg, uint64_t at, bint more) except -1:
        cdef Effect effect = self._acks.take(msg, at, more)
        if effect == IGNORED:
            return 0
        self._used_ns = self._clock.mono_ns
        if effect == NEXT:
            if msg.reply_len:
                self._request(msg, 4)
        elif effect == READY:
            self._arm()
            self.ready()
        return 1

    cdef int _flow_answered(self, const Msg* msg) except -1:
        """Window opens; with ack policy flow_control the answer also says how far the client has come."""
        if self.push.window.answered(PyBytes_FromStringAndSize(msg.subject, msg.subject_len)):
            if self._delivery.ack_by_flow and msg.hdr_len:
                stream_seq, consumer_seq = header(msg, b"Nats-Last-Stream"), header(msg, b"Nats-Last-Consumer")
                if DIGITS(stream_seq):
                    self._acks.settle_through(int(stream_seq), int(consumer_seq) if DIGITS(consumer_seq) else 0)
            self.ready()
        return 1

    # --- listeners ---

    cdef int interest_changed(self) except -1:
        return self._look()

    cdef int _look(self) except -1:
        """Is anybody listening to a push consumer? An unbound one is told by the pump when that may change."""
        cdef bint was = self.push.bound
        if self.push.look(self.stream.router):
            self._pump.forget(self)
            if not was:
                self.ready()
        else:
            self._pump.watch(self, self.stream.router)
            if was:
                self._used_ns = self._clock.mono_ns
        return 0

    cdef int _sweep(self, bint end_of_stream) except -1:
        cdef Moment at
        if self.pulls.count:
            at = self._delivery.moment(self.cursor.num_pending)
            self.pulls.sweep(end_of_stream, &at)
        return 0

    # --- time ---

    cdef int _arm(self) except -1:
        cdef int64_t due
        if self._stopped:
            return 0
        due = self._due_ns(self._clock.mono_ns)
        if due and (self._timer.deadline_ns == 0 or due < self._timer.deadline_ns):
            return self._timers.arm(self._timer, due)
        return 0

    cdef int64_t _due_ns(self, int64_t now_ns) except? -1:
        """Monotonic time of the nearest deadline; 0 = none."""
        cdef int64_t due = _nearer(self.pulls.due_ns, self.priority.due_ns), again
        again = self.redelivery.due_ns()
        if again:
            due = _nearer(due, now_ns + max(again - self._clock.wall_ns, MILLISECOND))
        if self.push is not None:
            due = _nearer(due, self.push.heartbeat_due_ns)
            if self.push.bound and self._inactive_ns:
                due = _nearer(due, now_ns + max(min(self._inactive_ns, <int64_t>LOOK_NS), <int64_t>LOOK_NS_MIN))
        if self._delivery.pace is not None and self._delivery.pace.hold_until_ns > now_ns:
            due = _nearer(due, self._delivery.pace.hold_until_ns)
        if not self._pause_told:
            due = _nearer(due, now_ns + max(self._pause_until_ns - self._clock.wall_ns, MILLISECOND))
        if self._inactive_ns and self.pulls.count == 0 and not (self.push is not None and self.push.bound):
            due = _nearer(due, max(self._inactive_at(), now_ns + MILLISECOND))
        return due

    cdef int64_t _inactive_at(self) noexcept:
        return max(self._used_ns, self._delivery.last_ns) + self._inactive_ns

    cdef int _tick(self, int64_t now_ns) except -1:
        cdef bytes stalled
        self._catch_up()
        if self.push is not None:
            self._look()
            if self.push.heartbeat_due_ns and now_ns >= self.push.heartbeat_due_ns:
                self.push.heartbeat_due_ns = now_ns + self.push.heartbeat_ns
                if self.push.bound:
                    stalled = None if self.push.window is None else self.push.window.reply
                    self._notices.heartbeat(self.push.subject, self.state.delivered_consumer_seq,
                                            self.cursor.position, stalled)
                    if self._delivery.ack_by_flow and self.state.num_pending_acks:
                        self._delivery.ask_flow()
        if not self._pause_told and self._pause_until_ns <= self._clock.wall_ns:
            self._pause_told = True
            self.tell_pause()
        self.redelivery.expire(self._clock.wall_ns)
        self.priority.expire(now_ns)
        if self.pulls.due_ns and now_ns >= self.pulls.due_ns:
            self._sweep(self.pulls.is_due(now_ns))     # as on nats-server, though max_ack_pending may hold messages
        if self._expire_inactive(now_ns):
            return 0
        self._catch_up()
        self._arm()
        return self.ready()

    cdef bint _expire_inactive(self, int64_t now_ns) except *:
        """Deletes a consumer that nobody has used for its threshold; what may still be acknowledged in time counts."""
        if self._inactive_ns == 0 or (self.push is not None and self.push.bound):
            return False
        if now_ns < self._inactive_at():
            return False
        self._sweep(True)
        if self.pulls.count:
            return False
        if self.push is None and self.state.num_pending_acks:
            last = self.redelivery.last_due_ns() + self._inactive_ns - self._clock.wall_ns
            if last > 0:
                self._used_ns = now_ns + last - self._inactive_ns
                return False
        self._on_inactive(self)
        return True
