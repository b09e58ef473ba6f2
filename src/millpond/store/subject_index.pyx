"""The table of live subjects: open addressing over ids, entries by id, texts in one arena.

    slots [ id | EMPTY ]*  ->  at[id] {first, last, text, len, hash, count}  ->  arena bytes

Memory follows the live subjects, not those ever seen: a released id goes to a free list, and arena bytes of
released subjects are squeezed out once they outweigh the live ones. Both happen in acquire() only, so a text
that was read stays in place until the next acquire(). The hash is seeded per process: subjects come from
clients, who must not be able to aim for one slot.
"""

import os

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

cdef enum:
    EMPTY = 0xFFFFFFFF
    SLOTS_MIN = 16
    IDS_MIN = 16
    TEXT_MIN = 256
    TEXT_SLACK = 4096                # dead arena bytes that are not worth a pass
    TEXT_TOP = 0xFFFFF000            # offsets are 32 bits

cdef uint64_t _process_seed = int.from_bytes(os.urandom(8), "little")


cdef class SubjectTable:
    """Subjects by id and by text."""

    def __cinit__(self):
        self._seed = _process_seed
        self._free = NO_SUBJECT
        self._rehash(SLOTS_MIN)

    def __dealloc__(self):
        free(self.at)
        free(self._slots)
        free(self._text)

    cdef uint32_t _hash(self, const char* subject, uint32_t n) noexcept:
        cdef uint64_t h = self._seed ^ (n * <uint64_t>0x9E3779B97F4A7C15), word
        cdef uint32_t i = 0
        while i + 8 <= n:
            memcpy(&word, subject + i, 8)
            h = (h ^ word) * <uint64_t>0xFF51AFD7ED558CCD
            h ^= h >> 32
            i += 8
        if i < n:
            word = 0
            memcpy(&word, subject + i, n - i)
            h = (h ^ word) * <uint64_t>0xC4CEB9FE1A85EC53
            h ^= h >> 32
        h *= <uint64_t>0x9E3779B97F4A7C15
        return <uint32_t>(h >> 32)

    cdef uint32_t find(self, const char* subject, uint32_t n) noexcept:
        cdef uint32_t hash = self._hash(subject, n), mask = self._slots_max - 1, i = hash & mask, id
        cdef Subject* entry
        while self._slots[i] != EMPTY:             # ends: at least a quarter of the slots is empty
            id = self._slots[i]
            entry = &self.at[id]
            if entry.hash == hash and entry.text_len == n and memcmp(self._text + entry.text, subject, n) == 0:
                return id
            i = (i + 1) & mask
        return NO_SUBJECT

    cdef uint32_t acquire(self, const char* subject, uint32_t n) except? NO_SUBJECT:
        cdef uint32_t id = self.find(subject, n), mask, i, text
        cdef Subject* entry
        if id != NO_SUBJECT:
            return id
        if (self.live + 1) * <uint64_t>4 > self._slots_max * <uint64_t>3:
            self._rehash(self._slots_max * 2)
        elif self._slots_max > SLOTS_MIN and self.live * <uint64_t>8 < self._slots_max:
            self._rehash(self._slots_max // 2)
        text = self._place_text(subject, n)
        id = self._new_id()
        entry = &self.at[id]
        entry.first_seq, entry.last_seq, entry.count = 0, 0, 0
        entry.text, entry.text_len, entry.hash = text, n, self._hash(subject, n)
        mask = self._slots_max - 1
        i = entry.hash & mask
        while self._slots[i] != EMPTY:
            i = (i + 1) & mask
        self._slots[i] = id
        self.live += 1
        self._text_live += n
        return id

    cdef uint32_t _new_id(self) except? NO_SUBJECT:
        cdef uint32_t id = self._free, ids_max
        cdef void* grown
        if id != NO_SUBJECT:
            self._free = <uint32_t>self.at[id].first_seq
            return id
        if self.ids == self._ids_max:
            ids_max = self._ids_max + (self._ids_max >> 1) + IDS_MIN
            if ids_max >= NO_SUBJECT:
                raise MemoryError("too many subjects in one stream")
            grown = realloc(self.at, <size_t>ids_max * sizeof(Subject))
            if grown == NULL:
                raise MemoryError
            self.at, self._ids_max = <Subject*>grown, ids_max
        self.ids += 1
        return self.ids - 1

    cdef uint32_t _place_text(self, const char* subject, uint32_t n) except? NO_SUBJECT:
        cdef uint64_t dead = self._text_used - self._text_live, text_max
        cdef void* grown
        if dead > self._text_live + TEXT_SLACK or self._text_used + n > TEXT_TOP:
            self._compact_text()
        if self._text_used + n > self._text_max:
            text_max = self._text_used + n + (self._text_used >> 1) + TEXT_MIN
            if self._text_used + n > TEXT_TOP:
                raise MemoryError("too many subject bytes in one stream")
            grown = realloc(self._text, text_max)
            if grown == NULL:
                raise MemoryError
            self._text, self._text_max = <char*>grown, text_max
        memcpy(self._text + self._text_used, subject, n)
        self._text_used += n
        return <uint32_t>(self._text_used - n)

    cdef int _compact_text(self) except -1:
        cdef uint64_t text_max = self._text_live + (self._text_live >> 1) + TEXT_MIN, used = 0
        cdef char* fresh = <char*>malloc(text_max)
        cdef uint32_t id
        cdef Subject* entry
        if fresh == NULL:
            raise MemoryError
        for id in range(self.ids):
            entry = &self.at[id]
            if entry.count:
                memcpy(fresh + used, self._text + entry.text, entry.text_len)
                entry.text = <uint32_t>used
                used += entry.text_len
        assert used == self._text_live, "arena accounting"
        free(self._text)
        self._text, self._text_max, self._text_used = fresh, text_max, used
        return 0

    cdef int release(self, uint32_t id) except -1:
        cdef Subject* entry = &self.at[id]
        cdef uint32_t mask = self._slots_max - 1, i = entry.hash & mask, j
        assert entry.count == 0 and self.live > 0
        while self._slots[i] != id:
            assert self._slots[i] != EMPTY, "a live subject has a slot"
            i = (i + 1) & mask
        j = i
        while True:                                # shift back what the hole would hide
            j = (j + 1) & mask
            if self._slots[j] == EMPTY:
                break
            if ((j - self.at[self._slots[j]].hash) & mask) >= ((j - i) & mask):
                self._slots[i] = self._slots[j]
                i = j
        self._slots[i] = EMPTY
        self.live -= 1
        self._text_live -= entry.text_len
        entry.first_seq, self._free = self._free, id
        return 0

    cdef int _rehash(self, uint32_t slots_max) except -1:
        cdef uint32_t* fresh = <uint32_t*>malloc(<size_t>slots_max * sizeof(uint32_t))
        cdef uint32_t i, j, mask = slots_max - 1
        if fresh == NULL:
            raise MemoryError
        for i in range(slots_max):
            fresh[i] = EMPTY
        for i in range(self._slots_max):
            if self._slots[i] != EMPTY:
                j = self.at[self._slots[i]].hash & mask
                while fresh[j] != EMPTY:
                    j = (j + 1) & mask
                fresh[j] = self._slots[i]
        free(self._slots)
        self._slots, self._slots_max = fresh, slots_max
        return 0

    cdef int renumber(self, uint32_t* map) except -1:
        cdef uint32_t id, next_id = 0, slot, ids_max = self.live + IDS_MIN
        cdef void* shrunk
        for id in range(self.ids):
            map[id] = NO_SUBJECT
            if self.at[id].count:
                self.at[next_id] = self.at[id]     # next_id <= id: nothing unread is overwritten
                map[id] = next_id
                next_id += 1
        assert next_id == self.live
        for slot in range(self._slots_max):
            if self._slots[slot] != EMPTY:
                self._slots[slot] = map[self._slots[slot]]
        self.ids, self._free = next_id, NO_SUBJECT
        shrunk = realloc(self.at, <size_t>ids_max * sizeof(Subject))
        if shrunk != NULL:
            self.at, self._ids_max = <Subject*>shrunk, ids_max
        return 0

    cdef uint64_t memory_bytes(self) noexcept:
        return self._ids_max * <uint64_t>sizeof(Subject) + self._slots_max * <uint64_t>4 + self._text_max

    cdef list check(self):
        cdef list wrong = []
        cdef uint32_t id, live = 0, slots = 0
        cdef uint64_t text = 0
        for id in range(self.ids):
            if self.at[id].count:
                live += 1
                text += self.at[id].text_len
                if self.find(self.text(id), self.at[id].text_len) != id:
                    wrong.append(f"subject id {id} is not found by its text")
        for id in range(self._slots_max):
            slots += self._slots[id] != EMPTY
        if live != self.live or slots != live:
            wrong.append(f"{self.live} live subjects, {live} counted, {slots} in slots")
        if text != self._text_live:
            wrong.append(f"{self._text_live} live text bytes, {text} counted")
        return wrong
