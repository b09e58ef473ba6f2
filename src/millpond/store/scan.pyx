"""Reading one segment file without a store: what is in it, where, and whether it verifies. For tools and tests."""

from collections import namedtuple

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint32_t

from millpond.store.record cimport (
    HAS_EXPIRY,
    SECURE,
    Head,
    aligned,
    body_len_of,
    content_at,
    expires_of,
    record_next,
)
from millpond.store.segment cimport RECORDS_AT, SegmentHead, segment_head_read, segment_identity, segment_seed
from millpond.store.witness cimport Witness, witness_take

from millpond.store.disk import REAL
from millpond.store.packed import plain_bytes

KINDS = {1: "message", 2: "remove", 3: "floor", 4: "first", 5: "trim", 6: "erased", 7: "clean"}
FLAGS = {1: "expiry", 2: "copy", 4: "batch", 8: "secure"}

ScannedRecord = namedtuple(
    "ScannedRecord", "offset length kind flags seq ts_ns expires_ns subject header_bytes body_bytes removed"
)
ScannedRecord.__doc__ = """One record that verifies, or a `kind` "damaged" place of `length` bytes that does not.

removed: the sequences that a "remove" record names.
"""
SegmentScan = namedtuple("SegmentScan", "head records end size")
SegmentScan.__doc__ = """One file: `head` as a dict, with the log's `identity` (None: no copy of it is whole), its records in order of offset, where
the last whole one ends, and the file's size. What lies behind `end` is left from an earlier life, or torn: the head
of the segment after (before_end) knows."""


def scan_segment(path):
    """Read the segment file at `path`; nothing is changed. Returns a SegmentScan. Raises OSError, StoreError."""
    return scan_bytes(REAL.contents(str(path)))


def scan_bytes(bytes data):
    """The same, of the file's bytes. Of a packed file the offsets are those before it was packed."""
    cdef bytes plain = plain_bytes(data)
    cdef const char* image = PyBytes_AS_STRING(plain)
    cdef uint32_t at = RECORDS_AT, bad, size = <uint32_t>len(plain), end = RECORDS_AT, seed
    cdef SegmentHead head
    cdef const Head* record
    cdef list records = []
    if not segment_head_read(PyBytes_AS_STRING(data), len(data), &head):
        return SegmentScan(None, [], 0, len(data))
    seed = segment_seed(&head)
    while True:
        at = record_next(image, at, size, seed, &bad)
        if at >= size:
            return SegmentScan({**head, "identity": segment_identity(&head)}, records, end, len(data))
        if bad < at:
            records.append(ScannedRecord(bad, at - bad, "damaged", (), 0, 0, 0, b"", 0, 0, ()))
        record = <const Head*>(image + at)
        records.append(_describe(image + at, at))
        at += aligned(record.length)
        end = at


def read_witness(path):
    """The log's row of the witness at `path`, as a dict; None when there is none that is whole."""
    cdef bytes data
    cdef Witness row
    try:
        data = REAL.contents(str(path), sizeof(Witness))
    except OSError:
        return None
    return row if witness_take(PyBytes_AS_STRING(data), len(data), &row) else None


cdef object _describe(const char* at, uint32_t offset):
    cdef const Head* head = <const Head*>at
    cdef uint32_t subject = content_at(head), body_len = body_len_of(head)
    cdef const char* body = at + subject + head.subject_len + head.hdr_len
    removed = ()
    if head.kind == 2:
        named = 8 if head.flags & SECURE else body_len     # of a secure one the rest says where it lies
        removed = tuple([int.from_bytes(body[i:i + 8], "little") for i in range(0, min(body_len, named), 8)])
    return ScannedRecord(
        offset, head.length, KINDS[head.kind], tuple([name for bit, name in FLAGS.items() if head.flags & bit]),
        head.seq, head.ts_ns, expires_of(head), at[subject:subject + head.subject_len], head.hdr_len, body_len, removed,
    )
