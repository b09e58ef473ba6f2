"""What all connections of one server share."""

import os

from libc.stdint cimport uint64_t

from millpond.accounts.authenticate import Authenticator, LocalAuthenticator
from millpond.base import limits
from millpond.base.budget import Budgets
from millpond.base.ids import SERVER_PREFIX, curve_key, curve_point, server_id
from millpond.broker.closed_ring import ClosedRing
from millpond.config.security import GLOBAL_ACCOUNT, AccountOptions


cdef class Broker:
    """Made by the server; knows nothing of transports."""

    def __init__(self, options, Clock clock, budgets=None):
        self.clock = clock
        self.turn = Turn(clock)
        self.keys = _keys(options)
        self.server_id = self.keys.public if self.keys is not None else server_id()
        self.server_name = options.server_name or self.server_id
        budgets = budgets if budgets is not None else Budgets()
        self.connections, self.output = budgets.named("connections"), budgets.named("output")
        self.input, self.answers = budgets.named("input"), budgets.named("answers")
        self.accounts = {}
        self._take_accounts(options)
        self.everybody = self.accounts[GLOBAL_ACCOUNT]
        self.router = self.everybody.router
        self.leavers = Leavers(self.turn)
        self.sessions = {}
        self.closed = ClosedRing(options.max_closed_clients, budget=self.connections)
        self.xkey_secret = os.urandom(32)
        # Only services of an auth callout encrypt for it; 2 ms of a start are spared where there can be none.
        is_used = options.callout is not None or options.operator is not None
        self.xkey = curve_key(self.xkey_secret) if is_used else curve_point()
        self.started_ns = clock.wall_ns
        self._take(options)

    def _take(self, options):
        self.options = options
        self.authenticator = self._authenticator(options)
        self.local_authenticator = LocalAuthenticator(options)
        self.control_line_max = options.max_control_line
        self.payload_max = options.max_payload
        self.pending_max = options.max_pending
        self.headers = not options.no_header_support
        self.auth_required = self.authenticator.required
        self.stall_producers = not options.no_fast_producer_stall
        self.tracing = options.trace
        self.info = self._info()

    def _authenticator(self, options):
        if options.oidc is not None and self.issuer is None:
            from millpond.accounts.oidc import Issuer        # PyJWT, and cryptography with it

            self.issuer = Issuer(options.oidc)
        if options.operator is None:
            return Authenticator(options, self.issuer)
        from millpond.accounts import operator       # most servers have none

        if self.book is None:
            self.book = operator.open_book(options.operator)
        return operator.OperatorAuthenticator(options.operator, self.book)

    def use_accounts(self, options):
        """Go on with other accounts, and with everything else as it is."""
        self.options = options
        self._take_accounts(options)

    def _take_accounts(self, options):
        """An account that is gone keeps what it has until its last client is disconnected."""
        wanted = {GLOBAL_ACCOUNT: AccountOptions(name=GLOBAL_ACCOUNT, mappings=options.mappings)}
        if options.system_account:
            wanted[options.system_account] = AccountOptions(name=options.system_account)
        wanted.update((account.name, account) for account in options.accounts)
        if options.default_js_domain:
            self._add_domains(options, wanted)
        gone = [self.accounts.pop(name) for name in list(self.accounts) if name not in wanted]
        for name, account in wanted.items():
            if name in self.accounts:
                self.accounts[name].reload(account)
            else:
                self.accounts[name] = Account(account, self.clock.wall_ns, self.output, self.input)
        self.system = self.accounts.get(options.system_account)
        if self.exchange is not None:
            self.exchange.close()
            self.exchange = None
        if any([account.imports for account in options.accounts]):
            from millpond.broker.imports import Exchange  # most servers have none

            self.exchange = Exchange(self.accounts, self.turn.timers, self.clock, self.server_name, self.answers,
                                     self._latency)
        members = self.exchange.members if self.exchange is not None else ()
        for account in (*gone, *self.accounts.values()):
            if account.responses is not None and account not in members:
                account.responses.close()
                account.responses = None

    def _add_domains(self, options, dict wanted):
        """Requests of these accounts go to the streams of a domain."""
        from msgspec.structs import replace
        from millpond.config import default_domains          # most servers have none

        for name, account in wanted.items():
            further = default_domains.mappings(account, options.default_js_domain)
            if further:
                wanted[name] = replace(account, mappings=(*account.mappings, *further))

    def _latency(self, report):
        if self.tell_latency is not None:
            self.tell_latency(report)

    def reload(self, options):
        """Go on with other settings. Who is not let in by them any more is disconnected, and those over a lower limit."""
        host, port = self.info["host"], self.info["port"]
        authenticator, accounts = self.authenticator, self.options.accounts
        self._take(options)
        self._take_accounts(options)
        self.listening_on(host, port)
        if accounts != options.accounts or not authenticator.admits_the_same(self.authenticator):
            for session in list(self.sessions.values()):
                session.authorize_again()
        for session in self.sessions.values():
            session.trace(self.tracing)
        for session in list(self.sessions.values())[options.max_connections:]:
            session.close("Maximum Connections Exceeded", "maximum connections exceeded")
        for account in list(self.accounts.values()):
            most = account.options.max_connections
            if 0 <= most < account.connections:
                for session in [session for session in self.sessions.values() if session.account is account][most:]:
                    session.close("Maximum Account Connections Exceeded", "maximum account active connections exceeded")

    def _info(self):
        info = {
            "server_id": self.server_id,
            "server_name": self.server_name,
            "version": limits.SERVER_VERSION,
            "proto": 1,
            "git_commit": "millpond",
            "go": "go1.27.2",
            "host": self.options.host,
            "port": self.options.port,
            "headers": self.headers,
        }
        if self.auth_required:
            info["auth_required"] = True
        tls = self.options.tls
        if tls is not None and not self.options.allow_non_tls:
            info["tls_required"] = True
        if tls is not None and tls.verifies:
            info["tls_verify"] = True
        if tls is not None and self.options.allow_non_tls:
            info["tls_available"] = True
        info["max_payload"] = self.options.max_payload
        if self.options.jetstream is not None:
            info["jetstream"] = True
        return info

    def listening_on(self, host, port):
        """The listener's real address, known once it is bound."""
        self.info["host"], self.info["port"] = host, port

    def info_for(self, uint64_t cid, str ip, str nonce="", Account account=None, bint lame_duck=False, dict changes=None):
        """INFO for one client; the second one carries its account (reference 01.2). `changes`: see Session.hello. ip: ""
        where it is not known yet."""
        info = dict(self.info)
        if account is None and not lame_duck and not self.authenticator.tells():
            info.pop("auth_required", None)         # only the first INFO, as nats-server
        if changes is not None:
            info = _changed(info, changes)
        info["client_id"] = cid
        if ip:
            info["client_ip"] = ip
        if nonce and account is None and not lame_duck:
            info["nonce"] = nonce                    # only the first INFO, as nats-server
        if self.options.jetstream is not None and self.options.jetstream.domain:
            info["domain"] = self.options.jetstream.domain
        if lame_duck:
            info["ldm"] = True
        if account is not None:
            info["connect_info"] = True
            info["remote_account"] = account.name
            if 0 <= account.options.max_payload < info["max_payload"]:
                info["max_payload"] = account.options.max_payload
            if account is self.system:
                info["acc_is_sys"] = True
        info["api_lvl"] = limits.API_LEVEL
        info["xkey"] = self.xkey
        return info

    cdef uint64_t next_cid(self) noexcept:
        self.last_cid += 1
        return self.last_cid

    def subscriptions(self):
        """How many there are, in all accounts."""
        cdef Account account
        cdef uint64_t count = 0
        for account in self.accounts.values():
            count += account.router.sublist.stats.subscriptions
        return count

    def gone_subscriptions(self):
        """How many there were, in all accounts that there are."""
        cdef Account account
        cdef uint64_t count = 0
        for account in self.accounts.values():
            count += account.router.sublist.stats.removes
        return count

    def statistics(self):
        """Counters since the start, as in /varz."""
        return self.counters


def _keys(options):
    """What the server signs with, where it has to sign: its id is the public half then."""
    if options.callout is None and options.operator is None:
        return None
    from millpond.accounts.signing import KeyPair

    return KeyPair.create(SERVER_PREFIX)


INFO_ORDER = ("auth_required", "tls_required", "tls_verify", "tls_available", "max_payload")


def _changed(info, changes):
    """INFO with other values, in the usual order; what is false is left out."""
    merged = {**info, **changes}
    later = [name for name in INFO_ORDER if merged.get(name)]
    first = [name for name in info if name not in INFO_ORDER]
    place = first.index("headers") + 1
    return {name: merged[name] for name in first[:place] + later + first[place:]}
