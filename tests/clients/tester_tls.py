"""Certificates of one group of servers: an authority made for it, one for its servers, one for its clients."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ["localhost", "127.0.0.1", "::1"]
TIMEOUT_S = 2
VALID = datetime.timedelta(hours=24)


class Certificates:
    """Files in `directory`, as a request for generated TLS wants them."""

    def __init__(self, directory: Path, options: dict[str, Any]) -> None:
        self.is_mutual = options.get("mode", "mutual") != "server"
        self.is_first = bool(options.get("handshake_first"))
        self.timeout_s = options.get("timeout") or TIMEOUT_S
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = f"authority of {directory.name}"              # nobody takes it for that of another group
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        self._authority = self._signed(self._name, self._key, authority=True)
        server_key, client_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        names = [alternative(name) for name in options.get("sans") or NAMES]
        server = self._signed(named("server"), server_key, use=ExtendedKeyUsageOID.SERVER_AUTH, names=names)
        client = self._signed(named("client"), client_key, use=ExtendedKeyUsageOID.CLIENT_AUTH)
        texts = {
            "CAFile": pem(self._authority), "CertFile": pem(server), "KeyFile": pem(server_key),
        }  # fmt: skip
        self._client = {"client_cert_pem": pem(client), "client_key_pem": pem(client_key)} if self.is_mutual else {}
        self.fields = {field: str(directory / f"{field}.pem") for field in texts}
        for field, text in texts.items():
            Path(self.fields[field]).write_text(text)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool = False,
        use: x509.ObjectIdentifier | None = None, names: list[x509.GeneralName] | None = None,
    ) -> x509.Certificate:  # fmt: skip
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - VALID).not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )  # fmt: skip
        if use is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def block(self) -> str:
        """The `tls` block of a server."""
        lines = [f'cert_file: "{self.fields["CertFile"]}"', f'key_file: "{self.fields["KeyFile"]}"']
        if self.is_mutual:
            lines += [f'ca_file: "{self.fields["CAFile"]}"', "verify: true"]
        if self.is_first:
            lines.append("handshake_first: true")
        return "tls {\n  " + "\n  ".join([*lines, f"timeout: {self.timeout_s}"]) + "\n}"

    def material(self) -> dict[str, str]:
        """What a client needs."""
        return {"ca_pem": pem(self._authority), **self._client}


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def pem(thing: x509.Certificate | ec.EllipticCurvePrivateKey) -> str:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM).decode()
    return thing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
