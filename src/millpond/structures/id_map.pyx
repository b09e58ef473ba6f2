"""Ids to values, with linear probing and deletion by shifting back, so that there are no tombstones.

The table is at most three quarters full. It does not shrink: its users hold few ids (segments).
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

cdef enum:
    SLOTS_MIN = 8


cdef inline uint32_t _home(uint32_t key, uint32_t mask) noexcept:
    cdef uint32_t h = key * <uint32_t>0x9E3779B1
    return (h ^ (h >> 15)) & mask


cdef class IdMap:
    """Map of 32-bit ids."""

    def __cinit__(self):
        self._resize(SLOTS_MIN)

    def __dealloc__(self):
        free(self._slots)

    cdef uint32_t get(self, uint32_t key) noexcept:
        cdef uint32_t mask = self._slots_max - 1, i = _home(key, mask)
        while self._slots[2 * i] != NONE:          # ends: at least a quarter of the slots is empty
            if self._slots[2 * i] == key:
                return self._slots[2 * i + 1]
            i = (i + 1) & mask
        return NONE

    cdef int put(self, uint32_t key, uint32_t value) except -1:
        assert key != NONE and value != NONE
        if (self.count + 1) * 4 > self._slots_max * 3:
            self._resize(self._slots_max * 2)
        cdef uint32_t mask = self._slots_max - 1, i = _home(key, mask)
        while self._slots[2 * i] != NONE and self._slots[2 * i] != key:
            i = (i + 1) & mask
        if self._slots[2 * i] == NONE:
            self.count += 1
        self._slots[2 * i], self._slots[2 * i + 1] = key, value
        return 0

    cdef bint pop(self, uint32_t key) noexcept:
        cdef uint32_t mask = self._slots_max - 1, i = _home(key, mask), j, want
        while self._slots[2 * i] != key:
            if self._slots[2 * i] == NONE:
                return False
            i = (i + 1) & mask
        j = i
        while True:
            j = (j + 1) & mask
            if self._slots[2 * j] == NONE:
                break
            want = _home(self._slots[2 * j], mask)
            if ((j - want) & mask) >= ((j - i) & mask):
                self._slots[2 * i], self._slots[2 * i + 1] = self._slots[2 * j], self._slots[2 * j + 1]
                i = j
        self._slots[2 * i] = NONE
        self.count -= 1
        return True

    cdef uint64_t memory_bytes(self) noexcept:
        return <uint64_t>self._slots_max * 8

    cdef int _resize(self, uint32_t slots_max) except -1:
        cdef uint32_t* old = self._slots
        cdef uint32_t old_max = self._slots_max, i, j, mask = slots_max - 1
        cdef uint32_t* fresh = <uint32_t*>malloc(<size_t>slots_max * 8)
        if fresh == NULL:
            raise MemoryError
        for i in range(slots_max):
            fresh[2 * i] = NONE
        for i in range(old_max):
            if old[2 * i] != NONE:
                j = _home(old[2 * i], mask)
                while fresh[2 * j] != NONE:
                    j = (j + 1) & mask
                fresh[2 * j], fresh[2 * j + 1] = old[2 * i], old[2 * i + 1]
        self._slots, self._slots_max = fresh, slots_max
        free(old)
        return 0

    # --- Python's door ---

    def __len__(self):
        return self.count

    def __getitem__(self, uint32_t key):
        cdef uint32_t value = self.get(key)
        if value == NONE:
            raise KeyError(key)
        return value

    def __setitem__(self, uint32_t key, uint32_t value):
        self.put(key, value)

    def __delitem__(self, uint32_t key):
        if not self.pop(key):
            raise KeyError(key)
