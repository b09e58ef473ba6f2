"""A configuration text, places in it, and errors that point there.

An error shows the key at fault and never a value: configuration files hold passwords, and what a failed
start prints ends up in logs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from millpond.base.errors import OptionError


class Source:
    """One file, or an environment variable. `name` is what errors call it."""

    __slots__ = ("_line_starts", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._line_starts: list[int] | None = None

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Both count from 1; a column is a character."""
        if self._line_starts is None:
            self._line_starts = [0, *(at + 1 for at, char in enumerate(self.text) if char == "\n")]
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1


class Place:
    """A position in a source; `length` is how much of the text is meant, 0 for just the position."""

    __slots__ = ("length", "offset", "source")

    def __init__(self, source: Source, offset: int, length: int = 0) -> None:
        self.source = source
        self.offset = offset
        self.length = length

    def __str__(self) -> str:
        line, column = self.source.line_and_column(self.offset)
        return f"{self.source.name}:{line}:{column}"

    def excerpt(self) -> str:
        """The text that is meant, underlined; "" when there is none to show."""
        text = self.source.text[self.offset : self.offset + self.length]
        if not text or not text.isprintable():
            return ""
        return f"\n    {text} ...\n    {'^' * len(text)}"


class ConfigError(OptionError):
    """Something in a configuration file cannot be used."""

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


class ConfigErrors(OptionError):
    """Everything that is wrong with a file, warnings first, one after the other."""

    def __init__(self, warnings: Sequence[str], errors: Sequence[ConfigError]) -> None:
        super().__init__("\n".join([*warnings, *map(str, errors)]))
        self.warnings = warnings
        self.errors = errors

    def explained(self) -> str:
        """The same for a terminal: every key at fault is underlined."""
        return "\n".join([*self.warnings, *(f"{error}{error.place.excerpt()}" for error in self.errors)])
