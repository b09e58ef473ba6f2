"""What is told of a connection: its numbers, its protocol in the log, the way of its messages.

The data plane asks nothing for any of them: a message that asks for its trace is routed by other functions than all
others, and lines of the log are read out of the outbox (`tracer`).
"""

import logging
from itertools import islice

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from millpond.broker.paced cimport Paced
from millpond.broker.reserved cimport is_reserved_subject
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.tracer cimport Tracer
from millpond.wire.headers cimport asks_for_trace
from millpond.wire.message cimport Msg

from millpond.broker.connection_info import ConnectionInfo
from millpond.wire.quote import quote

log = logging.getLogger("millpond")


cdef class Observed(Paced):
    """A session overrides what the declaration says."""

    # --- the way of a message ---

    cdef object begin_trace(self, Msg* msg, const char* sent, uint32_t sent_len):
        from millpond.broker.message_trace import begin      # most servers are never asked

        cdef bytes subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len), block
        cdef bint is_mapped = sent != msg.subject
        begun = begin(self, PyBytes_FromStringAndSize(sent, sent_len) if is_mapped else subject,
                      PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), msg.hdr_len + msg.body_len)
        if begun.denied:
            self._deny(begun.denied)
        if begun.block is not None:
            block = begun.block
            msg.hdr, msg.hdr_len = PyBytes_AS_STRING(block), <uint32_t>PyBytes_GET_SIZE(block)
        if begun.trace is not None and is_mapped:
            begun.trace.mapped(subject)
        return begun

    cdef int refuse_publish(self, Msg* msg, const char* sent, uint32_t sent_len, str what) except -1:
        begun = None
        if msg.hdr_len and asks_for_trace(msg.hdr, msg.hdr_len, self.account.traces_parents):
            begun = self.begin_trace(msg, sent, sent_len)
            if begun.is_dropped:                             # it was told something else
                return 0
        self._error("Permissions Violation for Publish " + what)
        if begun is not None and begun.trace is not None:
            begun.trace.refused("Permissions Violation for Publish " + what)
            begun.trace.finish()
        return 0

    cdef int trace_too_large(self, const Msg* msg, size_t size) except -1:
        if not asks_for_trace(msg.hdr, msg.hdr_len, self.account.traces_parents):
            return 0
        from millpond.broker.message_trace import begin

        begun = begin(self, PyBytes_FromStringAndSize(msg.subject, msg.subject_len),
                      PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), size)
        if begun.denied:
            return self._deny(begun.denied)
        if begun.trace is not None:
            begun.trace.refused("maximum payload exceeded")
            begun.trace.finish()
        return 0

    cdef int _deny(self, bytes destination) except -1:
        self.log_once(f"Publish Violation - Subject {quote(destination)}")
        return self._error("Permissions Violation for Publish to " + quote(destination))

    cdef int _error(self, str text) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        cdef str obstacle = self.obstacle(sub, msg, source, trace.only)
        trace.delivered(self, sub.subject, sub.queue, obstacle)
        if obstacle:
            return 0
        return 1 if trace.only else self.deliver(sub, msg, source)

    cdef str obstacle(self, Subscription sub, const Msg* msg, Sink source, bint only):
        raise NotImplementedError(type(self).__name__)

    def client_name(self):
        """What the client calls itself."""
        return self.connect.name if self.connect is not None else ""

    def may_tell(self, bytes destination):
        """May traces of this client's messages be published there?"""
        cdef uint32_t size = <uint32_t>PyBytes_GET_SIZE(destination)
        if is_reserved_subject(PyBytes_AS_STRING(destination), size):
            return False
        return self.permissions is None or self.permissions.may_publish(PyBytes_AS_STRING(destination), size)

    def log_once(self, str text):
        """A line about a trace this client asks for in vain; only the first one, it may do so as often as it likes."""
        if not self.trace_logged:
            self.trace_logged = True
            log.error("%s:%d - cid:%d - %s", self.ip, self.port, self.cid, text)

    # --- the log ---

    cdef int place(self, str ip, int port) except -1:
        self.unplaced = False
        if ip:
            self.ip, self.port = ip, port
            if self.outbox.tracer is not None:
                self.outbox.tracer.lines.label = self.log_label()
        return 0

    def dead(self, str reason):
        if reason == "Slow Consumer (Pending Bytes)":
            most = min(<int64_t>self.broker.pending_max, self.output.share_max())
            self._is_slow("State" if self.outbox.late else "Detected", f"MaxPending of {most} Exceeded")
        elif reason.startswith("Slow Consumer"):
            self.late("State" if self.outbox.late else "Detected")
        self.close(reason)

    def late(self, str state):
        if state == "Recovered":
            log.info("%s:%d - cid:%d - Slow Consumer Recovered", self.ip, self.port, self.cid)
        else:
            self._is_slow(state, f"WriteDeadline of {self.broker.options.write_deadline_ns / 1e9:g}s exceeded")

    def _is_slow(self, str state, str bound):
        self.broker.counters.slow_consumers += 1
        self.account.traffic.slow_consumers += 1
        log.info("%s:%d - cid:%d - Slow Consumer %s: %s", self.ip, self.port, self.cid, state, bound)

    def trace(self, bint on):
        """Begin, or end, to write each line of the protocol into the log."""
        if not on:
            self.outbox.tracer = None
            return
        from millpond.broker.trace_lines import TraceLines    # most servers trace nothing

        if self.outbox.tracer is None:
            self.outbox.tracer = Tracer()
            self.outbox.tracer.shown_bytes = self.outbox.pending()
        self.outbox.tracer.lines = TraceLines(self.log_label(), self.broker.options)

    def log_label(self):
        """What the connection is called in the trace."""
        from millpond.broker.trace_lines import label

        cdef str user = self.connect.shown_user_label if self.connected else ""
        return label(f"{self.ip}:{self.port} - cid:{self.cid}", self.connect.shown_names if self.connected else "",
                     f"{self.account.name}/{user}" if user else "")

    # --- monitoring ---

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
            version=connect.version if connect else "", tls=self.origin.tls, account=self.account.name,
            websocket=self.origin.is_websocket, authorized_user=(self.identity.name if self.identity is not None else "") or (
                connect.shown_user if connect else ""), subscriptions=rows, **self.shown_claims(),
        )
