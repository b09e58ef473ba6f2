"""Summaries: the records of a sealed segment without headers and payloads, a few bytes each.

    file   | plain segment, or blocks of a packed one | steps | places of blocks | zeros | foot |

    step   kind and marks u8 | where, if not where the one before ended | length | by kind: sequence, time, expiry,
           subject (its number in the summary; the first time also its text) or what is removed

Numbers are varints, 7 bits a byte; those that may be less than what they are told from are zigzagged. Sequences and
times are told from the message before. So a message of a stream with few subjects takes six to nine bytes.

A summary says what the segment's records say, no more: recovery goes through either and does the same. It can be
missing, be of an earlier life of the file, or be damaged: the seeded checksums tell, and the records are read instead.
"""

from libc.errno cimport EFBIG, ENOMEM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from millpond.store.checksum cimport crc32c
from millpond.store.record cimport (
    ALIGN, COPY, ERASED, HAS_EXPIRY, KIND_LAST, MESSAGE, REMOVE, SECURE, Head, aligned, body_len_of, content_at,
    expires_of, page_ceil,
)
from millpond.store.segment cimport RECORDS_AT, PackedBlock

cdef enum:
    MAGIC = 0x5553504D               # "MPSU"
    VERSION = 1
    KIND_MASK = 7
    EXPIRES = 8
    MARKED = 16                      # a copy; of a removal: secure
    HEADED = 32
    NEXT = 64                        # the sequence follows that of the message before
    APART = 128                      # not where the record before ended
    VARINT_MAX = 10
    STEP_MAX = 64                    # of a step, without subject and removals
    ROOM_FIRST = 16_384
    NO_NAME = 0xFFFFFFFF
    UNKNOWN = 0x7FFFFFFF             # no subject's number (subject_index.NO_SUBJECT)

assert sizeof(SummaryFoot) == FOOT_BYTES
assert <int>KIND_LAST <= <int>KIND_MASK


cdef void step_of(const Head* head, uint32_t offset, uint32_t* known, Step* out) noexcept:
    cdef uint32_t content = content_at(head)
    out.offset, out.length, out.kind, out.flags = offset, head.length, head.kind, head.flags
    out.subject, out.subject_len = <const char*>head + content, head.subject_len
    out.hdr_len, out.body_len = head.hdr_len, body_len_of(head)
    out.seq, out.ts_ns, out.expires_ns = head.seq, head.ts_ns, expires_of(head)
    out.body, out.known = <const char*>head + sizeof(Head), known


# --- making ---


cdef inline uint64_t _zigzag(uint64_t difference) noexcept nogil:
    return (difference << 1) ^ (0 - (difference >> 63))


cdef inline uint64_t _unzigzag(uint64_t number) noexcept nogil:
    return (number >> 1) ^ (0 - (number & 1))


cdef void making_begin(Making* making, uint32_t most) noexcept nogil:
    memset(making, 0, sizeof(Making))
    making.most, making.place = most, RECORDS_AT


cdef void making_end(Making* making) noexcept nogil:
    free(making.names)
    free(making.slots)
    making.names, making.slots = NULL, NULL


cdef int _room(Making* making, uint64_t n) noexcept nogil:
    """Room for n bytes more. An errno."""
    cdef uint64_t room = making.used + n
    cdef void* grown
    if room <= making.room:
        return 0
    if room > making.most:
        return EFBIG
    room = min(max(room, 2 * <uint64_t>making.room + ROOM_FIRST), <uint64_t>making.most)
    grown = realloc(making.data, room)
    if grown == NULL:
        return ENOMEM
    making.data, making.room = <char*>grown, <uint32_t>room
    return 0


cdef inline void _put(Making* making, uint64_t number) noexcept nogil:
    while number >= 0x80:                          # ends: seven bits less each time
        making.data[making.used] = <char>(number | 0x80)
        making.used += 1
        number >>= 7
    making.data[making.used] = <char>number
    making.used += 1


cdef inline uint32_t _hash(const char* text, uint32_t n) noexcept nogil:
    cdef uint32_t crc = crc32c(n, text, n)
    return crc ^ crc >> 15


cdef int _grow_names(Making* making) noexcept nogil:
    """An errno."""
    cdef uint32_t count_max = making.count_max * 2 + 64, slots_max = 128, i, slot
    cdef void* grown
    cdef uint32_t* slots
    grown = realloc(making.names, <size_t>count_max * sizeof(Name))
    if grown == NULL:
        return ENOMEM
    making.names, making.count_max = <Name*>grown, count_max
    while slots_max < 2 * count_max:
        slots_max *= 2
    slots = <uint32_t*>calloc(slots_max, sizeof(uint32_t))         # number + 1; 0: empty
    if slots == NULL:
        return ENOMEM
    for i in range(making.count):
        slot = making.names[i].known & (slots_max - 1)
        while slots[slot]:                         # ends: at most half of them are taken
            slot = (slot + 1) & (slots_max - 1)
        slots[slot] = i + 1
    free(making.slots)
    making.slots, making.slots_max = slots, slots_max
    return 0


cdef int _put_subject(Making* making, const char* text, uint32_t n) noexcept nogil:
    """An errno. While it is made a name's `known` is its hash."""
    cdef uint32_t hash = _hash(text, n), slot
    cdef Name* name
    cdef int error
    if making.count == making.count_max:
        error = _grow_names(making)
        if error:
            return error
    slot = hash & (making.slots_max - 1)
    while making.slots[slot]:                      # ends: at most half of them are taken
        name = &making.names[making.slots[slot] - 1]
        if name.known == hash and name.length == n and memcmp(making.data + name.at, text, n) == 0:
            _put(making, making.slots[slot] - 1)
            return 0
        slot = (slot + 1) & (making.slots_max - 1)
    error = _room(making, n + <uint64_t>STEP_MAX)
    if error:
        return error
    _put(making, making.count)
    _put(making, n)
    name = &making.names[making.count]
    name.text, name.at, name.length, name.known = NULL, making.used, n, hash
    memcpy(making.data + making.used, text, n)
    making.used += n
    making.count += 1
    making.slots[slot] = making.count
    return 0


cdef int making_put(Making* making, const Head* head, uint32_t offset) noexcept nogil:
    cdef uint32_t content = content_at(head)
    cdef uint8_t marks = head.kind
    cdef int error = _room(making, STEP_MAX)
    if error:
        return error
    marks |= EXPIRES if head.flags & HAS_EXPIRY else 0
    marks |= MARKED if head.flags & (COPY | SECURE) else 0
    marks |= HEADED if head.hdr_len else 0
    marks |= NEXT if head.seq == making.seq + 1 else 0
    marks |= APART if offset != making.place else 0
    making.data[making.used] = <char>marks
    making.used += 1
    if marks & APART:
        _put(making, (offset - making.place) // ALIGN)
    _put(making, head.length)
    if not marks & NEXT:
        _put(making, _zigzag(head.seq - making.seq))
    making.place = offset + aligned(head.length)
    making.records += 1
    if head.kind == REMOVE:
        return _put_removed(making, head)
    if head.kind != MESSAGE and head.kind != ERASED:
        return 0
    _put(making, _zigzag(<uint64_t>head.ts_ns - <uint64_t>making.ts_ns))
    making.seq, making.ts_ns = head.seq, head.ts_ns
    if head.kind == ERASED:
        return 0
    if marks & EXPIRES:
        _put(making, _zigzag(<uint64_t>expires_of(head) - <uint64_t>head.ts_ns))
    if head.hdr_len:
        making.flags |= HEADERS
    return _put_subject(making, <const char*>head + content, head.subject_len)


cdef int _put_removed(Making* making, const Head* head) noexcept nogil:
    cdef const uint64_t* seqs = <const uint64_t*>(<const char*>head + sizeof(Head))
    cdef uint32_t n = head.length - <uint32_t>sizeof(Head), i
    cdef uint64_t before = making.seq
    cdef int error = _room(making, <uint64_t>n // 8 * VARINT_MAX + STEP_MAX + n % 8)
    if error:
        return error
    if head.flags & SECURE:
        memcpy(making.data + making.used, seqs, n)
        making.used += n
        return 0
    for i in range(n // 8):
        _put(making, _zigzag(seqs[i] - before))
        before = seqs[i]
    return 0


cdef int making_seal(Making* making, uint64_t generation, uint32_t seed, uint32_t end, const void* blocks,
                     uint32_t blocks_count) noexcept nogil:
    cdef uint32_t steps = making.used, n = blocks_count * <uint32_t>sizeof(PackedBlock), bytes
    cdef SummaryFoot* foot
    cdef int error
    bytes = page_ceil(aligned(steps) + n + FOOT_BYTES)
    error = _room(making, bytes - steps)
    if error:
        return error
    memset(making.data + steps, 0, bytes - steps)
    if n:
        memcpy(making.data + aligned(steps), blocks, n)
    foot = <SummaryFoot*>(making.data + bytes - FOOT_BYTES)
    foot.magic, foot.version, foot.generation, foot.bytes = MAGIC, VERSION, generation, bytes
    foot.steps, foot.blocks, foot.records, foot.end, foot.flags = steps, blocks_count, making.records, end, making.flags
    foot.subjects = making.count
    foot.body_crc = crc32c(seed, making.data, bytes - FOOT_BYTES)
    foot.crc = crc32c(seed, foot, FOOT_BYTES - 4)
    making.used = bytes
    return 0


# --- reading ---


cdef bint foot_valid(const SummaryFoot* foot, uint64_t generation, uint32_t seed, uint64_t size) noexcept nogil:
    if foot.magic != MAGIC or foot.version != VERSION or foot.generation != generation:
        return False
    if foot.crc != crc32c(seed, foot, FOOT_BYTES - 4) or foot.bytes > size or foot.bytes < FOOT_BYTES:
        return False
    if foot.subjects > foot.steps:
        return False
    return aligned(foot.steps) + <uint64_t>foot.blocks * sizeof(PackedBlock) + FOOT_BYTES <= foot.bytes


cdef bint body_valid(const SummaryFoot* foot, const char* body, uint32_t seed) noexcept nogil:
    return foot.body_crc == crc32c(seed, body, foot.bytes - FOOT_BYTES)


cdef int reading_begin(Reading* reading, const SummaryFoot* foot, const char* body) except -1:
    """`names` and `removed` of a reading before are used again."""
    cdef void* grown
    if foot.subjects > reading.count_max:
        grown = realloc(reading.names, <size_t>foot.subjects * sizeof(Name))
        if grown == NULL:
            raise MemoryError("no memory for the subjects of a segment")
        reading.names, reading.count_max = <Name*>grown, foot.subjects
    reading.data, reading.at, reading.end = body, <const uint8_t*>body, <const uint8_t*>body + foot.steps
    reading.place, reading.seq, reading.ts_ns, reading.count = RECORDS_AT, 0, 0, 0
    return 0


cdef void reading_end(Reading* reading) noexcept:
    free(reading.names)
    free(reading.removed)
    memset(reading, 0, sizeof(Reading))


cdef bint reading_whole(const Reading* reading) noexcept:
    return reading.at == reading.end


cdef inline bint _get(Reading* reading, uint64_t* out) noexcept:
    cdef uint64_t number = 0
    cdef uint32_t shift = 0
    cdef uint8_t byte = 0x80
    if reading.at < reading.end and reading.at[0] < 0x80:
        out[0] = reading.at[0]
        reading.at += 1
        return True
    while byte & 0x80:
        if reading.at == reading.end or shift >= 7 * VARINT_MAX:
            return False
        byte = reading.at[0]
        number |= <uint64_t>(byte & 0x7F) << shift
        shift += 7
        reading.at += 1
    out[0] = number
    return True


cdef int reading_next(Reading* reading, Step* out) except -1:
    """Leaves `at` where it was when the step cannot be read."""
    cdef const uint8_t* begin = reading.at
    if reading.at == reading.end:
        return False
    if _step(reading, out):
        return True
    reading.at = begin
    return False


cdef inline int _step(Reading* reading, Step* out) except -1:
    cdef uint8_t marks = reading.at[0], kind = marks & KIND_MASK
    cdef uint64_t apart = 0, length, number = 1
    cdef uint32_t fixed = sizeof(Head) + (8 if marks & EXPIRES else 0)
    reading.at += 1
    if marks & APART and not _get(reading, &apart):
        return False
    if not _get(reading, &length) or (not marks & NEXT and not _get(reading, &number)):
        return False
    if kind == 0 or length < fixed or length + apart * ALIGN + reading.place > <uint64_t>1 << 32:
        return False
    out.seq = reading.seq + (1 if marks & NEXT else _unzigzag(number))
    out.offset, out.length, out.kind = reading.place + <uint32_t>(apart * ALIGN), <uint32_t>length, kind
    out.flags = HAS_EXPIRY if marks & EXPIRES else 0
    out.subject_len = out.hdr_len = 0
    out.body_len = out.length - fixed
    out.known = NULL
    if kind == MESSAGE or kind == ERASED:
        if not _message(reading, marks, out):
            return False
    elif marks & MARKED:
        out.flags |= SECURE
    if kind == REMOVE and not _removed(reading, out):
        return False
    reading.place = out.offset + aligned(out.length)
    return True


cdef inline bint _message(Reading* reading, uint8_t marks, Step* out) noexcept:
    cdef uint64_t number
    cdef Name* name
    if not _get(reading, &number):
        return False
    out.ts_ns = <int64_t>(<uint64_t>reading.ts_ns + _unzigzag(number))
    out.expires_ns = 0
    if out.kind == MESSAGE:
        if marks & EXPIRES:
            if not _get(reading, &number):
                return False
            out.expires_ns = <int64_t>(<uint64_t>out.ts_ns + _unzigzag(number))
        if not _get(reading, &number) or number > reading.count:
            return False
        if number == reading.count and not _new_name(reading):
            return False
        name = &reading.names[number]
        if name.length > out.body_len:
            return False
        out.subject, out.subject_len, out.known = name.text, name.length, &name.known
        out.flags |= COPY if marks & MARKED else 0
        out.body_len -= name.length
        if marks & HEADED:
            if out.body_len == 0:
                return False
            out.hdr_len = 1
            out.body_len -= 1
    reading.seq, reading.ts_ns = out.seq, out.ts_ns
    return True


cdef bint _new_name(Reading* reading) noexcept:
    cdef uint64_t n
    if reading.count == reading.count_max or not _get(reading, &n) or n > <uint64_t>(reading.end - reading.at):
        return False
    reading.names[reading.count] = Name(<const char*>reading.at, 0, <uint32_t>n, UNKNOWN)
    reading.count += 1
    reading.at += n
    return True


cdef int _removed(Reading* reading, Step* out) except -1:
    cdef uint32_t n = out.body_len, i
    cdef uint64_t before = reading.seq, number
    cdef void* grown
    if out.flags & SECURE:
        if n > <uint64_t>(reading.end - reading.at):
            return False
        out.body = reading.at
        reading.at += n
        return True
    if n // 8 > <uint64_t>(reading.end - reading.at):
        return False                               # a byte each, at least
    if n // 8 > reading.removed_max:
        grown = realloc(reading.removed, n)
        if grown == NULL:
            raise MemoryError("no memory for removals")
        reading.removed, reading.removed_max = <uint64_t*>grown, n // 8
    for i in range(n // 8):
        if not _get(reading, &number):
            return False
        before += _unzigzag(number)
        reading.removed[i] = before
    out.body = reading.removed
    return True
