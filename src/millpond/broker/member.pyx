"""A connection's identity (reference 02): how it is found out, and what follows from it.

    nobody  --CONNECT, or none needed-->  a user of an account  --reload-->  the same with other rights, or closed

A password that only bcrypt can verify is looked at by a thread; the session reads nothing until the answer is there.
"""

import logging
from functools import partial

from millpond.accounts.reply_grants cimport ReplyGrants
from millpond.broker.account cimport Account
from millpond.broker.sink cimport Sink
from millpond.wire.message cimport Msg

from millpond.accounts.nkeys import new_nonce
from millpond.accounts.passwords import Attempt
from millpond.wire.quote import quote

log = logging.getLogger("millpond")


cdef class Member(Sink):
    """Override what the declaration says a session does."""

    def __init__(self, Broker broker, str ip, int port):
        self.broker = broker
        self.cid = broker.next_cid()
        self.ip, self.port = ip, port
        self.account = broker.everybody
        self.account.connections += 1
        self.nonce = new_nonce() if broker.needs_nonce else ""
        self.payload_max = self.subscriptions_max = -1

    cpdef int close(self, str reason, str error="") except -1:
        raise NotImplementedError(type(self).__name__)

    cpdef bint is_closed(self) noexcept:
        return True

    cdef int _drop_all(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int _pause(self, bint on) except -1:
        raise NotImplementedError(type(self).__name__)

    # --- finding out ---

    def _come_in(self):
        """A client that begins without CONNECT, where one is needed: is there a user for those? Else it is closed."""
        identity = self.broker.authenticator.without_connect()
        if identity is None:
            self._refuse()
            return False
        return self._join(identity)

    def _decide(self, verdict, connect, then):
        """`then(identity, connect)`, at once or when a thread has verified the password; or the end."""
        if verdict is None:
            self._refuse()
        elif not isinstance(verdict, Attempt):
            then(verdict, connect)
        else:
            self.verifying = True
            self._pause(True)
            done = partial(self._verified, self.broker.authenticator, verdict.identity, connect, then)
            self.broker.verifier.verify(verdict, self.is_closed, done)

    def _decide_again(self, connect, then):
        """After a reload: the same for somebody who is in. connect: None, when it came in without."""
        authenticator = self.broker.authenticator
        if connect is not None:
            self._decide(authenticator.check_again(self.identity, connect, self.nonce), connect, then)
        elif authenticator.required:
            self._decide(authenticator.without_connect(), None, then)

    def _verified(self, authenticator, identity, connect, then, bint right):
        self.verifying = False
        if self.is_closed():
            return
        if not right:
            self._refuse()
        elif authenticator is self.broker.authenticator:
            then(identity, connect)
        else:                                        # a reload came between: what was right may not be any more
            self._decide(self.broker.authenticator.check(connect, self.nonce), connect, then)
        if not self.is_closed() and not self.verifying:
            self._pause(False)
        self.broker.turn.wake()

    def _refuse(self):
        log.error("%s:%d - cid:%d - authentication error", self.ip, self.port, self.cid)
        self.close("Authentication Failure", "Authorization Violation")

    # --- what follows ---

    def _join(self, identity):
        """Take the rights and the account of `identity`. False: the account has no room, the session is closed."""
        cdef Account account = self.broker.accounts.get(identity.account)
        if account is None:
            self._refuse()
            return False
        self.identity, self.permissions = identity, identity.permissions
        self.replies, self.filters = None, False
        if self.permissions is not None and self.permissions.grants_replies:
            self.replies = ReplyGrants(self.permissions.replies_max, self.permissions.replies_expire_ns)
        self.payload_max, self.subscriptions_max = account.options.max_payload, account.options.max_subscriptions
        if account is not self.account:
            self.leave_account()
            self.account = account
            account.connections += 1
            if 0 <= account.options.max_connections < account.connections:
                self.close("Maximum Account Connections Exceeded", "maximum account active connections exceeded")
        return not self.is_closed()

    cdef int leave_account(self) except -1:
        self._drop_all()
        self.account.connections -= 1
        return 0

    cdef bint is_denied(self, const Msg* msg) except -1:
        if self.permissions.may_publish(msg.subject, msg.subject_len):
            return False
        if self.replies is not None and self.replies.use(msg.subject, msg.subject_len, self.broker.clock.mono_ns):
            return False
        if not self.denial_logged:                   # once: whoever is denied may try as often as he likes
            self.denial_logged = True
            log.error("%s:%d - cid:%d - Publish Violation - User %s, Subject %s", self.ip, self.port, self.cid,
                      quote(self.identity.name.encode()), quote(msg.subject[:msg.subject_len]))
        return True
