"""From a configuration file to settings: what the file says, by names of `Options`, with all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from millpond.base.errors import OptionError
from millpond.config import accounts_file, security_file, values
from millpond.config.build import check_users
from millpond.config.digest import digest
from millpond.config.keys import AUTHORIZATION, BATCH, JETSTREAM, LIMITS, TOP, Block, Key, Refused, Table
from millpond.config.options import Options
from millpond.config.parser import Node, parse_file
from millpond.config.security import GLOBAL_ACCOUNT, SYSTEM_ACCOUNT, VISITOR, AccountOptions, Permissions, User
from millpond.config.security_file import with_defaults
from millpond.config.source import ConfigError, ConfigErrors

AUTH_TIMEOUT_HIGH_NS: Final = 60 * values.SECOND_NS


class ConfigFile(msgspec.Struct, frozen=True):
    """A file that was read and found usable."""

    path: str
    digest: str
    settings: dict[str, Any]
    """Names of `Options` fields, those of `JetStreamOptions` behind `jetstream.`; only what the file says."""
    warnings: list[str]
    """Lines for people; nats-server starts in spite of them, but its `-t` fails."""


Judge = Callable[[str, str], None]
"""`judge(kind, token)`: raises OptionError when that is no token of this kind (`operator`, `account`)."""


def read(path: str | Path, environment: Mapping[str, str] | None = None, judge: Judge | None = None) -> ConfigFile:
    """Raises ConfigErrors with everything that is wrong, OptionError when the file cannot be read. judge: of the
    signed tokens in it, which this room cannot read itself; without one they are judged at the start."""
    try:
        tree = parse_file(path, environment)
    except ConfigError as error:
        # These two words are what starters look for.
        raise ConfigErrors([], [ConfigError(error.place, f"Parse error: {error.reason}")]) from None
    except OSError as error:
        raise ConfigErrors([f"open {path}: {(error.strerror or str(error)).lower()}"], []) from None
    reading = _Reading(judge)
    assert isinstance(tree.value, dict)
    if not tree.value:
        reading.warnings.append(f"{path}: config has no values or is empty")
    reading.entries(tree.value, TOP, "")
    reading.finish(tree)
    if reading.errors:
        raise ConfigErrors(reading.warnings, reading.errors)
    return ConfigFile(str(path), digest(tree), reading.settings, reading.warnings)


class _Reading:
    """One pass over a tree; goes on after an error, so that all are told at once."""

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge
        self.settings: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.errors: list[ConfigError] = []
        self._users: tuple[User, ...] = ()
        self._permissions: Permissions | None = None
        self._accounts = accounts_file.Accounts((), ())
        self._operator: dict[str, Any] = {}
        self._no_system_account = self._has_authorization = False

    def entries(self, entries: Mapping[str, Node], table: Table, where: str) -> None:
        """Every entry of a map by its table; `where` is the map's name, "" at the top."""
        for name, node in entries.items():
            key = table.get(name.lower())
            try:
                if isinstance(key, Key):
                    self._set(name, key, node)
                elif isinstance(key, Block):
                    BLOCKS[key.name](self, node)
                elif isinstance(key, Refused):
                    self._refuse(name, key, node)
                elif not node.used:
                    raise ConfigError(node.place, _unknown(name, table, where))
            except ConfigError as error:
                self.errors.append(error)

    def _set(self, name: str, key: Key, node: Node) -> None:
        value = key.read(node)
        if key.old_seconds and not isinstance(node.value, str):
            self._warn(node, name, f"{name} should be converted to a duration")
        if key.targets == ("store_dir",) and "store_dir" in self.settings:
            raise ConfigError(node.place, "Duplicate 'store_dir' configuration")
        found = value if len(key.targets) > 1 else (value,)
        for target, item in zip(key.targets, found, strict=False):
            if item is not None:
                self.settings[target] = item

    def _refuse(self, name: str, key: Refused, node: Node) -> None:
        if not any(type(node.value) is type(value) and node.value == value for value in key.unless):
            raise ConfigError(node.place, f"{name}: millpond does not serve {key.what} yet; remove it")

    def _warn(self, node: Node, name: str, reason: str) -> None:
        self.warnings.append(f'{node.place}: invalid use of field "{name}": {reason}')

    def finish(self, tree: Node) -> None:
        """What can only be said when everything is read."""
        found = self._accounts.users + with_defaults(self._users, GLOBAL_ACCOUNT, self._permissions)
        if found:
            self.settings["users"] = found
            self._check_users(tree)
        if self._operator:
            self._trust(tree)
        accounts, system = self._accounts.accounts, self.settings.get("system_account")
        if self._no_system_account and not system:
            self.settings["system_account"] = ""
        elif system and "operator" not in self.settings and system not in {account.name for account in accounts}:
            accounts = (*accounts, AccountOptions(name=system))
        if accounts:
            self.settings["accounts"] = accounts
        self._check_callout(tree)
        self._let_visitors_in(found, system or SYSTEM_ACCOUNT)

    def _let_visitors_in(self, users: tuple[User, ...], system: str) -> None:
        """As nats-server: whoever gives the system account users, and says nothing else, leaves the rest open."""
        named = {account.name for account in self._accounts.accounts}
        only_system = users and all(user.account == system for user in users) and named <= {system, GLOBAL_ACCOUNT}
        if only_system and not self._has_authorization and not self.settings.get("no_auth_user"):
            self.settings["users"] = (*users, User(name=VISITOR, password=VISITOR))
            self.settings["no_auth_user"] = VISITOR

    def _check_callout(self, tree: Node) -> None:
        named = {account.name for account in self._accounts.accounts}
        for name in self.settings["callout"].allowed_accounts if "callout" in self.settings else ():
            if name not in named:
                reason = f'auth_callout allowed account "{name}" not found in configured accounts'
                self.errors.append(ConfigError(tree.place, reason))

    def _trust(self, tree: Node) -> None:
        from millpond.config import operator_file

        try:
            found = operator_file.operator(self._operator)
        except OptionError as error:
            self.errors.append(ConfigError(tree.place, str(error)))
            return
        if found is not None:
            self.settings["operator"] = found

    def _check_users(self, tree: Node) -> None:
        """With the place of the block that has users."""
        assert isinstance(tree.value, dict)
        blocks = [node for name, node in tree.value.items() if name.lower() in ("accounts", "authorization")]
        names = ("users", "username", "token")
        try:
            check_users(Options(**{name: self.settings[name] for name in names if name in self.settings}))
        except OptionError as error:
            self.errors.append(ConfigError(blocks[-1].place, str(error)))

    # --- blocks ---

    def authorization(self, node: Node) -> None:
        if not isinstance(node.value, dict):
            raise ConfigError(node.place, f"expected a map, but this is {values.kind(node.value)}")
        self._has_authorization = True
        self.entries(node.value, AUTHORIZATION, "authorization")
        for name, entry in node.value.items():
            if name.lower() == "timeout" and self.settings.get("auth_timeout_ns", 0) > AUTH_TIMEOUT_HIGH_NS:
                self._warn(entry, name, "timeout is high, consider keeping it under 60 seconds; quote a duration")
        if self.settings.get("token") and (self.settings.get("username") or self.settings.get("password")):
            raise ConfigError(node.place, "Cannot have a user/pass and token")

    def users(self, node: Node) -> None:
        self._users = security_file.users(node)

    def default_permissions(self, node: Node) -> None:
        self._permissions = security_file.permissions(node)

    def callout(self, node: Node) -> None:
        from millpond.config import operator_file  # most servers ask nobody

        self.settings["callout"] = operator_file.callout(node)

    def accounts(self, node: Node) -> None:
        self._accounts = accounts_file.accounts(node)

    def tls(self, node: Node) -> None:
        from millpond.config import tls_file  # and OpenSSL with it

        self.settings["tls"] = tls_file.tls(node)

    def websocket(self, node: Node) -> None:
        from millpond.config import websocket_file  # most servers have none

        self.settings["websocket"] = websocket_file.websocket(node)

    def oidc(self, node: Node) -> None:
        from millpond.config import oidc  # most servers have no issuer

        self.settings["oidc"] = oidc.oidc(node)

    def no_system_account(self, node: Node) -> None:
        self._no_system_account = values.boolean(node)

    def jetstream(self, node: Node) -> None:
        value = node.value
        if isinstance(value, dict):
            self.settings["jetstream"] = True
            self.entries(value, JETSTREAM, "jetstream")
        elif isinstance(value, bool):
            self.settings["jetstream"] = value
        elif isinstance(value, str) and value.lower() in ("enabled", "enable", "disabled", "disable"):
            self.settings["jetstream"] = value.lower().startswith("enable")
        elif isinstance(value, str):
            raise ConfigError(node.place, "Expected 'enabled' or 'disabled' for string value")
        else:
            raise ConfigError(node.place, f"Expected map, bool or string, but this is {values.kind(value)}")

    def limits(self, node: Node) -> None:
        if not isinstance(node.value, dict):
            raise ConfigError(node.place, f"expected a map, but this is {values.kind(node.value)}")
        self.entries(node.value, LIMITS, "jetstream limits")

    def batch(self, node: Node) -> None:
        if not isinstance(node.value, dict):
            raise ConfigError(node.place, f"expected a map, but this is {values.kind(node.value)}")
        self.entries(node.value, BATCH, "limits of batches")


OPERATOR_KEYS: Final = ("tokens", "keys", "resolver", "resolver_tls", "preload", "pinned_accounts", "default_sentinel")


def _operator_key(name: str) -> Callable[[_Reading, Node], None]:
    def read_key(reading: _Reading, node: Node) -> None:
        from millpond.config import operator_file  # most servers have no operator

        reading._operator[name] = operator_file.READERS[name](node)
        if reading.judge is not None:
            operator_file.judge(name, node, reading._operator[name], reading.judge)

    return read_key


BLOCKS: Final[dict[str, Callable[[_Reading, Node], None]]] = {
    "authorization": _Reading.authorization,
    "jetstream": _Reading.jetstream,
    "limits": _Reading.limits,
    "batch": _Reading.batch,
    "users": _Reading.users,
    "default_permissions": _Reading.default_permissions,
    "accounts": _Reading.accounts,
    "tls": _Reading.tls,
    "websocket": _Reading.websocket,
    "no_system_account": _Reading.no_system_account,
    "callout": _Reading.callout,
    "oidc": _Reading.oidc,
    **{f"operator.{name}": _operator_key(name) for name in OPERATOR_KEYS},
}


def _unknown(name: str, table: Table, where: str) -> str:
    text = f'unknown field "{name}"' + (f" in {where}" if where else "")
    word = name.lower()
    if "{" in word and word.partition("{")[0] in table:
        return f"{text}; write a blank before the '{{'"
    served = [key for key, row in table.items() if not isinstance(row, Refused)]
    import difflib  # for who misspells

    near = difflib.get_close_matches(word, served) or difflib.get_close_matches(word, table)
    near.sort(key=lambda each: sorted(each) != sorted(word))  # letters in another order, rather than other letters
    return f'{text}; did you mean "{near[0]}"?' if near else text
