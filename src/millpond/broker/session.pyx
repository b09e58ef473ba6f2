"""A client session (reference 01): frames in, frames out, and the rules between them.

    FRESH --CONNECT accepted, or any frame when no authorization is needed--> READY --> CLOSED

A frame takes effect at once and to completion. Nothing here knows sockets: output goes into the outbox,
whose channel belongs to a transport.
"""

import logging
from itertools import islice

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp
from millpond.broker.broker cimport Broker
from millpond.broker.member cimport Member
from millpond.broker.reserved cimport is_reserved_reply, is_reserved_subject
from millpond.broker.sink cimport Sink, Subscription
from millpond.subjects cimport tokens
from millpond.subjects.sublist cimport Match
from millpond.wire cimport parser
from millpond.wire.encoder cimport encode_msg

from millpond.base import limits
from millpond.broker.connection_info import ConnectionInfo
from millpond.wire.handshake import check_info, decode_connect, encode_info
from millpond.wire.quote import quote

log = logging.getLogger("millpond")

cdef enum:
    STALL_NS = 5_000_000
    SESSION_BYTES = 1700         # what one idle connection costs, measured with 4,000 of them

NO_MORE_OUTPUT = frozenset(("Read Error", "Write Error", "Slow Consumer (Pending Bytes)", "Slow Consumer (Write Deadline)"))
"""Reasons that say the peer takes nothing."""

cdef int64_t INTAKE_NS = limits.TURN_INTAKE_NS_MAX
cdef int FRAMES_PER_LOOK = limits.FRAMES_PER_CLOCK_LOOK
cdef int64_t STALL_CREDIT = limits.STALL_CREDIT_BYTES
cdef int64_t FIRST_PING_NS = limits.FIRST_PING_NS
cdef int64_t RTT_INTERVAL_NS = limits.RTT_INTERVAL_NS


cdef class PingTimer(Timer):
    cdef Session session

    cdef int fire(self, int64_t now_ns) except -1:
        return self.session._ping_due(now_ns)


cdef class AuthTimer(Timer):
    cdef Session session

    cdef int fire(self, int64_t now_ns) except -1:
        return self.session.close("Authentication Timeout", "Authentication Timeout")


cdef class StallTimer(Timer):
    cdef Session session

    cdef int fire(self, int64_t now_ns) except -1:
        self.session.stalled = False
        self.session.stall_credit = STALL_CREDIT
        if self.session.state != CLOSED:
            self.session.channel.pause_reading(False)
        return 0


cdef class Session(Member):
    """One client."""

    def __init__(self, Broker broker, Channel channel, str ip, int port):
        cdef PingTimer ping = PingTimer()
        cdef AuthTimer auth = AuthTimer()
        cdef StallTimer stall = StallTimer()
        ping.session = auth.session = stall.session = self
        self.ping_timer, self.auth_timer, self.stall_timer = ping, auth, stall
        Member.__init__(self, broker, ip, port)
        self.channel = channel
        self.outbox = Outbox(channel, broker.turn, broker.options.write_deadline_ns, self._dead)
        self.outbox.buffer.budget = broker.output
        self.verbose = self.pedantic = self.echo = True
        self.subs = {}
        self.started_ns = self.active_ns = broker.clock.wall_ns

    def _dead(self, str reason):
        if reason.startswith("Slow Consumer"):
            self.broker.counters.slow_consumers += 1
            self.account.traffic.slow_consumers += 1
            bound = (f"MaxPending of {self.broker.pending_max} Exceeded" if reason == "Slow Consumer (Pending Bytes)"
                     else f"WriteDeadline of {self.broker.options.write_deadline_ns / 1e9:g}s exceeded")
            log.info("%s:%d - cid:%d - Slow Consumer Detected: %s", self.ip, self.port, self.cid, bound)
        self.close(reason)

    cdef int open(self) except -1:
        cdef Broker broker = self.broker
        broker.counters.total_connections += 1
        broker.connections.charge(SESSION_BYTES)
        self._send(encode_info(broker.info_for(self.cid, self.ip, self.nonce)))
        if broker.options.max_connections < 0 or 0 < broker.options.max_connections <= len(broker.sessions):
            return self.close("Maximum Connections Exceeded", "maximum connections exceeded")
        broker.sessions[self.cid] = self
        if broker.auth_required:
            broker.turn.timers.arm(self.auth_timer, broker.clock.mono_ns + <int64_t>broker.options.auth_timeout_ns)
        broker.turn.timers.arm(self.ping_timer, broker.clock.mono_ns + <int64_t>broker.options.ping_interval_ns)
        return 0

    # --- in ---

    cdef size_t feed(self, const char* data, size_t n, size_t* need) except? 0:
        cdef size_t used = 0, took
        cdef parser.Frame frame
        cdef Broker broker = self.broker
        cdef int look = FRAMES_PER_LOOK
        need[0] = 0
        self.yielded = False
        while used < n and self.state != CLOSED and not self.stalled:
            if broker.output.is_full():
                self._stall()
                break
            if (self.state == FRESH and broker.auth_required and self.held.op == parser.NEED_MORE
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
                self._violation(frame.op)
                break
            self._frame(&frame)
            self.stall_credit -= took
            look -= 1
            if look == 0:
                look = FRAMES_PER_LOOK
                if broker.clock.read_mono_ns() - broker.clock.mono_ns > INTAKE_NS:
                    self.yielded = used < n
                    break
        return used

    cdef int _frame(self, parser.Frame* frame) except -1:
        if self.state == FRESH and frame.op != parser.CONNECT:
            # feed() asked before it read the frame; a reload may have come in the middle of one.
            if self.broker.auth_required and not self._come_in():
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
        """INFO that this server is about to leave, for clients that take an INFO at any time."""
        if self.info_sent_twice:
            self._send(encode_info(self.broker.info_for(self.cid, self.ip, self.nonce, lame_duck=True)))

    cpdef bint is_closed(self) noexcept:
        return self.state == CLOSED

    cdef int _pause(self, bint on) except -1:
        self.stalled = on
        return self.channel.pause_reading(on)

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
        if self._join(identity) and self.permissions is not None:
            self._restrict()

    def authorize_again(self):
        """After a reload: close the session unless it is still let in; take away what it may not have any more."""
        if not self.verifying and self.state == READY:
            self._decide_again(self.connect, self._stays)

    cdef int _connect(self, parser.Frame* frame) except -1:
        try:
            connect = decode_connect(PyBytes_FromStringAndSize(frame.arg, frame.arg_len), self.connect)
        except ValueError:
            return self.close("Protocol Violation")
        if self.connected:
            self._drop_all()
        self._decide(self.broker.authenticator.check(connect, self.nonce), connect, self._admit)
        return 0

    def _admit(self, identity, connect):
        self.broker.turn.timers.cancel(self.auth_timer)
        if not self._join(identity):
            return
        if connect.protocol not in (0, 1):
            self.close("Bad Client Protocol Version", "invalid client protocol")
            return
        if connect.no_responders and not (connect.headers and self.broker.headers):
            self.close("No Responders Requires Headers", "no responders requires headers support")
            return
        self.state = READY
        self.connected = True
        self.connect = connect
        self.active_ns = self.broker.clock.wall_ns
        self.rtt_ns = max(1, self.active_ns - self.started_ns)
        self._arm_first_ping()
        self.verbose, self.pedantic, self.echo = connect.verbose, connect.pedantic, connect.echo
        self.headers = connect.headers and self.broker.headers
        self.no_responders = connect.no_responders
        if self.verbose:
            self._write(b"+OK\r\n", 5)

    cdef int _publish(self, parser.Frame* frame) except -1:
        cdef parser.Msg* msg = &frame.msg
        cdef Broker broker = self.broker
        cdef uint32_t size = msg.hdr_len + msg.body_len
        cdef bytes mapped                            # holds the subject while it is routed
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
            mapped = self.account.mappings.apply(msg.subject, msg.subject_len)
            if mapped is not None:
                msg.subject, msg.subject_len = PyBytes_AS_STRING(mapped), <uint32_t>PyBytes_GET_SIZE(mapped)
        if self.permissions is not None and self.is_denied(msg):
            return self._error("Permissions Violation for Publish to " + quote(msg.subject[:msg.subject_len]))
        if (msg.subject[0] == b"$" or msg.subject[0] == b"_") and is_reserved_subject(msg.subject, msg.subject_len):
            return self._error("Permissions Violation for Publish to " + quote(msg.subject[:msg.subject_len]))
        if msg.reply_len and is_reserved_reply(msg.reply, msg.reply_len):
            return self._error("Permissions Violation for Publish with Reply of " + quote(msg.reply[:msg.reply_len]))
        if self.verbose:
            self._write(b"+OK\r\n", 5)
        if self.account.router.route(msg.subject, msg.subject_len, msg, self) == 0:
            if msg.reply_len and self.no_responders:
                self._no_responders(msg)
        return 0

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
        self.subs.pop(sub.sid, None)
        self.account.router.drop(sub)
        self.broker.turn.wake()
        return 0

    cdef int _drop_all(self) except -1:
        cdef Subscription sub
        if self.subs:
            for sub in self.subs.values():
                sub.closed = True
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
            self._send(encode_info(self.broker.info_for(self.cid, self.ip, self.nonce, self.account)))
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
            (<Session>source)._slow_down()
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
        encode_msg(self.outbox.buffer, msg, PyBytes_AS_STRING(sub.sid), <uint32_t>PyBytes_GET_SIZE(sub.sid),
                   self.headers)
        self._queued()
        if self.state == CLOSED:
            return 0
        if sub.messages_max and sub.delivered >= sub.messages_max:
            self._drop(sub)
        return 1

    cdef int _slow_down(self) except -1:
        """A receiver of ours is nearly full."""
        return self._stall() if self.stall_credit <= 0 else 0

    cdef int _stall(self) except -1:
        """Stop reading from this one for a few milliseconds."""
        if not self.stalled and self.state != CLOSED:
            self.stalled = True
            self.stalls += 1
            self.broker.counters.stalled_clients += 1
            self.channel.pause_reading(True)
            self.broker.turn.timers.arm(self.stall_timer, self.broker.clock.mono_ns + STALL_NS)
        return 0

    cdef int _write(self, const char* data, size_t n) except -1:
        if self.state != CLOSED:
            self.outbox.buffer.append(data, n)
            self._queued()
        return 0

    cdef int _queued(self) except -1:
        """Something was put into the outbox: nobody may let more than `pending_max` wait there."""
        self.outbox.queue()
        if self.outbox.pending() > self.broker.pending_max:
            self._dead("Slow Consumer (Pending Bytes)")
        return 0

    def _send(self, bytes data):
        self._write(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int _error(self, str text) except -1:
        self._send(b"-ERR '" + text.encode() + b"'\r\n")
        return 0

    # --- life ---

    cdef int _arm_first_ping(self) except -1:
        """Soon after CONNECT, spread by a fifth: clients that all come at once are not pinged at once."""
        cdef Broker broker = self.broker
        cdef int64_t wait_ns = min(FIRST_PING_NS, <int64_t>broker.options.ping_interval_ns)
        wait_ns += <int64_t>(broker.router._next_random() % <uint64_t>max(wait_ns // 5, 1))
        return broker.turn.timers.arm(self.ping_timer, broker.clock.mono_ns + wait_ns)

    cdef int _ping_due(self, int64_t now_ns) except -1:
        options = self.broker.options
        cdef bint rtt_is_old = not self.rtt_taken_ns or now_ns - self.rtt_taken_ns > RTT_INTERVAL_NS
        if not self.heard or rtt_is_old:
            if self.pings_out >= options.ping_max:
                self.broker.counters.stale_connections += 1
                return self.close("Stale Connection", "Stale Connection")
            self.pings_out += 1
            self.pinged_ns = self.rtt_taken_ns = now_ns
            self._write(b"PING\r\n", 6)
        self.heard = False
        self.broker.turn.timers.arm(self.ping_timer, now_ns + <int64_t>options.ping_interval_ns)
        return 0

    cpdef int close(self, str reason, str error="") except -1:
        """End the session: `error` goes out as the last -ERR, behind what waits. A second close does nothing."""
        cdef Broker broker = self.broker
        if self.state == CLOSED:
            return 0
        if error:
            self._error(error)
            if self.state == CLOSED:                 # there was no room for it
                return 0
        info = self.info(True, limits.CLOSED_CLIENT_SUBSCRIPTIONS_MAX)
        self.state = CLOSED
        if reason not in NO_MORE_OUTPUT:
            self.outbox.flush()
        for timer in (self.ping_timer, self.auth_timer, self.stall_timer):
            broker.turn.timers.cancel(timer)
        self.leave_account()
        broker.sessions.pop(self.cid, None)
        broker.connections.release(SESSION_BYTES)
        broker.closed.append(_closed(info, reason, broker.clock.wall_ns))
        self.outbox.release()
        self.channel.close()
        (<PingTimer>self.ping_timer).session = None
        (<AuthTimer>self.auth_timer).session = None
        (<StallTimer>self.stall_timer).session = None
        broker.turn.wake()
        return 0

    @property
    def output_allocated(self):
        """Bytes that the outbox holds from the allocator."""
        return self.outbox.buffer.capacity

    def info(self, bint subscriptions, most=None):
        """A ConnectionInfo of this moment, with its subscriptions (the first `most` of them)."""
        connect = self.connect
        rows = ()
        if subscriptions:
            rows = tuple(
                (sub.subject.decode("utf-8", "replace"), sub.queue.decode("utf-8", "replace"),
                 sub.sid.decode("utf-8", "replace"), sub.delivered, sub.messages_max)
                for sub in islice(self.subs.values(), most)
            )
        return ConnectionInfo(
            cid=self.cid, ip=self.ip, port=self.port, start_ns=self.started_ns,
            last_activity_ns=self.active_ns, rtt_ns=self.rtt_ns, pending_bytes=self.outbox.pending(),
            in_msgs=self.in_msgs, out_msgs=self.out_msgs, in_bytes=self.in_bytes, out_bytes=self.out_bytes,
            stalls=self.stalls, num_subscriptions=len(self.subs),
            name=connect.name if connect else "", lang=connect.lang if connect else "",
            version=connect.version if connect else "", account=self.account.name,
            authorized_user=self.identity.name if self.identity is not None else "", subscriptions=rows,
        )


def _closed(info, str reason, int64_t now_ns):
    import msgspec

    return msgspec.structs.replace(info, reason=reason, stop_ns=now_ns, pending_bytes=0)
