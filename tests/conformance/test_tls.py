"""TLS: what clients, the log and monitoring see, with the same files on both servers."""

from __future__ import annotations

import difflib
import json
import re
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.certificates import Pair

from .target import MILLPOND, READY_SECONDS, REFERENCE, why_missing
from .tls_rig import Peer, Pki, TlsTarget, started

pytestmark = pytest.mark.reference

LEVELS = ("ERR",)
NAME = "server_name: conformance\n"
"""nats-server forgets a name of the command line when it reads the file again."""
DONE = re.compile(r"Reloaded server configuration|Failed to reload")
USERS = """
authorization { users: [
    {user: "mail@example.com"}, {user: "dns.example.com"}, {user: "spiffe://example.com/svc"},
    {user: "CN=plain,O=Org"}, {user: "O=Other, CN=turned"}, {user: "CN=multi,OU=a+OU=b"},
    {user: "with-password", password: "secret"}, {user: "CN=example.com,OU=CNCF,DC=example,DC=com"},
] }
"""
CONFIGS: dict[str, Callable[[Pki], str]] = {
    "plain": lambda pki: pki.block(),
    "short": lambda pki: pki.block("timeout: 0.2"),
    "verify": lambda pki: pki.block("verify: true"),
    "first": lambda pki: pki.block("handshake_first: true, timeout: 0.5"),
    "auto": lambda pki: pki.block("handshake_first: auto"),
    "auto_mixed": lambda pki: pki.block("handshake_first: '100ms'") + "allow_non_tls: true\n",
    "mixed": lambda pki: pki.block() + "allow_non_tls: true\n",
    "map": lambda pki: pki.block("verify_and_map: true") + USERS,
    "pinned": lambda pki: pki.block(f'verify: true, pinned_certs: ["{pki.client("pinned").pin.upper()}"]'),
    "modern": lambda pki: pki.block('min_version: "1.3"'),
    "auth": lambda pki: pki.block("timeout: 0.3") + "authorization { user: a, password: b }\n",
    "one": lambda pki: pki.block() + "max_connections: 1\n",
    "one_first": lambda pki: pki.block("handshake_first: true") + "max_connections: 1\n",
    "ciphers": lambda pki: pki.block('cipher_suites: ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]'),
    "curve": lambda pki: pki.block('curve_preferences: ["CurveP384"]'),
    "rate": lambda pki: pki.block("connection_rate_limit: 2"),
}


def old(pki: Pki, cipher: str = "ECDHE-ECDSA-AES128-GCM-SHA256") -> ssl.SSLContext:
    context = pki.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(cipher)
    return context


# --- scenarios: each gets a server and gives lines; the first part of its name is the configuration ---


def plain__upgrade(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(pki.context())
    peer.connect().row()
    row = [name for name in target.page("/varz") if name.startswith("tls_")]
    page = target.page("/varz")
    varz = [page[name] for name in ("tls_required", "tls_timeout", "auth_timeout", "tls_cert_not_after")]
    return [*peer.record, json.dumps(row), json.dumps(varz)]


def plain__chain(target: TlsTarget, pki: Pki) -> list[str]:
    """The certificates that it shows: those of its file."""
    peer = Peer(target).info()
    peer.secure(pki.context())
    socket: Any = peer.socket
    chain = getattr(socket, "get_unverified_chain", None) or socket._sslobj.get_unverified_chain  # public from 3.13 on
    return [*peer.record, str(len(chain()))]


def plain__upgrade_with_tls_12(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(old(pki))
    return peer.connect().row().record


def plain__second_info(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(pki.context())
    peer.connect(protocol=1)
    peer.info()
    return peer.record


def plain__clear_text(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.send(b'CONNECT {"verbose":false}\r\nPING\r\n')
    peer.until_end()
    return [*peer.record, *errors(target, peer)]


def plain__http(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    peer.until_end()
    return [*peer.record, *errors(target, peer)]


def plain__garbage_in_a_record(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.send(b"\x16\x03\x01\x00\x20" + bytes(range(32)))
    peer.until_end()
    return [peer.record[0], peer.record[-1]]


def plain__hangs_up(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.close()
    return [target.closed(peer.cid), *errors(target, peer)]


def plain__does_not_trust_the_server(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(ssl.create_default_context(cafile=str(pki.stranger.ca_file)))
    return [*peer.record, target.closed(peer.cid), *errors(target, peer)]


def plain__wrong_host(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    context = pki.context()
    with pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(peer.socket, server_hostname="example.com")
    return [*peer.record, target.closed(peer.cid), *errors(target, peer)]


def plain__hello_byte_by_byte(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = pki.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    for _ in range(4):
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            for byte in outgoing.read():
                peer.send(bytes([byte]))
            incoming.write(peer.receive())
    client.write(b"PING\r\n")
    peer.send(outgoing.read())
    while True:
        try:
            peer.note(repr(client.read(100)))
            return peer.record
        except ssl.SSLWantReadError:
            incoming.write(peer.receive())


def plain__large_messages_both_ways(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(pki.context())
    peer.connect()
    body = bytes(range(256)) * 4000
    peer.send(b"SUB a 1\r\n" + b"PUB a %d\r\n%s\r\n" % (len(body), body) * 3 + b"PING\r\n")
    got = b""
    while not got.endswith(b"PONG\r\n"):
        got += peer.receive()
    return [*peer.record, str(got == b"MSG a 1 %d\r\n%s\r\n" % (len(body), body) * 3 + b"PONG\r\n")]


def plain__close_notify_behind_a_message(target: TlsTarget, pki: Pki) -> list[str]:
    listener = Peer(target).info()
    listener.secure(pki.context())
    listener.connect()
    listener.send(b"SUB last 1\r\nPING\r\n")
    assert listener.line() == b"PONG\r\n"
    peer = Peer(target).info()
    peer.secure(pki.context())
    peer.connect()
    peer.send(b"PUB last 2\r\nhi\r\n")
    assert isinstance(peer.socket, ssl.SSLSocket)
    below = peer.socket.unwrap()  # both sides say that nothing more comes
    below.close()
    return [target.closed(peer.cid), repr(listener.line()), repr(listener.line())]


def short__silence(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.until_end()
    return [*peer.record, *errors(target, peer)]


def short__half_a_hello(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.send(b"\x16\x03\x01\x02\x00\x01\x00")
    peer.until_end()
    return [*peer.record, *errors(target, peer)]


def verify__with_certificate(target: TlsTarget, pki: Pki) -> list[str]:
    subject = [
        (NameOID.COUNTRY_NAME, "DE"), (NameOID.ORGANIZATION_NAME, 'A "b", c'),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "one"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "two"),
        (NameOID.COMMON_NAME, " # sharp "), (NameOID.EMAIL_ADDRESS, "a@b.c"), (NameOID.TITLE, "Dr <x>"),
        (NameOID.DOMAIN_COMPONENT, "example"),
    ]  # fmt: skip
    peer = Peer(target).info()
    peer.secure(pki.context(pki.client("odd", subject=subject)))
    peer.connect().row()
    return [*peer.record, json.dumps(target.page("/varz")["tls_verify"])]


def verify__without_certificate(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    if peer.secure(old(pki)):
        peer.connect()
    return [peer.record[0], target.closed(peer.cid), *errors(target, peer)]


def verify__of_a_stranger(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    stranger = pki.stranger.client("unknown")
    if peer.secure(pki.context(stranger, maximum_version=ssl.TLSVersion.TLSv1_2)):
        peer.connect()
    return [peer.record[0], target.closed(peer.cid), *(line.partition(" (")[0] for line in errors(target, peer))]


def verify__expired(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    if peer.secure(pki.context(pki.client("expired", days=-1), maximum_version=ssl.TLSVersion.TLSv1_2)):
        peer.connect()
    return [peer.record[0], target.closed(peer.cid), *(line.partition(": current")[0] for line in errors(target, peer))]


def first__handshake(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target)
    peer.secure(pki.context())
    return peer.info().connect().row().record


def first__waits_for_info(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target)
    peer.until_end()
    cid = target.newest_cid()
    return [*peer.record, target.closed(cid)]


def first__clear_text(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target)
    peer.send(b"PING\r\n")
    peer.until_end()
    return [*peer.record, target.closed(target.newest_cid())]


def auto__old_client(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(pki.context())
    return peer.connect().row().record


def auto__new_client(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target)
    peer.secure(pki.context())
    return peer.info().connect().row().record


def auto_mixed__three_kinds(target: TlsTarget, pki: Pki) -> list[str]:
    clear = Peer(target).info().connect().row()
    upgraded = Peer(target).info()
    upgraded.secure(pki.context())
    upgraded.connect().row()
    first = Peer(target)
    first.secure(pki.context())
    first.info().connect().row()
    return [*clear.record, *upgraded.record, *first.record]


def mixed__both(target: TlsTarget, pki: Pki) -> list[str]:
    clear = Peer(target).info().connect().row()
    secured = Peer(target).info()
    secured.secure(pki.context())
    secured.connect().row()
    varz = [name for name in target.page("/varz") if name.startswith("tls_")]
    return [*clear.record, *secured.record, json.dumps(varz)]


def mapped(target: TlsTarget, pki: Pki, name: str, **certificate: Any) -> list[str]:
    peer = Peer(target).info()
    peer.secure(pki.context(pki.client(name, **certificate)))
    peer.connect()
    if "the end" in peer.record:
        return [*peer.record, target.closed(peer.cid)]
    return peer.row().record


def map__email(target: TlsTarget, pki: Pki) -> list[str]:
    names = (x509.DNSName("dns.example.com"), x509.RFC822Name("other@x.y"), x509.RFC822Name("mail@example.com"))
    return mapped(target, pki, "email", names=names)


def map__dns(target: TlsTarget, pki: Pki) -> list[str]:
    return mapped(target, pki, "dns", names=(x509.DNSName("x.y"), x509.DNSName("dns.example.com")))


def map__uri(target: TlsTarget, pki: Pki) -> list[str]:
    return mapped(target, pki, "uri", names=(x509.UniformResourceIdentifier("spiffe://example.com/svc"),))


def map__subject(target: TlsTarget, pki: Pki) -> list[str]:
    return mapped(target, pki, "subject", subject=[(NameOID.ORGANIZATION_NAME, "Org"), (NameOID.COMMON_NAME, "plain")])


def map__subject_turned(target: TlsTarget, pki: Pki) -> list[str]:
    subject = [(NameOID.ORGANIZATION_NAME, "Other"), (NameOID.COMMON_NAME, "turned")]
    return mapped(target, pki, "turned", subject=subject)


def map__subject_as_go_groups_it(target: TlsTarget, pki: Pki) -> list[str]:
    unit = NameOID.ORGANIZATIONAL_UNIT_NAME
    return mapped(target, pki, "multi", subject=[(unit, "a"), (NameOID.COMMON_NAME, "multi"), (unit, "b")])


def map__domain_components(target: TlsTarget, pki: Pki) -> list[str]:
    subject = [
        (NameOID.DOMAIN_COMPONENT, "example"), (NameOID.DOMAIN_COMPONENT, "com"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "CNCF"), (NameOID.COMMON_NAME, "example.com"),
    ]  # fmt: skip
    return mapped(target, pki, "components", subject=subject)


def map__nobody(target: TlsTarget, pki: Pki) -> list[str]:
    return mapped(target, pki, "nobody", names=(x509.DNSName("nobody.example.com"),))


def map__password_missing(target: TlsTarget, pki: Pki) -> list[str]:
    return mapped(target, pki, "with-password", names=(x509.DNSName("with-password"),))


def pinned__listed(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(pki.context(pki.client("pinned")))
    return peer.connect().row().record


def pinned__other(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(pki.context(pki.client("unlisted")))
    peer.until_end()
    return [peer.record[0], target.closed(peer.cid), *errors(target, peer)]


def modern__old_client(target: TlsTarget, pki: Pki) -> list[str]:
    peer = Peer(target).info()
    peer.secure(old(pki))
    return [*peer.record, target.closed(peer.cid), *(line.partition(": [")[0] for line in errors(target, peer))]


def auth__right_wrong_and_late(target: TlsTarget, pki: Pki) -> list[str]:
    lines = []
    for fields in ({"user": "a", "pass": "b"}, {"user": "a", "pass": "c"}):
        peer = Peer(target).info()
        peer.secure(pki.context())
        peer.connect(**fields)
        lines += peer.record
    late = Peer(target).info()
    late.secure(pki.context())
    late.until_end()
    return [*lines, *late.record, str(target.page("/varz")["auth_timeout"])]


def one__too_many(target: TlsTarget, pki: Pki) -> list[str]:
    inside = Peer(target).info()
    inside.secure(pki.context())
    inside.connect()
    return Peer(target).info().until_end().record


def one_first__too_many(target: TlsTarget, pki: Pki) -> list[str]:
    inside = Peer(target)
    inside.secure(pki.context())
    inside.info().connect()
    return Peer(target).until_end().record


def ciphers__of_tls_12(target: TlsTarget, pki: Pki) -> list[str]:
    right, wrong = Peer(target).info(), Peer(target).info()
    right.secure(old(pki, "ECDHE-ECDSA-AES256-GCM-SHA384"))
    wrong.secure(old(pki))
    return [*right.connect().row().record, *wrong.record, target.closed(wrong.cid), *errors(target, wrong)]


def curve__another_one(target: TlsTarget, pki: Pki) -> list[str]:
    right, wrong = Peer(target).info(), Peer(target).info()
    right.secure(pki.context())
    context = pki.context()
    context.set_ecdh_curve("prime256v1")
    wrong.secure(context)
    return [*right.connect().record, *wrong.record, target.closed(wrong.cid), *errors(target, wrong)]


def rate__too_fast(target: TlsTarget, pki: Pki) -> list[str]:
    """More than two in some second: however long it takes, there is one. The first tries may lie across two."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        peers = [Peer(target).info() for _ in range(4)]
        secured = [peer.secure(pki.context()) for peer in peers]
        if secured[0] and not secured[-1]:
            return [*peers[0].connect().record, target.closed(peers[-1].cid)]
    raise AssertionError("nobody was throttled")


def reloaded(target: TlsTarget, config: str) -> list[str]:
    """What the log says about a HUP with this file."""
    target.config.write_text(NAME + config)
    before = len(target.log())
    assert target.process is not None
    target.process.send_signal(signal.SIGHUP)
    while not any(DONE.search(line) for line in target.log()[before:].splitlines()):
        time.sleep(0.005)
    said = [line.partition("] ")[2].partition("] ")[2] for line in target.log()[before:].splitlines()]
    texts = [line for line in said if re.match(r"Failed|Disconnect|Reloaded:.*(tls|TLS|pinned)", line)]
    return [re.sub(r" \(sha256.*| cid:.*", "", line) for line in texts]


@pytest.fixture
def fresh() -> Iterator[list[TlsTarget]]:
    """Both, for one test."""
    if (reason := why_missing(REFERENCE) or why_missing(MILLPOND)) is not None:
        pytest.skip(reason)
    targets = [TlsTarget(kind, "") for kind in (REFERENCE, MILLPOND)]
    yield targets
    for target in targets:
        target.discard()


def served(target: TlsTarget, pki: Pki, pair: Pair | None = None) -> tuple[Peer, str]:
    """A client that is in, and the name of the server's certificate."""
    peer = Peer(target).info()
    context = pki.context(pair)
    context.check_hostname = False
    assert peer.secure(context)
    peer.connect()
    assert isinstance(peer.socket, ssl.SSLSocket)
    return peer, str(dict(part[0] for part in peer.socket.getpeercert()["subject"])["commonName"])


def is_in(peer: Peer) -> bool:
    peer.send(b"PING\r\n")
    return peer.line() == b"PONG\r\n"


def test_certificates_change_while_connections_stay(fresh: list[TlsTarget], tmp_path: Path) -> None:
    seen = []
    for target in fresh:
        pki = Pki(tmp_path / target.kind)
        target.config.write_text(NAME + pki.block())
        target.start()
        first, name = served(target, pki)
        lines = [name, *reloaded(target, pki.block())]
        pki.authority.server("renewed").copy_over(pki.server)
        lines += reloaded(target, pki.block())
        second, name = served(target, pki)
        lines += [name, str(is_in(first)), str(is_in(second))]
        lines += reloaded(target, pki.block("timeout: 3, handshake_first: '200ms'"))
        pki.server.key_file.write_text("no key")
        lines += [line.partition(":")[0] for line in reloaded(target, pki.block("verify: true"))]
        third, name = served(target, pki)
        lines += [name, str(is_in(first)), str(is_in(third))]
        seen.append(lines)
    assert "\n".join(seen[0]) == "\n".join(seen[1])
    assert seen[0][0] == "server"
    assert seen[0].count("renewed") == 2
    assert "False" not in seen[0]


def test_tls_is_turned_off_and_on(fresh: list[TlsTarget], tmp_path: Path) -> None:
    seen = []
    for target in fresh:
        pki = Pki(tmp_path / target.kind)
        target.config.write_text(NAME + pki.block())
        target.start()
        inside, _ = served(target, pki)
        lines = reloaded(target, "max_traced_msg_len: 5\n")
        clear = Peer(target).info().connect()
        lines += [*clear.record, str(is_in(inside))]
        lines += reloaded(target, pki.block())
        lines += [*Peer(target).info().record, str(is_in(clear))]
        seen.append(lines)
    assert "\n".join(seen[0]) == "\n".join(seen[1])


def test_strangers_leave_when_pins_change(fresh: list[TlsTarget], tmp_path: Path) -> None:
    target = fresh[1]
    pki = Pki(tmp_path / "pins")
    pins = [pki.client(name).pin for name in ("kept", "gone")]
    target.config.write_text(pki.block("verify: true"))
    target.start()
    kept, gone = (served(target, pki, pki.client(name))[0] for name in ("kept", "gone"))
    lines = reloaded(target, pki.block(f'verify: true, pinned_certs: ["{pins[0]}"]'))
    assert {"Disconnect 1 clients due to pinned certs reload", "Reloaded: 1 pinned_certs"} < set(lines)
    assert target.closed(gone.cid) == "TLS Handshake Failure"
    assert is_in(kept)


def errors(target: TlsTarget, peer: Peer) -> list[str]:
    """What the log says about this connection, if it is more than for those who look for something to debug."""
    return [line for line in target.said(peer.cid) if line.startswith(LEVELS)]


SCENARIOS = [function for name, function in list(globals().items()) if "__" in name[1:-2] and callable(function)]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def servers(pki: Pki) -> Iterator[Callable[[str], list[TlsTarget]]]:
    yield from started(CONFIGS, TlsTarget, pki)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda function: function.__name__)
def test_same(scenario: Any, servers: Callable[[str], list[TlsTarget]], pki: Pki) -> None:
    reference, other = (scenario(target, pki) for target in servers(scenario.__name__.partition("__")[0]))
    diff = list(difflib.unified_diff(reference, other, REFERENCE, MILLPOND, lineterm="", n=9))
    assert not diff, "\n" + "\n".join(diff)
