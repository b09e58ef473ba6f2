"""A connection's identity (reference 02): how it is found out, and what follows from it.

    nobody  --CONNECT, or none needed-->  a user of an account  --reload-->  the same with other rights, or closed

A password that only bcrypt can verify is looked at by a thread; the session reads nothing until the answer is there,
nor does anything leave: after a reload that has changed a hash nobody goes on with rights that are in doubt.
"""

import logging
from functools import partial

from millpond.accounts.reply_grants cimport ReplyGrants
from millpond.base.budget cimport Budget
from millpond.broker.account cimport Account
from millpond.broker.sink cimport Sink
from millpond.wire.message cimport Msg

from millpond.accounts.authenticate import Identity
from millpond.accounts.origin import DIRECT
from millpond.accounts.passwords import Attempt
from millpond.wire.quote import quote

log = logging.getLogger("millpond")

REFUSED = "Authentication Failure"


cdef int64_t _lower(int64_t one, int64_t other) noexcept:
    """Of two limits, of which below 0 is none."""
    return other if one < 0 or 0 <= other < one else one


cdef class Member(Sink):
    """Override what the declaration says a session does."""

    def __init__(self, Broker broker, str ip, int port):
        self.broker = broker
        self.cid = broker.next_cid()
        self.ip, self.port = ip, port
        self.account = broker.everybody
        self.account.enter()                         # until it is known; what it begins to send is a stranger's
        self.output = Budget("output", 0, self.account.output)
        self.input = Budget("input", 0, broker.connections if broker.auth_required else self.account.input)
        self.nonce = broker.authenticator.new_nonce()
        self.payload_max = self.subscriptions_max = -1
        self.origin = DIRECT

    cpdef int close(self, str reason, str error="") except -1:
        raise NotImplementedError(type(self).__name__)

    cpdef bint is_closed(self) noexcept:
        return True

    cdef int _drop_all(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int _pause(self, bint on) except -1:
        raise NotImplementedError(type(self).__name__)

    def came_in(self, origin):
        """What a transport knows of it, before the first frame."""
        self.origin = origin

    # --- finding out ---

    cdef object _authenticator(self):
        return self.broker.local_authenticator if self.origin.is_local else self.broker.authenticator

    def _come_in(self):
        """A client that begins without CONNECT, where one is needed: is there a user for those? Else it is closed."""
        identity = self._authenticator().without_connect(self.origin)
        if identity is None:
            self.refuse()
            return False
        if not self._join(identity):
            return False
        if self.broker.events is not None:
            self.broker.events.connected(self)
        return True

    def _decide(self, verdict, connect, then):
        """verdict: as an authenticator's; a text is why somebody is refused.
        `then(identity, connect)`, at once or when a thread has verified the password; or the end."""
        if verdict is None or isinstance(verdict, str):
            self.refuse(verdict or REFUSED)
        elif isinstance(verdict, Identity):
            then(verdict, connect)
        else:
            self.verifying = True
            self._pause(True)
            if isinstance(verdict, Attempt):
                done = partial(self._verified, self.broker.authenticator, verdict.identity, connect, then)
                self.attempt = self.broker.verifier.verify(verdict, self.ip, done)
                if self.attempt is None:
                    done(None)
            else:
                self.attempt = verdict
                verdict.begin(partial(self._answered, self.broker.authenticator, verdict.final, connect, then))

    def _answered(self, authenticator, final, connect, then, verdict):
        """What had to be waited for is there."""
        self.verifying, self.attempt = False, None
        if final:
            self._decide(verdict, connect, then)
        elif authenticator is self.broker.authenticator:
            self._judge(verdict, connect, then)
        else:                                        # a reload came between: what was right may not be any more
            self._judge(self.broker.authenticator.check(connect, self.nonce, self.origin, self), connect, then)
        if not self.is_closed() and not self.verifying:
            self._pause(False)
        self.broker.turn.wake()

    def _judge(self, verdict, connect, then):
        """What the configuration, or the claims, say of a client; where there is a callout, it may say otherwise."""
        callout = self.broker.callout
        if callout is not None and not isinstance(verdict, Attempt) and not self.origin.is_local:
            verdict = callout.judge(self, verdict, connect)
        self._decide(verdict, connect, then)

    cdef int give_up(self) except -1:
        """Nobody waits for the verdict any more."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None and hasattr(attempt, "give_up"):
            attempt.give_up()
        elif attempt is not None:
            self.broker.verifier.give_up(attempt)
        return 0

    def _decide_again(self, connect, then):
        """After a reload: the same for somebody who is in. connect: None, when it came in without."""
        authenticator = self._authenticator()
        if authenticator.has_moved(self.identity, connect, self.account.name, self.origin.kind):
            self.close("Client Closed")               # as nats-server: it comes back, and is somebody else then
        elif connect is not None:
            self._judge(
                authenticator.check_again(self.identity, connect, self.nonce, self.origin, self), connect, then)
        elif authenticator.asks(self.origin.kind):
            self._decide(authenticator.without_connect(self.origin), None, then)

    def _verified(self, authenticator, identity, connect, then, right):
        """right: None when there was no time, or no room, to find out."""
        self.verifying, self.attempt = False, None
        if self.is_closed():
            return
        if right is None:
            self.close("Authentication Timeout", "Authentication Timeout")
        elif authenticator is self.broker.authenticator:
            self._judge(identity if right else None, connect, then)
        elif right:                                  # a reload came between: what was right may not be any more
            self._judge(self.broker.authenticator.check(connect, self.nonce, self.origin, self), connect, then)
        else:
            self.refuse()
        if not self.is_closed() and not self.verifying:
            self._pause(False)
        self.broker.turn.wake()

    def refuse(self, reason=REFUSED):
        """Whoever this is: not here, or not any more. The client is never told the reason."""
        who = self.connect.shown_user_words if self.connect is not None else ""
        log.error("%s:%d - cid:%d - authentication error%s", self.ip, self.port, self.cid, f" - {who}" if who else "")
        if self.broker.events is not None:
            self.broker.events.refused(self, reason)
        self.close(reason, "Authorization Violation")

    def shown_claims(self):
        """Fields of its ConnectionInfo, of a user with a key."""
        user = self.identity.user if self.identity is not None else None
        credential = self.identity.credential if self.identity is not None else None
        if credential is None:
            return {"issuer_key": user.account} if user is not None and user.is_nkey else {}
        return {
            "jwt": "" if credential.is_bearer else credential.token, "issuer_key": credential.issuer,
            "account_tag": self.account.options.name_tag, "tags": credential.tags, "user_tag": credential.name,
        }

    # --- what follows ---

    def _join(self, identity):
        """Take the rights and the account of `identity`. False: the account has no room, the session is closed."""
        cdef Account account = self.broker.accounts.get(identity.account)
        if account is None:
            self.refuse()
            return False
        self.identity, self.permissions = identity, identity.permissions
        self.replies, self.filters = None, False
        if self.permissions is not None and self.permissions.grants_replies:
            self.replies = ReplyGrants(self.permissions.replies_max, self.permissions.replies_expire_ns)
        if self.input.total is not account.input:
            self.input.move(account.input)
        self._take_limits(account)
        if account is not self.account:
            self.leave_account()
            self.account = account
            account.enter()
            self.output.move(account.output)
            if self.broker.events is not None:
                self.broker.events.counted(account)
            if 0 <= account.options.max_connections < account.connections:
                self.close("Maximum Account Connections Exceeded", "maximum account active connections exceeded")
            elif self.subscriptions_max == 0:
                self.close("Maximum Subscriptions Exceeded", "maximum subscriptions exceeded")
        return not self.is_closed()

    cdef int _take_limits(self, Account account) except -1:
        """The account's, and those of the user that its claims make lower."""
        self.payload_max, self.subscriptions_max = account.options.max_payload, account.options.max_subscriptions
        credential = self.identity.credential
        if credential is not None:
            self.payload_max = _lower(self.payload_max, credential.max_payload)
            self.subscriptions_max = _lower(self.subscriptions_max, credential.max_subscriptions)
        return 0

    cdef int64_t lifetime_ns(self) except? -1:
        """How long its credentials are good from now on; 0: for ever."""
        credential = self.identity.credential if self.identity is not None else None
        if credential is None or not credential.ends_s:
            return 0
        return max(1, <int64_t>(credential.ends_s * 1e9) - self.broker.clock.wall_ns)

    cdef int leave_account(self) except -1:
        self._drop_all()
        self.account.leave()
        if self.broker.events is not None:
            self.broker.events.counted(self.account)
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
