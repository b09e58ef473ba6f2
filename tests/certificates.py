"""Certificates for tests, made when they are needed: an authority, servers and clients of it, for one day."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Attributes = list[tuple[x509.ObjectIdentifier, str]]
DAY = datetime.timedelta(days=1)


class Pair:
    """A certificate and its key, as files."""

    def __init__(self, folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key
        self.cert_file, self.key_file = folder / f"{name}.pem", folder / f"{name}-key.pem"
        self.cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pin(self) -> str:
        """SHA-256 of the public key, as `pinned_certs` lists it."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        return digest.finalize().hex()

    def copy_over(self, other: Pair) -> None:
        """The files of `other` have this content from now on."""
        other.cert_file.write_bytes(self.cert_file.read_bytes())
        other.key_file.write_bytes(self.key_file.read_bytes())


class Authority:
    """Signs what it is asked to. `ca_file` is its own certificate."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of tests")])
        own = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        self.ca_file = Pair(folder, name, own.sign(self._key, hashes.SHA256()), self._key).cert_file

    def server(self, name: str = "server", *, hosts: tuple[str, ...] = ("localhost", "127.0.0.1")) -> Pair:
        names: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        subject = [(NameOID.COMMON_NAME, name)]
        return self._pair(name, subject, names, ExtendedKeyUsageOID.SERVER_AUTH)

    def client(
        self, name: str = "client", *, subject: Attributes | None = None, names: tuple[x509.GeneralName, ...] = (),
        days: int = 1,
    ) -> Pair:  # fmt: skip
        subject = [(NameOID.COMMON_NAME, name)] if subject is None else subject
        return self._pair(name, subject, list(names), ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def _pair(
        self, name: str, subject: Attributes, names: list[x509.GeneralName], usage: x509.ObjectIdentifier, days: int = 1
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(oid, value) for oid, value in subject]), key, days)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Pair(self.folder, name, builder.sign(self._key, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 1) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + days * DAY)
        )


def client_context(ca_file: Path, pair: Pair | None = None, **settings: object) -> ssl.SSLContext:
    """For a client that trusts this authority, and shows a certificate."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT if hasattr(ssl, "VERIFY_X509_STRICT") else ~0
    if pair is not None:
        context.load_cert_chain(pair.cert_file, pair.key_file)
    for name, value in settings.items():
        setattr(context, name, value)
    return context
