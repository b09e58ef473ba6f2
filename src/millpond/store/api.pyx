"""The store's contract in code: what every store shares, and Python's door to the C methods.

`StoreOwner` and `Store` are bases. The owner's defaults do nothing, so that a store can be used alone (tools,
tests). A `Store` method without an implementation says so; where the signature cannot raise, it finds nothing.
The `def` methods below the C ones translate to Python values for tools and tests; servers do not pass there.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from millpond.subjects cimport tokens
from millpond.subjects.filter_tree cimport FilterTree
from millpond.wire.message cimport Msg

from millpond.base import limits

cdef uint64_t STEP_ROWS = limits.SEARCH_STEP_ROWS

cdef enum:
    TRIED_ONE_BY_ONE = 4             # filters; more are quicker in a tree


cdef class StoreOwner:
    """Hears what happens to a store; these defaults ignore it."""

    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, uint64_t size) except -1:
        return 0

    cdef bint expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *:
        return True

    cdef int committed(self) except -1:
        return 0

    cdef int warm(self) except -1:
        return 0

    cdef int failed(self, str reason) except -1:
        return 0

    cdef int damaged(self, uint64_t stream_seq, str reason) except -1:
        return 0


cdef class RecordingOwner(StoreOwner):
    """Keeps what it was told, in order, as tuples: what a store says, made visible to tools and tests."""

    cdef public list told

    def __init__(self, bint marks_expiry=False):
        self.told = []
        self.marks_expiry = marks_expiry

    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, uint64_t size) except -1:
        self.told.append(("removed", stream_seq, subject[:subject_len], size))
        return 0

    cdef bint expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *:
        self.told.append(("expiring", stream_seq, subject[:subject_len]))
        return True

    cdef int committed(self) except -1:
        self.told.append(("committed",))
        return 0

    cdef int warm(self) except -1:
        self.told.append(("warm",))
        return 0

    cdef int failed(self, str reason) except -1:
        self.told.append(("failed", reason))
        return 0


cdef bint _is_wild(bytes filter) noexcept:
    return tokens.has_wildcard(PyBytes_AS_STRING(filter), <uint32_t>PyBytes_GET_SIZE(filter))


cdef class Filters:
    """Subject filters, immutable. Which of them are valid is the caller's to check."""

    def __init__(self, subjects=()):
        self.subjects = list(subjects)
        for subject in self.subjects:
            assert isinstance(subject, bytes) and subject, "a filter is non-empty bytes"
        self.all = not self.subjects or self.subjects == [b">"]
        plain = not any(_is_wild(subject) for subject in self.subjects)
        self.literal = plain and len(self.subjects) == 1
        self.literals = plain and len(self.subjects) > 1
        if len(self.subjects) > TRIED_ONE_BY_ONE:
            self._tree = FilterTree()
            for subject in self.subjects:
                self._tree.add(subject)

    cdef bint matches(self, const char* subject, uint32_t subject_len) noexcept:
        cdef bytes filter
        cdef uint32_t n
        if self.all:
            return True
        if self._tree is not None and not tokens.has_empty_token(subject, subject_len):
            try:
                return self._tree.matches(subject, subject_len)
            except MemoryError:
                pass                         # the slow way needs none
        for filter in self.subjects:
            n = <uint32_t>PyBytes_GET_SIZE(filter)
            if self.literal:
                return n == subject_len and memcmp(PyBytes_AS_STRING(filter), subject, n) == 0
            if tokens.matches(subject, subject_len, PyBytes_AS_STRING(filter), n):
                return True
        return False

    def accepts(self, bytes subject):
        """Does the literal `subject` fall under these filters?"""
        return self.matches(PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject))

    def __repr__(self):
        return f"Filters({self.subjects!r})"


cdef Filters _as_filters(filters):
    return filters if isinstance(filters, Filters) else Filters(filters)


cdef class Store:
    """One stream's messages; see api.pxd for what every method promises."""

    def __cinit__(self):
        self.removals_max = limits.PURGE_STEP_MESSAGES

    cdef uint64_t message_size(self, uint32_t subject_len, uint32_t hdr_len, uint32_t body_len) noexcept:
        return 16 + <uint64_t>subject_len + hdr_len + body_len

    cdef uint64_t append(self, const Msg* msg, int64_t ts_ns, int64_t expires_ns) except 0:
        raise NotImplementedError

    cdef uint64_t skip(self, int64_t ts_ns) except 0:
        self.skip_through(self.state.last_seq + 1, ts_ns)
        return self.state.last_seq

    cdef int skip_through(self, uint64_t stream_seq, int64_t ts_ns) except -1:
        raise NotImplementedError

    cdef int begin_batch(self) except -1:
        return 0

    cdef int end_batch(self) except -1:
        return 0

    cdef Load load(self, uint64_t stream_seq, Record* out, bint wait=False) except *:
        raise NotImplementedError

    cdef bint exists(self, uint64_t stream_seq) noexcept:
        return False

    cdef bint subject_of(self, uint64_t stream_seq, const char** subject, uint32_t* subject_len) noexcept:
        return False

    cdef uint64_t next_live(self, uint64_t from_seq) noexcept:
        return 0

    cdef uint64_t next_headed(self, uint64_t from_seq) noexcept:
        return self.next_live(from_seq)

    cdef uint64_t next_match(self, uint64_t from_seq, Filters filters) noexcept:
        return 0

    cdef uint64_t count_match(self, uint64_t from_seq, Filters filters) noexcept:
        return 0

    cdef uint64_t search(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                         uint64_t* resume) noexcept:
        cdef uint64_t found = self.next_match(from_seq, filters)
        resume[0] = 0
        return found if found <= to_seq else 0

    cdef uint64_t count_part(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept:
        resume[0] = 0
        return self.count_match(from_seq, filters) - self.count_match(to_seq + 1, filters)

    cdef uint64_t search_down(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept:
        cdef uint64_t found = self.last_match(filters, from_seq) if from_seq else 0
        resume[0] = 0
        return found if found >= to_seq else 0

    cdef uint64_t bounds_part(self, Filters filters, uint64_t from_seq, uint64_t to_seq, SubjectWalk* walk,
                              uint64_t looks, uint64_t* low, uint64_t* high) noexcept:
        low[0], high[0], walk.done = from_seq, to_seq, True
        return 0

    cdef bint is_long(self, uint64_t from_seq, Filters filters) noexcept:
        return False

    cdef uint64_t last_for(self, const char* subject, uint32_t subject_len) noexcept:
        return 0

    cdef uint64_t count_for(self, const char* subject, uint32_t subject_len) noexcept:
        return 0

    cdef uint64_t oldest_size(self, const char* subject, uint32_t subject_len) noexcept:
        return 0

    cdef uint64_t last_match(self, Filters filters, uint64_t up_to_seq) noexcept:
        return 0

    cdef uint64_t seq_at_time(self, int64_t ts_ns) noexcept:
        return 0

    cdef bint lasts_of_part(self, Filters filters, uint64_t up_to_seq, SubjectWalk* walk, uint64_t* looks, set found,
                            set later, uint64_t most) except -1:
        raise NotImplementedError

    cdef uint64_t lasts_down(self, set later, uint64_t from_seq, uint64_t rows, set found) except? 0xFFFFFFFFFFFFFFFF:
        return 0

    cdef bint count_lasts(self, Filters filters, uint64_t* count, uint64_t* first) noexcept:
        count[0] = first[0] = 0
        return True

    cdef uint64_t lasts_part(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows, uint64_t* first,
                             uint64_t* resume) noexcept:
        resume[0] = 0
        return 0

    cdef uint64_t search_last(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept:
        resume[0] = 0
        return 0

    cdef bint is_last(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, uint64_t as_of) noexcept:
        return False

    cdef uint64_t before(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) noexcept:
        return 0

    cpdef tuple deleted_part(self, uint64_t from_seq, uint64_t most):
        raise NotImplementedError

    cdef bint remove(self, uint64_t stream_seq, bint secure) except *:
        raise NotImplementedError

    cdef uint64_t purge(self, Filters filters, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF:
        raise NotImplementedError

    cdef uint64_t purge_part(self, Filters filters, uint64_t* at, uint64_t end_seq,
                             uint64_t most) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t from_seq = at[0], gone = 0, seq
        while gone < most and at[0] <= end_seq:
            seq = self.search(at[0], end_seq, filters, STEP_ROWS, at)
            if seq == 0:
                return gone
            self.remove(seq, False)
            gone, at[0] = gone + 1, seq + 1
            if at[0] - from_seq > STEP_ROWS:
                return gone
        if at[0] > end_seq:
            at[0] = 0
        return gone

    cdef int64_t expire(self, int64_t now_ns, uint32_t budget) except? -1:
        raise NotImplementedError

    cdef int set_limits(self, Limits limits) except -1:
        raise NotImplementedError

    cdef bint enforce_part(self, uint64_t most) except *:
        return False

    cdef int set_first_seq(self, uint64_t first_seq) except -1:
        raise NotImplementedError

    cpdef int close(self) except -1:
        raise NotImplementedError

    cpdef int hold(self) except -1:
        return 0

    cpdef int go_on(self) except -1:
        return 0

    cpdef int destroy(self) except -1:
        raise NotImplementedError

    cpdef list check(self):
        raise NotImplementedError

    cpdef dict memory(self):
        raise NotImplementedError

    cpdef int commit(self) except -1:
        return 0

    # --- Python's door ---

    def append_message(self, bytes subject, bytes body=b"", bytes hdr=b"", int64_t ts_ns=0, int64_t expires_ns=0):
        """Append one message; returns its stream sequence."""
        cdef Msg msg
        msg.subject, msg.subject_len = PyBytes_AS_STRING(subject), <uint32_t>len(subject)
        msg.reply, msg.reply_len = NULL, 0
        msg.hdr, msg.hdr_len = PyBytes_AS_STRING(hdr), <uint32_t>len(hdr)
        msg.body, msg.body_len = PyBytes_AS_STRING(body), <uint32_t>len(body)
        return self.append(&msg, ts_ns, expires_ns)

    def batch(self, bint begins):
        """Begin or end a batch."""
        if begins:
            self.begin_batch()
        else:
            self.end_batch()

    def skip_message(self, int64_t ts_ns=0):
        """Issue a sequence without a message; returns it."""
        return self.skip(ts_ns)

    def skip_messages(self, uint64_t stream_seq, int64_t ts_ns=0):
        """Issue all sequences up to `stream_seq` without messages."""
        self.skip_through(stream_seq, ts_ns)

    def load_message(self, uint64_t stream_seq, bint wait=True):
        """The message as a dict with seq, ts_ns, subject, hdr, body; None when missing; "cold" when not there yet."""
        cdef Record record
        cdef Load found = self.load(stream_seq, &record, wait)
        if found == MISSING:
            return None
        if found == COLD:
            return "cold"
        assert record.seq == stream_seq
        return {
            "seq": record.seq,
            "ts_ns": record.ts_ns,
            "subject": record.subject[:record.subject_len],
            "hdr": record.hdr[:record.hdr_len] if record.hdr_len else b"",
            "body": record.body[:record.body_len] if record.body_len else b"",
        }

    def promise_batch(self, uint64_t bytes, uint32_t largest):
        """Before begin_batch(): records of so many bytes together, none larger than `largest`, will have room.
        Raises OSError when the disk has none; then nothing has happened."""

    cpdef int64_t first_ts_ns(self, bint wait=False) except? -1:
        return self.state.first_ts_ns

    def state_dict(self):
        """`state`, by its field names."""
        self.first_ts_ns(True)
        return self.state

    def size_of(self, uint32_t subject_len, uint32_t hdr_len, uint32_t body_len):
        """What a message of these lengths counts for."""
        return self.message_size(subject_len, hdr_len, body_len)

    def has(self, uint64_t stream_seq):
        """Is the message there?"""
        return self.exists(stream_seq)

    def next_message(self, uint64_t from_seq, filters=()):
        """First live sequence >= from_seq under the filters; 0 = none."""
        cdef Filters chosen = _as_filters(filters)
        return self.next_live(from_seq) if chosen.all else self.next_match(from_seq, chosen)

    def next_message_with_headers(self, uint64_t from_seq):
        """First live sequence >= from_seq that is not known to have no headers; 0 = none."""
        return self.next_headed(from_seq)

    def count_messages(self, uint64_t from_seq, filters=()):
        """How many live messages >= from_seq are under the filters."""
        return self.count_match(from_seq, _as_filters(filters))

    def last_message(self, filters=(), uint64_t up_to_seq=0):
        """Highest live sequence <= up_to_seq (0: any) under the filters; 0 = none."""
        return self.last_match(_as_filters(filters), up_to_seq)

    def last_of(self, bytes subject):
        """Last live sequence of a literal subject; 0 = none."""
        return self.last_for(PyBytes_AS_STRING(subject), <uint32_t>len(subject))

    def count_of(self, bytes subject):
        """Live messages of a literal subject."""
        return self.count_for(PyBytes_AS_STRING(subject), <uint32_t>len(subject))

    def at_time(self, int64_t ts_ns):
        """First live sequence with a timestamp >= ts_ns; last_seq + 1 if none."""
        return self.seq_at_time(ts_ns)

    def search_message(self, uint64_t from_seq, uint64_t to_seq, filters=(), uint64_t rows=1):
        """(first match or 0, where to go on or 0)"""
        cdef uint64_t resume = 0
        found = self.search(from_seq, to_seq, _as_filters(filters), rows, &resume)
        return found, resume

    def count_in_part(self, uint64_t from_seq, uint64_t to_seq, filters=(), uint64_t rows=1):
        """(matches, where to go on or 0)"""
        cdef uint64_t resume = 0
        found = self.count_part(from_seq, to_seq, _as_filters(filters), rows, &resume)
        return found, resume

    def search_message_down(self, uint64_t from_seq, uint64_t to_seq, filters=(), uint64_t rows=1):
        """(last match or 0, where to go on or 0)"""
        cdef uint64_t resume = 0
        found = self.search_down(from_seq, to_seq, _as_filters(filters), rows, &resume)
        return found, resume

    def is_long_to_count(self, uint64_t from_seq, filters=()):
        """Does counting need steps?"""
        return self.is_long(from_seq, _as_filters(filters))

    def lasts_in_part(self, uint64_t from_seq, uint64_t as_of, filters=(), uint64_t rows=1):
        """(how many are the last of their subject, the first of them, where to go on or 0)"""
        cdef uint64_t first = 0, resume = 0
        found = self.lasts_part(from_seq, as_of, _as_filters(filters), rows, &first, &resume)
        return found, first, resume

    def lasts_now(self, filters=()):
        """(how many, the first one); None when that takes too long for one step."""
        cdef uint64_t count = 0, first = 0
        return (count, first) if self.count_lasts(_as_filters(filters), &count, &first) else None

    def search_last_message(self, uint64_t from_seq, uint64_t as_of, filters=(), uint64_t rows=1):
        """(first that was the last of its subject or 0, where to go on or 0)"""
        cdef uint64_t resume = 0
        found = self.search_last(from_seq, as_of, _as_filters(filters), rows, &resume)
        return found, resume

    def was_last(self, uint64_t stream_seq, bytes subject, uint64_t as_of):
        """Was the message of that subject and sequence the last of its subject, as of another sequence?"""
        return self.is_last(stream_seq, PyBytes_AS_STRING(subject), <uint32_t>len(subject), as_of)

    def message_before(self, uint64_t stream_seq, bytes subject):
        """The live message of a subject before that sequence; 0: none."""
        return self.before(stream_seq, PyBytes_AS_STRING(subject), <uint32_t>len(subject))

    def remove_message(self, uint64_t stream_seq, bint secure=False):
        """Remove one message; False: was not there."""
        return self.remove(stream_seq, secure)

    def purge_messages(self, filters=(), uint64_t below=0, uint64_t keep=0):
        """Purge; returns how many messages went."""
        return self.purge(_as_filters(filters), below, keep)

    def expire_messages(self, int64_t now_ns, uint32_t budget=1_000_000):
        """Remove what is too old; returns when the next one falls due (0: never)."""
        return self.expire(now_ns, budget)

    def configure(self, uint64_t messages_max=0, uint64_t bytes_max=0, uint64_t per_subject_max=0,
                  int64_t age_max_ns=0):
        """Set all limits, and enforce them as far as one step goes."""
        cdef Limits limits
        limits.messages_max, limits.bytes_max = messages_max, bytes_max
        limits.per_subject_max, limits.age_max_ns = per_subject_max, age_max_ns
        self.set_limits(limits)

    def enforce_messages(self, uint64_t most):
        """Remove at most so many that are over the limits; True: there are more."""
        return self.enforce_part(most)

    def start_at(self, uint64_t first_seq):
        """Let an empty store begin at `first_seq`."""
        self.set_first_seq(first_seq)
