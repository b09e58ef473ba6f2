"""Which message ids were stored within the duplicate window, oldest first.

Two minutes of 2,000 messages a second are 240,000 ids. As Python objects they would be 340 bytes each; here
they are 40 to 80. Of an id only 128 bits of a keyed hash are kept (SipHash, a key of this process): that two
ids of one window share them has a chance below 10^-26 for a million ids, and nobody can look for such a pair
without the key.

    ring    | ... | oldest | ... | newest | ... |     Seen: hash, sequence, time; in order of arrival
    table   | . | 7 | . | . | 3 | . | . | 4 | ...     hash -> place in the ring; linear probing, half empty

An id is forgotten once its message is older than the window: a few at each look-up, so that no publish pays
for all of them, and the rest when memory is measured. Both tables follow the ids that they hold, up and down.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef extern from "millpond/structures/siphash.h" nogil:
    void siphash128(const char* text, size_t size, const uint64_t* key, uint64_t* out)

cdef enum:
    CAPACITY_MIN = 64
    CAPACITY_MAX = 0x40000000
    EXPIRED_PER_CALL = 16            # more than one is added per call, so the window empties


cdef class Dedupe:
    """Ids in order of arrival; times never decrease."""

    def __init__(self, int64_t window_ns):
        assert window_ns >= 0
        cdef bytes key = os.urandom(16)
        memcpy(self._key, PyBytes_AS_STRING(key), 16)
        self.window_ns, self.last_msg_id = window_ns, b""

    def __dealloc__(self):
        free(self._ring)
        free(self._table)

    def __len__(self):
        return self._live

    cdef uint64_t memory_bytes(self) noexcept:
        return self._capacity * <uint64_t>(sizeof(Seen) + 2 * sizeof(uint32_t))

    cdef uint64_t find(self, bytes msg_id, int64_t now_ns) except? 0:
        cdef uint64_t[2] id_hash
        cdef Seen* seen
        if self.window_ns == 0:
            return 0
        self.expire(now_ns, EXPIRED_PER_CALL)
        if self._live == 0:
            return 0
        siphash128(PyBytes_AS_STRING(msg_id), <size_t>PyBytes_GET_SIZE(msg_id), self._key, id_hash)
        seen = self._lookup(id_hash)
        if seen == NULL or seen.ts_ns + self.window_ns <= now_ns:
            return 0
        return seen.stream_seq

    cdef int add(self, bytes msg_id, uint64_t stream_seq, int64_t ts_ns) except -1:
        cdef uint32_t place
        cdef Seen* seen
        cdef uint64_t[2] id_hash
        assert stream_seq > 0
        if self.window_ns == 0:
            return 0
        self.expire(ts_ns, EXPIRED_PER_CALL)
        if self._count == self._capacity:
            self._resize(self._capacity * 2 if self._capacity else CAPACITY_MIN)
        siphash128(PyBytes_AS_STRING(msg_id), <size_t>PyBytes_GET_SIZE(msg_id), self._key, id_hash)
        seen = self._lookup(id_hash)
        if seen != NULL:
            self._leave(<uint32_t>(seen - self._ring))
        place = (self._head + self._count) & (self._capacity - 1)
        seen = &self._ring[place]
        seen.id_hash[0], seen.id_hash[1] = id_hash[0], id_hash[1]
        seen.stream_seq, seen.ts_ns = stream_seq, ts_ns
        self._count += 1
        self._enter(place)
        return 0

    cdef int expire(self, int64_t now_ns, uint32_t budget=CAPACITY_MAX) except -1:
        cdef Seen* seen
        cdef uint32_t capacity = CAPACITY_MIN
        while self._count and budget:
            seen = &self._ring[self._head]
            if seen.stream_seq:
                if seen.ts_ns + self.window_ns > now_ns:
                    break
                self._leave(self._head)
            self._head = (self._head + 1) & (self._capacity - 1)
            self._count -= 1
            budget -= 1
        if self._count < self._capacity // 8 and self._capacity > CAPACITY_MIN:
            while capacity < 2 * self._count:
                capacity *= 2
            self._resize(capacity)
        return 0

    # --- inside ---

    cdef Seen* _lookup(self, const uint64_t* id_hash) noexcept:
        cdef uint32_t mask = 2 * self._capacity - 1, slot = <uint32_t>id_hash[0] & mask
        cdef Seen* seen
        if self._live == 0:
            return NULL
        while self._table[slot]:                       # ends: the table is at most half full
            seen = &self._ring[self._table[slot] - 1]
            if seen.id_hash[0] == id_hash[0] and seen.id_hash[1] == id_hash[1]:
                return seen
            slot = (slot + 1) & mask
        return NULL

    cdef void _enter(self, uint32_t place) noexcept:
        cdef uint32_t mask = 2 * self._capacity - 1, slot = <uint32_t>self._ring[place].id_hash[0] & mask
        while self._table[slot]:
            slot = (slot + 1) & mask
        self._table[slot] = place + 1
        self._live += 1

    cdef void _leave(self, uint32_t place) noexcept:
        """Takes it out of the table, and moves back what the hole would hide."""
        cdef uint32_t mask = 2 * self._capacity - 1, hole = <uint32_t>self._ring[place].id_hash[0] & mask, slot, home
        while self._table[hole] != place + 1:
            hole = (hole + 1) & mask
        slot = hole
        while True:
            slot = (slot + 1) & mask
            if self._table[slot] == 0:
                break
            home = <uint32_t>self._ring[self._table[slot] - 1].id_hash[0] & mask
            if ((slot - home) & mask) >= ((slot - hole) & mask):
                self._table[hole] = self._table[slot]
                hole = slot
        self._table[hole] = 0
        self._ring[place].stream_seq = 0
        self._live -= 1

    cdef int _resize(self, uint32_t capacity) except -1:
        """The same ids in tables of another size; those that were taken over are left behind."""
        cdef Seen* ring
        cdef uint32_t* table
        cdef Seen* old = self._ring
        cdef Seen* seen
        cdef uint32_t i, count = self._count, mask = self._capacity - 1, head = self._head
        assert capacity >= CAPACITY_MIN and capacity >= self._live
        if capacity > CAPACITY_MAX:
            raise MemoryError("too many message ids in one duplicate window")
        ring = <Seen*>malloc(<size_t>capacity * sizeof(Seen))
        table = <uint32_t*>calloc(<size_t>capacity * 2, sizeof(uint32_t))
        if ring == NULL or table == NULL:
            free(ring)
            free(table)
            raise MemoryError(f"no memory for the {capacity} ids of a duplicate window")
        free(self._table)
        self._ring, self._table, self._capacity = ring, table, capacity
        self._head = self._count = self._live = 0
        for i in range(count):
            seen = &old[(head + i) & mask]
            if seen.stream_seq:
                ring[self._count] = seen[0]
                self._count += 1
                self._enter(self._count - 1)
        free(old)
        return 0

    # --- Python's door, for tests ---

    def py_find(self, bytes msg_id, int64_t now_ns):
        """Python's door to `find`."""
        return self.find(msg_id, now_ns)

    def py_add(self, bytes msg_id, uint64_t stream_seq, int64_t ts_ns):
        """Python's door to `add`."""
        self.add(msg_id, stream_seq, ts_ns)

    def py_expire(self, int64_t now_ns):
        """Forget all that is due."""
        self.expire(now_ns)

    @property
    def allocated(self):
        """Bytes held from the allocator."""
        return self.memory_bytes()


def siphash(bytes key, bytes text):
    """SipHash-2-4-128, for its test vectors."""
    cdef uint64_t[2] words
    cdef uint64_t[2] out
    assert len(key) == 16
    memcpy(words, PyBytes_AS_STRING(key), 16)
    siphash128(PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text), words, out)
    return (<char*>out)[:16]
