# Who a connection is: its account, its user, and what that user may do. Sessions are members.
from libc.stdint cimport int64_t, uint64_t
from millpond.base.budget cimport Budget
from millpond.accounts.permissions cimport CompiledPermissions
from millpond.accounts.reply_grants cimport ReplyGrants
from millpond.broker.account cimport Account
from millpond.broker.broker cimport Broker
from millpond.broker.sink cimport Sink
from millpond.wire.message cimport Msg

cdef class Member(Sink):
    cdef readonly Broker broker
    cdef readonly uint64_t cid
    cdef readonly str ip
    cdef readonly int port
    cdef readonly Account account
    cdef readonly Budget output      # what waits in its outbox: a fair share of its account's
    cdef readonly Budget input       # its unfinished frame: likewise
    cdef object connect              # ConnectOptions, of the last CONNECT; None: there was none
    cdef readonly bint connected     # a CONNECT was accepted
    cdef readonly object identity    # who was let in, None before
    cdef CompiledPermissions permissions             # None: everything is allowed
    cdef ReplyGrants replies         # None: nothing is allowed by having been asked
    cdef bint filters                # some of what arrives may be denied
    cdef bint denial_logged
    cdef readonly bint verifying     # a thread looks at the password; nothing is read or sent meanwhile
    cdef object attempt              # what is awaited: a Job of the PasswordVerifier, or an Awaited
    cdef readonly object origin      # accounts.origin: how it came in
    cdef readonly str nonce          # to be signed by clients with nkeys
    cdef int64_t payload_max, subscriptions_max      # the account's; -1 = the server's only
    # May not be published by this user. An answer to a request is one use of its grant.
    cdef bint is_denied(self, const Msg* msg) except -1
    cdef object _authenticator(self)                 # who judges those who come in this way
    cdef int leave_account(self) except -1           # at the end
    cdef int give_up(self) except -1                 # waiting for a verdict
    cdef int64_t lifetime_ns(self) except? -1
    cdef int _take_limits(self, Account account) except -1
    # What a session does for it.
    cpdef int close(self, str reason, str error=*) except -1
    cpdef bint is_closed(self) noexcept
    cdef int _drop_all(self) except -1               # every subscription
    cdef int _pause(self, bint on) except -1         # reading and sending
