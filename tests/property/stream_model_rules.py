"""The words in which streams are modelled: operations, answers, and the small rules of subjects, headers and times."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

SECOND_NS = 10**9
START_NS = 1_700_000_000_000_000_000
NEVER = -1
INVALID = -2
Answer = dict[str, Any]
Headers = tuple[tuple[str, str], ...]


class Refused(Exception):
    """The sender is answered with this error."""

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(code, why)
        self.answer: Answer = {"refused": code, "why": why} if why else {"refused": code}


class Duplicate(Exception):
    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.seq = seq


# --- operations ---


@dataclass(frozen=True)
class Publish:
    """`place`: for a fast batch, what its reply subject says: `<id>.<flow>.<gap>.<number>.<operation>`."""

    subject: str
    headers: Headers = ()
    body: bytes = b""
    place: str = ""

    def header(self, key: str) -> str:
        """The first one of that name; "" when there is none."""
        return next((value for name, value in self.headers if name == key), "")

    def has(self, key: str) -> bool:
        return any(name == key for name, _ in self.headers)


@dataclass(frozen=True)
class Delete:
    """`erase`: its bytes are overwritten as well."""

    seq: int
    erase: bool = False


@dataclass(frozen=True)
class Purge:
    """Of what is under `subject` ("": of everything): all, all below `seq`, or all but the last `keep`."""

    subject: str = ""
    seq: int = 0
    keep: int = 0


@dataclass(frozen=True)
class Update:
    """Some fields of the configuration become others."""

    changes: tuple[tuple[str, Any], ...]


Operation = Publish | Delete | Purge | Update


def api_request(operation: Delete | Purge | Update, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Verb and body under `$JS.API`. `config`: the stream's, with an update's changes."""
    name = config["name"]
    if isinstance(operation, Delete):
        return f"STREAM.MSG.DELETE.{name}", {"seq": operation.seq, "no_erase": not operation.erase}
    if isinstance(operation, Purge):
        asked = {"filter": operation.subject, "seq": operation.seq, "keep": operation.keep}
        return f"STREAM.PURGE.{name}", {key: value for key, value in asked.items() if value}
    return f"STREAM.UPDATE.{name}", config


# --- small rules ---


def block(headers: Headers) -> bytes:
    """As on the wire."""
    if not headers:
        return b""
    return b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers) + b"\r\n"


def matches(pattern: str, subject: str) -> bool:
    wanted, tokens = pattern.split("."), subject.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > place
        if place >= len(tokens) or token not in ("*", tokens[place]):
            return False
    return len(wanted) == len(tokens)


def ttl_of(text: str) -> int:
    """Seconds of Nats-TTL; 0: none. (Of Go's durations only whole seconds and milliseconds.)"""
    if not text:
        return 0
    if text.lower() == "never":
        return NEVER
    found = re.fullmatch(r"([0-9]+)(ms|s|)", text)
    if found is None:
        return INVALID
    milliseconds = int(found[1]) * (1 if found[2] == "ms" else 1000)
    return milliseconds // 1000 if milliseconds >= 1000 else INVALID


def without(headers: Headers, key: str) -> Headers:
    return tuple(pair for pair in headers if pair[0] != key)


# --- answers ---


def understood(body: bytes) -> Answer:
    """An answer in the words of the model."""
    if not body:
        return {}
    found: dict[str, Any] = json.loads(body)
    if "error" in found:
        error = found["error"]
        refused = {"refused": error["err_code"], "why": error["description"]}
        return {"type": "err", "seq": found["seq"], **refused} if found.get("type") == "err" else refused
    if str(found.get("type", "")).startswith("io.nats"):
        return {key: found[key] for key in ("success", "purged") if key in found} or {"success": True}
    found.pop("stream", None)
    return found


def agrees(expected: list[Answer], found: list[Answer]) -> bool:
    """Where the model says nothing of the words of an error, any will do."""
    return len(expected) == len(found) and all(
        want == {key: value for key, value in got.items() if key != "why" or "why" in want}
        for want, got in zip(expected, found, strict=True)
    )
