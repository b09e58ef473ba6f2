# One account: its subject space, what its clients may do together, and what they did.
from libc.stdint cimport int64_t, uint64_t
from millpond.accounts.mappings cimport Mappings
from millpond.base.budget cimport Budget
from millpond.broker.router cimport Router

cdef struct Traffic:
    uint64_t in_msgs
    uint64_t in_bytes
    uint64_t out_msgs
    uint64_t out_bytes
    uint64_t slow_consumers

cdef class Account:
    cdef readonly str name
    cdef readonly object options             # config.security.AccountOptions
    cdef readonly Router router
    cdef Mappings mappings                   # or None
    cdef bint traces_parents                 # a `traceparent` may ask for a message trace
    cdef public object responses             # Responses, or None: it exports no service that is imported
    cdef readonly Budget output              # what waits in its clients' outboxes: a fair share of the server's
    cdef readonly Budget input               # what its clients have begun to send: likewise
    cdef Traffic traffic
    cdef readonly int64_t connections        # clients that are in it
    cdef readonly int64_t started_ns
    cdef int64_t hurried_ns                  # when it last looked who is slow to send
    cdef int enter(self) except -1           # a client
    cdef int leave(self) except -1
