"""Values of a query, read as Go reads them: the texts of its errors are the answers."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import parse_qsl

from millpond.monitor.view import PageError

TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))
FIELDS_MAX: Final = 100
SYNTAX: Final = "invalid syntax"


class Query:
    """The first value of each name; an empty one is a missing one. Raises PageError for values of no use."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, str] = {}
        fields = [field for field in text.split("&") if field and ";" not in field][:FIELDS_MAX]
        for name, value in parse_qsl("&".join(fields), keep_blank_values=True):
            self._values.setdefault(name, value)

    def text(self, name: str) -> str:
        return self._values.get(name, "")

    def flag(self, name: str) -> bool:
        text = self.text(name)
        if text and text not in TRUE and text not in FALSE:
            why = f"strconv.ParseBool: parsing {_quoted(text)}: {SYNTAX}"
            raise PageError(f"Error decoding boolean for '{name}': {why}")
        return text in TRUE

    def integer(self, name: str) -> int:
        return self._number(name, "int", "Atoi", -(2**63), 2**63 - 1)

    def unsigned(self, name: str) -> int:
        return self._number(name, "uint64", "ParseUint", 0, 2**64 - 1)

    def _number(self, name: str, kind: str, function: str, low: int, high: int) -> int:
        text = self.text(name)
        if not text:
            return 0
        digits = text[1:] if text[0] in "+-" and low < 0 else text
        why = SYNTAX
        if digits.isascii() and digits.isdigit():
            if len(digits) < 40 and low <= int(text) <= high:
                return int(text)
            why = "value out of range"
        why = f"strconv.{function}: parsing {_quoted(text)}: {why}"
        raise PageError(f"Error decoding {kind} for '{name}': {why}")

    def subscriptions(self) -> tuple[bool, bool]:
        """`subs`: (as a list of subjects, in detail)."""
        if self.text("subs").lower() == "detail":
            return False, True
        return self.flag("subs"), False


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
