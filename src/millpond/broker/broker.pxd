# One server's core: sessions, the account's router, counters, and what they have in common.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.budget cimport Budget
from millpond.base.clock cimport Clock
from millpond.broker.account cimport Account
from millpond.broker.leavers cimport Leavers
from millpond.broker.router cimport Router
from millpond.broker.turn cimport Turn

cdef struct Counters:
    uint64_t in_msgs
    uint64_t in_bytes
    uint64_t out_msgs
    uint64_t out_bytes
    uint64_t slow_consumers
    uint64_t stale_connections
    uint64_t stalled_clients
    uint64_t total_connections

cdef class Broker:
    cdef readonly object options
    cdef readonly object authenticator
    cdef readonly Clock clock
    cdef readonly Turn turn
    cdef readonly dict accounts              # {name: Account}
    cdef readonly Account everybody          # $G
    cdef readonly Account system             # or None
    cdef object exchange                     # what accounts import of each other
    cdef readonly Router router              # of $G
    cdef public object verifier              # PasswordVerifier; None: nobody can verify a hash
    cdef Leavers leavers
    cdef readonly dict sessions              # {cid: Session}
    cdef readonly object closed              # ClosedRing of ConnectionInfo, newest last
    cdef readonly dict info                  # what every INFO says
    cdef readonly str server_id
    cdef readonly str xkey                   # nobody encrypts to us yet: its secret half is not kept
    cdef readonly str server_name
    cdef readonly int64_t started_ns
    cdef readonly Budget connections         # what sessions, unfinished frames and closed connections hold
    cdef readonly Budget output              # what waits in outboxes; full: clients are not read from
    cdef Counters counters
    cdef uint64_t last_cid
    # limits in force, for the hot path
    cdef uint32_t control_line_max
    cdef int64_t payload_max
    cdef size_t pending_max
    cdef bint headers
    cdef bint auth_required
    cdef bint needs_nonce
    cdef bint stall_producers
    cdef uint64_t next_cid(self) noexcept
