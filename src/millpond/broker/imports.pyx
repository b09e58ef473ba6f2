"""What an account imports of others, while it runs (reference 02.3). `config.exchange` has checked all of it.

    stream    a subscription in the importing account has a shadow in the exporting one, which delivers to it
    service   a subscription in the importing account takes requests over; answers come back through `responses`

Nothing is subscribed for a stream that nobody in the importing account listens to, as on nats-server.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.account cimport Account
from millpond.broker.responses cimport Pending, Responses, is_ack
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink, Subscription
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.broker.request_info import request_info, with_info
from millpond.config import exchange
from millpond.subjects import pytokens

cdef int IN_A_ROW_MAX = limits.IMPORTS_IN_A_ROW_MAX
cdef int NO_REPLY = 400, NOBODY_SERVES = 503     # as service_latency has them
cdef int passed = 0                          # accounts that the message under way has gone through


cdef class Shadow(Sink):
    """A subscription of one account, in the account that it imports from."""
    cdef Subscription original
    cdef object transform
    cdef Account importer, exporter          # `original` is the importer's
    cdef bint traced                         # the importer lets message traces tell what follows

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        cdef Msg here = msg[0]
        cdef bytes subject
        if self.original.closed:
            return 0
        subject = self._rename(&here)                # keeps what the message views
        return self._bill(&here, source, None)

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        cdef Msg here = msg[0]
        cdef bytes subject
        if self.original.closed:
            return 0
        subject = self._rename(&here)
        trace.exported(self.importer.name, PyBytes_FromStringAndSize(here.subject, here.subject_len))
        if not self.traced:
            return 1 if trace.only else self._bill(&here, source, None)
        trace.listens_for = sub.subject
        try:
            return self._bill(&here, source, trace)
        finally:
            trace.listens_for = None

    cdef int _bill(self, const Msg* here, Sink source, object trace) except -1:
        """Hands it to the original subscription. What a client is sent counts for the exporter, as on nats-server; it
        was counted for the importer on the way."""
        cdef uint64_t messages = self.importer.traffic.out_msgs, octets = self.importer.traffic.out_bytes
        cdef int taken
        if trace is None:
            taken = self.original.sink.deliver(self.original, here, source)
        else:
            taken = self.original.sink.deliver_traced(self.original, here, source, trace)
        if not self.original.sid:                    # not a client's
            return taken
        messages, octets = self.importer.traffic.out_msgs - messages, self.importer.traffic.out_bytes - octets
        self.importer.traffic.out_msgs -= messages
        self.importer.traffic.out_bytes -= octets
        self.exporter.traffic.out_msgs += messages
        self.exporter.traffic.out_bytes += octets
        return taken

    cdef bytes _rename(self, Msg* msg):
        """The subject it has here; the caller keeps it as long as the message."""
        cdef bytes subject
        if self.transform is None:
            return None
        # A consumer's message shows the subject it was stored under, which is no subject of the import.
        subject = self.transform.rewrite(PyBytes_FromStringAndSize(msg.subject, msg.subject_len))
        if subject is not None:
            msg.subject, msg.subject_len = PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)
        return subject


cdef class StreamImports:
    """One account's imported streams; its router tells of subscriptions that come and go."""
    cdef list _rows                          # [(Import, the exporting Account, Transform or None)]
    cdef dict _shadows                       # {Subscription: [(Router, its shadow)]}
    cdef Account _account

    def __init__(self, Account account, rows):
        self._account, self._rows, self._shadows = account, rows, {}

    def added(self, Subscription sub):
        """Have it hear what is imported.

        What the server itself listens on is not for exporters: they would reach this account's JetStream, and the
        services that it imports.
        """
        cdef Account exporter
        cdef Shadow sink
        if not sub.sid and (sub.subject.startswith((b"$JS.", b"$SYS.")) or isinstance(sub.sink, (ServiceImport, Pending))):
            return
        subject = sub.subject.decode("utf-8", "surrogateescape")
        for wanted, exporter, transform in self._rows:
            if not pytokens.overlap(sub.subject, exchange.local_filter(wanted).encode()):
                continue
            if wanted.named and not subject.startswith(wanted.local[:wanted.local.index(".") + 1]):
                continue
            sink = Shadow()
            sink.original, sink.transform = sub, transform
            sink.importer, sink.exporter, sink.traced = self._account, exporter, wanted.allow_trace
            there = exchange.exporter_filter(wanted, subject).encode("utf-8", "surrogateescape")
            shadow = exporter.router.subscribe(there, sink, sub.queue)
            self._shadows.setdefault(sub, []).append((exporter.router, shadow))

    def dropped(self, sub):
        """It is gone, and its shadows with it."""
        cdef Router router
        for router, shadow in self._shadows.pop(sub, ()):
            router.unsubscribe(shadow)

    def close(self):
        for sub in list(self._shadows):
            self.dropped(sub)


cdef class ServiceImport(Sink):
    """One imported service."""
    cdef Account importer, exporter
    cdef Responses requester, responder
    cdef object transform
    cdef bint once, share
    cdef bint traced                         # the exporter lets message traces tell what follows
    cdef int64_t threshold_ns
    cdef str server_name
    cdef object meter                        # service_latency.Meter; None: nobody is told how long it takes

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        return self._pass_on(msg, source, None)

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        return self._pass_on(msg, source, trace)

    cdef int _pass_on(self, const Msg* msg, Sink source, object trace) except -1:
        global passed
        cdef Msg there = msg[0]
        cdef bytes subject, header, reply = None
        cdef object measured = None
        cdef int taken
        if passed >= IN_A_ROW_MAX:
            return 0
        subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        if self.transform is not None:
            subject = self.transform.rewrite(subject)
        if subject is None:
            return 0
        if self.exporter.mappings is not None:
            mapped = self.exporter.mappings.apply(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject))
            if mapped is not None:
                subject = mapped         # nowhere is empty, and nobody listens there
        header = with_info(PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), self._info(msg, source))
        if trace is not None:
            trace.imported(self.exporter.name, PyBytes_FromStringAndSize(msg.subject, msg.subject_len), subject)
            if trace.only and not self.traced:
                return 0
            header = self.responder.hide_destination(header, self.traced)
            trace = trace if self.traced else None
        if self.meter is not None:
            measured = self._measure(msg, source)
        there.subject, there.subject_len = PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)
        there.hdr, there.hdr_len = PyBytes_AS_STRING(header), <uint32_t>PyBytes_GET_SIZE(header)
        if msg.reply_len and not is_ack(msg):
            reply = self.responder.expect(
                self.requester, source, PyBytes_FromStringAndSize(msg.reply, msg.reply_len), self.once, self.threshold_ns,
                measured)
            there.reply, there.reply_len = PyBytes_AS_STRING(reply), <uint32_t>PyBytes_GET_SIZE(reply)
        passed += 1
        try:
            if trace is None:
                taken = self.exporter.router.route(there.subject, there.subject_len, &there, source)
            else:
                taken = self.exporter.router.route_traced(there.subject, there.subject_len, &there, source, trace)
        finally:
            passed -= 1
        if reply is not None and trace is not None and trace.only:
            self.responder.forget(reply)
        elif reply is not None and taken == 0:
            self.responder.end(reply, NOBODY_SERVES)
        return taken

    cdef object _measure(self, const Msg* msg, Sink source):
        """What is to be told of how long it takes; None: nothing. One that nobody can answer is told at once."""
        cdef Clock clock = self.responder._clock
        measured = self.meter.begin(
            source, PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), clock.wall_ns, clock.read_mono_ns())
        if measured is not None and not msg.reply_len:
            measured.end(NO_REPLY, None, clock.read_mono_ns())
        return measured

    def _told(self, bytes hdr, source):
        return request_info(source, self.importer.name, self.server_name, self.share, hdr if passed else b"")

    cdef bytes _info(self, const Msg* msg, Sink source):
        return self._told(PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), source)


class Exchange:
    """All imports of a server, from one configuration; a reload closes it and makes another one."""

    def __init__(self, accounts, timers, clock, server_name, answers, tell_latency):
        self._accounts, self._timers, self._clock, self._server_name = accounts, timers, clock, server_name
        self._answers, self._tell_latency = answers, tell_latency
        self._services = []
        self._streams = []
        self.members = set()
        """Accounts that ask others, or answer them."""
        options = {name: account.options for name, account in accounts.items()}
        for account in accounts.values():
            for wanted in account.options.imports:
                if wanted.service:
                    self._add_service(account, accounts[wanted.account], wanted, options)
        for account in accounts.values():
            self._add_streams(account)

    def _add_streams(self, account):
        rows = [(wanted, self._accounts[wanted.account], exchange.outward(wanted))
                for wanted in account.options.imports if not wanted.service]
        if rows:
            imports = StreamImports(account, rows)
            known = account.router.sublist.interests()
            account.router.imports = imports
            for sub in known:
                imports.added(sub)
            self._streams.append((account.router, imports))

    def _add_service(self, Account account, Account exporter, wanted, options):
        cdef ServiceImport sink = ServiceImport()
        export = exchange.export_for(options[wanted.account], wanted, account.name)
        sink.importer, sink.exporter = account, exporter
        sink.requester, sink.responder = self._responses(account), self._responses(exporter)
        sink.transform = exchange.inward(wanted)
        sink.once, sink.share, sink.traced = export.response == "singleton", wanted.share, export.allow_trace
        sink.threshold_ns, sink.server_name = export.threshold_ns, self._server_name
        if export.latency is not None:
            from millpond.broker.service_latency import Meter      # most servers measure nothing

            sink.meter = Meter(export.latency, exporter.name, wanted.share, self._server_name, self._tell_latency)
        subscription = account.router.subscribe(exchange.local_filter(wanted).encode(), sink)
        self._services.append((account.router, subscription))

    def _responses(self, Account account):
        self.members.add(account)
        if account.responses is None:
            account.responses = Responses(account.name, account.router, self._timers, self._clock, self._answers)
        return account.responses

    def close(self):
        for router, subscription in self._services:
            router.unsubscribe(subscription)
        for router, imports in self._streams:
            router.imports = None
            imports.close()
