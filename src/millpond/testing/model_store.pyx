"""A store for tests: slow, obvious, in memory, with commits and cold reads on demand.

Rows are (sequence, subject, header block, body, ts_ns, expires_ns) in a plain list. Nothing is committed until
`commit_now()`; a sequence in `cold` is COLD until `warm_up()`; `fail_next` makes the next append raise, `full`
every one, for want of room on the disk.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.broker.turn cimport Turn
from millpond.store.api cimport COLD, FOUND, MISSING, NEVER_EXPIRES, Filters, Limits, Load, Record, Store, SubjectWalk
from millpond.wire.message cimport Msg

from millpond.base.errors import StoreError
from millpond.store.space import no_room


def finish(Turn turn):
    """One turn; returns whether work remains."""
    return turn.finish()


cdef class ModelStore(Store):
    cdef public list rows
    cdef public set cold
    cdef public bint fail_next, full, closed, destroyed
    cdef tuple _held

    def __init__(self):
        self.rows, self.cold = [], set()
        self.state.first_seq = 1
        self.failure = ""

    # --- handles of the test ---

    def commit_now(self):
        """Everything appended so far becomes committed."""
        self.committed_position, self.committed_seq = self.position, self.state.last_seq
        self.owner.committed()

    def warm_up(self, left=()):
        """All cold reads arrive but those `left`."""
        self.cold = set(left)
        self.owner.warm()

    def fail(self, str reason):
        """The disk failed under it."""
        self.owner.failed(reason)

    # --- Store ---

    cdef uint64_t message_size(self, uint32_t subject_len, uint32_t hdr_len, uint32_t body_len) noexcept:
        return 16 + subject_len + hdr_len + body_len

    cdef int _count(self) except -1:
        rows = self.rows
        self.state.messages = len(rows)
        self.state.bytes = sum(16 + len(row[1]) + len(row[2]) + len(row[3]) for row in rows)
        self.state.first_seq = rows[0][0] if rows else self.state.last_seq + 1
        self.state.first_ts_ns = rows[0][4] if rows else 0
        self.state.num_subjects = len({row[1] for row in rows})
        self.state.num_deleted = self.state.last_seq + 1 - self.state.first_seq - self.state.messages
        return 0

    cdef int _drop(self, tuple row) except -1:
        cdef bytes subject = row[1]
        self.rows.remove(row)
        self.position += 1
        self._count()
        self.owner.removed(row[0], <const char*>subject, <uint32_t>len(subject),
                           16 + len(subject) + len(row[2]) + len(row[3]))
        return 0

    cdef int _enforce(self) except -1:
        if self.limits.per_subject_max:
            for subject in {row[1] for row in self.rows}:
                mine = [row for row in self.rows if row[1] == subject]
                for row in mine[: max(0, len(mine) - <int64_t>self.limits.per_subject_max)]:
                    self._drop(row)
        while self.rows and (
            (self.limits.messages_max and self.state.messages > self.limits.messages_max)
            or (self.limits.bytes_max and self.state.bytes > self.limits.bytes_max)
        ):
            self._drop(self.rows[0])
        return 0

    cdef uint64_t append(self, const Msg* msg, int64_t ts_ns, int64_t expires_ns) except 0:
        if self.fail_next:
            raise StoreError("input/output error")
        if self.full:
            raise no_room("model")
        self.state.last_seq += 1
        self.state.last_ts_ns = ts_ns
        self.rows.append((
            self.state.last_seq, msg.subject[:msg.subject_len], msg.hdr[:msg.hdr_len],
            msg.body[:msg.body_len], ts_ns, expires_ns,
        ))
        self.position += 1
        self._count()
        self._enforce()
        return self.state.last_seq

    cdef Load load(self, uint64_t stream_seq, Record* out, bint wait=False) except *:
        cdef bytes subject, hdr, body
        for row in self.rows:
            if row[0] != stream_seq:
                continue
            if stream_seq in self.cold and not wait:
                return COLD
            self._held = row
            subject, hdr, body = row[1], row[2], row[3]
            out.seq, out.ts_ns = row[0], row[4]
            out.subject, out.subject_len = <const char*>subject, <uint32_t>len(subject)
            out.hdr, out.hdr_len = <const char*>hdr, <uint32_t>len(hdr)
            out.body, out.body_len = <const char*>body, <uint32_t>len(body)
            return FOUND
        return MISSING

    cdef list _under(self, Filters filters):
        return [row for row in self.rows if filters.matches(<const char*><bytes>row[1], <uint32_t>len(row[1]))]

    cdef bint exists(self, uint64_t stream_seq) noexcept:
        return any([row[0] == stream_seq for row in self.rows])

    cdef bint subject_of(self, uint64_t stream_seq, const char** subject, uint32_t* subject_len) noexcept:
        for row in self.rows:
            if row[0] == stream_seq:
                self._held = row
                subject[0], subject_len[0] = <const char*><bytes>row[1], <uint32_t>len(row[1])
                return True
        return False

    cdef int skip_through(self, uint64_t stream_seq, int64_t ts_ns) except -1:
        self.state.last_seq = max(self.state.last_seq, stream_seq)
        self.state.last_ts_ns = max(self.state.last_ts_ns, ts_ns)
        self.position += 1
        self._count()
        return 0

    cdef uint64_t next_live(self, uint64_t from_seq) noexcept:
        return min([row[0] for row in self.rows if row[0] >= from_seq], default=0)

    cdef uint64_t next_match(self, uint64_t from_seq, Filters filters) noexcept:
        return min([row[0] for row in self._under(filters) if row[0] >= from_seq], default=0)

    cdef uint64_t count_match(self, uint64_t from_seq, Filters filters) noexcept:
        return len([row for row in self._under(filters) if row[0] >= from_seq])

    cdef uint64_t last_for(self, const char* subject, uint32_t subject_len) noexcept:
        return max([row[0] for row in self.rows if row[1] == subject[:subject_len]], default=0)

    cdef uint64_t count_for(self, const char* subject, uint32_t subject_len) noexcept:
        return len([row for row in self.rows if row[1] == subject[:subject_len]])

    cdef uint64_t oldest_size(self, const char* subject, uint32_t subject_len) noexcept:
        mine = [16 + len(row[1]) + len(row[2]) + len(row[3]) for row in self.rows if row[1] == subject[:subject_len]]
        return mine[0] if mine else 0

    cdef uint64_t last_match(self, Filters filters, uint64_t up_to_seq) noexcept:
        return max([row[0] for row in self._under(filters) if not up_to_seq or row[0] <= up_to_seq], default=0)

    cdef uint64_t seq_at_time(self, int64_t ts_ns) noexcept:
        return min([row[0] for row in self.rows if row[4] >= ts_ns], default=self.state.last_seq + 1)

    cdef bint lasts_of_part(self, Filters filters, uint64_t up_to_seq, SubjectWalk* walk, uint64_t* looks, set found,
                            set later, uint64_t most) except -1:
        found.update({row[1]: row[0] for row in self._under(filters) if row[0] <= up_to_seq}.values())
        walk.done = True
        return most == 0 or <uint64_t>len(found) <= most

    cpdef tuple deleted_part(self, uint64_t from_seq, uint64_t most):
        live = {row[0] for row in self.rows}
        gaps = [seq for seq in range(max(from_seq, self.state.first_seq), self.state.last_seq) if seq not in live]
        return gaps[:most], gaps[most] if len(gaps) > most else 0

    cdef bint remove(self, uint64_t stream_seq, bint secure) except *:
        for row in self.rows:
            if row[0] == stream_seq:
                self._drop(row)
                return True
        return False

    cdef uint64_t purge(self, Filters filters, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF:
        doomed = self._under(filters)
        doomed = doomed[: max(0, len(doomed) - <int64_t>keep)]
        doomed = [row for row in doomed if not below_seq or row[0] < below_seq]
        for row in doomed:
            self._drop(row)
        return len(doomed)

    cdef list _ends(self):
        """[(time, row)], soonest first."""
        cdef int64_t age_ns = self.limits.age_max_ns
        aged = [(row[4] + age_ns, row) for row in self.rows if age_ns and row[5] != NEVER_EXPIRES]
        return sorted(aged + [(row[5], row) for row in self.rows if row[5] > 0])

    cdef int64_t expire(self, int64_t now_ns, uint32_t budget) except? -1:
        cdef bytes subject
        while (ends := self._ends()) and ends[0][0] <= now_ns:
            row = ends[0][1]
            subject = row[1]
            last = len([other for other in self.rows if other[1] == subject]) == 1
            if budget == 0 or (last and self.owner.marks_expiry and not self.owner.expiring(
                    row[0], <const char*>subject, <uint32_t>len(subject))):
                return now_ns
            budget -= 1
            if row in self.rows:
                self._drop(row)
        return ends[0][0] if ends else 0

    cdef int set_limits(self, Limits limits) except -1:
        self.limits = limits
        return self._enforce()

    cdef int set_first_seq(self, uint64_t first_seq) except -1:
        assert not self.rows
        self.state.first_seq, self.state.last_seq = first_seq, first_seq - 1
        return 0

    cpdef int close(self) except -1:
        self.closed = True
        return 0

    cpdef int destroy(self) except -1:
        self.closed = self.destroyed = True
        return 0
