"""The configuration language: values, places of errors, includes, variables, bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from millpond.base import limits
from millpond.config.digest import digest
from millpond.config.parser import Node, parse_file, parse_text
from millpond.config.source import ConfigError


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(inner) for key, inner in node.value.items()}
    if isinstance(node.value, list):
        return [plain(inner) for inner in node.value]
    return node.value


def parsed(text: str, **environment: str) -> Any:
    return plain(parse_text(text, environment=environment))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo", "foo"), ("TRUE", True), ("yes", True), ("on", True), ("False", False), ("no", False), ("Off", False),
        ("7", 7), ("-7", -7), ("1.5", 1.5), ("-1.5", -1.5),
        ("10k", 10_000), ("10kb", 10_240), ("10Ki", 10_240), ("10KiB", 10_240), ("2m", 2_000_000), ("2MB", 2 << 20),
        ("3g", 3 * 10**9), ("3gib", 3 << 30), ("1t", 10**12), ("1ti", 1 << 40), ("1p", 10**15), ("1pb", 1 << 50),
        ("1e", 10**18), ("1eb", 1 << 60), ("-2k", -2000),
        ("10s", "10s"), ("1ms", "1ms"), ("2m-foo", "2m-foo"), ("12abc", "12abc"),
        ("127.0.0.1:4222", "127.0.0.1:4222"), ("127.0.0.1:-1", "127.0.0.1:-1"),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (r'"a\tb\n\r\"\\\x41"', 'a\tb\n\r"\\A'), (r"'a\tb'", r"a\tb"), (r"a\tb", "a\tb"), (r"tru\x65", "true"),
        ('"\\xc3\\xa9"', "é"), ('"two\nlines"', "two\nlines"), ("foo#bar", "foo#bar"), ("http://x", "http://x"),
        ("(\nfoo (bar)\n  )\n)", "\nfoo (bar)\n  )\n"), ("$2a$11$hash", "$2a$11$hash"), ('"$NAME"', "$NAME"),
        ("[]", []), ("[1, 2]", [1, 2]), ("[a\nb]", ["a", "b"]), ("[ # c\n a, // d\n b, ]", ["a", "b"]),
        ("[[1], {a: 2}]", [[1], {"a": 2}]), ("{}", {}), ("{a: 1, b = 2; c 3}", {"a": 1, "b": 2, "c": 3}),
        ('{"q k": 1}', {"q k": 1}), ("{\n a:\n 1\n}", {"a": 1}), ("{a {b {c d}}}", {"a": {"b": {"c": "d"}}}),
    ],
)  # fmt: skip
def test_values(text: str, expected: object) -> None:
    found = parsed(f"key: {text}\n")["key"]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": 1}), ("a=1;b=2", {"a": 1, "b": 2}), ("a 1, b 2\n", {"a": 1, "b": 2}), ("a\n\n1", {"a": 1}),
        ("{a: 1}", {"a": 1}), ('{"a": 1, "b": [true], }', {"a": 1, "b": [True]}), ("{a: 1}\nb: 2", {"a": 1, "b": 2}),
        ("{{a: 1}}", {"a": 1}), ("a: 1\n}\n", {"a": 1}), ("# c\r\na: 1 # d\r\nb: 2 // e", {"a": 1, "b": 2}),
        ("a: 1\na: 2", {"a": 2}), ("A: 1\na: 2", {"A": 1, "a": 2}), ("", {}), ("'a:b' : 1", {"a:b": 1}),
        ("\u00a0a\u00a01", {"a": 1}),
    ],
)  # fmt: skip
def test_files(text: str, expected: object) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1 b: 2", "1:6", "expected a new line"),
        ("a: 1\n  b: [1,,2]", "2:9", "but got ','"),
        ("a:\n1", "1:3", "but got a new line"),
        ("a", "1:1", '"a" has no value'),
        ("x {\n  a: }", "2:3", '"a" has no value'),
        ("x {\n  a: 1", "1:3", "this '{' is never closed"),
        ("x [1", "1:3", "this '[' is never closed"),
        ("{a: 1\n", "1:1", "this '{' is never closed"),
        ("a: 1\n}\nb: 2", "2:1", "this '}' closes nothing"),
        ("x {a: 1 ]", "1:9", "but got ']'"),
        ('a: "x', "1:4", "closing quote"),
        ("a: 'x", "1:4", "closing quote"),
        ("'a: 1", "1:1", "closing quote"),
        ("a: (x", "1:4", "on a line of its own"),
        (r'a: "\q"', "1:5", "unknown escape"),
        (r"a: \xzz", "1:4", "hexadecimal"),
        ("a: .5", "1:4", "must start with a digit"),
        ("a: 1.", "1:4", "digit after the '.'"),
        ("a: -", "1:4", "digit after '-'"),
        ("a: 1kbi", "1:4", "'kbi' is not a unit"),
        ("a: 9223372036854775808", "1:4", "out of range"),
        ("a: 10e", "1:4", "out of range"),
        ("a: 2026-13-01T00:00:00Z", "1:4", "Zulu"),
        ("a: 10-20", "1:4", "Zulu"),
        ("a: $NOPE", "1:1", "variable $NOPE"),
        ("a: 1\0", "1:5", "NUL"),
        ("= 1", "1:1", "expected a key"),
        ("include\nfoo", "1:8", "file to include"),
        ("include 'foo", "1:9", "closing quote"),
    ],
)
def test_errors_say_where(text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_text(text, "f.conf", {})
    assert str(caught.value).startswith(f"f.conf:{place}: ")
    assert words in str(caught.value)


def test_variables_come_from_the_scopes_around_then_from_the_environment() -> None:
    text = "v: 1\na {v: 2, x: $v, y {z: $v}}\nb: $v\nc: $E\nd: [$v, $E]"
    found = parsed(text, v="9", E="[10k, $F]", F="deep")
    assert found["a"] == {"v": 2, "x": 2, "y": {"z": 2}}
    assert (found["b"], found["c"], found["d"]) == (1, [10_000, "deep"], [1, [10_000, "deep"]])
    assert parsed("a: $E", E="") == {"a": ""}


def test_a_variable_of_the_environment_that_fails_is_named_without_its_value() -> None:
    for value in ("secret {", "a secret", '"secret'):
        with pytest.raises(ConfigError, match="variable \\$E of the environment") as caught:
            parse_text("a: $E", environment={"E": value})
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("environment", [{"E": "$E"}, {"E": "[$F]", "F": "{a: $E}"}])
def test_a_variable_that_refers_to_itself_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="refers to itself"):
        parse_text("a: $E", environment=environment)


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.conf").write_text('include sub/a.conf\nb: $x\nm {\n  include "sub/b.conf"\n  own: 1\n}\n')
    (tmp_path / "sub" / "a.conf").write_text("x: 5\ninclude 'b.conf';y: 6")
    (tmp_path / "sub" / "b.conf").write_text("z: 7")
    assert plain(parse_file(tmp_path / "main.conf")) == {"x": 5, "z": 7, "y": 6, "b": 5, "m": {"z": 7, "own": 1}}


def test_what_is_wrong_in_an_included_file_is_placed_there(tmp_path: Path) -> None:
    (tmp_path / "main.conf").write_text("a: 1\ninclude b.conf\n")
    (tmp_path / "b.conf").write_text("x: 1\ny: [1")
    with pytest.raises(ConfigError, match=r"b\.conf:2:4: this '\[' is never closed"):
        parse_file(tmp_path / "main.conf")
    (tmp_path / "b.conf").write_text("include main.conf")
    with pytest.raises(ConfigError, match="includes itself"):
        parse_file(tmp_path / "main.conf")
    (tmp_path / "b.conf").unlink()
    with pytest.raises(ConfigError, match=r"main\.conf:2:1: cannot include 'b\.conf': No such file"):
        parse_file(tmp_path / "main.conf")


def test_depth_size_and_repetition_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = limits.CONFIG_DEPTH_MAX
    parse_text("a: " + "[" * deep + "]" * deep)
    for text in ("a: " + "[" * (deep + 1), "a " + "{b " * (deep + 1), "{" * (deep + 1)):
        with pytest.raises(ConfigError, match="levels deep"):
            parse_text(text)
    monkeypatch.setattr(limits, "CONFIG_VALUES_MAX", 1000)
    doubling = "a0: [1, 1]\n" + "".join(f"a{n}: [$a{n - 1}, $a{n - 1}]\n" for n in range(1, 40))
    with pytest.raises(ConfigError, match="over 1000 values"):
        parse_text(doubling)
    monkeypatch.setattr(limits, "CONFIG_FILE_BYTES_MAX", 10)
    (tmp_path / "big.conf").write_text("a: 12345678")
    with pytest.raises(ConfigError, match="over 10 bytes"):
        parse_file(tmp_path / "big.conf")


def test_a_chain_of_includes_or_variables_is_bounded(tmp_path: Path) -> None:
    for number in range(limits.CONFIG_DEPTH_MAX + 2):
        (tmp_path / f"{number}.conf").write_text(f"m {{ include '{number + 1}.conf'\n}}")
    with pytest.raises(ConfigError, match="levels deep"):
        parse_file(tmp_path / "0.conf")
    environment = {f"V{number}": f"[$V{number + 1}]" for number in range(limits.CONFIG_DEPTH_MAX + 2)}
    with pytest.raises(ConfigError, match="levels deep"):
        parse_text("a: $V0", environment=environment)


def test_the_digest_is_that_of_nats_server() -> None:
    # As `nats-server -t` 2.15.1 prints them.
    known = {
        "port: 4222\n": "797533ebd0dfba7d34a0f9337ecf147e442871f48ddfd07ed751575a5737267e",
        '{ "port": 4222, "debug": true }': "8d697893eada17225f028a97ac0a0cfbd85dfb1fe0f606aa6f327a81bf911795",
        "port 1k": "b4e37e69fac012708240ea673bed4137a1af43762a352f4e1a9f26a0574ce8a7",
        "k: 2024-01-01T00:00:00Z\nport=$k\nport=1":
            "737764e65a3db24609f107dda06f8e9ee0124778e0844cb6e1f78fdae5e2ac3a",
    }  # fmt: skip
    for text, expected in known.items():
        assert digest(parse_text(text)) == f"sha256:{expected}"
