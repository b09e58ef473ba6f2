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
    cdef readonly object issuer              # accounts.oidc.Issuer; None: no tokens of others are believed
    cdef readonly object local_authenticator # of those who come in by the socket for operators
    cdef readonly Clock clock
    cdef readonly Turn turn
    cdef readonly dict accounts              # {name: Account}
    cdef readonly Account everybody          # $G
    cdef readonly Account system             # or None
    cdef object exchange                     # what accounts import of each other
    cdef readonly Router router              # of $G
    cdef public object events                # monitor.system_events.SystemEvents; None: nobody is told of clients
    cdef public object tell_latency          # called with each service_latency.Report; None: nobody tells
    cdef public object tell_trace            # called with each MessageTrace that has ended; None: there is nobody who tells
    cdef readonly bint tracing               # each line of the protocol goes to the log
    cdef public object verifier              # PasswordVerifier; None: nobody can verify a hash
    cdef Leavers leavers
    cdef readonly dict sessions              # {cid: Session}
    cdef readonly object closed              # ClosedRing of ConnectionInfo, newest last
    cdef readonly dict info                  # what every INFO says
    cdef readonly str server_id
    cdef readonly object keys                # signing.KeyPair; None: nothing is to be signed
    cdef readonly bytes xkey_secret
    cdef readonly str xkey                   # who answers in secret encrypts for this one
    cdef readonly object book                # accounts.book.AccountBook; None: accounts are those of the configuration
    cdef public object callout               # who is asked whom to let in; None: nobody
    cdef readonly str server_name
    cdef readonly int64_t started_ns
    cdef readonly Budget connections         # what sessions and closed connections hold
    cdef readonly Budget output              # what waits in outboxes, shared by the accounts
    cdef readonly Budget input               # unfinished frames, shared by the accounts
    cdef readonly Budget answers             # what imported services are still to answer, shared by those who ask
    cdef Counters counters
    cdef uint64_t last_cid
    # limits in force, for the hot path
    cdef uint32_t control_line_max
    cdef int64_t payload_max
    cdef size_t pending_max
    cdef bint headers
    cdef bint auth_required
    cdef bint stall_producers
    cdef uint64_t next_cid(self) noexcept
