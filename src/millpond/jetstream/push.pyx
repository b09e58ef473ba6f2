"""Who listens to a push consumer (reference 4.2).

Only a subscription on the very deliver subject makes it bound, and only one of its queue group when it has one:
somebody who watches `>` does not start it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from millpond.broker.router cimport Router
from millpond.broker.sink cimport Subscription
from millpond.jetstream.notices cimport audience_of
from millpond.subjects.sublist cimport Match

cdef uint64_t NEVER_SEEN = 0xFFFFFFFFFFFFFFFF


cdef class PushTarget:
    """One deliver subject."""

    cdef int configure(self, object config) except -1:
        self.subject = config.deliver_subject.encode()
        self._group = config.deliver_group.encode()
        self.heartbeat_ns = config.idle_heartbeat
        self._seen_generation = NEVER_SEEN
        return 0

    cdef bint look(self, Router router) except -1:
        cdef Match match
        cdef Subscription sub
        if self._seen_generation == router.sublist.generation:
            return self.bound
        self._seen_generation = router.sublist.generation
        self.bound = False
        match = router.sublist.match(PyBytes_AS_STRING(self.subject), PyBytes_GET_SIZE(self.subject))
        self.audience = audience_of(match)
        if not self._group:
            for sub in match.plain:
                self.bound = self.bound or (not sub.closed and sub.subject == self.subject)
            return self.bound
        for members in match.groups:
            for sub in members:
                if not sub.closed and sub.subject == self.subject and sub.queue == self._group:
                    self.bound = True
        return self.bound

    cdef bint takes(self) noexcept:
        return self.bound and (self.window is None or not self.window.closed())
