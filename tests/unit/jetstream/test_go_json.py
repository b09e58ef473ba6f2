"""JSON as Go reads and writes it. The texts were read off nats-server; tests/conformance asks it again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from millpond.jetstream.go_scan import Malformed, skip_space, value_end

from millpond.base.errors import ApiError
from millpond.jetstream.go_json import (
    Choice,
    ListOf,
    MapOf,
    Shape,
    decode,
    encode,
    is_empty_request,
    is_object_or_array,
    unmarshal,
)
from millpond.jetstream.go_text import quote, text, unquote

INNER = Shape("Inner", {"deep": "string", "count": "int32"})
SHAPE = Shape(
    "Outer",
    {
        "name": "string", "count": "int64", "size": "uint64", "on": "bool", "wait": "time.Duration", "at": "time.Time",
        "names": ListOf("string"), "waits": ListOf("time.Duration"), "inner": INNER, "inners": ListOf(INNER),
        "plain": Shape("Plain", {"x": "int"}, pointer=False), "tags": MapOf(), "kind": Choice(("old", "new"),
        fold=True),
        "zip": Choice(("none", "s2"), "unknown {raw}", decoded=True),
    },
)  # fmt: skip


def refusal(data: bytes, strict: bool = True) -> str:
    with pytest.raises(ApiError) as raised:
        decode(data, SHAPE, strict)
    assert raised.value.err_code == 10025
    return raised.value.description.removeprefix("invalid JSON: ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{", "unexpected EOF"),
        (b"tru", "unexpected EOF"),
        (b"trux", "invalid character 'x' in literal true (expecting 'e') at offset 4"),
        (b"[1 2]", "invalid character '2' after array element at offset 4"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string at offset 8"),
        (b'{"a" 1}', "invalid character '1' after object key at offset 6"),
        (b'{"a":1 1}', "invalid character '1' after object key:value pair at offset 8"),
        (b'{"a":"\\x"}', "invalid escape sequence `\\x` in string at offset 8"),
        (b'{"a":"\\u12x', "invalid escape sequence `\\u12x` in string at offset 11"),
        (b'{"a":"\\`"}', 'invalid escape sequence "\\\\`" in string at offset 8'),
        (b'{"a":"\\\xff"}', 'invalid escape sequence "\\\\\\xff" in string at offset 8'),
        (b'"\x01"', "invalid character '\\x01' in string at offset 2"),
        (b"\xef\xbb\xbf{}", "invalid character '\\ufeff' looking for beginning of value at offset 3"),
        (b"\xff", "invalid character '\\xff' looking for beginning of value at offset 1"),
        (b"'", "invalid character '\\'' looking for beginning of value at offset 1"),
        (b"{} x", "invalid character 'x' looking for beginning of value at offset 4"),
        (b"1ex", "invalid character 'x' in numeric literal at offset 3"),
        (b"[" * 10_001, "exceeded max depth at offset 10001"),
        (b"[" * 10_000, "unexpected EOF"),
    ],
)
def test_syntax_errors(data: bytes, expected: str) -> None:
    assert refusal(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"1", "json: cannot unmarshal number into Go value of type server.Outer"),
        (b'{"count":"1"}', "json: cannot unmarshal string into Go struct field Outer.count of type int64"),
        (b'{"Count":1.5}', "json: cannot unmarshal number 1.5 into Go struct field Outer.Count of type int64"),
        (b'{"size":-1}', "json: cannot unmarshal number -1 into Go struct field Outer.size of type uint64"),
        (b'{"wait":true}', "json: cannot unmarshal bool into Go struct field Outer.wait of type time.Duration"),
        (b'{"inner":1}', "json: cannot unmarshal number into Go struct field Outer.inner of type server.Inner"),
        (b'{"inners":{}}', "json: cannot unmarshal object into Go struct field Outer.inners of type []*server.Inner"),
        (b'{"inners":[1]}', "json: cannot unmarshal number into Outer.inners.0 of type server.Inner"),
        (b'{"inners":[{"deep":1}]}',
        "json: cannot unmarshal number into Go struct field Outer.inners.0.deep of type string"),
        (b'{"tags":{"a/b~c":1}}',
        "json: cannot unmarshal number into Go struct field Outer.tags.a~1b~0c of type string"),
        (b'{"names":[1]}', "json: cannot unmarshal number into Outer.names.0 of type string"),
        (b'{"kind":null}', 'can not unmarshal "null"'),
        (b'{"kind":"\\u006eew"}', 'can not unmarshal "\\"\\\\u006eew\\""'),
        (b'{"zip":"x"}', 'unknown "x"'),
        (b'{"zip":1}', "json: cannot unmarshal number into Go value of type string"),
        (b'{"what\\u2028":1}', 'json: unknown field "what\\u2028"'),
        (b'{"x":1,"count":"1"}', 'json: unknown field "x"'),
        (b'{"count":"1","x":1}', "json: cannot unmarshal string into Go struct field Outer.count of type int64"),
        (b'{"at":"2020-13-01T00:00:00Z"}', 'parsing time "2020-13-01T00:00:00Z": month out of range'),
        (b'{"at":1}', "json: cannot unmarshal number into Go struct field Outer.at of type time.Time"),
    ],
)
def test_type_errors(data: bytes, expected: str) -> None:
    assert refusal(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", {}),
        (b" \n", {}),
        (b"null", {}),
        (b'{"NAME":"a","\xc5\xbfize":1}', {"name": "a", "size": 1}),
        (b'{"name":"a","name":"b"}', {"name": "b"}),
        (b'{"name":"a"}{"count":2}', {"name": "a", "count": 2}),
        (b'{"name":"a","name":null}', {"name": "a"}),
        (b'{"inner":{"deep":"a"},"inner":{"count":2}}', {"inner": {"deep": "a", "count": 2}}),
        (b'{"inner":{"deep":"a"},"inner":null}', {}),
        (b'{"plain":{"x":1},"plain":null}', {"plain": {"x": 1}}),
        (b'{"tags":{"a":"b"},"tags":{"c":null}}', {"tags": {"a": "b", "c": ""}}),
        (b'{"names":["a",null],"waits":[null,3]}', {"names": ["a", ""], "waits": [0, 3]}),
        (b'{"inners":[{"deep":"a"}],"inners":[{"count":1},null]}', {"inners": [{"deep": "a", "count": 1}, {}]}),
        (b'{"kind":"NEW","zip":"\\u0073\\u0032"}', {"kind": "new", "zip": "s2"}),
        (b'{"name":"\\ud83d\\ude00\\ud800\xff\xe2\x82"}', {"name": "😀\ufffd\ufffd\ufffd\ufffd"}),
        (b'{"at":"1970-01-01T00:00:01.5+00:01"}', {"at": -58_500_000_000}),
        (b'{"count":-0,"on":true}', {"count": 0, "on": True}),
    ],
)
def test_values(data: bytes, expected: dict[str, object]) -> None:
    assert decode(data, SHAPE) == expected


def test_lenient_servers_ignore_unknown_fields_only() -> None:
    assert decode(b'{"x":[1,{"y":2}],"name":"a"}', SHAPE, strict=False) == {"name": "a"}
    assert refusal(b'{"count":"1"}', strict=False).startswith("json: cannot unmarshal string")
    assert refusal(b'{"x":1} x', strict=False) == "invalid character 'x' after top-level value"
    assert refusal(b'{"x":', strict=False) == "unexpected end of JSON input"
    with pytest.raises(ApiError):
        unmarshal(b"{}{}", SHAPE)


def test_bodies_that_count_as_none() -> None:
    for data in (b"", b"{}", b" { } ", b"{\n}"):
        assert is_empty_request(data), data
    for data in (b" ", b"[]", b"null", b'{"a":1}', b"{} x", b"{", b"x"):
        assert not is_empty_request(data), data
    assert [is_object_or_array(data) for data in (b" {", b"\n[", b"", b" ", b"1", b'"{"')] == [True, True] + [False] * 4


def test_encoding_escapes_as_go_does() -> None:
    assert encode({"a": "<&>\u2028é\x7f\x01\b"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028é\x7f\\u0001\\b"}'.encode()


@given(st.binary(max_size=60))
def test_random_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        decode(data, SHAPE)
    except ApiError as error:
        assert error.err_code == 10025
    is_empty_request(data)
    assert len(text(data)) >= len(data.decode("utf-8", "ignore"))
    assert quote(data).isprintable() or "\ufffd" in quote(data)


JSON_TEXT = st.text(st.sampled_from('{}[]",:\\ \n0123456789.eE+-truefalsn"uabc/'), max_size=30)


@given(JSON_TEXT)
def test_the_scanner_and_python_agree_on_what_is_json(candidate: str) -> None:
    data = candidate.encode()
    try:
        json.loads(candidate)
        valid = True
    except (ValueError, RecursionError):
        valid = False
    try:
        end = skip_space(data, value_end(data, 0))
    except Malformed:
        assert not valid
    else:
        assert valid == (end == len(data))


@given(st.text(max_size=20))
def test_strings_survive(value: str) -> None:
    assert unquote(json.dumps(value).encode()) == value
    assert unquote(json.dumps(value, ensure_ascii=False).encode()) == value


FLAT = Shape("Flat", {"seq": "uint64", "offset": "int", "filter": "string", "no_erase": "bool"})
FLAT_TEXT = st.builds(
    lambda members, end: ("{" + ",".join(members) + end).encode("utf-8", "surrogatepass"),
    st.lists(
        st.builds(
            lambda key, value: f'"{key}":{value}',
            st.sampled_from(["seq", "Seq", "offset", "filter", "no_erase", "other"]),
            st.sampled_from([
                "1", "0", "-1", "-0", "1.0", "1e2", "01", "18446744073709551615", "18446744073709551616",
                "9223372036854775808", "true", "false", "null", '"a.b"', '"a-0"', '"\\u0041"', '"\\ud800"', '"\ud800"',
                '"\t"', "[]", "{}", '""',
            ]),
        ),
        max_size=4,
    ),
    st.sampled_from(["}", "} ", "}{}", ",}", ""]),
)


def assert_the_same_both_ways(data: bytes, quick: Shape, strict: bool) -> None:
    general = Shape(quick.name, quick.fields)
    general.__dict__["quick"] = None
    outcomes = []
    for shape in (quick, general):
        try:
            outcomes.append(decode(data, shape, strict))
        except ApiError as error:
            outcomes.append(error.description)
    assert quick.quick is not None
    assert outcomes[0] == outcomes[1]


@given(FLAT_TEXT, st.booleans())
def test_the_quick_way_decodes_as_the_general_one(data: bytes, strict: bool) -> None:
    assert_the_same_both_ways(data, FLAT, strict)


def object_text(*members: tuple[str, list[str]]) -> st.SearchStrategy[str]:
    """Objects of these names, each with one of its values; any name may be there twice."""
    pairs = [f'"{name}":{value}' for name, values in members for value in values]
    return st.lists(st.sampled_from(pairs), max_size=3).map(lambda found: "{" + ",".join(found) + "}")


INNER_TEXT = object_text(
    ("deep", ['"a"', "null", "1", '"\\u0041"']), ("count", ["2147483647", "2147483648", "-1", "1.0"]), ("Deep", ['"b"'])
)
NESTED_TEXT = st.lists(
    st.one_of(
        object_text(
            ("name", ['"a"', '"a-0"', '"x, -0"']), ("wait", ["5", "1e2", "null", "-9223372036854775809"]),
            ("at", ['"2020-01-01T00:00:00Z"', "null"]), ("waits", ["[1,2]", "[null,3]", "[]", "null", "[-0]"]),
            ("names", ['["a","b"]', '["a",null]', "{}", "[1]"]), ("tags", ['{"a":"b"}', '{"a":null}', "[]", "{}"]),
            ("kind", ['"new"', '"NEW"', "null", '"other"']), ("zip", ['"s2"', '"\\u0073\\u0032"', '"x"']),
            ("plain", ['{"x":1}', '{"x":1,"x":2}', '{"y":1}', "null"]),
        ).map(lambda found: found[1:-1]),
        INNER_TEXT.map(lambda found: f'"inner":{found}'),
        st.lists(INNER_TEXT, max_size=2).map(lambda found: f'"inners":[{",".join(found)}]'),
    ).filter(bool),
    max_size=3,
).map(lambda parts: ("{" + ",".join(parts) + "}").encode())


@given(NESTED_TEXT, st.booleans())
def test_the_quick_way_decodes_what_is_nested_as_the_general_one(data: bytes, strict: bool) -> None:
    assert_the_same_both_ways(data, SHAPE, strict)


def test_the_quick_way_takes_what_is_plain() -> None:
    """Else it would be none."""
    assert SHAPE.quick is not None
    for data in (b'{"name":"a.1.>","inners":[{"deep":"b"},{"count":-1}],"tags":{"a":"b"},"kind":"old"}', b"{}"):
        assert SHAPE.quick.read(data) == json.loads(data)


STRINGS = Shape("Strings", {"names": ListOf("string"), "tags": MapOf()})


@pytest.mark.parametrize(("data", "expected"), [
    (b'{"names":["a",null,"\\ud800","\xff"]}', {"names": ["a", "", "\ufffd", "\ufffd"]}),
    (b'{"names":["a","b"],"names":[null,null,null]}', {"names": ["a", "b", ""]}),
    (b'{"tags":{"a":"1","b":null,"a":"2","\\udc00":"x"}}', {"tags": {"a": "2", "b": "", "\ufffd": "x"}}),
    (b'{"names":[%b"x"]}' % (b'"y",' * 100_000), {"names": ["y"] * 100_000 + ["x"]}),
])  # fmt: skip
def test_lists_and_maps_of_strings(data: bytes, expected: dict[str, object]) -> None:
    assert decode(data, STRINGS) == expected


@pytest.mark.parametrize(("data", "words"), [
    (b'{"names":["a",null,1,2]}', "number into Strings.names.2 of type string"),
    (b'{"names":["a",%b]}' % (b"[" * 5000 + b"]" * 5000), "array into Strings.names.1 of type string"),
    (b'{"tags":{"a":"1","b":{"c":1}}}', "object into Go struct field Strings.tags.b of type string"),
    (b'{"tags":{"x":%b}}' % (b'{"y":' * 5000 + b"1" + b"}" * 5000), "object into Go struct field Strings.tags.x of"),
    (b'{"names":[%b]}' % (b"9" * 5000), "number into Strings.names.0 of type string"),
])  # fmt: skip
def test_what_is_no_string_among_them(data: bytes, words: str) -> None:
    with pytest.raises(ApiError, match="cannot unmarshal") as refused:
        decode(data, STRINGS)
    assert words in refused.value.description


def test_a_character_behind_the_document_is_shown_whole() -> None:
    with pytest.raises(ApiError) as refused:
        unmarshal("{}\u2029".encode(), STRINGS)
    assert refused.value.description == "invalid JSON: invalid character '\\u2029' after top-level value"
    with pytest.raises(ApiError) as refused:
        unmarshal(b"{}\xe2", STRINGS)
    assert refused.value.description == "invalid JSON: invalid character '\\xe2' after top-level value"
