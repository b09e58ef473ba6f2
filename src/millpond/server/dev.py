"""What clients of a server in dev mode may besides: ask what the system account may ask, and hear what it hears.

    $G    imports   services   $SYS.REQ.SERVER.PING[.<page>]   $SYS.REQ.SERVER.<id>.>   $SYS.REQ.ACCOUNT.<name>.*
                    streams    $SYS.SERVER.>                   $SYS.ACCOUNT.>
    $SYS  exports   them, to nobody else

An ordinary exchange between two accounts. What an account asks about itself (`system.OWN_PAGES`) keeps its meaning: it
is not imported, or it would be answered twice; as there are no other clients, all connections are its own. Events come
to those who name them: who subscribes to `>` hears the same as on any other server.
"""

from __future__ import annotations

from typing import Final

import msgspec

from millpond.config import exchange
from millpond.config.options import Options
from millpond.config.security import GLOBAL_ACCOUNT, AccountOptions, Export, Import, JetStreamLimits
from millpond.server.system import ACCOUNT_PAGES, OWN_PAGES, PREFIX, SERVER_PAGES, SUBSCRIBERS_OF

EVENTS: Final = ("$SYS.SERVER.>", "$SYS.ACCOUNT.>")


def with_exchange(options: Options, server_id: str) -> Options:
    """The options with both accounts as they are in dev mode. One server gives one answer, so responses are single."""
    assert options.dev
    assert not options.accounts, "config.dev has refused them"
    system = options.system_account
    subjects = [(subject, True) for subject in _services(system, server_id)] + [(subject, False) for subject in EVENTS]
    exports = tuple(
        Export(subject=subject, service=service, accounts=(GLOBAL_ACCOUNT,)) for subject, service in subjects
    )
    imports = tuple(
        Import(account=system, subject=subject, local=subject, service=service, named=not service)
        for subject, service in subjects
    )
    everybody = AccountOptions(
        name=GLOBAL_ACCOUNT, mappings=options.mappings, imports=imports,
        jetstream=JetStreamLimits() if options.jetstream is not None else None,
    )  # fmt: skip
    found = msgspec.structs.replace(options, accounts=(everybody, AccountOptions(name=system, exports=exports)))
    exchange.check(found)
    return found


def _services(system: str, server_id: str) -> list[str]:
    """What may be asked, without anything that every account may ask anyway."""
    pages = ["SERVER.PING", *(f"SERVER.PING.{page}" for page in SERVER_PAGES), f"SERVER.{server_id}.>"]
    pages += [f"ACCOUNT.{name}.{page}" for name in (GLOBAL_ACCOUNT, system) for page in ACCOUNT_PAGES]
    pages.append(SUBSCRIBERS_OF)
    return [PREFIX + page for page in pages if page not in OWN_PAGES]
