"""What a `tls` block says (reference 02.4), as one frozen value, and the names that Go has for ciphers and curves."""

from __future__ import annotations

from typing import Final

import msgspec

from millpond.base import limits


class TlsCommon(msgspec.Struct, frozen=True, kw_only=True):
    """What both sides may choose."""

    min_version: str = "1.2"
    cipher_suites: tuple[str, ...] = ()
    """Go's names; empty: the usual ones. TLS 1.3 has its own, all of them good."""
    curve_preferences: tuple[str, ...] = ()


class TlsClientOptions(TlsCommon, frozen=True, kw_only=True):
    """How the server itself does TLS where it is the client. Files are read when it connects for the first time, and
    again after a reload."""

    pairs: tuple[tuple[str, str], ...] = ()
    """(certificate, key) to show; empty: none."""
    ca_file: str = ""
    """Who signs the other side's certificate; empty: whoever the machine trusts."""
    insecure: bool = False
    """Any certificate will do, of anybody."""


class TlsOptions(TlsCommon, frozen=True, kw_only=True):
    """How one listener does TLS. Files are read when the server starts and at each reload."""

    cert_file: str = ""
    key_file: str = ""
    certs: tuple[tuple[str, str], ...] = ()
    """Further pairs of (certificate, key), instead of the two above: which is shown depends on what a client knows."""
    ca_file: str = ""
    """Who signs the certificates of clients; empty: whoever the machine trusts."""
    verify: bool = False
    """Clients must show a certificate."""
    verify_and_map: bool = False
    """And the certificate says which user they are."""
    timeout_ns: int = limits.TLS_TIMEOUT_NS
    handshake_first: bool = False
    """The handshake comes before INFO."""
    fallback_ns: int = 0
    """Above 0, with `handshake_first`: after so long without a byte from the client INFO goes first all the same."""
    pinned_certs: frozenset[str] = frozenset()
    """SHA-256 of the public keys that clients may have, in hexadecimal; empty: any."""
    connection_rate_limit: int = 0
    """Handshakes in a second; 0: any number."""

    @property
    def verifies(self) -> bool:
        """Must clients show a certificate?"""
        return self.verify or self.verify_and_map

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All pairs of (certificate, key)."""
        return self.certs or ((self.cert_file, self.key_file),)


OPENSSL_CIPHERS: Final = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA": "ECDHE-RSA-DES-CBC3-SHA",
    "TLS_RSA_WITH_RC4_128_SHA": "RC4-SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA": "ECDHE-RSA-RC4-SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA": "ECDHE-ECDSA-RC4-SHA",
}
"""Ciphers of TLS 1.2: Go's name -> OpenSSL's."""
TLS_13_CIPHERS: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
USUAL_CIPHERS: Final = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
)  # fmt: skip
"""In Go's order of preference."""
INSECURE_CIPHERS: Final = frozenset(OPENSSL_CIPHERS) - frozenset(USUAL_CIPHERS)
"""Without forward secrecy, or weak: only when they are asked for twice."""
GO_CIPHERS: Final = {name: go for go, name in OPENSSL_CIPHERS.items()}

OPENSSL_CURVES: Final = {
    "X25519": "X25519",
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519MLKEM768": "X25519MLKEM768",
    "SecP256r1MLKEM768": "SecP256r1MLKEM768",
    "SecP384r1MLKEM1024": "SecP384r1MLKEM1024",
}
"""Go's name -> OpenSSL's."""


def go_cipher(name: str) -> str:
    """Go's name of a cipher that OpenSSL has negotiated; those of TLS 1.3 have one name."""
    return GO_CIPHERS.get(name, name)
