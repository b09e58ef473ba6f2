"""Priority policies of a pull consumer (reference 4.5, ADR-42).

overflow        a request that names thresholds is served only above one of them
prioritized     the queue is kept by priority, lowest number first; see `PullQueue`
pinned_client   one client gets everything: the first that asks is pinned and finds its pin id in every
                delivery. It stays pinned as long as it pulls with that id before `priority_timeout` ends.
"""

from libc.stdint cimport int64_t, uint64_t

from millpond.base.clock cimport Clock
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.pull_request cimport Waiting

from millpond.base.ids import nuid


cdef class Priority:
    """The policy of one consumer, and who is pinned. Policy none serves everybody."""

    def __init__(self, Notices notices, Clock clock):
        self._notices, self._clock = notices, clock
        self.pin_id = ""
        self._groups = frozenset()

    cdef int configure(self, object config) except -1:
        policy = config.priority_policy
        self.ordered, self.pinned = policy == "prioritized", policy == "pinned_client"
        self._overflow = policy == "overflow"
        self._groups = frozenset(config.priority_groups)
        self._timeout_ns = config.priority_timeout
        return 0

    cdef str refusal(self, Waiting asked, int64_t now_ns):
        if not asked.structured:
            return None
        if (asked.min_pending or asked.min_ack_pending) and not self._overflow:
            return "400 Bad Request - Not a Overflow Priority consumer"
        if asked.pin_id and not self.pinned:
            return "400 Bad Request - Not a Pinned Client Priority consumer"
        if not 0 <= asked.priority <= 9:
            return "400 Bad Request - Priority must be between 0 and 9"
        if not self._groups:
            return None
        if not asked.group:
            return "400 Bad Request - Priority Group missing"
        if asked.group not in self._groups:
            return "400 Bad Request - Invalid Priority Group"
        if self.pin_id and asked.pin_id:
            if asked.pin_id != self.pin_id:
                return "423 Nats-Pin-Id mismatch"
            self.due_ns = now_ns + self._timeout_ns
        return None

    cdef Verdict judge(self, Waiting request, Moment* at) except *:
        self._just_pinned = None
        if self._overflow and (request.min_pending > 0 or request.min_ack_pending > 0):
            if 0 < request.min_pending <= <int64_t>at.pending:
                return SERVE
            return SERVE if 0 < request.min_ack_pending <= <int64_t>at.ack_pending else PASS
        if not self.pinned:
            return SERVE
        if not self.pin_id:
            if request.pin_id:
                return WRONG
            if request.group:
                self._pin(request, at.now_ns)
            return SERVE
        if request.pin_id == self.pin_id:
            return SERVE
        return WRONG if request.pin_id else PASS

    cdef int rejected(self, Waiting request) except -1:
        if self._just_pinned is request:
            self.pin_id, self.pinned_wall_ns, self.due_ns = "", 0, 0
        return 0

    def _pin(self, Waiting request, int64_t now_ns):
        self.pin_id = request.pin_id = nuid()
        self.pinned_wall_ns = (<Clock>self._clock).wall_ns
        self.due_ns = now_ns + self._timeout_ns
        self._just_pinned = request
        self._notices.advise_account("CONSUMER.PINNED", "consumer_group_pinned",
                                     {"group": request.group, "pinned_id": self.pin_id})

    cdef int unpin(self, str group, str reason) except -1:
        self.pin_id, self.pinned_wall_ns, self.due_ns = "", 0, 0
        return self._notices.advise_account("CONSUMER.UNPINNED", "consumer_group_unpinned",
                                            {"group": group, "reason": reason})

    cdef int expire(self, int64_t now_ns) except -1:
        if self.due_ns == 0 or now_ns < self.due_ns:
            return 0
        self.unpin(next(iter(self._groups)), "timeout")
        return 1
