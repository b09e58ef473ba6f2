"""`default_js_domain`: the JetStream domain that an account without streams of its own means when it names none.

What its clients publish to the API goes to the API of that domain, by mappings: a service that the account imports,
or a stream of another account that takes these subjects.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import TYPE_CHECKING, Final

from millpond.base.errors import OptionError
from millpond.base.ids import ACCOUNT_PREFIX, decode_key
from millpond.config import values
from millpond.config.parser import Node
from millpond.config.security import GLOBAL_ACCOUNT, SYSTEM_ACCOUNT, Destination, Mapping
from millpond.config.source import ConfigError
from millpond.subjects import pytokens

if TYPE_CHECKING:
    from millpond.config.options import Options
    from millpond.config.security import AccountOptions

NOTICE: Final = "The option `default_js_domain` is a temporary backwards compatibility measure and will be removed"
API: Final = ("INFO", "STREAM.>", "CONSUMER.>", "DIRECT.>", "META.>", "SERVER.>", "ACCOUNT.>")
BUCKETS: Final = ("$KV.>", "$OBJ.>")


def read(node: Node) -> dict[str, str]:
    """Domains by account. Raises ConfigError."""
    if not isinstance(node.value, dict):
        raise ConfigError(node.place, f"error default_js_domain config: unsupported type {values.kind(node.value)}")
    return {name: values.string(entry) for name, entry in node.value.items()}


def check(options: Options) -> None:
    """Raises OptionError for accounts that cannot have one."""
    domains = options.default_js_domain
    if options.operator is None:
        known = {account.name: account for account in options.accounts}
        for name, domain in domains.items():
            if name != GLOBAL_ACCOUNT and name not in known:
                reason = f"references non existing account {_quoted(name)}"
                raise OptionError(f"in non operator mode, `default_js_domain` {reason}")
            if domain and name in known and known[name].jetstream is not None:
                raise OptionError(f"default_js_domain contains account name {_quoted(name)} with enabled JetStream")
    else:
        for name in domains:
            if decode_key(ACCOUNT_PREFIX, name) is None:
                raise OptionError(
                    f"default_js_domain contains account name {_quoted(name)}, which is not a valid public account nkey"
                )
    for name, domain in domains.items():
        if name == (options.system_account or SYSTEM_ACCOUNT):
            raise OptionError(f"system account {_quoted(name)} can not be in default_js_domain")
        if domain and not pytokens.is_valid_filter(f"$JS.{domain}.API.>"):
            raise OptionError(
                f"default_js_domain contains account {_quoted(name)} with invalid domain name {_quoted(domain)}"
            )


def mappings(account: AccountOptions, domains: MappingOf[str, str]) -> tuple[Mapping, ...]:
    """What comes behind the account's own mappings."""
    domain = domains.get(account.name, "")
    if not domain or account.jetstream is not None:
        return ()
    found = [(f"$JS.API.{rest}", f"$JS.{domain}.API.{rest}") for rest in API]
    found += [(subject, f"$JS.{domain}.API.{subject}") for subject in BUCKETS]
    own = {each.source for each in account.mappings}
    return tuple(Mapping(source, (Destination(to),)) for source, to in found if source not in own)


def _quoted(text: str) -> str:
    return f'"{text}"'
