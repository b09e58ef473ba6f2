"""Fast batches: a stream of publishes that are acknowledged every so many messages.

All is said in the reply subject, which ends with

    .<batch id>.<messages per acknowledgement>.<ok|fail>.<number>.<operation>.$FI

where operation is 0 begin, 1 append, 2 commit with this message, 3 commit without, 4 ping, and ok or fail says
whether lost messages (gaps) are allowed. Messages are stored one by one as they come; a batch only counts.

    begun ──> growing ──> committed       an acknowledgement of the stream, with the batch's count
                ├──> ended early          a gap or a refusal that is not allowed: what was stored is acknowledged
                └──> forgotten            idle for too long; nobody is told

How many messages one acknowledgement stands for is the server's to say, within what the client allows: one batch
gets 500, several share them; a batch that is not alone begins with 1 and doubles. Acknowledgements wait for the
commit as all answers do.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from millpond.base.clock cimport Clock
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.batch_totals cimport BatchTotals
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.headers cimport has_header, header
from millpond.jetstream.host cimport Host
from millpond.jetstream.ingest cimport Ingest
from millpond.jetstream.staging cimport Staging, misfit
from millpond.store.api cimport Store
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.jetstream.api_level import is_beyond_ours
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import encode
from millpond.jetstream.go_text import quote
from millpond.jetstream.pub_ack import refusal
from millpond.jetstream.waiting import WAIT
from millpond.wire.headers import without

cdef Py_ssize_t ID_BYTES_MAX = limits.BATCH_ID_BYTES_MAX
cdef uint32_t SHARED_PER_ACK = limits.FAST_BATCH_MESSAGES_PER_ACK_MAX
cdef uint64_t RECORD_BYTES_MAX = limits.RECORD_BYTES_MAX
cdef uint32_t PER_ACK_DEFAULT = 10
cdef uint32_t UINT16_MAX = 0xFFFF
cdef uint64_t UINT64_MAX = 0xFFFFFFFFFFFFFFFF

cdef enum Operation:
    BEGIN = 0
    APPEND = 1
    COMMIT = 2
    COMMIT_WITHOUT = 3
    PING = 4


cdef bint is_fast(const char* reply, uint32_t reply_len) noexcept:
    return reply_len > 4 and memcmp(reply + reply_len - 4, b".$FI", 4) == 0


cdef uint32_t _token_before(const char* text, uint32_t end) noexcept:
    """Where the token begins that ends at `end`; 0: there is no dot before it."""
    while end and text[end - 1] != c".":
        end -= 1
    return end


cdef bint _number(const char* text, uint32_t size, uint64_t* out) noexcept:
    """False: not a decimal number below 2**64."""
    cdef uint64_t value = 0, digit
    cdef uint32_t i
    for i in range(size):
        if text[i] < c"0" or text[i] > c"9":
            return False
        digit = text[i] - 48
        if value > (UINT64_MAX - digit) // 10:
            return False
        value = value * 10 + digit
    out[0] = value
    return size > 0


cdef bint _read_place(const char* reply, uint32_t reply_len, Place* out) noexcept:
    """False: the subject is not of the form above."""
    cdef uint32_t[5] start, size
    cdef uint32_t end = reply_len - 4
    cdef uint64_t operation, wanted
    cdef int i
    for i in range(5):                       # from the last token to the batch id
        start[i] = _token_before(reply, end)
        if start[i] == 0:
            return False
        size[i] = end - start[i]
        end = start[i] - 1
    if not _number(reply + start[0], size[0], &operation) or operation > PING:
        return False
    if not _number(reply + start[1], size[1], &out.number) or out.number == 0 or out.number == UINT64_MAX:
        return False
    out.begins, out.appends, out.pings = operation == BEGIN, operation == APPEND, operation == PING
    out.ends = operation == COMMIT_WITHOUT
    out.commits = out.ends or operation == COMMIT
    if out.number == 1 and (out.ends or out.appends) or out.number != 1 and out.begins:
        return False
    out.gaps = size[2] == 2 and memcmp(reply + start[2], b"ok", 2) == 0
    if not out.gaps and not (size[2] == 4 and memcmp(reply + start[2], b"fail", 4) == 0):
        return False
    if not _number(reply + start[3], size[3], &wanted) or wanted == 0:
        wanted = PER_ACK_DEFAULT
    out.per_ack = <uint32_t>min(wanted, <uint64_t>UINT16_MAX)
    out.batch_id, out.id_len = reply + start[4], size[4]
    return True


cdef class FastBatch:
    """One batch under way."""


cdef class FastBatches(Timer):
    """Those of one stream; fires when one may have been idle for too long."""

    def __init__(self, Host host, Store store, Dedupe dedupe, Clock clock, Timers timers, BatchTotals totals):
        self._host, self._store, self._dedupe = host, store, dedupe
        self._clock, self._timers, self._totals = clock, timers, totals
        self._batches = {}

    cdef int take(self, const Msg* msg, Ingest rules) except -1:
        cdef Place place
        cdef FastBatch batch
        cdef Msg changed = msg[0]
        cdef bytes kept
        cdef bint valid = _read_place(msg.reply, msg.reply_len, &place)
        refused = self._refusal(msg, &place if valid else NULL, rules)
        if refused is not None:
            return self._host.refuse(msg, refused)
        batch = self._find(&place) or self._begin(&place)
        if msg.hdr_len and has_header(msg, b"Nats-Required-Api-Level"):
            if is_beyond_ours(header(msg, b"Nats-Required-Api-Level")):
                self._end(batch)
                return self._host.refuse(msg, api_error("JSRequiredApiLevelErr"))
            kept = without(<bytes>msg.hdr[:msg.hdr_len], b"Nats-Required-Api-Level")
            changed.hdr, changed.hdr_len = <const char*>kept, <uint32_t>len(kept)
        refused = None
        if not place.pings and not place.ends:
            refused = self._judge(&changed, rules)
            if refused is WAIT:
                return 1
        batch.active_ns = self._clock.mono_ns
        if place.pings:
            return self._ping(msg, &place, batch)
        if batch.committing or not self._follows(msg, &place, batch):
            if self._host.traced is not None:
                self._host.traced.refused("batch ended before this message")
            return 0
        return self._go_on(msg, &place, batch, rules, refused)

    cdef object first_refusal(self, const Msg* msg, Ingest rules):
        cdef Place place
        return self._refusal(msg, &place if _read_place(msg.reply, msg.reply_len, &place) else NULL, rules)

    cdef object _refusal(self, const Msg* msg, const Place* place, Ingest rules):
        """What keeps the message from its batch, or a batch from beginning. `place` NULL: not understood."""
        refused = misfit(self._host, msg, rules)
        if refused is not None:
            return refused
        if not rules.config.allow_batched:
            return api_error("JSBatchPublishDisabledErr")
        if place == NULL:
            return api_error("JSBatchPublishInvalidPatternErr")
        if place.id_len > ID_BYTES_MAX:
            return api_error("JSBatchPublishInvalidBatchIDErr")
        if self._find(place) is not None:
            return None
        if place.number != 1 or place.pings:
            return api_error("JSBatchPublishUnknownBatchIDErr")
        if len(self._batches) >= self._totals.fast_per_stream or not self._totals.may_begin_fast():
            return api_error("JSBatchPublishTooManyInflight")
        return None

    cdef FastBatch _find(self, const Place* place):
        cdef FastBatch batch = self._latest
        if batch is not None and len(batch.batch_id) == place.id_len and memcmp(
                <const char*>batch.batch_id, place.batch_id, place.id_len) == 0:
            return batch
        self._latest = self._batches.get(place.batch_id[:place.id_len])
        return self._latest

    cdef FastBatch _begin(self, const Place* place):
        cdef FastBatch batch = FastBatch()
        batch.batch_id = place.batch_id[:place.id_len]
        batch.gaps, batch.per_ack_max = place.gaps, place.per_ack
        self._batches[batch.batch_id] = self._latest = batch
        self._totals.begin_fast()
        batch.per_ack = min(SHARED_PER_ACK, batch.per_ack_max) if len(self._batches) == 1 else 1
        if not self.deadline_ns:
            self._timers.arm(self, self._clock.mono_ns + self._totals.idle_ns)
        return batch

    cdef int _end(self, FastBatch batch) except -1:
        del self._batches[batch.batch_id]
        self._latest = None
        self._totals.end_fast()
        if not self._batches:
            self._timers.cancel(self)
        return 0

    cdef object _judge(self, const Msg* msg, Ingest rules):
        """None: `_msg` is to be stored. Else the ApiError (with `_duplicate_of`), or WAIT."""
        cdef Staging staging
        self._msg, self._duplicate_of, self._kept = msg[0], 0, None
        if msg.hdr_len or rules.counts or rules.discard_new:
            staging = Staging(rules, self._store, self._dedupe)
            refused = staging.check(msg, self._clock.wall_ns)
            self._msg, self._duplicate_of, self._kept = staging.msg, staging.duplicate_of, staging
        elif self._store.message_size(msg.subject_len, 0, msg.body_len) > RECORD_BYTES_MAX:
            refused = api_error("JSStreamStoreFailedF", err="message too large")
        else:
            refused = None
        self._msg.reply_len = 0
        return refused

    cdef int _ping(self, const Msg* msg, const Place* place, FastBatch batch) except -1:
        """Asks for the last acknowledgement, and says up to where messages were sent."""
        if place.number > batch.last:
            self._send_gap(msg, batch.last + 1, place.number + 1)
            if not batch.gaps:
                self._commit(msg, batch)
                if batch.batch_id not in self._batches:
                    return 0
            else:
                batch.last = place.number
                batch.stored = batch.stored if batch.held else batch.last
                if self._tell(msg, batch):
                    return 0
        return self._send_ack(msg, batch.told, batch.per_ack)

    cdef bint _follows(self, const Msg* msg, const Place* place, FastBatch batch) except *:
        """Counts the message. False: it may not come after the last one, and the batch has ended."""
        cdef uint64_t expected = batch.last + 1
        if place.number != expected:
            self._send_gap(msg, expected, place.number)
        if place.number != expected and not (batch.gaps and place.number > expected):
            self._commit(msg, batch)
            return False
        batch.last = place.number
        return True

    cdef int _go_on(self, const Msg* msg, const Place* place, FastBatch batch, Ingest rules, object refused) except -1:
        """The message is the batch's next one."""
        if place.ends:
            batch.last -= 1
            batch.stored = batch.last
            return self._commit(msg, batch)
        batch.committing = place.commits
        if place.number == 1 and not place.commits and not rules.no_ack:
            self._send_ack(msg, 0, batch.per_ack)
        if refused is not None:
            return self._refused(msg, place, batch, rules, refused)
        refused = rules.check_last_msg_id(&self._msg, self._dedupe) if self._msg.hdr_len else None
        if refused is not None:
            batch.held = True
            return self._host.refuse(msg, refused)
        rules.take_as_it_is(&self._msg)
        stream_seq = self._host.accept(&rules.msg, b"")
        if not stream_seq:
            self._end(batch)
            return self._host.refuse(msg, api_error("JSStorageResourcesExceededErr"))
        batch.stream_seq, batch.stored, batch.held = stream_seq, batch.last, False
        if place.commits:
            return self._commit(msg, batch)
        self._tell(msg, batch)
        return 0

    cdef int _refused(self, const Msg* msg, const Place* place, FastBatch batch, Ingest rules, object refused) except -1:
        cdef bytes tail
        if self._host.traced is not None:
            self._host.tell_trace(msg, refused)
        if self._duplicate_of:
            batch.stored = batch.stored if batch.held else place.number
            self._tell(msg, batch)
            if not place.commits:
                return 0
        if not place.gaps and batch.last == 1:
            self._end(batch)
            if not self._duplicate_of:
                return self._host.answer(msg.reply, msg.reply_len, refusal(rules.config.name, refused))
            tail = f',"batch":{quote(batch.batch_id)},"count":{place.number}'.encode()
            return self._host.acknowledge(msg.reply, msg.reply_len, self._duplicate_of, True, tail)
        if not self._duplicate_of:
            error = {"code": refused.code, "err_code": refused.err_code, "description": refused.description}
            self._host.answer(msg.reply, msg.reply_len, encode({"type": "err", "seq": place.number, "error": error}))
            if place.gaps and not place.commits:
                return 0
            batch.last -= 1
            batch.stored = batch.last
        return self._commit(msg, batch)

    cdef int _commit(self, const Msg* msg, FastBatch batch) except -1:
        """What is stored is acknowledged, unless a refused message is the last one: then nobody is told."""
        cdef bytes tail
        batch.committing = True
        if batch.held or batch.last != batch.stored:
            return 0
        self._end(batch)
        tail = f',"batch":{quote(batch.batch_id)},"count":{batch.last}'.encode()
        return self._host.acknowledge(msg.reply, msg.reply_len, batch.stream_seq, False, tail)

    # --- flow ---

    cdef bint _tell(self, const Msg* msg, FastBatch batch) except *:
        """Acknowledges when enough messages have come, and says when the next acknowledgement comes."""
        cdef uint32_t most
        if batch.stored < batch.told + batch.per_ack:
            return False
        batch.told += (batch.stored - batch.told) // batch.per_ack * batch.per_ack
        most = min(max(SHARED_PER_ACK // <uint32_t>len(self._batches), 1), batch.per_ack_max)
        if batch.per_ack < most:
            batch.per_ack = min(batch.per_ack * 2, most)
        elif batch.per_ack > most:
            batch.per_ack = max(batch.per_ack // 2, most)
        self._send_ack(msg, batch.told, batch.per_ack)
        return True

    cdef int _send_ack(self, const Msg* msg, uint64_t number, uint32_t per_ack) except -1:
        return self._host.answer(msg.reply, msg.reply_len, b'{"type":"ack","seq":%d,"msgs":%d}' % (number, per_ack))

    cdef int _send_gap(self, const Msg* msg, uint64_t expected, uint64_t number) except -1:
        return self._host.answer(msg.reply, msg.reply_len,
                                 b'{"type":"gap","last_seq":%d,"seq":%d}' % (expected, number))

    # --- idleness ---

    cdef int fire(self, int64_t now_ns) except -1:
        cdef FastBatch batch
        cdef int64_t oldest_ns = 0
        for batch in list(self._batches.values()):
            if batch.active_ns + self._totals.idle_ns <= now_ns:
                self._end(batch)
            elif not oldest_ns or batch.active_ns < oldest_ns:
                oldest_ns = batch.active_ns
        return self._timers.arm(self, oldest_ns + self._totals.idle_ns) if oldest_ns else 0

    cdef int drop_all(self) except -1:
        for batch in list(self._batches.values()):
            self._end(batch)
        return 0
