"""Words of nats-server's configuration language (reference 08.1): blanks, comments, keys, scalars.

What a piece of text is depends on where it stands: `4222` is a key at the start of a line and a number behind
one. Therefore nothing is cut into tokens beforehand; the parser asks for what may come next. A lexer is a
text and a position in it that only grows.

    key        "quoted", 'quoted', or anything up to a blank, ':' or '='
    string     "with \\x41 \\t \\n \\r \\" \\\\", 'as it is', (block ... up to a line that is just ')' ), or bare:
               anything up to a blank, ',' ';' ']' '}' or the end of the line
    number     10, -10, 1.5; 10k is 10,000 and 10kb, 10ki, 10kib are 10,240, and so on with m g t p e
    boolean    bare true yes on / false no off, in any case
    date       2026-01-02T03:04:05Z
    variable   bare $NAME; a bare "$2a$..." is a bcrypt hash and stays a string
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from millpond.config.source import ConfigError, Place, Source

Scalar = str | bool | int | float | datetime


class Variable(NamedTuple):
    """A `$NAME` where a value stands."""

    name: str


END: Final = ""
"""What `peek` gives behind the last character."""

_BLANKS: Final = re.compile(r"[ \t]+")
_SPACE: Final = re.compile(r"\s+")
_COMMENT: Final = re.compile(r"(?:#|//)[^\n\r]*")
_BARE_KEY: Final = re.compile(r"[^\s:=]+")
_INCLUDE_NAME: Final = re.compile(r"[^ \t\n\r;}']+")
_QUOTED: Final = re.compile(r'[^"\\]*')
_BARE: Final = re.compile(r"[^\\' \t\n\r;,\]}]+")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+|[kmgtpeKMGTPE][biBI]*)?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_ADDRESS_REST: Final = re.compile(r"[0-9.:\-]*")
_HEX: Final = re.compile(r"[0-9a-fA-F]{2}")
_VALUE_ENDS: Final = " \t\n\r;,]}"
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", '"': '"', "\\": "\\"}
_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_POWERS: Final = {letter: power for power, letter in enumerate("kmgtpe", 1)}
_BCRYPT: Final = "$2a$"


class Lexer:
    """Raises ConfigError, with the place, for what is not a word of the language."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 0
        if "\0" in self.text:
            raise ConfigError(Place(source, self.text.index("\0")), "a NUL byte; this is not a text file")

    def place(self, start: int | None = None, length: int = 0) -> Place:
        return Place(self.source, self.at if start is None else start, length)

    def error(self, reason: str, at: int | None = None) -> ConfigError:
        return ConfigError(self.place(at), reason)

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else END

    def seen(self) -> str:
        """The next character as errors show it."""
        char = self.peek()
        return "the end of the file" if char == END else "a new line" if char in "\n\r" else f"'{char}'"

    def take(self, chars: str) -> str:
        """The next character if it is one of `chars`, else ""."""
        char = self.peek()
        if char != END and char in chars:
            self.at += 1
            return char
        return ""

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found.group()

    # --- blanks ---

    def skip_blanks(self) -> None:
        """Blanks and tabs; the line stays the same."""
        self._match(_BLANKS)

    def skip_space(self) -> None:
        """Blanks and new lines."""
        self._match(_SPACE)

    def skip_comment(self) -> bool:
        """A comment up to the end of its line; False when there is none here."""
        return bool(self._match(_COMMENT))

    def skip_space_and_comments(self) -> None:
        self.skip_space()
        while self.skip_comment():
            self.skip_space()

    # --- words ---

    def key(self) -> tuple[str, Place, bool]:
        """(name, where, was it quoted)."""
        start = self.at
        quote = self.take("\"'")
        if quote:
            end = self.text.find(quote, self.at)
            if end < 0:
                raise self.error("a quoted key without its closing quote", start)
            name = self.text[self.at : end]
            self.at = end + 1
            return name, self.place(start, self.at - start), True
        name = self._match(_BARE_KEY)
        if not name:
            raise self.error(f"expected a key, but got {self.seen()}")
        return name, self.place(start, len(name)), False

    def include_name(self) -> str:
        """The file name behind `include`."""
        self.skip_blanks()
        start = self.at
        quote = self.take("\"'")
        if quote:
            end = self.text.find(quote, self.at)
            if end < 0:
                raise self.error("a quoted file name without its closing quote", start)
            name = self.text[self.at : end]
            self.at = end + 1
            return name
        char = self.peek()
        name = "" if char in "[{(\\-" or char.isdigit() else self._match(_INCLUDE_NAME)
        if not name:
            raise self.error(f"expected the name of a file to include, but got {self.seen()}")
        self.take("'")
        return name

    def scalar(self) -> Scalar | Variable:
        """The value that starts here; not a map, not an array."""
        char = self.peek()
        if char == END or char in "\n\r":
            raise self.error(f"expected a value, but got {self.seen()}")
        if char == "'":
            return self._quoted()
        if char == '"':
            return self._double_quoted()
        if char == "(":
            return self._block()
        if char == "-" or "0" <= char <= "9":
            return self._number()
        if char == ".":
            raise self.error("floats must start with a digit")
        return self._bare()

    def _quoted(self) -> str:
        start = self.at
        end = self.text.find("'", start + 1)
        if end < 0:
            raise self.error("a quoted string without its closing quote", start)
        self.at = end + 1
        return self.text[start + 1 : end]

    def _double_quoted(self) -> str:
        start = self.at
        self.at += 1
        parts = []
        while True:
            parts.append(self._match(_QUOTED))
            if self.take('"'):
                return _joined(parts)
            if self.peek() == END:
                raise self.error("a quoted string without its closing quote", start)
            parts.append(self._escape())

    def _escape(self) -> str:
        start = self.at
        self.at += 1
        char = self.peek()
        if char == "x":
            self.at += 1
            digits = self._match(_HEX)
            if not digits:
                raise self.error("expected two hexadecimal digits after '\\x'", start)
            return bytes([int(digits, 16)]).decode("utf-8", "surrogateescape")
        if char not in _ESCAPES or char == END:
            raise self.error('an unknown escape; there are \\xXX, \\t, \\n, \\r, \\" and \\\\', start)
        self.at += 1
        return _ESCAPES[char]

    def _block(self) -> str:
        start = self.at
        end = start
        while True:
            end = self.text.find("\n)", end)
            if end < 0:
                raise self.error("a block '(' without a ')' on a line of its own", start)
            if end + 2 == len(self.text) or self.text[end + 2] == "\n":
                self.at = end + 2
                return self.text[start + 1 : end + 1]
            end += 1

    def _number(self) -> Scalar | Variable:
        start = self.at
        word = self._match(_NUMBER)
        if not word:
            raise self.error("expected a digit after '-'", start)
        ending = self.peek()
        if "." in word:
            if ending == ".":
                self._match(_ADDRESS_REST)
                return self.text[start : self.at]
            return self._float(word, start)
        if ending == "." and word[-1].isdigit():
            raise self.error("a float must have a digit after the '.'", start)
        if ending == "-" and word.isdigit():
            return self._date(start)
        if ending == END or ending in _VALUE_ENDS or word[0] == "-":
            return self._integer(word, start)
        self.at = start
        return self._bare()

    def _float(self, word: str, start: int) -> float:
        value = float(word)
        if value in (float("inf"), float("-inf")):
            raise self.error("the number is out of range", start)
        return value

    def _date(self, start: int) -> datetime:
        self.at = start
        word = self._match(_DATE)
        try:
            return datetime.strptime(word, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise self.error("dates must be in full Zulu form, as 2026-01-02T03:04:05Z", start) from None

    def _integer(self, word: str, start: int) -> int:
        digits = word.rstrip("kmgtpebiKMGTPEBI")
        suffix = word[len(digits) :].lower()
        if suffix[1:] not in ("", "b", "i", "ib"):
            raise self.error(f"'{suffix}' is not a unit; there are k, kb, ki, kib, and so on with m g t p e", start)
        unit = (1024 if suffix[1:] else 1000) ** _POWERS.get(suffix[:1], 0)
        # Beyond 20 digits int() would be slow, and the number too big anyway.
        value = int(digits) * unit if len(digits) <= 20 else 1 << 63
        if not -(1 << 63) <= value < 1 << 63:
            raise self.error("the number is out of range", start)
        return value

    def _bare(self) -> str | bool | Variable:
        parts = []
        escaped = False
        while True:
            parts.append(self._match(_BARE))
            char = self.peek()
            if char != "\\" or char == END:
                break
            escaped = True
            parts.append(self._escape())
        word = _joined(parts)
        if self.take("'") or escaped:
            return word
        if word.lower() in _BOOLEANS:
            return _BOOLEANS[word.lower()]
        if word.startswith("$") and not word.startswith(_BCRYPT):
            return Variable(word[1:])
        return word


def _joined(parts: list[str]) -> str:
    """The parts as one string; bytes that were written as several escapes become one character."""
    word = "".join(parts)
    if word.isascii():
        return word
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
