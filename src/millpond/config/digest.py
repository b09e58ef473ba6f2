"""The digest of a configuration, the same that nats-server prints and shows in /varz as `config_digest`.

It is SHA-256 over the values as Go's encoding/json writes them, so that it says whether two servers run the
same configuration, whatever their files look like.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from millpond.base.digests import sha256
from millpond.config.parser import Node, Tree


def digest(tree: Node) -> str:
    """`sha256:` and 64 hexadecimal digits."""
    state = sha256()
    for piece in _json(tree.value):
        state.update(piece.encode())
    state.update(b"\n")
    return f"sha256:{state.hexdigest()}"


def _json(value: Tree) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{"
        # Go sorts the keys by their bytes.
        for number, key in enumerate(sorted(value, key=lambda key: key.encode("utf-8", "surrogateescape"))):
            yield ("," if number else "") + _string(key) + ":"
            yield from _json(value[key].value)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, node in enumerate(value):
            if number:
                yield ","
            yield from _json(node.value)
        yield "]"
    else:
        yield _scalar(value)


def _scalar(value: Tree) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, datetime):
        return f'"{value.strftime("%Y-%m-%dT%H:%M:%SZ")}"'
    if isinstance(value, float):
        return _float(value)
    return str(value)


_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
# A byte that is not UTF-8 arrives as one of these.
_ESCAPED.update(dict.fromkeys(range(0xD800, 0xE000), "\ufffd"))


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPED)


def _float(value: float) -> str:
    """Shortest digits; with an exponent below 1e-6 and from 1e21 on, as in ECMAScript."""
    text = repr(value)
    if value and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = text.partition("e")
        return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0')}"
    from decimal import Decimal  # hardly any file has such a number

    return format(Decimal(text), "f").removesuffix(".0")
