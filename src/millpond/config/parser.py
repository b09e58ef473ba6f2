"""From configuration text to a tree of values: maps, arrays, includes, variables (reference 08.1).

    file    = { entry }                       braces around entries are optional at the top
    entry   = key [":" | "="] value  |  include "file"
    value   = map | array | scalar | $variable
    map     = "{" { entry } "}"               entries end with a new line, "," or ";"
    array   = "[" { value } "]"               values end with a new line or ","

A variable is a key seen before, in this map or one around it, or else a variable of the environment whose text
is parsed as a value. An included file sees only its own keys; its entries then count as written here. Of a key
given twice the last one counts.

Where nats-server loses a value without a word we refuse: a key without a value, a brace that is never closed,
an unknown unit. `[1,2]` it cannot read; we do. Everything is bounded: bytes, depth, included files, and values,
where one used as a variable counts again each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from millpond.base import limits
from millpond.config.lexer import END, Lexer, Scalar, Variable
from millpond.config.source import ConfigError, Place, Source

Tree = Scalar | list["Node"] | dict[str, "Node"]


class Node:
    """A value and where it is: at its key in a map, at itself in an array. `used`: a variable referred to it."""

    __slots__ = ("depth", "place", "size", "used", "value")

    def __init__(self, place: Place, value: Tree) -> None:
        self.place = place
        self.value = value
        self.used = False
        inner: Iterable[Node] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        self.size: int = 1 + sum(node.size for node in inner)
        self.depth: int = 1 + max((node.depth for node in inner), default=0)


class Surroundings:
    """What all parsers of one file and its includes share."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.open_files: list[Path] = []
        self.open_variables: list[str] = []
        self.files = 0
        self.depth = 0

    def enter(self, place: Place) -> None:
        """One level deeper: a map, an array, an included file, a variable of the environment."""
        self.depth += 1
        _check_depth(self.depth, place)

    def leave(self) -> None:
        """Back from the level that was entered last."""
        self.depth -= 1


def parse_file(path: str | Path, environment: Mapping[str, str] | None = None) -> Node:
    """The tree of a configuration file. Raises ConfigError, or OSError when the file itself cannot be read."""
    return _parse_file(Path(path), str(path), Surroundings(os.environ if environment is None else environment))


def parse_text(text: str, name: str = "config", environment: Mapping[str, str] | None = None) -> Node:
    """The tree of a text; includes are relative to the working directory. Raises ConfigError."""
    shared = Surroundings(os.environ if environment is None else environment)
    return Parser(Source(name, text), Path(), shared).file()


def _parse_file(path: Path, name: str, shared: Surroundings) -> Node:
    with open(path, "rb") as file:
        raw = file.read(limits.CONFIG_FILE_BYTES_MAX + 1)
    if len(raw) > limits.CONFIG_FILE_BYTES_MAX:
        raise ConfigError(Place(Source(name, ""), 0), f"the file has over {limits.CONFIG_FILE_BYTES_MAX} bytes")
    shared.open_files.append(path.resolve())
    node = Parser(Source(name, raw.decode("utf-8", "surrogateescape")), path.parent, shared).file()
    shared.open_files.pop()
    return node


def _check_depth(depth: int, place: Place) -> None:
    if depth > limits.CONFIG_DEPTH_MAX:
        raise ConfigError(place, f"nested more than {limits.CONFIG_DEPTH_MAX} levels deep")


class Parser:
    """Reads one text. `folder` is where its includes are looked up."""

    def __init__(self, source: Source, folder: Path, shared: Surroundings) -> None:
        self._lexer = Lexer(source)
        self._folder = folder
        self._shared = shared
        self._scopes: list[dict[str, Node]] = []
        self._values = 0

    def file(self) -> Node:
        """The whole text as one map."""
        lexer = self._lexer
        entries: dict[str, Node] = {}
        self._scopes.append(entries)
        braces: list[Place] = []
        while True:
            lexer.skip_space_and_comments()
            if lexer.peek() == END:
                break
            if lexer.peek() == "{":
                braces.append(lexer.place())
                _check_depth(len(braces), lexer.place())
                lexer.at += 1
            elif lexer.peek() == "}":
                self._close_brace(braces)
            else:
                self._entry(entries, top=True)
                self._end_of_entry("}")
        if braces:
            raise ConfigError(braces[-1], "this '{' is never closed")
        return self._node(lexer.place(0), entries)

    def _close_brace(self, braces: list[Place]) -> None:
        """Braces at the top only group; one too many at the very end is forgiven, as in nats-server."""
        lexer = self._lexer
        lexer.at += 1
        if braces:
            braces.pop()
            lexer.skip_blanks()
            lexer.take(",;")
            return
        at = lexer.at - 1
        lexer.skip_space_and_comments()
        if lexer.peek() != END:
            raise lexer.error("this '}' closes nothing", at)

    # --- entries ---

    def _entry(self, entries: dict[str, Node], *, top: bool) -> None:
        lexer = self._lexer
        name, place, quoted = lexer.key()
        if name.lower() == "include" and not quoted and lexer.peek() not in (":", "=", END):
            entries.update(self._included(place))
            return
        lexer.skip_space()
        if lexer.take(":="):
            if top:
                lexer.skip_blanks()
            else:
                lexer.skip_space()
        if lexer.peek() == END or lexer.peek() in ",;]}":
            raise ConfigError(place, f'the key "{name}" has no value')
        entries[name] = self._value(place)

    def _end_of_entry(self, closing: str) -> None:
        """Behind a value: the end of its line, a separator, or a closing bracket, which stays."""
        lexer = self._lexer
        lexer.skip_blanks()
        while lexer.skip_comment():
            lexer.skip_blanks()
        char = lexer.peek()
        separators = ",\n\r" if closing == "]" else ",;\n\r"
        if char in (END, closing) or lexer.take(separators):
            return
        words = "a new line, a comma" if closing == "]" else "a new line, ',' or ';'"
        raise lexer.error(f"expected {words} or '{closing}' behind a value, but got {lexer.seen()}")

    def _included(self, place: Place) -> dict[str, Node]:
        name = self._lexer.include_name()
        path = self._folder / name
        shared = self._shared
        shared.files += 1
        if shared.files > limits.CONFIG_INCLUDES_MAX:
            raise ConfigError(place, f"over {limits.CONFIG_INCLUDES_MAX} files are included")
        if path.resolve() in shared.open_files:
            raise ConfigError(place, f"the file {name!r} includes itself")
        shared.enter(place)
        try:
            node = _parse_file(path, str(path), shared)
        except OSError as error:
            raise ConfigError(place, f"cannot include {name!r}: {error.strerror}") from None
        shared.leave()
        self._count(node.size, place)
        assert isinstance(node.value, dict)
        return node.value

    # --- values ---

    def _value(self, place: Place) -> Node:
        lexer = self._lexer
        self._count(1, place)
        if lexer.peek() not in ("{", "["):
            value = lexer.scalar()
            return self._variable(value.name, place) if isinstance(value, Variable) else Node(place, value)
        self._shared.enter(place)
        opening = lexer.place()
        node = self._map(place, opening) if lexer.take("{") else self._array(place, opening)
        self._shared.leave()
        return node

    def _map(self, place: Place, opening: Place) -> Node:
        lexer = self._lexer
        entries: dict[str, Node] = {}
        self._scopes.append(entries)
        lexer.skip_space_and_comments()
        while not lexer.take("}"):
            if lexer.peek() == END:
                raise ConfigError(opening, "this '{' is never closed")
            if lexer.peek() == "]":
                raise lexer.error("this ']' closes nothing; a '{' is open")
            self._entry(entries, top=False)
            self._end_of_entry("}")
            lexer.skip_space_and_comments()
        self._scopes.pop()
        return self._node(place, entries)

    def _array(self, place: Place, opening: Place) -> Node:
        lexer = self._lexer
        lexer.at += 1
        values: list[Node] = []
        lexer.skip_space_and_comments()
        while not lexer.take("]"):
            if lexer.peek() == END:
                raise ConfigError(opening, "this '[' is never closed")
            if lexer.peek() == ",":
                raise lexer.error("expected a value, but got ','")
            values.append(self._value(lexer.place()))
            self._end_of_entry("]")
            lexer.skip_space_and_comments()
        return self._node(place, values)

    def _variable(self, name: str, place: Place) -> Node:
        for scope in reversed(self._scopes):
            if name in scope:
                found = scope[name]
                found.used = True
                self._count(found.size, place)
                return self._node(place, found.value)
        return Node(place, self._from_environment(name, place))

    def _from_environment(self, name: str, place: Place) -> Tree:
        """The value of an environment variable, which may itself refer to others."""
        shared = self._shared
        text = shared.environment.get(name)
        if text is None:
            missing = f"variable ${name} is neither a key above nor in the environment"
            raise ConfigError(place, f"{missing}; quote a value that begins with $")
        if name in shared.open_variables:
            raise ConfigError(place, f"variable ${name} refers to itself")
        if not text.strip(" \t"):
            return ""
        shared.enter(place)
        shared.open_variables.append(name)
        try:
            node = Parser(Source(f"${name}", f"value: {text}"), Path(), shared).file()
        except ConfigError as error:
            raise ConfigError(place, f"variable ${name} of the environment is not a value: {error.reason}") from None
        shared.open_variables.pop()
        shared.leave()
        assert isinstance(node.value, dict)
        self._count(node.size, place)
        return node.value["value"].value

    # --- bounds ---

    def _node(self, place: Place, value: Tree) -> Node:
        node = Node(place, value)
        _check_depth(node.depth - 1, place)
        return node

    def _count(self, values: int, place: Place) -> None:
        self._values += values
        if self._values > limits.CONFIG_VALUES_MAX:
            raise ConfigError(place, f"over {limits.CONFIG_VALUES_MAX} values")
