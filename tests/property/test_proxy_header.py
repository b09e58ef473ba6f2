"""Any header of the PROXY protocol, cut anywhere, and any bytes instead: what follows it is left for the client's."""

from __future__ import annotations

import socket
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millpond.transport.proxy_preamble import LINE, LINE_BYTES_MAX, SIGNATURE, Introduction, Preamble, PreambleError

PORTS = st.integers(0, 65_535)
FAMILIES = st.sampled_from([(st.ip_addresses(v=4), b"TCP4", 0x11), (st.ip_addresses(v=6), b"TCP6", 0x21)])


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, Introduction]:
    """One that is right, and what it says."""
    addresses, word, kind = draw(FAMILIES)
    source, target = draw(addresses), draw(addresses)
    ports = draw(PORTS), draw(PORTS)
    mapped = getattr(source, "ipv4_mapped", None)
    said = Introduction(str(mapped or source), ports[0])
    if draw(st.booleans()):
        return b"PROXY %s %s %s %d %d\r\n" % (word, str(source).encode(), str(target).encode(), *ports), said
    more = draw(st.binary(max_size=9000))
    body = source.packed + target.packed + ports[0].to_bytes(2) + ports[1].to_bytes(2) + more
    return SIGNATURE + bytes([0x21, kind]) + len(body).to_bytes(2) + body, said


def looked(data: bytes, cuts: list[int]) -> tuple[Introduction | None, bytes]:
    """What came of it when it arrives in these pieces, and what is left to be read."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        preamble, found = Preamble(ours), None
        bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        rest = b""
        for start, stop in pairwise(bounds):
            theirs.sendall(data[start:stop])
            if found is None:
                found = preamble.look()
            assert len(preamble._head) <= LINE_BYTES_MAX, "what is held does not grow with what is said"
        try:
            while more := ours.recv(65_536):
                rest += more
        except BlockingIOError:
            pass
        return found, rest


@given(headers(), st.binary(max_size=50), st.lists(st.integers(1, 9100), max_size=8))
def test_any_header_cut_anywhere(header: tuple[bytes, Introduction], behind: bytes, cuts: list[int]) -> None:
    data, said = header
    assert looked(data + behind, cuts) == (said, behind)


@given(st.sampled_from([b"", LINE, SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(min_size=1, max_size=300),
       st.lists(st.integers(1, 300), max_size=8))  # fmt: skip
def test_any_bytes(begin: bytes, data: bytes, cuts: list[int]) -> None:
    data = begin + data
    try:
        found, rest = looked(data, cuts)
    except PreambleError:
        return
    if found is None:
        assert data[:1] in (b"P", b"\r"), "what begins no header is known to be none"
    else:
        assert data.endswith(rest)
        assert rest == data or data.startswith((LINE, SIGNATURE)), "nothing is taken of what is no header"
