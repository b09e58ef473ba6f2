"""Direct gets: $JS.API.DIRECT.GET.<stream> with a JSON request, or with the subject behind the stream.

A request becomes a Job. It sends messages until it is done, must wait for a cold read (parked until the
store is warm) or has used its share of the turn (it goes on in the pump phase). States of a job: running,
parked, done.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t

from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.turn cimport Phase
from millpond.jetstream.headers cimport header
from millpond.store.api cimport COLD, FOUND, Filters, Load, Record, Store
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream.api_level import is_beyond_ours
from millpond.jetstream.go_json import ListOf, Shape, unmarshal
from millpond.jetstream.go_time import format_time, int64_ns

cdef uint64_t STEP_MESSAGES = limits.PUMP_MESSAGES_PER_CONSUMER
cdef uint64_t SUBJECTS_MAX = limits.MULTI_LAST_SUBJECTS_MAX
cdef int64_t BYTES_DEFAULT = limits.PENDING_BYTES_MAX
cdef enum:
    WHOLE_STREAM = 0       # tag of the subscription without a subject behind the stream

cdef object REQUEST = Shape(
    "JSApiMsgGetRequest",
    {
        "seq": "uint64", "last_by_subj": "string", "next_by_subj": "string", "batch": "int", "max_bytes": "int",
        "start_time": "time.Time", "multi_last": ListOf("string"), "up_to_seq": "uint64",
        "up_to_time": "time.Time", "no_hdr": "bool",
    },
)


cdef class Job:
    """The progress of one request."""


cdef class Steps(Phase):
    """The pump's handle on the jobs of one stream."""

    cdef int run(self) except -1:
        return self.gets.run_steps()


def _conflict(request):
    """Fields that exclude each other."""
    seq, last, following = request.get("seq"), request.get("last_by_subj"), request.get("next_by_subj")
    start, multi = "start_time" in request, request.get("multi_last")
    return bool(
        (seq and (last or start))
        or (last and (start or following or request.get("batch", 0) > 0 or multi))
        or (following and multi)
        or (request.get("up_to_seq") and "up_to_time" in request)
    )


cdef class DirectGets(Sink):
    """Answers from one stream."""

    def __init__(self, str name, Store store, Router router, Pump pump, Turn turn):
        self._name, self._store, self._router, self._pump, self._turn = name, store, router, pump, turn
        self._running, self._parked = [], []
        self._steps = Steps()
        self._steps.gets = self

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        cdef bytes reply = PyBytes_FromStringAndSize(msg.reply, msg.reply_len)
        cdef bytes body = PyBytes_FromStringAndSize(msg.body, msg.body_len)
        cdef dict request = {}
        if not reply:
            return 1
        if msg.hdr_len and is_beyond_ours(header(msg, b"Nats-Required-Api-Level")):
            self._status(reply, b"412 Required Api Level")
            return 1
        if not body and sub.tag == WHOLE_STREAM:
            self._status(reply, b"408 Empty Request")
            return 1
        if body:
            try:
                request = unmarshal(body, REQUEST)
            except ApiError:
                self._status(reply, b"408 Malformed Request")
                return 1
        refused = self._check(msg, request) if sub.tag == WHOLE_STREAM else self._check_by_subject(sub, msg, request)
        if refused:
            self._status(reply, refused)
        else:
            self._begin(reply, request)
        return 1

    cdef bytes _check(self, const Msg* msg, dict request):
        """The status line that refuses the request; None: it is in order."""
        if not any(request.get(key) for key in ("seq", "last_by_subj", "next_by_subj", "multi_last")) \
                and "start_time" not in request:
            return b"408 Empty Request"
        return b"408 Bad Request" if _conflict(request) else None

    cdef bytes _check_by_subject(self, Subscription sub, const Msg* msg, dict request):
        """The same where the subject is part of the request's own, behind this stream's name or its origin's."""
        if any(request.get(key) or key.endswith("_time") for key in request if key not in ("no_hdr", "max_bytes")):
            return b"408 Bad Request"
        prefix = len(sub.subject) - 1              # it ends with ".>"
        subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)[prefix:]
        request["last_by_subj"] = subject.decode("utf-8", "surrogateescape")
        return None

    cdef int _begin(self, bytes reply, dict request) except -1:
        cdef Store store = self._store
        cdef Job job
        if request.get("multi_last"):
            return self._begin_multi(reply, request)
        job = self._job(reply, request)
        following = request.get("next_by_subj", "").encode("utf-8", "surrogateescape")
        last = request.get("last_by_subj", "").encode("utf-8", "surrogateescape")
        if "start_time" in request:
            job.next_seq = store.seq_at_time(int64_ns(request["start_time"]))
        else:
            job.next_seq = request.get("seq", 0)
        job.filters = Filters([following] if following else [])
        job.batched = request.get("batch", 0) != 0
        job.batch = max(request.get("batch", 0), 0) if job.batched else 1
        job.direct = not job.batched and not following
        if job.batched:
            job.pending = store.count_match(job.next_seq, job.filters)
            job.valid_through = store.state.last_seq
        elif last:
            job.next_seq = store.last_match(Filters([last]), 0)
        return self._advance(job)

    cdef Job _job(self, bytes reply, dict request):
        cdef Job job = Job()
        job.reply = reply
        job.no_hdr = request.get("no_hdr", False)
        job.bytes_left = request.get("max_bytes", 0) or BYTES_DEFAULT
        return job

    cdef int _begin_multi(self, bytes reply, dict request) except -1:
        cdef Store store = self._store
        cdef Job job = self._job(reply, request)
        cdef uint64_t least = request.get("seq", 0)
        job.multi, job.batched, job.no_hdr = True, True, False
        job.up_to_seq = request.get("up_to_seq", 0)
        if "up_to_time" in request:
            job.up_to_seq = store.seq_at_time(int64_ns(request["up_to_time"]))
            if job.up_to_seq <= store.state.first_seq:
                return self._status(reply, b"404 No Results")
            job.up_to_seq -= 1
        if job.up_to_seq == 0:
            job.up_to_seq = store.state.last_seq
        subjects = [subject.encode("utf-8", "surrogateescape") for subject in request["multi_last"] if subject]
        seqs = store.last_seqs(Filters(subjects), job.up_to_seq, SUBJECTS_MAX) if job.up_to_seq and subjects else []
        if seqs is None:
            return self._status(reply, b"413 Too Many Results")
        if not seqs:
            return self._status(reply, b"404 No Results")
        job.seqs = [seq for seq in seqs if seq >= least]
        job.pending = len(job.seqs)
        job.batch = request.get("batch", 0) if request.get("batch", 0) > 0 else max(job.pending, 1)
        return self._advance(job)

    # --- progress ---

    cdef int _advance(self, Job job) except -1:
        if self._step(job, STEP_MESSAGES):
            self._running.append(job)
            self._pump.add(self._steps)
            self._turn.wake()
        return 0

    cdef int _step(self, Job job, uint64_t budget) except -1:
        """1: the share is used up and the job is not done. 0: done, or parked."""
        cdef Store store = self._store
        cdef Record record
        cdef Load found
        cdef uint64_t stream_seq, used
        for used in range(budget):
            if job.sent >= job.batch or (job.sent and job.bytes_left <= 0):
                return self._finish(job)
            stream_seq = self._seq_of(job)
            if not stream_seq:
                return self._finish(job)
            found = store.load(stream_seq, &record)
            if found == COLD:
                self._parked.append(job)
                return 0
            if job.multi:
                job.at += 1
            job.next_seq = stream_seq + 1
            if found == FOUND:
                self._answer(job, &record)
            elif job.direct:
                return self._finish(job)
            elif job.pending:
                job.pending -= 1
        return 1

    cdef uint64_t _seq_of(self, Job job) except? 0:
        cdef Store store = self._store
        if job.multi:
            return <uint64_t>job.seqs[job.at] if job.at < <size_t>len(job.seqs) else 0
        if job.direct:
            return job.next_seq
        return store.next_match(job.next_seq, job.filters)

    cdef int _answer(self, Job job, Record* record) except -1:
        cdef bytes block = PyBytes_FromStringAndSize(record.hdr, record.hdr_len)
        cdef bytes body = PyBytes_FromStringAndSize(record.body, record.body_len)
        cdef bytes subject = PyBytes_FromStringAndSize(record.subject, record.subject_len)
        if not job.no_hdr:
            if job.pending:
                job.pending -= 1
            block = (block[: len(block) - 2] if block else b"NATS/1.0\r\n") + b"Nats-Stream: %b\r\nNats-Subject: %b\r\n" % (
                self._name.encode(), subject)
            block += b"Nats-Sequence: %d\r\nNats-Time-Stamp: %b\r\n" % (record.seq, format_time(record.ts_ns).encode())
            if job.batched:
                block += b"Nats-Num-Pending: %d\r\nNats-Last-Sequence: %d\r\n" % (job.pending, job.last_seq)
            block += b"\r\n"
        else:
            block = b""
        job.bytes_left -= <int64_t>record.subject_len + record.hdr_len + record.body_len
        job.last_seq = record.seq
        job.sent += 1
        self._router.publish(job.reply, body, b"", block)
        return 0

    cdef int _finish(self, Job job) except -1:
        cdef Store store = self._store
        if not job.sent and not job.multi and not (job.batched and job.batch == 0):
            return self._status(job.reply, b"404 Message Not Found")
        if not job.batched:
            return 0
        if not job.multi and store.state.last_seq > job.valid_through:
            job.pending = store.count_match(job.next_seq, job.filters)
        tail = b"\r\nNats-UpTo-Sequence: %d" % job.up_to_seq if job.multi else b""
        line = b"204 EOB\r\nNats-Num-Pending: %d\r\nNats-Last-Sequence: %d" % (job.pending, job.last_seq)
        return self._status(job.reply, line + tail)

    cdef int _status(self, bytes reply, bytes line) except -1:
        self._router.publish(reply, b"", b"", b"NATS/1.0 " + line + b"\r\n\r\n")
        return 0

    cdef int warm(self) except -1:
        cdef list jobs = self._parked
        self._parked = []
        for job in jobs:
            self._advance(job)
        return 0

    cdef int run_steps(self) except -1:
        cdef list jobs = self._running
        self._running = []
        for job in jobs:
            if self._step(job, STEP_MESSAGES):
                self._running.append(job)
        return 1 if self._running else 0

    cdef int stop(self) except -1:
        self._running, self._parked = [], []
        return 0
