"""Dev mode: a server for work on one's own machine, where clients without credentials may look behind the curtain.

What they may is in `server.dev`; here is what makes that harmless: only this machine reaches the server, and there are
no tenants who could look at each other.
"""

from __future__ import annotations

from typing import Any, Final

from millpond.base.errors import OptionError
from millpond.config.options import Options
from millpond.config.security import SYSTEM_ACCOUNT

HOST: Final = "127.0.0.1"
NOTICE: Final = (
    "Dev mode: whoever connects from this machine may ask and hear what the system account may. "
    "DO NOT USE IN PRODUCTION!"
)


def take_defaults(settings: dict[str, Any]) -> None:
    """What was left open: this machine only, JetStream, monitoring on any free port."""
    settings.setdefault("host", HOST)
    settings.setdefault("jetstream", True)
    take_monitoring(settings)


def take_monitoring(settings: dict[str, Any]) -> None:
    """On any free port, unless something is said about it."""
    if settings.get("https_port") is None:
        settings.setdefault("http_port", -1)


def check(options: Options) -> None:
    """Raises OptionError when others than this machine's clients could connect, or not all of them are alike."""
    websocket = options.websocket
    hosts = {"host": options.host, "http_host": options.http_host or options.host}
    if websocket is not None:
        hosts["the websocket block's host"] = websocket.host
    for name, host in hosts.items():
        if not is_loopback(host):
            raise OptionError(
                "dev mode listens on loopback only, because whoever connects may do what the system account may; "
                f'{name} "{host}" is not loopback: leave it out, or choose {HOST}'
            )
    credentials = {
        "users": options.users, "accounts": options.accounts, "a user": options.username, "a token": options.token,
        "an operator": options.operator, "an auth callout": options.callout,
        "a system account": options.system_account != SYSTEM_ACCOUNT,
        "users of WebSocket": websocket is not None and websocket.has_own_users,
    }  # fmt: skip
    found = [name for name, there in credentials.items() if there]
    if found:
        raise OptionError(
            "dev mode is for clients without credentials, all in the global account, but something is said about "
            f"{', '.join(found)}: start without --dev, and connect as a user of the system account"
        )


def is_loopback(host: str) -> bool:
    """Can only this machine connect to it?"""
    import ipaddress  # most servers are not asked

    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
