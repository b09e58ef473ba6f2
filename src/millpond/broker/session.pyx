"""A client session (reference 01): frames in, frames out, and the rules between them.

    FRESH --CONNECT accepted, or any frame when no authorization is needed--> READY --> CLOSED

A frame takes effect at once and to completion. Nothing here knows sockets: output goes into the outbox,
whose channel belongs to a transport.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.broker cimport Broker
from millpond.broker.observed cimport Observed
from millpond.broker.outbox cimport Outbox
from millpond.broker.reserved cimport is_reserved_reply, is_reserved_subject
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.turn cimport Flushable
from millpond.subjects cimport tokens
from millpond.subjects.sublist cimport Match
from millpond.wire cimport parser
from millpond.wire.encoder cimport encode_msg
from millpond.wire.headers cimport asks_for_trace

from millpond.base import limits
from millpond.broker.connection_info import closed
from millpond.wire.handshake import check_info, decode_connect, encode_info
from millpond.wire.quote import quote

cdef enum:
    SESSION_BYTES = 2050         # what one idle connection costs, measured with 4,000 of them

NO_MORE_OUTPUT = frozenset(("Read Error", "Write Error", "Slow Consumer (Pending Bytes)", "Slow Consumer (Write Deadline)",
                             "TLS Handshake Failure"))
"""Reasons that say the peer takes nothing, or that it could not read it."""

cdef int64_t INTAKE_NS = limits.TURN_INTAKE_NS_MAX
cdef int FRAMES_PER_LOOK = limits.FRAMES_PER_CLOCK_LOOK, DELIVERIES_LOG2 = limits.DELIVERIES_PER_FRAME_LOG2
cdef int64_t FIRST_PING_NS = limits.FIRST_PING_NS
cdef int64_t RTT_INTERVAL_NS = limits.RTT_INTERVAL_NS


cdef class PingTimer(Timer):
    cdef Session session

    cdef int fire(self, int64_t now_ns) except -1:
        return self.session._ping_due(now_ns)


cdef class AuthTimer(Timer):
    """First until it must be known who this is, then until that is true no longer."""
    cdef Session session

    cdef int fire(self, int64_t now_ns) except -1:
        attempt = self.session.attempt
        if attempt is not None and attempt.begun:
            return 0                                 # what is being verified in this moment decides
        if self.session.state == READY:
            return self.session.close("Authentication Expired", "User Authentication Expired")
        return self.session.close("Authentication Timeout", "Authentication Timeout")


cdef class Session(Observed):
    """One client."""

    def __init__(self, Broker broker, Channel channel, str ip, int port):
        cdef PingTimer ping = PingTimer()
        cdef AuthTimer auth = AuthTimer()
        ping.session = auth.session = self
        self.ping_timer, self.auth_timer = ping, auth
        Observed.__init__(self, broker, channel, ip, port)
        self.verbose = self.pedantic = self.echo = True
        self.subs = {}
        self.started_ns = self.active_ns = broker.clock.wall_ns

    cdef int open(self) except -1:
        if self.enter():
            self.begin()
        return 0

    cdef bint enter(self) except -1:
        cdef Broker broker = self.broker
        broker.counters.total_connections += 1
        broker.connections.charge(SESSION_BYTES)
        if not self.greets_late:
            self.greet()
        most = broker.options.max_connections
        if (most < 0 or 0 < most <= len(broker.sessions)) and not self.origin.is_local:     # an operator may look at it
            self.close("Maximum Connections Exceeded", "maximum connections exceeded")
            return False
        broker.sessions[self.cid] = self
        self.trace(broker.tracing)
        return True

    cdef int greet(self) except -1:
        ip = "" if self.unplaced else self.ip
        self._send(encode_info(self.broker.info_for(self.cid, ip, self.nonce, changes=self.hello)))
        return 0

    cdef int begin(self) except -1:
        if self.is_anonymous():
            self._expect_connect()
        self.broker.turn.timers.arm(self.ping_timer, self.broker.clock.mono_ns + self._ping_interval())
        return 0

    # --- in ---

    cdef size_t feed(self, const char* data, size_t n, size_t* need) except? 0:
        return self._feed(data, n, need) if self.outbox.tracer is None else self._feed_traced(data, n, need)

    cdef size_t _feed_traced(self, const char* data, size_t n, size_t* need) except? 0:
        """One frame at a time: it is shown, takes effect, and what was sent because of it is shown."""
        cdef Broker broker = self.broker
        cdef Flushable other
        cdef parser.Frame frame
        cdef parser.Verb held
        cdef size_t used = 0, took, part
        cdef bint verb_held
        need[0] = 0
        while used < n and self.state != CLOSED and not self.stalled:
            held = self.held
            verb_held = held.op != parser.NEED_MORE
            took = parser.parse(data + used, n - used, broker.control_line_max,
                                broker.payload_max if self.payload_max < 0 else min(self.payload_max, broker.payload_max),
                                self.headers, &held, &frame)
            part = n - used if frame.op == parser.NEED_MORE or frame.op >= parser.BAD_OP else took
            if not self.waits_for_readers():
                self.outbox.tracer.incoming(&frame, data + used, part, verb_held)
            took = self._feed(data + used, part, need)
            used += took
            for other in broker.turn._flushes:
                if isinstance(other, Outbox) and (<Outbox>other).tracer is not None:
                    (<Outbox>other).tracer.outgoing((<Outbox>other).buffer)
            if took < part or self.yielded or frame.op == parser.NEED_MORE:
                break
        return used

    cdef size_t _feed(self, const char* data, size_t n, size_t* need) except? 0:
        cdef size_t used = 0, took
        cdef parser.Frame frame
        cdef Broker broker = self.broker
        cdef int look = FRAMES_PER_LOOK
        need[0] = 0
        self.yielded = False
        while used < n and self.state != CLOSED and not self.stalled:
            if self.waits_for_readers():
                self.stall()
                break
            if (self.state == FRESH and (broker.auth_required or self.asks) and self.held.op == parser.NEED_MORE
                    and data[used] != b"C" and data[used] != b"c"):
                if not self._come_in():
                    break
                self.state = READY
                broker.turn.timers.cancel(self.auth_timer)
            took = parser.parse(data + used, n - used, broker.control_line_max,
                                broker.payload_max if self.payload_max < 0 else min(self.payload_max, broker.payload_max),
                                self.headers, &self.held, &frame)
            used += took
            if frame.op == parser.NEED_MORE:
                need[0] = frame.need
                break
            if frame.op >= parser.BAD_OP:
                if frame.op == parser.BAD_PAYLOAD:
                    self.trace_too_large(&frame.msg, frame.need)
                self._violation(frame.op)
                break
            if frame.op == parser.PUB and self.state == READY:
                look -= self._publish(&frame) >> DELIVERIES_LOG2
            else:
                self._frame(&frame)
            self.stall_credit -= took
            look -= 1
            if look <= 0 or self.took_long:
                look, self.took_long = FRAMES_PER_LOOK, False
                if broker.clock.read_mono_ns() - broker.clock.mono_ns > INTAKE_NS:
                    self.yielded = used < n
                    break
        return used

    cdef int _frame(self, parser.Frame* frame) except -1:
        if self.state == FRESH and frame.op != parser.CONNECT:
            # feed() asked before it read the frame; a reload may have come in the middle of one.
            if self.is_anonymous() and not self._come_in():
                return 0
            self.state = READY
        if frame.op == parser.PUB:
            return self._publish(frame)
        if frame.op == parser.SUB:
            return self._subscribe(frame)
        if frame.op == parser.UNSUB:
            return self._unsubscribe(frame)
        if frame.op == parser.PING:
            return self._ping()
        if frame.op == parser.PONG:
            return self._pong()
        if frame.op == parser.CONNECT:
            return self._connect(frame)
        if frame.op == parser.INFO:
            return self._info(frame)
        if frame.op == parser.PEER_ERROR:
            return self.close("Parse Error")
        return 0

    cdef int _violation(self, int op) except -1:
        if op == parser.BAD_CONTROL_LINE:
            return self.close("Maximum Control Line Exceeded", "maximum control line exceeded")
        if op == parser.BAD_PAYLOAD:
            return self.close("Maximum Message Payload Exceeded", "Maximum Payload Violation")
        if op == parser.BAD_OP:
            return self.close("Protocol Violation", "Unknown Protocol Operation")
        return self.close("Protocol Violation")

    def tell_lame_duck(self):
        """INFO that this server is about to leave; False: this client takes no INFO, or not yet."""
        if self.info_sent_twice:
            self._send(encode_info(
                self.broker.info_for(self.cid, self.ip, self.nonce, lame_duck=True, changes=self.hello)))
        return bool(self.info_sent_twice)

    cpdef bint is_closed(self) noexcept:
        return self.state == CLOSED

    cdef bint is_anonymous(self) noexcept:
        return self.state == FRESH and (self.broker.auth_required or self.asks)

    def _restrict(self):
        """The rights have changed: drop the subscriptions that are not allowed any more, and say so."""
        for sub in list(self.subs.values()):
            if not self.permissions.may_subscribe(sub.subject, sub.queue):
                self._drop(sub)
                sid = sub.sid.decode("utf-8", "replace")
                self._error(f'Permissions Violation for Subscription to {quote(sub.subject)} (sid "{sid}")')
            elif self.permissions.needs_filter(sub.subject, sub.queue):
                self.filters = True

    def _stays(self, identity, connect):
        if self._join(identity):
            self.broker.turn.timers.cancel(self.auth_timer)
            self._arm_end()
            if self.permissions is not None:
                self._restrict()

    def use(self, identity):
        """Go on as this one, whose rights or limits have changed."""
        self._stays(identity, self.connect)

    def is_full(self):
        """Has it as many subscriptions as it may have?"""
        return 0 <= self.subscriptions_max <= <int64_t>len(self.subs)

    def authorize_again(self):
        """After a reload: close the session unless it is still let in; take away what it may not have any more."""
        if self.is_anonymous() and self.auth_timer.deadline_ns == 0:
            self._expect_connect()                   # it came in when nobody had to say who he is
        if not self.verifying and self.state == READY:
            self._decide_again(self.connect, self._stays)

    cdef int _connect(self, parser.Frame* frame) except -1:
        try:
            connect = decode_connect(PyBytes_FromStringAndSize(frame.arg, frame.arg_len), self.connect)
        except ValueError:
            return self.close("Protocol Violation")
        self.connect = connect
        if self.connected:
            self._drop_all()
        else:
            self.rtt_ns = max(1, self.broker.clock.wall_ns - self.started_ns)
        self._judge(self._authenticator().check(connect, self.nonce, self.origin, self), connect, self._admit)
        return 0

    def _admit(self, identity, connect):
        self.broker.turn.timers.cancel(self.auth_timer)
        if not self._join(identity):
            return
        if self.broker.events is not None:
            self.broker.events.connected(self)
        if connect.protocol not in (0, 1):
            self.close("Bad Client Protocol Version", "invalid client protocol")
            return
        if connect.no_responders and not (connect.headers and self.broker.headers):
            self.close("No Responders Requires Headers", "no responders requires headers support")
            return
        self.state = READY
        self._arm_end()
        if not self.connected:
            self.connected = True
            if self.outbox.tracer is not None:
                self.outbox.tracer.lines.label = self.log_label()
        self.active_ns = self.broker.clock.wall_ns
        self._arm_first_ping()
        self.verbose, self.pedantic, self.echo = connect.verbose, connect.pedantic, connect.echo
        self.headers = connect.headers and self.broker.headers
        self.no_responders = connect.no_responders
        if self.verbose:
            self._write(b"+OK\r\n", 5)

    cdef int _publish(self, parser.Frame* frame) except -1:
        cdef parser.Msg* msg = &frame.msg
        cdef Broker broker = self.broker
        cdef const char* sent = msg.subject          # whatever it is mapped to
        cdef uint32_t sent_len = msg.subject_len, size = msg.hdr_len + msg.body_len
        cdef bytes mapped                            # holds the subject while it is routed
        cdef int taken
        self.heard = True
        self.active_ns = broker.clock.wall_ns
        self.in_msgs += 1
        self.in_bytes += size
        broker.counters.in_msgs += 1
        broker.counters.in_bytes += size
        self.account.traffic.in_msgs += 1
        self.account.traffic.in_bytes += size
        if self.pedantic and not tokens.is_publishable(msg.subject, msg.subject_len):
            self._error("Invalid Publish Subject")
        if self.account.mappings is not None:
            mapped = self.account.mappings.apply(sent, sent_len)
            if mapped is not None:
                msg.subject, msg.subject_len = PyBytes_AS_STRING(mapped), <uint32_t>PyBytes_GET_SIZE(mapped)
        if self.permissions is not None and self.is_denied(msg):
            return self.refuse_publish(msg, sent, sent_len, "to " + quote(msg.subject[:msg.subject_len]))
        if (msg.subject[0] == b"$" or msg.subject[0] == b"_") and is_reserved_subject(msg.subject, msg.subject_len):
            return self.refuse_publish(msg, sent, sent_len, "to " + quote(msg.subject[:msg.subject_len]))
        if msg.reply_len and is_reserved_reply(msg.reply, msg.reply_len):
            return self.refuse_publish(msg, sent, sent_len, "with Reply of " + quote(msg.reply[:msg.reply_len]))
        if msg.hdr_len and asks_for_trace(msg.hdr, msg.hdr_len, self.account.traces_parents):
            return self._publish_asking(msg, sent, sent_len)
        if self.verbose:
            self._write(b"+OK\r\n", 5)
        taken = self.account.router.route(msg.subject, msg.subject_len, msg, self)
        if taken == 0 and msg.reply_len and self.no_responders:
            self._no_responders(msg)
        return taken

    cdef int _publish_asking(self, parser.Msg* msg, const char* sent, uint32_t sent_len) except -1:
        """The same for a message that may ask for its trace."""
        begun = self.begin_trace(msg, sent, sent_len)
        cdef int taken
        if begun.is_dropped:
            return 0
        if self.verbose:
            self._write(b"+OK\r\n", 5)
        if begun.trace is not None:
            taken = self.account.router.route_traced(msg.subject, msg.subject_len, msg, self, begun.trace)
        else:
            taken = self.account.router.route(msg.subject, msg.subject_len, msg, self)
        if taken == 0 and msg.reply_len and self.no_responders:
            self._no_responders(msg)
        if begun.trace is not None:
            begun.trace.finish()
        return taken

    cdef int _no_responders(self, const parser.Msg* msg) except -1:
        """503 to the requester itself, when it listens on the reply subject."""
        cdef Match match = self.account.router.sublist.match(msg.reply, msg.reply_len)
        cdef parser.Msg status
        cdef Subscription sub
        cdef bytes block = b"NATS/1.0 503\r\nNats-Subject: " + msg.subject[:msg.subject_len] + b"\r\n\r\n"
        status.subject, status.subject_len = msg.reply, msg.reply_len
        status.reply, status.reply_len = NULL, 0
        status.hdr, status.hdr_len = PyBytes_AS_STRING(block), <uint32_t>PyBytes_GET_SIZE(block)
        status.body, status.body_len = PyBytes_AS_STRING(block), 0
        for sub in match.plain:
            if sub.sink is self and not sub.closed:
                # An answer of the server, not a message: an auto-unsubscribe does not count it.
                encode_msg(self.outbox.buffer, &status, PyBytes_AS_STRING(sub.sid),
                           <uint32_t>PyBytes_GET_SIZE(sub.sid), self.headers)
                return self._queued()
        return 0

    cdef int _subscribe(self, parser.Frame* frame) except -1:
        cdef bytes sid = PyBytes_FromStringAndSize(frame.sid, frame.sid_len)
        cdef bytes subject, queue
        cdef Subscription sub
        options = self.broker.options
        self.heard = True
        self.active_ns = self.broker.clock.wall_ns
        subject = PyBytes_FromStringAndSize(frame.msg.subject, frame.msg.subject_len)
        queue = PyBytes_FromStringAndSize(frame.queue, frame.queue_len)
        if queue == b"_sys_" or (self.permissions is not None and not self.permissions.may_subscribe(subject, queue)):
            group = f" using queue {quote(queue)}" if queue else ""
            return self._error(f"Permissions Violation for Subscription to {quote(subject)}{group}")
        if options.max_sub_tokens and tokens.token_count(frame.msg.subject, frame.msg.subject_len) > options.max_sub_tokens:
            return self._error(f"Permissions Violation for Subscription to {quote(subject)}, too many tokens")
        if (0 < options.max_subscriptions <= len(self.subs)) or 0 <= self.subscriptions_max <= <int64_t>len(self.subs):
            return self._error("maximum subscriptions exceeded")
        if sid not in self.subs:
            if not tokens.is_subscribable(frame.msg.subject, frame.msg.subject_len):
                return self._error("Invalid Subject")
            sub = Subscription(self, subject, queue, sid)
            self.subs[sid] = sub
            if self.permissions is not None and self.permissions.needs_filter(subject, queue):
                self.filters = True
            self.account.router.add(sub)
            self.broker.turn.wake()
        if self.verbose:
            self._write(b"+OK\r\n", 5)
        return 0

    cdef int _unsubscribe(self, parser.Frame* frame) except -1:
        cdef bytes sid = PyBytes_FromStringAndSize(frame.sid, frame.sid_len)
        cdef PyObject* found = PyDict_GetItem(self.subs, sid)
        cdef Subscription sub
        self.heard = True
        self.active_ns = self.broker.clock.wall_ns
        if found != NULL:
            sub = <Subscription>found
            if frame.messages_max > 0 and sub.delivered < frame.messages_max:
                sub.messages_max = frame.messages_max
            else:
                self._drop(sub)
        if self.verbose:
            self._write(b"+OK\r\n", 5)
        return 0

    cdef int _drop(self, Subscription sub) except -1:
        sub.closed = True
        if self.outbox.tracer is not None:
            self.outbox.tracer.dropped(sub.sid)
        self.subs.pop(sub.sid, None)
        self.account.router.drop(sub)
        self.broker.turn.wake()
        return 0

    cdef int _drop_all(self) except -1:
        cdef Subscription sub
        if self.subs:
            for sub in self.subs.values():
                sub.closed = True
                if self.outbox.tracer is not None:
                    self.outbox.tracer.dropped(sub.sid)
            self.broker.leavers.add(self.account.router, self.subs)
            self.subs = {}
        return 0

    cdef int _info(self, parser.Frame* frame) except -1:
        self.heard = True
        try:
            check_info(PyBytes_FromStringAndSize(frame.arg, frame.arg_len))
        except ValueError:
            return self.close("Protocol Violation")
        return 0

    cdef int _ping(self) except -1:
        self.heard = True
        self._write(b"PONG\r\n", 6)
        if not self.info_sent_twice and self.connect is not None and self.connect.protocol >= 1:
            self.info_sent_twice = True
            self._send(encode_info(self.broker.info_for(self.cid, self.ip, self.nonce, self.account, changes=self.hello)))
        return 0

    cdef int _pong(self) except -1:
        self.pings_out = 0
        if self.pinged_ns:
            self.rtt_ns = max(1, self.broker.clock.mono_ns - self.pinged_ns)
            self.pinged_ns = 0
        return 0

    # --- out ---

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        cdef uint32_t size = msg.body_len + (msg.hdr_len if self.headers else 0)
        cdef Broker broker = self.broker
        if self.state == CLOSED or (source is self and not self.echo):
            return 0
        if self.filters and not self.permissions.may_receive(msg.subject, msg.subject_len, sub.queue):
            return 0
        if sub.messages_max and sub.delivered >= sub.messages_max:
            self._drop(sub)
            return 0
        if self.outbox.pending() * 4 > broker.pending_max * 3 and isinstance(source, Session):
            if not broker.stall_producers:
                return 0
            (<Session>source).slow_down()
        sub.delivered += 1
        self.active_ns = broker.clock.wall_ns
        self.out_msgs += 1
        self.out_bytes += size
        broker.counters.out_msgs += 1
        broker.counters.out_bytes += size
        self.account.traffic.out_msgs += 1
        self.account.traffic.out_bytes += size
        if self.replies is not None and msg.reply_len and not self.permissions.may_publish(msg.reply, msg.reply_len):
            self.replies.grant(msg.reply, msg.reply_len, broker.clock.mono_ns)
        encode_msg(self.outbox.buffer, msg, PyBytes_AS_STRING(sub.sid), <uint32_t>PyBytes_GET_SIZE(sub.sid), self.headers)
        self._queued()
        if not broker.output.is_calm() and source is not None and self.is_behind():
            self.fall_behind(source)
        if self.state == CLOSED:
            return 0
        if sub.messages_max and sub.delivered >= sub.messages_max:
            self._drop(sub)
        return 1

    cdef str obstacle(self, Subscription sub, const Msg* msg, Sink source, bint only):
        """What deliver() would find."""
        if source is self and not self.echo:
            return "Not delivered because of no echo"
        if self.filters and not self.permissions.may_receive(msg.subject, msg.subject_len, sub.queue):
            return "Not delivered because subscription denies this subject"
        if only:
            return ""
        if sub.messages_max and sub.delivered >= sub.messages_max:
            self._drop(sub)
            return "Not delivered because auto-unsubscribe exceeded"
        if (self.outbox.pending() * 4 > self.broker.pending_max * 3 and isinstance(source, Session)
                and not self.broker.stall_producers):
            return "Not delivered because fast producer not stalled and consumer is slow"
        return "Not delivered because client is closed" if self.state == CLOSED else ""

    cdef int _write(self, const char* data, size_t n) except -1:
        if self.state != CLOSED:
            self.outbox.buffer.append(data, n)
            self._queued()
        return 0

    cdef int _queued(self) except -1:
        """Something was put into the outbox: nobody may let more than `pending_max` wait there."""
        self.outbox.queue()
        if self.outbox.pending() > self.broker.pending_max:
            self.dead("Slow Consumer (Pending Bytes)")
        return 0

    def _send(self, bytes data):
        self._write(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int _error(self, str text) except -1:
        self._send(b"-ERR '" + text.encode() + b"'\r\n")
        return 0

    # --- life ---

    cdef int64_t _ping_interval(self) except -1:
        return self.ping_interval_ns or <int64_t>self.broker.options.ping_interval_ns

    cdef int _expect_connect(self) except -1:
        """One deadline for all that comes before a client is known."""
        cdef int64_t wait_ns = self.auth_timeout_ns or <int64_t>self.broker.options.auth_timeout_ns
        return self.broker.turn.timers.arm(self.auth_timer, self.broker.clock.mono_ns + wait_ns)

    cdef int _arm_end(self) except -1:
        """Of its credentials, where they have one."""
        cdef int64_t lifetime_ns = self.lifetime_ns()
        if lifetime_ns:
            self.broker.turn.timers.arm(self.auth_timer, self.broker.clock.mono_ns + lifetime_ns)
        return 0

    cdef int _arm_first_ping(self) except -1:
        """Soon after CONNECT, spread by a fifth: clients that all come at once are not pinged at once."""
        cdef Broker broker = self.broker
        cdef int64_t wait_ns = min(FIRST_PING_NS, self._ping_interval())
        wait_ns += <int64_t>(broker.router._next_random() % <uint64_t>max(wait_ns // 5, 1))
        return broker.turn.timers.arm(self.ping_timer, broker.clock.mono_ns + wait_ns)

    cdef int _ping_due(self, int64_t now_ns) except -1:
        cdef bint rtt_is_old = not self.rtt_taken_ns or now_ns - self.rtt_taken_ns > RTT_INTERVAL_NS
        if not self.heard or rtt_is_old:
            if self.pings_out >= self.broker.options.ping_max:
                self.broker.counters.stale_connections += 1
                return self.close("Stale Connection", "Stale Connection")
            self.pings_out += 1
            self.pinged_ns = self.rtt_taken_ns = now_ns
            self._write(b"PING\r\n", 6)
        self.heard = False
        self.broker.turn.timers.arm(self.ping_timer, now_ns + self._ping_interval())
        return 0

    cpdef int close(self, str reason, str error="") except -1:
        """End the session: `error` goes out as the last -ERR, behind what waits. A second close does nothing."""
        cdef Broker broker = self.broker
        if self.state == CLOSED:
            return 0
        self.outbox.drop_held()
        if error:
            self._error(error)
            if self.state == CLOSED:                 # there was no room for it
                return 0
        self.reason = reason
        info = self.info(True, limits.CLOSED_CLIENT_SUBSCRIPTIONS_MAX)
        self.state = CLOSED
        if reason not in NO_MORE_OUTPUT:
            self.outbox.flush()
        for timer in (self.ping_timer, self.auth_timer):
            broker.turn.timers.cancel(timer)
        self.end_pace()
        self.give_up()
        self.leave_account()
        broker.sessions.pop(self.cid, None)
        broker.connections.release(SESSION_BYTES)
        info = closed(info, reason, broker.clock.wall_ns)
        broker.closed.append(info)
        if self.outbox.tracer is not None:
            self.outbox.tracer.outgoing(self.outbox.buffer)
        self.outbox.release()
        self.channel.close()
        (<PingTimer>self.ping_timer).session = None
        (<AuthTimer>self.auth_timer).session = None
        broker.turn.wake()
        if broker.events is not None:
            broker.events.disconnected(info)
        return 0
