"""Direct gets: $JS.API.DIRECT.GET.<stream> with a JSON request, or with the subject behind the stream.

A key that is asked for by its subject, as KV clients do, is answered at once from C buffers. Any other request
becomes a Job. It sends messages until it is done, must wait for a cold read (parked until the store is warm) or has
used its share of the turn (it goes on in the pump phase). States of a job: running, parked, done.

What the jobs of one stream look at in one turn, in search of what matches or to count it, they share: those for whom
nothing is left come first in the next turn. A job that will look at much begins in the pump phase, where that share is
counted; what goes or comes between two of its steps changes what it finds from there on.
"""

import logging

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.turn cimport Phase
from millpond.jetstream.headers cimport header
from millpond.store.api cimport COLD, FOUND, MISSING, Filters, Load, Record, Store
from millpond.store.lasts cimport Lasts
from millpond.store.search cimport Search
from millpond.structures.buffers cimport ByteBuffer, put_decimal
from millpond.subjects.tokens cimport has_wildcard
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream.api_level import is_beyond_ours
from millpond.jetstream.go_json import ListOf, Shape, unmarshal
from millpond.jetstream.go_time import int64_ns

cdef uint64_t STEP_MESSAGES = limits.PUMP_MESSAGES_PER_CONSUMER
cdef uint64_t STEP_LOOKS = limits.SEARCH_STEP_ROWS
cdef size_t WAITING_BYTES_MAX = limits.DIRECT_GETS_WAITING_BYTES_MAX
cdef size_t JOB_BYTES = limits.DIRECT_GET_JOB_BYTES
cdef size_t SCRATCH_BYTES_KEPT = limits.DIRECT_GET_SCRATCH_BYTES_KEPT
cdef uint64_t SUBJECTS_MAX = limits.MULTI_LAST_SUBJECTS_MAX
cdef int64_t BYTES_DEFAULT = limits.PENDING_BYTES_MAX
log = logging.getLogger("millpond")

cdef enum:
    WHOLE_STREAM = 0       # tag of the subscription without a subject behind the stream
    STAMPS_BYTES_MAX = 256 # of what an answer adds to a header block, but for stream and subject
    VERSION_BYTES = 10     # of the line that begins a block
    SECOND_NS = 1000000000
    DAY_S = 86400

cdef object REQUEST = Shape(
    "JSApiMsgGetRequest",
    {
        "seq": "uint64", "last_by_subj": "string", "next_by_subj": "string", "batch": "int", "max_bytes": "int",
        "start_time": "time.Time", "multi_last": ListOf("string"), "up_to_seq": "uint64",
        "up_to_time": "time.Time", "no_hdr": "bool",
    },
)


cdef bytes EMPTY_REQUEST = b"NATS/1.0 408 Empty Request\r\n\r\n"
cdef bytes BAD_REQUEST = b"NATS/1.0 408 Bad Request\r\n\r\n"
cdef bytes MALFORMED = b"NATS/1.0 408 Malformed Request\r\n\r\n"
cdef bytes NOT_FOUND = b"NATS/1.0 404 Message Not Found\r\n\r\n"
cdef bytes NO_RESULTS = b"NATS/1.0 404 No Results\r\n\r\n"
cdef bytes TOO_MANY = b"NATS/1.0 413 Too Many Results\r\n\r\n"
cdef bytes OVERLOADED = b"NATS/1.0 429 Too Many Requests\r\n\r\n"
cdef bytes LEVEL = b"NATS/1.0 412 Required Api Level\r\n\r\n"

cdef ByteBuffer SCRATCH = ByteBuffer()
"""One answer at a time is laid out here and routed: it may go to a stream, which changes the store that it is from."""


cdef inline char* _text(char* out, const char* text, size_t n) noexcept:
    memcpy(out, text, n)
    return out + n


cdef inline char* _two(char* out, unsigned int value) noexcept:
    out[0], out[1] = <char>(48 + value // 10), <char>(48 + value % 10)
    return out + 2


cdef inline int64_t _floored(int64_t value, int64_t unit) noexcept:
    return value // unit - (value % unit < 0)


cdef char* _time(char* out, int64_t time_ns) noexcept:
    """RFC 3339 in UTC, nanoseconds without zeros at their end, as go_time.format_time; at most 30 bytes.

    The civil date of a day number is counted in eras of 400 years that begin in March, so that the leap day is a
    year's last (H. Hinnant, chrono-compatible low-level date algorithms).
    """
    cdef int64_t seconds = _floored(time_ns, SECOND_NS), days = _floored(seconds, DAY_S)
    cdef int64_t day = days + 719468                                 # since 0000-03-01
    cdef unsigned int second = <unsigned int>(seconds - days * DAY_S)
    cdef unsigned int ns = <unsigned int>(time_ns - seconds * SECOND_NS), unit = 100000000
    cdef unsigned int of_era = <unsigned int>(day % 146097)
    cdef unsigned int year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef unsigned int of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef unsigned int month = (5 * of_year + 2) // 153               # from March
    cdef unsigned int of_month = of_year - (153 * month + 2) // 5 + 1
    year += <unsigned int>(day // 146097 * 400)
    if month < 10:
        month += 3
    else:
        month -= 9
        year += 1
    out = _two(_two(out, year // 100), year % 100)
    out[0] = c"-"
    out = _two(out + 1, month)
    out[0] = c"-"
    out = _two(out + 1, of_month)
    out[0] = c"T"
    out = _two(out + 1, second // 3600)
    out[0] = c":"
    out = _two(out + 1, second // 60 % 60)
    out[0] = c":"
    out = _two(out + 1, second % 60)
    if ns:
        out[0] = c"."
        out += 1
        while ns:
            out[0] = <char>(48 + ns // unit)
            ns, unit, out = ns % unit, unit // 10, out + 1
    out[0] = c"Z"
    return out + 1


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
        self._name, self._store, self._router, self._pump, self._turn = name.encode(), store, router, pump, turn
        self._begins = b"NATS/1.0\r\nNats-Stream: %b\r\nNats-Subject: " % self._name
        self._running, self._parked = [], []
        self._steps = Steps()
        self._steps.gets = self

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        cdef bytes body
        cdef dict request = {}
        if not msg.reply_len:
            return 1
        if msg.hdr_len and is_beyond_ours(header(msg, b"Nats-Required-Api-Level")):
            return self._status(msg.reply, msg.reply_len, LEVEL)
        if msg.body_len == 0:
            if sub.tag == WHOLE_STREAM:
                return self._status(msg.reply, msg.reply_len, EMPTY_REQUEST)
            if self._answer_key(sub, msg):
                return 1
        body = PyBytes_FromStringAndSize(msg.body, msg.body_len)
        if body:
            try:
                request = unmarshal(body, REQUEST)
            except ApiError:
                return self._status(msg.reply, msg.reply_len, MALFORMED)
        refused = self._check(msg, request) if sub.tag == WHOLE_STREAM else self._check_by_subject(sub, msg, request)
        if refused:
            return self._status(msg.reply, msg.reply_len, refused)
        self._begin(self._job(msg, request), request)
        return 1

    cdef bint _answer_key(self, Subscription sub, const Msg* msg) except -1:
        """Answers a request without a body for the last message on the subject behind the stream's name, or its
        origin's. False: it has to become a job."""
        cdef uint32_t prefix = <uint32_t>len(sub.subject) - 1       # it ends with ".>"
        cdef uint32_t n = msg.subject_len - prefix
        cdef uint64_t stream_seq
        cdef Store store = self._store
        cdef Record record
        cdef Load found = MISSING
        if n == 0 or has_wildcard(msg.subject + prefix, n):
            return False
        stream_seq = store.last_for(msg.subject + prefix, n)
        if stream_seq:
            found = store.load(stream_seq, &record)
        if found == COLD:
            return False
        if found == FOUND:
            self._send(msg.reply, msg.reply_len, &record, None)
        else:
            self._status(msg.reply, msg.reply_len, NOT_FOUND)
        return True

    cdef bytes _check(self, const Msg* msg, dict request):
        """The status line that refuses the request; None: it is in order."""
        if not any(request.get(key) for key in ("seq", "last_by_subj", "next_by_subj", "multi_last")) \
                and "start_time" not in request:
            return EMPTY_REQUEST
        return BAD_REQUEST if _conflict(request) else None

    cdef bytes _check_by_subject(self, Subscription sub, const Msg* msg, dict request):
        """The same where the subject is part of the request's own, behind this stream's name or its origin's."""
        if any(request.get(key) or key.endswith("_time") for key in request if key not in ("no_hdr", "max_bytes")):
            return BAD_REQUEST
        prefix = len(sub.subject) - 1              # it ends with ".>"
        subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)[prefix:]
        request["last_by_subj"] = subject.decode("utf-8", "surrogateescape")
        return None

    cdef int _begin(self, Job job, dict request) except -1:
        cdef Store store = self._store
        if request.get("multi_last"):
            return self._begin_multi(job, request)
        following = request.get("next_by_subj", "").encode("utf-8", "surrogateescape")
        last = request.get("last_by_subj", "").encode("utf-8", "surrogateescape")
        if "start_time" in request:
            job.next_seq = store.seq_at_time(int64_ns(request["start_time"]))
        else:
            job.next_seq = request.get("seq", 0)
        job.batched = request.get("batch", 0) != 0
        job.batch = max(request.get("batch", 0), 0) if job.batched else 1
        job.direct = not job.batched and not following
        wanted = last if job.direct else following
        job.filters = Filters([wanted] if wanted else [])
        if not job.filters.all and not job.filters.literal:
            job.search = Search(store, job.filters)
        if job.batched:
            self._count(job)
            job.valid_through = store.state.last_seq
        elif last and job.search is None:
            job.next_seq = store.last_match(job.filters, 0)
        return self._advance(job)

    cdef Job _job(self, const Msg* msg, dict request):
        cdef Job job = Job()
        job.reply = PyBytes_FromStringAndSize(msg.reply, msg.reply_len)
        job.size = JOB_BYTES + msg.subject_len + msg.reply_len + msg.body_len
        job.no_hdr = request.get("no_hdr", False)
        job.bytes_left = request.get("max_bytes", 0) or BYTES_DEFAULT
        return job

    cdef int _begin_multi(self, Job job, dict request) except -1:
        cdef Store store = self._store
        job.multi, job.batched, job.no_hdr = True, True, False
        job.up_to_seq = request.get("up_to_seq", 0)
        if "up_to_time" in request:
            job.up_to_seq = store.seq_at_time(int64_ns(request["up_to_time"]))
            if job.up_to_seq <= store.state.first_seq:
                return self._finally(job, NO_RESULTS)
            job.up_to_seq -= 1
        if job.up_to_seq == 0:
            job.up_to_seq = store.state.last_seq
        subjects = [subject.encode("utf-8", "surrogateescape") for subject in request["multi_last"] if subject]
        if not job.up_to_seq or not subjects:
            return self._finally(job, NO_RESULTS)
        job.lasts = Lasts(store, Filters(subjects), job.up_to_seq, SUBJECTS_MAX)
        job.least, job.batch = request.get("seq", 0), max(request.get("batch", 0), 0)
        return self._advance(job)

    # --- progress ---

    cdef int _count(self, Job job) except -1:
        """What is pending from next_seq on: at once, or in steps."""
        cdef Store store = self._store
        if store.is_long(job.next_seq, job.filters):
            job.pending, job.count_at, job.count_end = 0, max(job.next_seq, 1), store.state.last_seq
        else:
            job.pending = store.count_match(job.next_seq, job.filters)
        return 0

    cdef int _listed(self, Job job) except -1:
        """The last ones are found. 0: that is the end of it; 1: they can be sent."""
        cdef list seqs = job.lasts.seqs
        job.lasts = None
        if not seqs:
            return self._finally(job, TOO_MANY if seqs is None else NO_RESULTS)
        job.seqs = [seq for seq in seqs if seq >= job.least]
        job.pending = len(job.seqs)
        job.batch = job.batch or max(job.pending, 1)
        return 1

    cdef bint _is_long(self, Job job) noexcept:
        if job.lasts is not None:
            return not job.lasts.is_short()
        if job.search is None:
            return job.count_at != 0
        job.search.begin(job.next_seq, self._store.state.last_seq, job.direct)
        return job.count_at != 0 or not job.search.is_short()

    cdef int _advance(self, Job job) except -1:
        cdef uint64_t looks = self._looks          # of those whose answer may have been this request
        self._looks = STEP_LOOKS
        if self._is_long(job) or self._step(job, STEP_MESSAGES):
            self._go_on(job)
        self._looks = looks
        return 0

    cdef int _go_on(self, Job job) except -1:
        """In the pump phase. What has not begun to answer is turned away when too much is under way."""
        if self._held + job.size > WAITING_BYTES_MAX and not job.sent:
            if not self._turned_away:
                log.warning("too many long direct gets of stream %s are under way: the newest are refused",
                            self._name.decode())
            self._turned_away = True
            return self._finally(job, OVERLOADED)
        self._held += job.size
        self._running.append(job)
        self._pump.add(self._steps)
        return self._turn.wake()

    cdef int _step(self, Job job, uint64_t budget) except -1:
        """1: the share is used up and the job is not done. 0: done, or parked."""
        cdef Store store = self._store
        cdef Record record
        cdef Load found
        cdef uint64_t stream_seq, used
        if job.count_at:
            job.pending += store.count_part(job.count_at, job.count_end, job.filters, self._looks, &job.count_at)
            self._looks = 0
            return 1
        if job.ending:
            return self._finish(job)
        if job.lasts is not None:
            if job.lasts.step(&self._looks):
                return 1
            if not self._listed(job):
                return 0
        for used in range(budget):
            if job.sent >= job.batch or (job.sent and job.bytes_left <= 0):
                return self._finish(job)
            if self._find(job, &stream_seq):
                return 1
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

    cdef bint _find(self, Job job, uint64_t* stream_seq) except -1:
        """The next message of the job, 0: there is none. True: it has to be looked for in the next turn."""
        cdef Store store = self._store
        if job.multi:
            stream_seq[0] = <uint64_t>job.seqs[job.at] if job.at < <size_t>len(job.seqs) else 0
        elif job.search is not None:
            if not job.searching:
                job.searching = True
                job.search.begin(job.next_seq, store.state.last_seq, job.direct)
            if job.search.step(&self._looks):
                return True
            job.searching = False
            stream_seq[0] = job.search.found
        elif job.direct:
            stream_seq[0] = job.next_seq
        else:
            stream_seq[0] = store.next_match(job.next_seq, job.filters)
        return False

    cdef int _answer(self, Job job, Record* record) except -1:
        if job.pending and not job.no_hdr:
            job.pending -= 1
        job.bytes_left -= <int64_t>record.subject_len + record.hdr_len + record.body_len
        self._send(<const char*>job.reply, <uint32_t>len(job.reply), record, job)
        job.last_seq = record.seq
        job.sent += 1
        return 0

    cdef int _send(self, const char* reply, uint32_t reply_len, const Record* record, Job job) except -1:
        """One message; `job` says how far its batch is, None: it is alone."""
        cdef Msg msg
        cdef uint32_t hdr_len = 0
        cdef size_t texts = <size_t>record.subject_len + record.hdr_len + record.body_len
        cdef char* place = SCRATCH.reserve(STAMPS_BYTES_MAX + len(self._name) + texts)
        if job is None or not job.no_hdr:
            hdr_len = self._head(place, record, job)
        memcpy(place + hdr_len, record.body, record.body_len)
        msg.subject, msg.subject_len, msg.reply, msg.reply_len = reply, reply_len, NULL, 0
        msg.hdr, msg.hdr_len = place, hdr_len
        msg.body, msg.body_len = place + hdr_len, record.body_len
        self._router.route(reply, reply_len, &msg, None)
        if SCRATCH.capacity > SCRATCH_BYTES_KEPT:
            SCRATCH.release()
        return 0

    cdef uint32_t _head(self, char* place, const Record* record, Job job) noexcept:
        """The message's own headers, then where it is from; returns the block's length."""
        cdef char* out = place
        cdef uint32_t skipped = 0
        if record.hdr_len:
            out = _text(out, record.hdr, record.hdr_len - 2)         # without the empty line
            skipped = VERSION_BYTES
        out = _text(out, <const char*>self._begins + skipped, <uint32_t>len(self._begins) - skipped)
        out = _text(out, record.subject, record.subject_len)
        out = _text(out, b"\r\nNats-Sequence: ", 17)
        out += put_decimal(out, record.seq)
        out = _text(out, b"\r\nNats-Time-Stamp: ", 19)
        out = _time(out, record.ts_ns)
        if job is not None and job.batched:
            out = _text(out, b"\r\nNats-Num-Pending: ", 20)
            out += put_decimal(out, job.pending)
            out = _text(out, b"\r\nNats-Last-Sequence: ", 22)
            out += put_decimal(out, job.last_seq)
        out = _text(out, b"\r\n\r\n", 4)
        return <uint32_t>(out - place)

    cdef int _finish(self, Job job) except -1:
        cdef Store store = self._store
        if not job.sent and not job.multi and not (job.batched and job.batch == 0):
            return self._finally(job, NOT_FOUND)
        if not job.batched:
            return 0
        if not job.multi and store.state.last_seq > job.valid_through and not job.ending:
            job.ending = True
            self._count(job)
            if job.count_at:
                return 1
        tail = b"\r\nNats-UpTo-Sequence: %d" % job.up_to_seq if job.multi else b""
        head = b"NATS/1.0 204 EOB\r\nNats-Num-Pending: %d\r\nNats-Last-Sequence: %d" % (job.pending, job.last_seq)
        return self._finally(job, head + tail + b"\r\n\r\n")

    cdef int _finally(self, Job job, bytes block) except -1:
        self._status(<const char*>job.reply, <uint32_t>len(job.reply), block)
        return 0

    cdef int _status(self, const char* reply, uint32_t reply_len, bytes block) except -1:
        """Answers with a header block and no body. Returns 1: the request was taken."""
        cdef Msg msg
        msg.subject, msg.subject_len, msg.reply, msg.reply_len = reply, reply_len, NULL, 0
        msg.hdr, msg.hdr_len = <const char*>block, <uint32_t>len(block)
        msg.body, msg.body_len = <const char*>block, 0
        self._router.route(reply, reply_len, &msg, None)
        return 1

    cdef int warm(self) except -1:
        cdef list jobs = self._parked
        self._parked = []
        for job in jobs:
            self._advance(job)
        return 0

    cdef int run_steps(self) except -1:
        cdef list jobs = self._running, unserved = []
        cdef Job job
        self._running, self._looks = [], STEP_LOOKS
        for job in jobs:
            if self._looks == 0:
                unserved.append(job)
            elif self._step(job, STEP_MESSAGES):
                self._running.append(job)
            else:
                self._held -= min(job.size, self._held)      # an answer may have ended the stream
        self._turned_away = self._turned_away and self._held > 0
        self._running = unserved + self._running
        return 1 if self._running else 0

    cdef int stop(self) except -1:
        self._running, self._parked, self._held = [], [], 0
        return 0
