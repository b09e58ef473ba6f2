"""Exports, imports and mappings out of a configuration file (reference 02.3, 01.8). All raise ConfigError."""

from __future__ import annotations

import re
from typing import Any, Final

from millpond.base.errors import OptionError
from millpond.config import values
from millpond.config.exchange import check_latency, check_mapping
from millpond.config.parser import Node
from millpond.config.security import Destination, Export, Import, Latency, Mapping, Response
from millpond.config.security_file import array, entries, unknown
from millpond.config.source import ConfigError
from millpond.subjects import pytokens

_RESPONSES: Final[dict[str, Response]] = {
    "single": "singleton", "singleton": "singleton", "stream": "stream", "chunk": "chunked", "chunked": "chunked",
}  # fmt: skip
_PERCENT: Final = re.compile(r"[+-]?[0-9]{1,9}%?")
_SERVICE_ONLY: Final = {
    "response": "response", "response_type": "response", "threshold": "threshold_ns",
    "response_threshold": "threshold_ns", "response_max_time": "threshold_ns", "response_time": "threshold_ns",
}  # fmt: skip


def exports(node: Node) -> tuple[Export, ...]:
    found: list[Export] = []
    for entry in array(node, "exports"):
        found.append(_export(entry))
        try:
            check_latency(found[-1], found, has_events=True)
        except OptionError as error:
            raise ConfigError(entry.place, str(error)) from None
    return tuple(found)


def imports(node: Node) -> tuple[Import, ...]:
    return tuple(_import(entry) for entry in array(node, "imports"))


def _kind(node: Node, what: str) -> tuple[bool, Node]:
    """Is it about a service, and what its entry says."""
    found = [(key.lower() == "service", entry) for key, entry in entries(node, what).items() if _is_kind(key)]
    if len(found) != 1:
        raise ConfigError(node.place, f"{what} is of one stream or of one service")
    return found[0]


def _is_kind(key: str) -> bool:
    return key.lower() in ("stream", "service")


def _export(node: Node) -> Export:
    service, subject = _kind(node, "an export")
    found: dict[str, Any] = {"service": service, "subject": values.string(subject)}
    for key, entry in entries(node, "an export").items():
        word = key.lower()
        if word in _SERVICE_ONLY:
            if not service:
                raise ConfigError(entry.place, "Detected response directive on non-service")
            found[_SERVICE_ONLY[word]] = _response(entry) if _SERVICE_ONLY[word] == "response" else _threshold(entry)
        elif word == "accounts":
            found["accounts"] = tuple(values.string(name) for name in array(entry, "accounts"))
        elif word == "account_token_position":
            found["account_position"] = values.integer(entry)
        elif word == "latency":
            if not service:
                raise ConfigError(entry.place, "Detected latency directive on non-service")
            found["latency"] = _latency(entry)
        elif word == "allow_trace":
            if not service:
                raise ConfigError(entry.place, "Detected allow_trace directive on non-service")
            found["allow_trace"] = values.boolean(entry)
        elif not _is_kind(key):
            unknown(key, entry, "an export")
    return Export(**found)


def _response(node: Node) -> Response:
    found = _RESPONSES.get(values.string(node).lower())
    if found is None:
        raise ConfigError(node.place, f'Unknown response type: "{node.value}"')
    return found


def _threshold(node: Node) -> int:
    found = values.duration_ns(values.string(node))
    if found is None:
        raise ConfigError(node.place, "Expected response threshold to be a parseable time duration")
    return found


def _latency(node: Node) -> Latency:
    """A subject, or a subject and how many of 100 requests: `50%`, 50, or `headers`."""
    if isinstance(node.value, str):
        return Latency(node.value)
    found = {key: entry for key, entry in entries(node, "latency").items() if key in ("sampling", "subject")}
    sampling = _sampling(found["sampling"]) if "sampling" in found else 100
    if "subject" not in found:
        raise ConfigError(node.place, "Latency subject required, but missing")
    return Latency(values.string(found["subject"]), sampling)


def _sampling(node: Node) -> int:
    text = node.value
    if isinstance(text, str) and text.strip().lower() == "headers":
        return 0
    number = text
    if isinstance(text, str):
        if _PERCENT.fullmatch(text) is None:
            raise ConfigError(node.place, f'Failed to parse latency sample: "{text}"')
        number = int(text.removesuffix("%"))
    if type(number) is not int:
        raise ConfigError(node.place, "Expected latency sample to be a string or map/struct")
    if not 1 <= number <= 100:
        raise ConfigError(node.place, "bad sampling percentage, should be 1-100")
    return number


def _import(node: Node) -> Import:
    service, source = _kind(node, "an import")
    origin = {key.lower(): values.string(entry) for key, entry in entries(source, "an import").items()}
    account, subject = origin.pop("account", ""), origin.pop("subject", "")
    if not account or not subject or origin:
        raise ConfigError(source.place, "Expect an account name and a subject")
    found: dict[str, Any] = {"account": account, "subject": subject, "service": service}
    prefix = to = ""
    for key, entry in entries(node, "an import").items():
        word = key.lower()
        if word == "prefix":
            prefix = values.string(entry)
        elif word == "to":
            to = values.string(entry)
        elif word == "share":
            found["share"] = values.boolean(entry)
        elif word == "allow_trace":
            if service:
                raise ConfigError(entry.place, "Detected allow_trace directive on a non-stream")
            found["allow_trace"] = values.boolean(entry)
        elif not _is_kind(key):
            unknown(key, entry, "an import")
    if service:
        return Import(local=to or subject, **found)
    if prefix and to:
        raise ConfigError(node.place, "Stream import can not have a 'prefix' and a 'to' property")
    if prefix and pytokens.has_wildcard(prefix):
        raise ConfigError(node.place, "stream import prefix can not contain wildcard tokens")
    return Import(local=f"{prefix.removesuffix('.')}.{subject}" if prefix else to or subject, **found)


# --- mappings ---


def mappings(node: Node) -> tuple[Mapping, ...]:
    """`source: destination`, or with one or several weighted destinations."""
    found = []
    for source, entry in entries(node, "mappings").items():
        if not pytokens.is_valid_filter(source):
            raise ConfigError(entry.place, f'Subject "{source}" is not a valid subject')
        rows = entry.value if isinstance(entry.value, list) else [entry]
        mapping = Mapping(source, tuple(_destination(row) for row in rows))
        try:
            check_mapping(source, [(each.subject, each.weight) for each in mapping.destinations])
        except OptionError as error:
            raise ConfigError(entry.place, str(error)) from None
        found.append(mapping)
    return tuple(found)


def _destination(node: Node) -> Destination:
    if isinstance(node.value, str):
        return Destination(values.string(node))
    subject, weight = "", None
    for key, entry in entries(node, "a destination").items():
        word = key.lower()
        if word in ("dest", "destination"):
            subject = values.string(entry)
        elif word == "weight":
            weight = _weight(entry)
        elif word == "cluster":
            raise ConfigError(entry.place, f"{key}: millpond does not serve clustering yet; remove it")
        else:
            raise ConfigError(entry.place, f'Unknown field "{key}" for mapping destination')
    if weight is None:
        raise ConfigError(node.place, f'Missing weight for mapping destination "{subject}"')
    return Destination(subject, weight)


def _weight(node: Node) -> int:
    text = str(node.value).removesuffix("%")
    if isinstance(node.value, bool) or not text.isdecimal() or int(text) > 100:
        raise ConfigError(node.place, f"Invalid weight {text} for mapping destination")
    return int(text)
