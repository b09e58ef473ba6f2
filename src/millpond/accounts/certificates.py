"""What a client's certificate says of its owner (reference 02.1, SEC-05), in the forms that nats-server compares.

A user may be named by an e-mail address, a DNS name or a URI of the certificate, or by its subject: as a distinguished
name (RFC 4514) in the certificate's order or any other, or as Go writes a subject, which groups its attributes by
kind. `cryptography` is loaded by the first certificate that is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millpond.base.digests import sha256

if TYPE_CHECKING:
    from cryptography import x509

Attribute = tuple[str, str]
"""(type in upper case, value)."""
Rdn = frozenset[Attribute]

TYPES: Final = {
    "2.5.4.3": "CN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET",
    "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.17": "POSTALCODE",
}  # fmt: skip
DOMAIN_COMPONENT: Final = "0.9.2342.19200300.100.1.25"
GROUPED: Final = ("C", "O", "OU", "L", "ST", "STREET", "POSTALCODE")
"""Go's order of a subject's parts that may have several values; behind them stand one CN and one SERIALNUMBER."""
SINGLE: Final = ("CN", "SERIALNUMBER")
ESCAPED: Final = ',+"\\<>;'
ESCAPABLE: Final = ' "#+,;<=>\\'
SECOND_NS: Final = 1_000_000_000
DNS_KEPT: Final = 1024
"""Names of users that were parsed."""


class Names(NamedTuple):
    """What one certificate may be known by."""

    texts: tuple[str, ...]
    """E-mail addresses, DNS names, URIs, in the order in which they are tried."""
    subject: tuple[Rdn, ...] | None
    """None: it has an attribute that distinguished names of users cannot have."""
    subject_texts: tuple[str, ...]
    """The subject as Go writes it, first with its domain components, when it has some."""


class Shown(NamedTuple):
    """A certificate as /connz shows it."""

    subject: str
    key_sha256: str
    sha256: str


def names(der: bytes) -> Names:
    """Raises ValueError for what is no certificate."""
    certificate = _parsed(der)
    subject = certificate.subject
    text = _written(_grouped(subject))
    components = ",".join(f"DC={attribute.value!s}" for attribute in subject if _oid(attribute) == DOMAIN_COMPONENT)
    texts = (f"{text},{components}", text) if components else (text,)
    return Names(tuple(_alternatives(certificate)), _rdns(subject), texts)


def shown(der: bytes) -> Shown:
    """Raises ValueError for what is no certificate."""
    certificate = _parsed(der)
    other = [[attribute] for attribute in certificate.subject if _oid(attribute) not in TYPES]
    return Shown(_written([*other, *_grouped(certificate.subject)]), key_sha256(der), sha256(der).hexdigest())


def key_sha256(der: bytes) -> str:
    """Of the certificate's public key, with its algorithm: what `pinned_certs` lists."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = _parsed(der).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return str(sha256(key).hexdigest())


def not_after_of(path: str) -> int:
    """When the first certificate in this file ends, Unix ns; 0: that cannot be read."""
    from cryptography import x509

    try:
        return int(x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc.timestamp()) * SECOND_NS
    except (OSError, ValueError):
        return 0


def _parsed(der: bytes) -> x509.Certificate:
    from cryptography import x509

    return x509.load_der_x509_certificate(der)


def _oid(attribute: Any) -> str:
    return str(attribute.oid.dotted_string)


def _alternatives(certificate: x509.Certificate) -> Iterator[str]:
    from cryptography import x509

    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return
    yield from value.get_values_for_type(x509.RFC822Name)
    yield from value.get_values_for_type(x509.DNSName)
    yield from value.get_values_for_type(x509.UniformResourceIdentifier)


# --- subjects ---


def _rdns(subject: x509.Name) -> tuple[Rdn, ...] | None:
    known = {**TYPES, DOMAIN_COMPONENT: "DC"}
    found = []
    for rdn in reversed(subject.rdns):
        if any(_oid(attribute) not in known for attribute in rdn):
            return None
        found.append(frozenset((known[_oid(attribute)], str(attribute.value)) for attribute in rdn))
    return tuple(found)


def _grouped(subject: x509.Name) -> list[list[Any]]:
    by_type: dict[str, list[Any]] = {}
    for attribute in subject:
        by_type.setdefault(TYPES.get(_oid(attribute), ""), []).append(attribute)
    rows = [by_type[name] for name in GROUPED if name in by_type]
    return rows + [by_type[name][-1:] for name in SINGLE if name in by_type]


def _written(rows: list[list[Any]]) -> str:
    """The last one first, as in RFC 2253."""
    return ",".join("+".join(map(_attribute, row)) for row in reversed(rows))


def _attribute(attribute: Any) -> str:
    oid, value = _oid(attribute), str(attribute.value)
    last = len(value) - 1
    escaped = [
        "\\" + char if char in ESCAPED or (char == " " and at in (0, last)) or (char == "#" and at == 0) else char
        for at, char in enumerate(value)
    ]
    return f"{TYPES.get(oid, oid)}={''.join(escaped)}"


@lru_cache(maxsize=DNS_KEPT)
def parse_dn(text: str) -> tuple[Rdn, ...] | None:
    """A distinguished name as a user's name may be one; None: it is none."""
    found: list[Rdn] = []
    attributes: list[Attribute] = []
    for kind, value, end in _pieces(text):
        if not kind or value is None:
            return None
        attributes.append((kind.upper(), value))
        if end != "+":
            found.append(frozenset(attributes))
            attributes = []
    return tuple(found) if found and not attributes else None


def _pieces(text: str) -> Iterator[tuple[str, str | None, str]]:
    """(type, value, what stands behind it: a comma, a plus, nothing); a value of None is broken."""
    kind, word, blanks = "", bytearray(), 0
    at, data = 0, text.encode("utf-8", "surrogateescape")

    def taken() -> str:
        return bytes(word[: len(word) - blanks]).decode("utf-8", "surrogateescape")

    while at < len(data):
        char = chr(data[at])
        at += 1
        if char == "\\":
            code, at = _unescaped(data, at)
            if code < 0:
                yield kind, None, ""
                return
            word.append(code)
            blanks = 0
        elif char == "=":
            if data[at : at + 1] == b"#":
                yield kind, None, ""
                return
            kind, word, blanks = taken(), bytearray(), 0
        elif char in ",+":
            yield kind, taken(), char
            kind, word, blanks = "", bytearray(), 0
        elif char != " " or word:
            word.append(ord(char))
            blanks = blanks + 1 if char == " " else 0
    if word:
        yield kind, taken(), ""


def _unescaped(data: bytes, at: int) -> tuple[int, int]:
    """(the byte behind a backslash, -1: it is none; where it goes on)."""
    if at < len(data) and chr(data[at]) in ESCAPABLE:
        return data[at], at + 1
    try:
        return int(data[at : at + 2].decode("ascii"), 16) if len(data) >= at + 2 else -1, at + 2
    except ValueError:
        return -1, at


def match_subject(wanted: tuple[Rdn, ...], users: Iterable[str]) -> str | None:
    """The user whose name is this subject: in the same order if there is one, else in any order."""
    reordered = None
    for name in users:
        parsed = parse_dn(name)
        if parsed == wanted:
            return name
        if reordered is None and parsed is not None and sorted(map(sorted, parsed)) == sorted(map(sorted, wanted)):
            reordered = name
    return reordered
