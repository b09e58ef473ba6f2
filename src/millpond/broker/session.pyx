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


cdef class Session(Sink):
    """One client."""

    def __init__(self, Broker broker, Channel channel, str ip, int port):
        cdef PingTimer ping = PingTimer()
        cdef AuthTimer auth = AuthTimer()
        cdef StallTimer stall = StallTimer()
        ping.session = auth.session = stall.session = self
        self.ping_timer, self.auth_timer, self.stall_timer = ping, auth, stall
        self.broker = broker
        self.channel = channel
        self.cid = broker.next_cid()
        self.ip, self.port = ip, port
        self.outbox = Outbox(channel, broker.turn, broker.options.write_deadline_ns, self._dead)
        self.outbox.buffer.budget = broker.output
        self.verbose = self.pedantic = self.echo = True
        self.subs = {}
        self.user = ""
        self.started_ns = self.active_ns = broker.clock.wall_ns

    def _dead(self, str reason):
        if reason.startswith("Slow Consumer"):
            self.broker.counters.slow_consumers += 1
            bound = (f"MaxPending of {self.broker.pending_max} Exceeded" if reason == "Slow Consumer (Pending Bytes)"
                     else f"WriteDeadline of {self.broker.options.write_deadline_ns / 1e9:g}s exceeded")
            log.info("%s:%d - cid:%d - Slow Consumer Detected: %s", self.ip, self.port, self.cid, bound)
        self.close(reason)

    cdef int open(self) except -1:
        cdef Broker broker = self.broker
        broker.counters.total_connections += 1
        broker.connections.charge(SESSION_BYTES)
        self._send(encode_info(broker.info_for(self.cid, self.ip)))
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
                self._refuse()
                break
            took = parser.parse(data + used, n - used, broker.control_line_max, broker.payload_max,
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

    def _refuse(self):
        log.error("%s:%d - cid:%d - authentication error", self.ip, self.port, self.cid)
        return self.close("Authentication Failure", "Authorization Violation")

    def tell_lame_duck(self):
        """INFO that this server is about to leave, for clients that take an INFO at any time."""
        if self.info_sent_twice:
            self._send(encode_info(self.broker.info_for(self.cid, self.ip, lame_duck=True)))

    def authorize_again(self):
        """After a reload: close the session unless its CONNECT still lets it in."""
        if self.connect is not None:
            if self.broker.authenticator.check(self.connect) is None:
                self._refuse()
        elif self.state == READY and self.broker.auth_required:
            self._refuse()

    cdef int _connect(self, parser.Frame* frame) except -1:
        try:
            connect = decode_connect(PyBytes_FromStringAndSize(frame.arg, frame.arg_len), self.connect)
        except ValueError:
            return self.close("Protocol Violation")
        if self.connected:
            self._drop_all()
        user = self.broker.authenticator.check(connect)
        if user is None:
            return self._refuse()
        self.broker.turn.timers.cancel(self.auth_timer)
        if connect.protocol not in (0, 1):
            return self.close("Bad Client Protocol Version", "invalid client protocol")
        if connect.no_responders and not (connect.headers and self.broker.headers):
            return self.close("No Responders Requires Headers", "no responders requires headers support")
        self.state = READY
        self.connected = True
        self.connect = connect
        self.user = user
        self.active_ns = self.broker.clock.wall_ns
        self.rtt_ns = max(1, self.active_ns - self.started_ns)
        self._arm_first_ping()
        self.verbose, self.pedantic, self.echo = connect.verbose, connect.pedantic, connect.echo
        self.headers = connect.headers and self.broker.headers
        self.no_responders = connect.no_responders
        if self.verbose:
            self._write(b"+OK\r\n", 5)
        return 0

    cdef int _publish(self, parser.Frame* frame) except -1:
        cdef parser.Msg* msg = &frame.msg
        cdef Broker broker = self.broker
        cdef uint32_t size = msg.hdr_len + msg.body_len
        self.heard = True
        self.active_ns = broker.clock.wall_ns
        self.in_msgs += 1
        self.in_bytes += size
        broker.counters.in_msgs += 1
        broker.counters.in_bytes += size
        if self.pedantic and not tokens.is_publishable(msg.subject, msg.subject_len):
            self._error("Invalid Publish Subject")
        if (msg.subject[0] == b"$" or msg.subject[0] == b"_" or msg.reply_len) and self._reserved(msg):
            return 0
        if self.verbose:
            self._write(b"+OK\r\n", 5)
        if broker.router.route(msg.subject, msg.subject_len, msg, self) == 0:
            if msg.reply_len and self.no_responders:
                self._no_responders(msg)
        return 0

    cdef int _reserved(self, const parser.Msg* msg) except -1:
        """Subjects and replies that only servers may use (reference 01, CORE-25). 1: refused."""
        cdef const char* s = msg.subject
        cdef const char* r = msg.reply
        if ((msg.subject_len > 5 and memcmp(s, b"_GR_.", 5) == 0)
                or (msg.subject_len > 4 and memcmp(s, b"$GR.", 4) == 0)
                or (msg.subject_len >= 5 and memcmp(s, b"$NRG.", 5) == 0)):
            self._error("Permissions Violation for Publish to " + quote(s[:msg.subject_len]))
            return 1
        if ((msg.reply_len >= 4 and memcmp(r, b"_R_.", 4) == 0)
                or (msg.reply_len > 5 and memcmp(r, b"_GR_.", 5) == 0)
                or (msg.reply_len > 4 and memcmp(r, b"$GR.", 4) == 0)
                or (msg.reply_len > 8 and memcmp(r, b"$JS.ACK.", 8) == 0)):
            self._error("Permissions Violation for Publish with Reply of " + quote(r[:msg.reply_len]))
            return 1
        return 0

    cdef int _no_responders(self, const parser.Msg* msg) except -1:
        """503 to the requester itself, when it listens on the reply subject."""
        cdef Match match = self.broker.router.sublist.match(msg.reply, msg.reply_len)
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
        if frame.queue_len == 5 and memcmp(frame.queue, b"_sys_", 5) == 0:
            return self._error(f'Permissions Violation for Subscription to {quote(subject)} using queue "_sys_"')
        if options.max_sub_tokens and tokens.token_count(frame.msg.subject, frame.msg.subject_len) > options.max_sub_tokens:
            return self._error(f"Permissions Violation for Subscription to {quote(subject)}, too many tokens")
        if options.max_subscriptions and len(self.subs) >= options.max_subscriptions:
            return self._error("maximum subscriptions exceeded")
        if sid not in self.subs:
            if not tokens.is_subscribable(frame.msg.subject, frame.msg.subject_len):
                return self._error("Invalid Subject")
            queue = PyBytes_FromStringAndSize(frame.queue, frame.queue_len)
            sub = Subscription(self, subject, queue, sid)
            self.subs[sid] = sub
            self.broker.router.sublist.insert(sub)
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
        self.broker.router.sublist.remove(sub)
        self.broker.turn.wake()
        return 0

    cdef int _drop_all(self) except -1:
        cdef Subscription sub
        if self.subs:
            for sub in self.subs.values():
                sub.closed = True
            self.broker.leavers.add(self.subs)
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
            self._send(encode_info(self.broker.info_for(self.cid, self.ip, True)))
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
        self._drop_all()
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
            version=connect.version if connect else "", authorized_user=self.user, subscriptions=rows,
        )


def _closed(info, str reason, int64_t now_ns):
    import msgspec

    return msgspec.structs.replace(info, reason=reason, stop_ns=now_ns, pending_bytes=0)
