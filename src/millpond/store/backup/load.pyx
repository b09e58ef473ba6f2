"""Messages of a backup on their way into an empty store, which is the loader's until it is done.

Sequences and times stay as they are; what is missing between two messages becomes deleted sequences. A message whose
own time to live has passed keeps its sequence only. The texts of failures are those that nats-server shows.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.store.api cimport NEVER_EXPIRES, Filters, Store
from millpond.store.backup.archive cimport BROKEN, READY, STARVED, ArchiveReader, Entry, Read
from millpond.subjects.tokens cimport is_valid_subject
from millpond.wire.headers cimport find
from millpond.wire.message cimport Msg

from millpond.base import limits

cdef enum:
    NS_PER_S = 1_000_000_000
    MESSAGE_COST = 256               # of a budget, besides its bytes

cdef uint64_t UNCOMMITTED_MAX = limits.RESTORE_UNCOMMITTED_BYTES_MAX
cdef uint64_t SUBJECT_MAX = limits.CONTROL_LINE_BYTES_MAX
cdef uint64_t RECORD_MAX = limits.RECORD_BYTES_MAX
cdef uint64_t SEQ_MAX = <uint64_t>1 << 62
cdef int64_t TIME_MAX_NS = 0x7FFFFFFFFFFFFFFF


cdef class Loader(StoreOwner):
    """Fills `store`, and is its owner meanwhile.

    payload_max, message_max: bytes of header and payload, by the server and by the stream (-1: no limit).
    ttl_of(value) is what `Nats-TTL` says: seconds, 0 for none, -1 for never, less for what is none. expires: messages
    end by themselves in this stream; now_ns is the wall clock.
    """

    def __init__(self, Store store, uint64_t payload_max, int64_t message_max, object ttl_of, bint expires,
                 int64_t now_ns):
        self._store, self._ttl_of, self._expires, self._now_ns = store, ttl_of, expires, now_ns
        self._payload_max = payload_max
        self._message_max = message_max
        self.last_id = b""
        self.failure = ""
        store.owner = self

    def begin(self, uint64_t first_seq):
        """The stream's first sequence, whatever the first message's is."""
        if first_seq > 1:
            self._store.set_first_seq(first_seq)
        self.last_seq = self._store.state.last_seq

    cdef int committed(self) except -1:
        if self.on_committed is not None:
            self.on_committed()
        return 0

    cdef int failed(self, str reason) except -1:
        self.failure = self.failure or reason
        return self.committed()

    cdef int refuse(self, str reason) except -1:
        self._fail(reason)
        return 0

    cdef int forget(self, uint64_t seq) except -1:
        self._store.remove(seq, False)
        return 0

    cdef bint is_behind(self) noexcept:
        return self._store.position - self._store.committed_position > UNCOMMITTED_MAX

    cdef bint _fail(self, str reason) except *:
        self.failure = self.failure or reason
        return False

    cdef bint fits(self, uint64_t seq, uint64_t hdr_len, uint64_t body_len) except *:
        if hdr_len > self._payload_max or body_len > self._payload_max - hdr_len or hdr_len + body_len > RECORD_MAX:
            return self._fail(f"message sequence {seq} exceeds maximum payload size")
        if 0 <= self._message_max and hdr_len + body_len > <uint64_t>self._message_max:
            return self._fail(f"message sequence {seq} exceeds maximum message size")
        return True

    cdef bint put(self, uint64_t seq, int64_t ts_ns, const char* subject, uint64_t subject_len, const char* hdr,
                  uint64_t hdr_len, const char* body, uint64_t body_len) except *:
        cdef Msg msg
        cdef const char* value
        cdef uint32_t value_len
        cdef int64_t ttl_s = 0, expires_ns = 0
        if seq <= self.last_seq:
            return self._fail(f"message sequence {seq} out of order")
        if seq > SEQ_MAX or subject_len > SUBJECT_MAX or not is_valid_subject(subject, <uint32_t>subject_len):
            return self._fail(f"failed to store message sequence {seq}: invalid sequence or subject")
        ts_ns = max(ts_ns, 0)
        if hdr_len and find(hdr, <uint32_t>hdr_len, "Nats-TTL", 8, &value, &value_len):
            ttl_s = self._ttl_of(PyBytes_FromStringAndSize(value, value_len))
            if ttl_s < NEVER_EXPIRES:
                return self._fail("failed to parse message TTL: invalid per-message TTL")
        if ttl_s > 0:
            expires_ns = ts_ns + ttl_s * NS_PER_S if ttl_s < (TIME_MAX_NS - ts_ns) // NS_PER_S else TIME_MAX_NS
            if expires_ns < self._now_ns:
                self._store.skip_through(seq, 0)
                self.last_seq = seq
                return True
        elif ttl_s == NEVER_EXPIRES:
            expires_ns = NEVER_EXPIRES
        if seq - 1 > self._store.state.last_seq:
            self._store.skip_through(seq - 1, 0)
        msg.subject, msg.subject_len, msg.reply, msg.reply_len = subject, <uint32_t>subject_len, subject, 0
        msg.hdr, msg.hdr_len, msg.body, msg.body_len = hdr, <uint32_t>hdr_len, body, <uint32_t>body_len
        self.last_seq = self._store.append(&msg, ts_ns, expires_ns if self._expires else 0)
        assert self.last_seq == seq
        self.last_id = b""
        if self.on_id is not None and ts_ns >= self.ids_from_ns and hdr_len \
                and find(hdr, <uint32_t>hdr_len, "Nats-Msg-Id", 11, &value, &value_len) and value_len:
            self.last_id = PyBytes_FromStringAndSize(value, value_len)
            self.on_id(self.last_id, seq, ts_ns)
        return True

    cpdef int load(self, ArchiveReader archive, uint64_t budget) except -1:
        """Takes messages from `archive` until `budget` bytes are spent; returns Loaded."""
        cdef Entry entry
        cdef Read found
        cdef uint64_t spent = 0
        while not self.failure:
            if self.is_behind():
                return UNWRITTEN
            if spent >= budget:
                return AGAIN
            found = archive.head(&entry)
            if found == READY and entry.seq == 0:
                if entry.ts_ns or entry.hdr_len or entry.body_len:
                    self._fail("expected message sequence")
                    break
                return COMPLETE
            if found == READY and not self.fits(entry.seq, entry.hdr_len, entry.body_len):
                break
            if found == READY:
                seq = entry.seq
                found = archive.read(&entry)
                if found == BROKEN:
                    self._fail(f"failed to read message sequence {seq}: {archive.failure}")
            if found == STARVED:
                return HUNGRY
            if found == BROKEN:
                self._fail(archive.failure)
                break
            self.put(entry.seq, entry.ts_ns, entry.name, entry.name_len, entry.content, entry.hdr_len,
                     entry.content + entry.hdr_len, entry.body_len)
            spent += MESSAGE_COST + entry.name_len + entry.hdr_len + entry.body_len
            archive.pass_by(&entry)
        return FAULTY

    cpdef int pad(self, uint64_t last_seq, int64_t ts_ns) except -1:
        if last_seq > self._store.state.last_seq:
            self._store.skip_through(last_seq, ts_ns)
        return 0

    def drop_below(self, uint64_t first_seq):
        """Messages below `first_seq` are gone."""
        if self._store.state.messages and first_seq > self._store.state.first_seq:
            self._store.purge(Filters([]), first_seq, 0)
