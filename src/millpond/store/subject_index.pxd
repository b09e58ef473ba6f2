# The subjects of one stream's live messages: id <-> bytes, and per subject how many messages, the first and
# the last. Ids and text space of subjects that are gone are used again.
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp

cdef enum:
    NO_SUBJECT = 0x7FFFFFFF          # ids are below this: the top bit is the columns' dead mark

cdef struct Subject:
    uint64_t first_seq               # of the live messages; a free id: the next free id
    uint64_t last_seq
    uint32_t text                    # offset in the arena
    uint32_t text_len
    uint32_t hash
    uint32_t count                   # live messages; 0 = this id is free

cdef class SubjectTable:
    cdef Subject* at                 # by id, below `ids`
    cdef readonly uint32_t ids       # ids ever handed out since the last renumbering
    cdef readonly uint32_t live      # subjects with messages
    cdef uint32_t _ids_max, _free
    cdef uint32_t* _slots
    cdef uint32_t _slots_max
    cdef char* _text
    cdef uint64_t _text_max, _text_used, _text_live
    cdef uint64_t _seed

    cdef inline const char* text(self, uint32_t id) noexcept:       # valid until the next acquire()
        return self._text + self.at[id].text

    cdef inline bint is_of(self, uint32_t id, const char* subject, uint32_t n) noexcept:    # is this the subject's id?
        return id < self.ids and self.at[id].count != 0 and self.at[id].text_len == n \
            and memcmp(self._text + self.at[id].text, subject, n) == 0

    cdef uint32_t find(self, const char* subject, uint32_t n) noexcept         # NO_SUBJECT: not there
    # Finds or makes it. A new one has count 0, and must get its first message before the next call.
    cdef uint32_t acquire(self, const char* subject, uint32_t n) except? NO_SUBJECT
    # count has become 0. The text stays readable until the next acquire().
    cdef int release(self, uint32_t id) except -1
    # Gives live subjects the ids 0..live-1 again; map[old id] = new id or NO_SUBJECT. `map` has `ids` places.
    cdef int renumber(self, uint32_t* map) except -1
    cdef uint64_t memory_bytes(self) noexcept
    cdef list check(self)
    cdef uint32_t _hash(self, const char* subject, uint32_t n) noexcept
    cdef int _rehash(self, uint32_t slots_max) except -1
    cdef int _compact_text(self) except -1
    cdef uint32_t _place_text(self, const char* subject, uint32_t n) except? NO_SUBJECT
    cdef uint32_t _new_id(self) except? NO_SUBJECT
