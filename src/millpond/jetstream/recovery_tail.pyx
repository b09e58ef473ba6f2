"""Opening a stream again: its end is brought into order, and its duplicate window is filled.

A write of the log keeps the order of the operations, so a kill leaves what some first part of them makes, but two
kinds of operation take several records: a batch, and a message with the rollup that it asks for. A crash can leave a
beginning of them. A power loss can tear any part out of the last write; `torn_seq` says where that begins. Nobody was
told of any of these messages: acknowledgements wait for the whole write. What belongs together is finished or taken
back.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t

from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.headers cimport has_header, header
from millpond.store.api cimport FOUND, Filters, Record, Store
from millpond.wire.message cimport Msg

from millpond.base import limits

cdef uint64_t BATCH_MAX = limits.ATOMIC_BATCH_MESSAGES_MAX


cdef bint _headers_of(Store store, uint64_t stream_seq, Msg* out) except *:
    """The headers of a message with headers; views until the next call on the store."""
    cdef Record record
    if not store.exists(stream_seq) or store.load(stream_seq, &record, True) != FOUND or not record.hdr_len:
        return False
    out.subject, out.subject_len, out.hdr, out.hdr_len = record.subject, record.subject_len, record.hdr, record.hdr_len
    return True


cdef uint64_t take_back_tail(Store store, bint atomic) except? 0:
    cdef uint64_t last = store.state.last_seq, stream_seq = store.torn_seq or last
    cdef uint64_t first = stream_seq
    cdef Msg msg
    if not last or not atomic:
        return first
    first = _begin_of_batch(store, stream_seq)
    if store.torn_seq:
        _take_back_torn(store, first)
    elif _headers_of(store, last, &msg) and header(&msg, b"Nats-Batch-Id") and not has_header(&msg, b"Nats-Batch-Commit"):
        _take_back(store, first, last)
    return first


cdef int roll_up_tail(Store store, uint64_t first) except -1:
    cdef uint64_t stream_seq
    cdef Msg msg
    for stream_seq in range(max(first, 1), store.state.last_seq + 1):
        if _headers_of(store, stream_seq, &msg):
            _roll_up(store, &msg, stream_seq)
    return 0


cdef uint64_t _begin_of_batch(Store store, uint64_t stream_seq) except 0:
    """The first message of the batch that this one ends or goes on with; the sequence itself if it is of none."""
    cdef uint64_t first = stream_seq
    cdef Msg msg
    cdef bytes batch_id = b""
    if _headers_of(store, stream_seq, &msg):
        batch_id = header(&msg, b"Nats-Batch-Id")
        if not batch_id:
            return stream_seq
    while first > 1 and stream_seq - first < BATCH_MAX and _headers_of(store, first - 1, &msg):
        before = header(&msg, b"Nats-Batch-Id")
        if not before or (batch_id and before != batch_id) or has_header(&msg, b"Nats-Batch-Commit"):
            break
        batch_id = before
        first -= 1
    return first


cdef int _take_back(Store store, uint64_t first, uint64_t last) except -1:
    cdef uint64_t stream_seq
    for stream_seq in range(first, last + 1):
        store.remove(stream_seq, False)
    return 0


cdef uint64_t _number(const Msg* msg) except? 0:
    cdef bytes text = header(msg, b"Nats-Batch-Sequence")
    return int(text) if text.isdigit() and len(text) <= 19 else 0


cdef int _take_back_torn(Store store, uint64_t first) except -1:
    """Every batch from `first` on that is not there from its first message to the one that commits it."""
    cdef uint64_t last = store.state.last_seq, stream_seq, begin = first, expected = 1
    cdef Msg msg
    cdef bytes batch_id = b"", of
    for stream_seq in range(first, last + 2):      # one behind the last: it ends what is under way
        of = header(&msg, b"Nats-Batch-Id") if stream_seq <= last and _headers_of(store, stream_seq, &msg) else b""
        if batch_id and of == batch_id and _number(&msg) == expected:
            expected += 1
        else:
            if batch_id:
                _take_back(store, begin, stream_seq - 1)
            begin, batch_id = stream_seq, of
            expected = 2 if of and _number(&msg) == 1 else 0       # 0: its beginning is missing, nothing makes it whole
        if batch_id and expected and has_header(&msg, b"Nats-Batch-Commit"):
            batch_id = b""
    return 0


cdef int _roll_up(Store store, const Msg* msg, uint64_t stream_seq) except -1:
    cdef bytes rollup = header(msg, b"Nats-Rollup").lower()
    cdef Filters subject = Filters([PyBytes_FromStringAndSize(msg.subject, msg.subject_len)])
    if rollup == b"sub":
        store.purge(subject, stream_seq, 0)
    elif rollup == b"all":
        store.purge(Filters([]), stream_seq, 0)
    return 0


cdef bytes rebuild_window(Store store, Dedupe dedupe, object now_ns):
    cdef Msg msg
    cdef Record record
    cdef bytes msg_id, last_msg_id = b""
    cdef uint64_t last_seq = store.state.last_seq, stream_seq
    if not dedupe.window_ns or not store.state.messages:
        return b""
    stream_seq = store.next_headed(store.seq_at_time(<int64_t>now_ns - dedupe.window_ns))
    while 0 < stream_seq <= last_seq:
        if store.load(stream_seq, &record, True) == FOUND and record.hdr_len:
            msg.hdr, msg.hdr_len = record.hdr, record.hdr_len
            msg_id = header(&msg, b"Nats-Msg-Id")
            if msg_id:
                dedupe.add(msg_id, stream_seq, record.ts_ns)
            if stream_seq == last_seq:
                last_msg_id = msg_id
        stream_seq = store.next_headed(stream_seq + 1)
    return last_msg_id
