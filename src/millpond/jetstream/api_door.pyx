"""The API's sink on `$JS.API.>`: it passes requests on to Python, and keeps out of the way of two kinds.

Direct gets and pulls have subscriptions of their own, one for each stream and consumer. They are the data
plane's; where nobody serves them the requester is told that there are no responders.

Locks are released by `$JS.API.STREAM.MSG.DELETE.<stream>` or `$JS.API.STREAM.PURGE.<stream>`. What clients send there
is taken without a Python object but the stream's name: `{"seq":n}` and `{"seq":n,"no_erase":true}` for a message that is
there, `{"filter":"subject"}` for a literal subject with one message or none in a stream without consumers; with or
without a blank behind `:` and `,`, while nobody listens to the API's audit. The API answers the same in these cases;
every other request is the API's.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp

from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink, Subscription
from millpond.jetstream.stream cimport Stream
from millpond.wire.message cimport Msg

cdef const char* DIRECT = "$JS.API.DIRECT.GET"          # and whatever follows, a dot or not, as in nats-server
cdef const char* NEXT = "$JS.API.CONSUMER.MSG.NEXT."
cdef const char* DELETE = "$JS.API.STREAM.MSG.DELETE."
cdef const char* AUDIT = "$JS.EVENT.ADVISORY.API"
cdef const char* PURGE = "$JS.API.STREAM.PURGE."
cdef bytes DELETED = b'{"type":"io.nats.jetstream.api.v1.stream_msg_delete_response","success":true}'
cdef bytes PURGED_NONE = b'{"type":"io.nats.jetstream.api.v1.stream_purge_response","success":true,"purged":0}'
cdef bytes PURGED_ONE = b'{"type":"io.nats.jetstream.api.v1.stream_purge_response","success":true,"purged":1}'

cdef enum:
    DIRECT_LEN = 18
    NEXT_LEN = 26
    DELETE_LEN = 26
    PURGE_LEN = 21
    AUDIT_LEN = 22
    DIGITS_MAX = 18


cdef inline const char* _past(const char* at, const char* end, const char* text, uint32_t n) noexcept:
    """Behind `text` and one blank, if both are there; NULL: `text` is not."""
    if at == NULL or end - at < n or memcmp(at, text, n) != 0:
        return NULL
    at += n
    return at + 1 if at < end and at[0] == c" " else at


cdef bint _read(const char* at, uint32_t n, uint64_t* stream_seq, bint* secure) noexcept:
    """Is the body one of the two forms?"""
    cdef const char* end = at + n
    cdef const char* digits
    cdef const char* rest
    digits = at = _past(_past(at, end, b"{", 1), end, b'"seq":', 6)
    if at == NULL:
        return False
    stream_seq[0], secure[0] = 0, True
    while at < end and c"0" <= at[0] <= c"9" and at - digits < DIGITS_MAX:
        stream_seq[0] = stream_seq[0] * 10 + <uint64_t>(at[0] - 48)
        at += 1
    if at == digits or digits[0] == c"0":
        return False
    rest = _past(_past(at, end, b",", 1), end, b'"no_erase":', 11)
    if rest != NULL:
        at = rest
        if end - at > 4 and memcmp(at, b"true", 4) == 0:
            at, secure[0] = at + 4, False
        elif end - at > 5 and memcmp(at, b"false", 5) == 0:
            at += 5
        else:
            return False
    return end - at == 1 and at[0] == c"}"


cdef bint _read_filter(const char* at, uint32_t n, const char** subject, uint32_t* subject_len) noexcept:
    """Is the body a filter and nothing else, a literal subject that is written as it is?"""
    cdef const char* end = at + n
    subject[0] = at = _past(_past(at, end, b"{", 1), end, b'"filter":', 9)
    if at == NULL or at == end or at[0] != c'"':
        return False
    at += 1
    subject[0] = at
    while at < end and c" " < at[0] < 127 and at[0] not in (c'"', c"\\", c"*", c">"):
        at += 1
    subject_len[0] = <uint32_t>(at - subject[0])
    return subject_len[0] > 0 and end - at == 2 and at[0] == c'"' and at[1] == c"}"


cdef class QuickRemovals:
    """Deletes of one message, purges of one subject, in one account."""

    def __init__(self, dict streams, Router router):
        self._streams, self._router = streams, router

    cdef bint take(self, const Msg* msg) except -1:
        if msg.hdr_len or not msg.reply_len or self._router.has_interest(AUDIT, AUDIT_LEN):
            return False
        if not (self._delete(msg) or self._purge(msg)):
            return False
        self.taken += 1
        return True

    cdef bint _delete(self, const Msg* msg) except -1:
        cdef uint64_t stream_seq = 0
        cdef bint secure = True
        cdef Stream stream
        if msg.subject_len <= DELETE_LEN or memcmp(msg.subject, DELETE, DELETE_LEN) != 0:
            return False
        if not _read(msg.body, msg.body_len, &stream_seq, &secure):
            return False
        stream = self._stream(msg, DELETE_LEN)
        return stream is not None and stream.delete_quickly(
            stream_seq, secure, msg.reply, msg.reply_len, <const char*>DELETED, <uint32_t>len(DELETED)
        )

    cdef bint _purge(self, const Msg* msg) except -1:
        cdef const char* subject
        cdef uint32_t subject_len
        cdef Stream stream
        if msg.subject_len <= PURGE_LEN or memcmp(msg.subject, PURGE, PURGE_LEN) != 0:
            return False
        if not _read_filter(msg.body, msg.body_len, &subject, &subject_len):
            return False
        stream = self._stream(msg, PURGE_LEN)
        return stream is not None and stream.purge_quickly(
            subject, subject_len, msg.reply, msg.reply_len, <const char*>PURGED_NONE, <const char*>PURGED_ONE,
            <uint32_t>len(PURGED_ONE),
        )

    cdef Stream _stream(self, const Msg* msg, uint32_t verb_len):
        return self._streams.get(PyUnicode_DecodeASCII(msg.subject + verb_len, msg.subject_len - verb_len, "replace"))


cdef inline bint _has_a_sink(const Msg* msg) noexcept:
    """Direct gets and pulls: who serves them hears them."""
    return (msg.subject_len >= DIRECT_LEN and memcmp(msg.subject, DIRECT, DIRECT_LEN) == 0
            or msg.subject_len >= NEXT_LEN and memcmp(msg.subject, NEXT, NEXT_LEN) == 0)


cdef class ApiDoor(Sink):
    """One account's."""

    def __init__(self, handler, QuickRemovals removals, str served_by):
        self.handler, self._removals, self._served_by = handler, removals, served_by

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        cdef bytes subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        if _has_a_sink(msg):
            return 0
        trace.imported(self._served_by, subject, subject)
        return 0 if trace.only else self.deliver(sub, msg, source)

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        if _has_a_sink(msg):
            return 0
        if self._removals.take(msg):
            return 1
        if source is not None:
            source.took_long = True
        self.handler(
            PyBytes_FromStringAndSize(msg.subject, msg.subject_len),
            PyBytes_FromStringAndSize(msg.reply, msg.reply_len),
            PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len),
            PyBytes_FromStringAndSize(msg.body, msg.body_len),
            source,
        )
        return 1
