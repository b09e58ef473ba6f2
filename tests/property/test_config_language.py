"""The configuration parser against arbitrary text, and against data written down in random ways."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.base import limits
from millpond.config.digest import digest
from millpond.config.parser import Node, parse_text
from millpond.config.source import ConfigError

ATOMS = [
    "a", "port", "1", "10k", "-1", "1.5", '"x y"', "'q'", "true", " ", "\n", ": ", "= ", ",", ";", "{", "}", "[", "]",
    "# c\n", "// d\n", "$a", "$E", "(x\n)", "(", ")", "\t", "\r\n", "\\n", "\\x4", '"', "'", "é", "\udcff", "\0",
    "10.1.1.1:4", "2026-01-01T00:00:00Z", "2026-", "include ", "include part", "1kbi", ".", "-", "/", "9" * 30,
]  # fmt: skip


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(inner) for key, inner in node.value.items()}
    return [plain(inner) for inner in node.value] if isinstance(node.value, list) else node.value


@settings(max_examples=600)
@given(st.one_of(st.lists(st.sampled_from(ATOMS), max_size=40).map("".join), st.text(max_size=200)))
def test_any_text_parses_or_is_refused_at_a_place_in_it(text: str) -> None:
    try:
        tree = parse_text(text, "f", {"E": "[1, $a]", "a": "{b: $E2}", "E2": "x"})
    except ConfigError as error:
        line, column = error.place.source.line_and_column(error.place.offset)
        assert 0 <= error.place.offset <= len(text)
        assert str(error).startswith(f"f:{line}:{column}: ")
        assert 1 <= line <= text.count("\n") + 1
        assert column >= 1
        return
    assert tree.depth <= limits.CONFIG_DEPTH_MAX + 1
    assert digest(tree).startswith("sha256:")


SPACE = st.sampled_from(["", " ", "\t", "\n", " # c\n", "\n// d\n"])
BARE = st.text("abcXYZ_-", min_size=1, max_size=8).filter(
    lambda word: word[0] != "-" and word.lower() not in ("yes", "no", "on", "off", "true", "false")
)
ANY = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)


def quoted(text: str) -> str:
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(char, escape)
    return f'"{text}"'


SCALARS = st.one_of(
    BARE.map(lambda word: (word, word)),
    ANY.map(lambda text: (text, quoted(text))),
    ANY.filter(lambda text: "'" not in text).map(lambda text: (text, f"'{text}'")),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda number: (number, str(number))),
    st.tuples(st.integers(-999, 999), st.sampled_from("kmgt"), st.sampled_from(["b", "i", "iB"])).map(
        lambda it: (it[0] << 10 * ("kmgt".index(it[1]) + 1), f"{it[0]}{it[1]}{it[2]}")
    ),
    st.sampled_from([(True, "YES"), (True, "on"), (False, "no"), (False, "False")]),
    st.integers(-99_999, 99_999).map(lambda number: (number / 64, f"{number / 64:.6f}")),
)
KEYS = st.one_of(BARE.map(lambda word: (word, word)), ANY.filter(lambda text: '"' not in text).map(
    lambda text: (text, f'"{text}"')))  # fmt: skip


@st.composite
def written(draw: st.DrawFn, depth: int = 3) -> tuple[Any, str]:
    """A value, and one of the ways to write it."""
    kind = draw(st.sampled_from(["scalar", "scalar", "array", "map"])) if depth else "scalar"
    if kind == "scalar":
        return draw(SCALARS)
    if kind == "array":
        items = draw(st.lists(written(depth - 1), max_size=4))
        text = "".join(draw(SPACE) + item + draw(st.sampled_from([",", " ,", "\n"])) for _, item in items)
        return [value for value, _ in items], f"[{text}{draw(SPACE)}]"
    entries, text = draw(entries_written(depth - 1))
    return entries, "{" + text + draw(SPACE) + "}"


@st.composite
def entries_written(draw: st.DrawFn, depth: int) -> tuple[dict[str, Any], str]:
    found: dict[str, Any] = {}
    text = ""
    for _ in range(draw(st.integers(0, 4))):
        (name, key), (value, shown) = draw(KEYS), draw(written(depth))
        if key.lower() == "include":
            continue
        found[name] = value
        separator = draw(st.sampled_from([": ", "=", " = ", " ", ":"]))
        text += draw(SPACE) + key + separator + shown + draw(st.sampled_from([",", ";", "\n", " ;", "\r\n", " # c\n"]))
    return found, text


@settings(max_examples=300)
@given(entries_written(3))
def test_whatever_way_it_is_written_it_reads_the_same(case: tuple[dict[str, Any], str]) -> None:
    expected, text = case
    assert plain(parse_text(text, environment={})) == expected
