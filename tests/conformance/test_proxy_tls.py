"""The PROXY protocol before TLS: the header comes in the clear, then the handshake, or what the listener allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .operator_rig import both_with, same
from .scenarios_proxy import GOOD, block
from .tls_rig import Peer, Pki, TlsTarget

pytestmark = pytest.mark.reference

HEADERS = (GOOD[0], GOOD[4], block("2001:db8::5", kind=0x21), b"")
KINDS = {
    "plain": "", "choose": "allow_non_tls: true\n", "first": "handshake_first: true", "auto": "handshake_first: auto",
}  # fmt: skip


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "pki")


@pytest.fixture(params=KINDS)
def both(request: pytest.FixtureRequest, pki: Pki) -> Iterator[tuple[str, list[TlsTarget]]]:
    more = KINDS[request.param]
    block = pki.block("" if request.param == "choose" else more)
    text = f"proxy_protocol: true\n{block}{more if request.param == 'choose' else ''}"
    with both_with(lambda target: text) as found:
        yield request.param, found


def places(target: TlsTarget) -> list[str]:
    rows = target.page("/connz")["connections"]
    return [f"{row['ip'] if row['ip'] == '127.0.0.1' else (row['ip'], row['port'])} {'tls_version' in row}"
            for row in rows]  # fmt: skip


def secured(target: TlsTarget, pki: Pki, header: bytes, *, info_first: bool) -> list[str]:
    peer = Peer(target)
    if info_first:
        peer.info()
    peer.send(header)
    peer.secure(pki.context())
    if not info_first:
        peer.info()
    peer.connect()
    found = [*peer.record, *places(target)]
    peer.socket.close()
    return found


def in_the_clear(target: TlsTarget, header: bytes) -> list[str]:
    peer = Peer(target).info()
    peer.send(header)
    peer.connect()
    found = [*peer.record, *places(target)]
    peer.socket.close()
    return found


def test_same(both: tuple[str, list[TlsTarget]], pki: Pki) -> None:
    kind, targets = both
    for header in HEADERS:
        if kind != "auto":
            same(*(secured(target, pki, header, info_first=kind != "first") for target in targets))
        else:                                        # INFO comes after a moment, to who waits for it
            for info_first in (False, True):
                same(*(secured(target, pki, header, info_first=info_first) for target in targets))
        if kind == "choose":
            same(*(in_the_clear(target, header) for target in targets))
