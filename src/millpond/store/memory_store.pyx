"""Messages in memory: records in blocks, filled from the front, freed when nothing in them is wanted.

    record = seq (8) | ts_ns (8) | hdr_len (4) | body_len (4) | header block | payload | padding to 8

The subject is in the index. A block is a run of the index. A block that is more than half dead is compacted:
its live records move to the newest block, one block per append or removal, so memory stays below about twice
the live bytes and no single change is slow. Blocks grow with the store, from 4 KiB to 64 KiB; a larger record
has a block of its own. Everything is committed at once; the owner hears of it in commit(), once a turn.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from millpond.store.api cimport FOUND, MISSING, Load, Record, StoreOwner
from millpond.store.expiry_heap cimport ExpiryHeap
from millpond.store.index cimport Entry, Index
from millpond.store.pin cimport Kept
from millpond.wire.message cimport Msg

from millpond.base import limits

cdef enum:
    NO_BLOCK = 0xFFFFFFFF
    BLOCK_BYTES_MIN = 4096
    BLOCK_BYTES_MAX = 65536
    MESSAGE_OVERHEAD = 16            # what nats-server counts besides subject, headers and payload

cdef uint64_t RECORD_BYTES_MAX = limits.RECORD_BYTES_MAX

cdef struct Head:
    uint64_t seq
    int64_t ts_ns
    uint32_t hdr_len
    uint32_t body_len


cdef inline uint32_t _record_bytes(uint32_t hdr_len, uint32_t body_len) noexcept:
    return (<uint32_t>sizeof(Head) + hdr_len + body_len + 7) & ~<uint32_t>7


cdef inline Head* _head(MemoryStore store, uint32_t block, uint32_t offset) noexcept:
    return <Head*>(store._blocks[block].data + offset)


cdef class MemoryStore(IndexedStore):
    """A store that lives as long as its process."""

    def __cinit__(self):
        self._newest = NO_BLOCK
        self._free, self._sparse = [], set()

    def __init__(self, StoreOwner owner=None):
        self.owner = owner

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self._blocks_count):
            free(self._blocks[i].data)
        free(self._blocks)

    cdef uint64_t message_size(self, uint32_t subject_len, uint32_t hdr_len, uint32_t body_len) noexcept:
        return MESSAGE_OVERHEAD + <uint64_t>subject_len + hdr_len + body_len

    cdef uint64_t append(self, const Msg* msg, int64_t ts_ns, int64_t expires_ns) except 0:
        cdef uint64_t seq = self.state.last_seq + 1
        cdef uint32_t block, offset, n
        cdef char* at
        cdef Head* head
        assert not self.closed
        assert <uint64_t>msg.hdr_len + msg.body_len <= RECORD_BYTES_MAX, "refused before it came here"
        self._compact_one()
        ts_ns = max(ts_ns, self.state.last_ts_ns)
        n = _record_bytes(msg.hdr_len, msg.body_len)
        at = self._take(n, &block, &offset)
        head = <Head*>at
        head.seq, head.ts_ns, head.hdr_len, head.body_len = seq, ts_ns, msg.hdr_len, msg.body_len
        if msg.hdr_len:
            memcpy(at + sizeof(Head), msg.hdr, msg.hdr_len)
        if msg.body_len:
            memcpy(at + sizeof(Head) + msg.hdr_len, msg.body, msg.body_len)
        self.index.add(seq, msg.subject, msg.subject_len, offset,
                       <uint32_t>self.message_size(msg.subject_len, msg.hdr_len, msg.body_len), ts_ns)
        self.refresh()
        self._moved_on(n)
        if expires_ns:
            self.note_expiry(seq, expires_ns)
        assert self.state.last_seq == seq
        self.enforce(msg.subject, msg.subject_len)
        return seq

    cdef Load load(self, uint64_t stream_seq, Record* out, bint wait=False) except *:
        cdef Entry entry
        cdef Head* head
        if not self.index.get(stream_seq, &entry):
            return MISSING
        head = _head(self, entry.run_id, entry.offset)
        assert head.seq == stream_seq, "the index points at the record"
        out.seq, out.ts_ns = head.seq, head.ts_ns
        out.subject, out.subject_len = entry.subject, entry.subject_len
        out.hdr, out.hdr_len = <const char*>head + sizeof(Head), head.hdr_len
        out.body, out.body_len = out.hdr + head.hdr_len, head.body_len
        return FOUND

    cdef Kept kept_of(self, const Entry* entry, size_t* copy_bytes) except *:
        """The record's head, the subject, headers and payload."""
        cdef Head* head = _head(self, entry.run_id, entry.offset)
        cdef size_t n = head.hdr_len + head.body_len
        cdef char* copy
        copy_bytes[0] = sizeof(Head) + entry.subject_len + n
        copy = <char*>malloc(copy_bytes[0])
        if copy == NULL:
            raise MemoryError
        memcpy(copy, head, sizeof(Head))
        memcpy(copy + sizeof(Head), entry.subject, entry.subject_len)
        memcpy(copy + sizeof(Head) + entry.subject_len, <char*>head + sizeof(Head), n)
        return Kept(entry.seq, 0, 0, 0, entry.subject_len, copy)

    cdef Load load_kept(self, const Kept* kept, Record* out) except *:
        cdef const Head* head = <const Head*>kept.copy
        out.seq, out.ts_ns = head.seq, head.ts_ns
        out.subject, out.subject_len = kept.copy + sizeof(Head), kept.subject_len
        out.hdr, out.hdr_len = out.subject + kept.subject_len, head.hdr_len
        out.body, out.body_len = out.hdr + head.hdr_len, head.body_len
        return FOUND

    cdef bint exact_ts(self, const Entry* entry, int64_t* ts_ns) noexcept:
        ts_ns[0] = _head(self, entry.run_id, entry.offset).ts_ns
        return True

    cdef int erased(self, const Entry* entry, bint secure, bint evicted) except -1:
        cdef Head* head = _head(self, entry.run_id, entry.offset)
        assert head.seq == entry.seq, "the index points at the record"
        if secure:
            memset(<char*>head + sizeof(Head), 0, head.hdr_len + head.body_len)
        self._released(entry.run_id, _record_bytes(head.hdr_len, head.body_len))
        return self._moved_on(1)

    cdef int floor_raised(self) except -1:
        return self._moved_on(1)

    cdef int last_raised(self) except -1:
        return self._moved_on(1)

    cdef bint remove(self, uint64_t stream_seq, bint secure) except *:
        assert not self.closed
        self._compact_one()
        return self.drop(stream_seq, secure)

    cdef int _moved_on(self, uint64_t bytes) except -1:
        self.position += bytes
        self.committed_position = self.position
        self.committed_seq = self.index.state.last_seq
        return 0

    cpdef int commit(self) except -1:
        if self._told_position != self.position:
            self._told_position = self.position
            if self.owner is not None:
                self.owner.committed()
        return 0

    # --- blocks ---

    cdef char* _take(self, uint32_t n, uint32_t* block, uint32_t* offset) except NULL:
        """`n` bytes at the end of the newest block, or of a new one."""
        cdef Block* newest
        if self._newest == NO_BLOCK or self._blocks[self._newest].size - self._blocks[self._newest].used < n:
            self._open_block(n)
        newest = &self._blocks[self._newest]
        block[0], offset[0] = self._newest, newest.used
        newest.used += n
        newest.live += n
        self._live_bytes += n
        assert newest.live <= newest.used <= newest.size
        return newest.data + offset[0]

    cdef int _open_block(self, uint32_t n) except -1:
        cdef uint32_t size = <uint32_t>min(max(self._live_bytes, BLOCK_BYTES_MIN), BLOCK_BYTES_MAX), number
        cdef uint32_t blocks_max, left = self._newest
        cdef void* grown
        cdef char* data
        size = max((size + 4095) & ~<uint32_t>4095, n)
        if not self._free and self._blocks_count == self._blocks_max:
            blocks_max = self._blocks_max + (self._blocks_max >> 1) + 4
            grown = realloc(self._blocks, <size_t>blocks_max * sizeof(Block))
            if grown == NULL:
                raise MemoryError
            self._blocks, self._blocks_max = <Block*>grown, blocks_max
        data = <char*>malloc(size)
        if data == NULL:
            raise MemoryError
        if self._free:
            number = self._free.pop()
        else:
            number = self._blocks_count
            self._blocks_count += 1
        self._blocks[number].data, self._blocks[number].size = data, size
        self._blocks[number].used, self._blocks[number].live = 0, 0
        self._block_bytes += size
        self._newest = number
        self.index.open_run(number, self.state.last_ts_ns)
        if left != NO_BLOCK:
            self._released(left, 0)                # now it may be freed or compacted
        return 0

    cdef int _free_block(self, uint32_t block) except -1:
        assert self._blocks[block].live == 0 and block != self._newest
        free(self._blocks[block].data)
        self._blocks[block].data = NULL
        self._block_bytes -= self._blocks[block].size
        self._sparse.discard(block)
        self._free.append(block)
        return self.index.drop_run(block)

    cdef int _released(self, uint32_t block, uint32_t n) except -1:
        """`n` bytes of the block are not wanted any more."""
        cdef Block* at = &self._blocks[block]
        assert n <= at.live
        at.live -= n
        self._live_bytes -= n
        if block == self._newest:
            if at.live == 0:
                at.used = 0
        elif at.live == 0:
            self._free_block(block)
        elif at.live < at.size >> 1:               # an unused tail counts as dead
            self._sparse.add(block)
        return 0

    cdef int _compact_one(self) except -1:
        """Moves the live records of one block that is more than half dead to the newest block."""
        cdef uint32_t block, to_block, offset = 0, to_offset, n
        cdef Entry entry
        cdef Head* head
        cdef char* to
        if not self._sparse:
            return 0
        block = self._sparse.pop()
        while offset < self._blocks[block].used and self._blocks[block].data != NULL:
            head = _head(self, block, offset)
            n = _record_bytes(head.hdr_len, head.body_len)
            if self.index.get(head.seq, &entry) and entry.run_id == block and entry.offset == offset:
                to = self._take(n, &to_block, &to_offset)
                memcpy(to, _head(self, block, offset), n)
                self.index.move(entry.seq, to_block, to_offset)
                self._released(block, n)           # frees the block with its last record
            offset += n
        assert self._blocks[block].data == NULL or block == self._newest
        return 0

    # --- life ---

    cpdef int close(self) except -1:
        cdef uint32_t i
        self.closed = True
        for i in range(self._blocks_count):
            free(self._blocks[i].data)
        free(self._blocks)
        self._blocks, self._blocks_count, self._blocks_max, self._newest = NULL, 0, 0, NO_BLOCK
        self._free, self._sparse = [], set()
        self._block_bytes, self._live_bytes = 0, 0
        self.index, self.expiries = Index(), ExpiryHeap()
        self.state = self.index.state
        self.committed_seq = 0
        return 0

    cpdef int destroy(self) except -1:
        return self.close()

    cpdef dict memory(self):
        return {"index": self.index.memory_bytes(), "subjects": self.index.subject_bytes(),
                "expiry": self.expiries.memory_bytes(),
                "buffers": self._block_bytes + self._blocks_max * sizeof(Block)}

    cpdef list check(self):
        cdef list wrong = IndexedStore.check(self)
        cdef uint64_t size = 0, live = 0, seq
        cdef dict counted = {}
        cdef uint32_t i, n
        cdef Entry entry
        cdef Record record
        for i in range(self._blocks_count):
            if self._blocks[i].data != NULL:
                size += self._blocks[i].size
                live += self._blocks[i].live
                counted[i] = 0
        if size != self._block_bytes or live != self._live_bytes:
            wrong.append(f"blocks: {self._block_bytes} bytes, {self._live_bytes} live, counted {size}, {live}")
        seq = self.index.next_live(0)
        while seq:
            self.index.get(seq, &entry)
            self.load(seq, &record)
            n = _head(self, entry.run_id, entry.offset).hdr_len + _head(self, entry.run_id, entry.offset).body_len
            if entry.run_id not in counted or entry.size != self.message_size(entry.subject_len, n, 0):
                wrong.append(f"message {seq} is not where it should be, or not as big")
            else:
                counted[entry.run_id] += _record_bytes(n, 0)
            seq = self.index.next_live(seq + 1)
        for i, n in counted.items():
            if self._blocks[i].live != n:
                wrong.append(f"block {i}: {self._blocks[i].live} live bytes, counted {n}")
        return wrong

    def dump_block(self, uint32_t block):
        """The raw bytes of a block, to show in a test what is left of a removed message."""
        assert block < self._blocks_count and self._blocks[block].data != NULL
        return self._blocks[block].data[:self._blocks[block].used]
