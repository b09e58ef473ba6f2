"""Opening a stream again: its end is brought into order, and its duplicate window is filled.

One write of the log holds messages first, removals behind them. A crash can therefore leave messages without the
removals that belong to them, and a beginning of a batch without its rest. Nobody was told of any of these messages:
acknowledgements wait for the whole write. What belongs together is finished or taken back.
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


cdef int finish_tail(Store store, bint atomic, bint rolls_up) except -1:
    cdef uint64_t first = store.state.last_seq, stream_seq, last = store.state.last_seq
    cdef Msg msg
    cdef bytes batch_id
    if not last or not _headers_of(store, last, &msg):
        return 0
    batch_id = header(&msg, b"Nats-Batch-Id") if atomic else b""
    if batch_id:
        whole = has_header(&msg, b"Nats-Batch-Commit")
        while first > 1 and last - first < BATCH_MAX and _headers_of(store, first - 1, &msg):
            if header(&msg, b"Nats-Batch-Id") != batch_id or has_header(&msg, b"Nats-Batch-Commit"):
                break
            first -= 1
        if not whole:
            for stream_seq in range(first, last + 1):
                store.remove(stream_seq, False)
            return 0
    for stream_seq in range(first, last + 1):
        if rolls_up and _headers_of(store, stream_seq, &msg):
            _roll_up(store, &msg, stream_seq)
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
    stream_seq = store.next_live(store.seq_at_time(<int64_t>now_ns - dedupe.window_ns))
    while 0 < stream_seq <= last_seq:
        if store.load(stream_seq, &record, True) == FOUND and record.hdr_len:
            msg.hdr, msg.hdr_len = record.hdr, record.hdr_len
            msg_id = header(&msg, b"Nats-Msg-Id")
            if msg_id:
                dedupe.add(msg_id, stream_seq, record.ts_ns)
            if stream_seq == last_seq:
                last_msg_id = msg_id
        stream_seq = store.next_live(stream_seq + 1)
    return last_msg_id
