"""From `TlsOptions` to the context of OpenSSL (Python's `ssl`), which is loaded only here: it is 4.5 MiB.

What cannot be used is told in the words of nats-server, whose users look for them. Renegotiation and compression are
off, and sessions of TLS 1.3 are not resumed: a certificate that a reload does not admit any more comes back no way.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millpond.base.errors import OptionError
from millpond.config.tls import (
    OPENSSL_CIPHERS,
    OPENSSL_CURVES,
    TLS_13_CIPHERS,
    USUAL_CIPHERS,
    TlsClientOptions,
    TlsCommon,
    TlsOptions,
)

if TYPE_CHECKING:
    import ssl

PEM_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[\s\x21-\x7e]+?-----END CERTIFICATE-----")
PEM_ANY: Final = b"-----BEGIN "
PAIR: Final = "error parsing X509 certificate/key pair"


def _read(what: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise OptionError(f"{what}open {name}: {(error.strerror or str(error)).lower()}") from None


def server_context(options: TlsOptions) -> ssl.SSLContext:
    """Raises OptionError: a file that is not there or of another kind, a key that belongs to another certificate."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_versions(context, options)
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # all of them are good: the client knows what it does fast
    context.num_tickets = 0
    _set_ciphers(context, options)
    _set_curves(context, options)
    many = len(options.certs)
    for number, (cert, key) in enumerate(options.pairs, 1):
        _load_pair(context, f"{PAIR} {number}/{many}: " if many else f"{PAIR}: ", cert, key)
    if options.ca_file:
        # OpenSSL completes its own chain with what it trusts: authorities that verify nobody are only looked at.
        _load_authorities(context if options.verifies else ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), options.ca_file)
    elif options.verifies:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    if options.verifies:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(options: TlsClientOptions) -> ssl.SSLContext:
    """For connections that the server makes. Raises OptionError, as above."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _set_versions(context, options)
    _set_ciphers(context, options)
    _set_curves(context, options)
    for cert, key in options.pairs:
        _load_pair(context, f"{PAIR}: ", cert, key)
    if options.ca_file:
        _load_authorities(context, options.ca_file)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _set_versions(context: ssl.SSLContext, options: TlsCommon) -> None:
    import ssl

    version = ssl.TLSVersion.TLSv1_3 if options.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.minimum_version = version
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _set_ciphers(context: ssl.SSLContext, options: TlsCommon) -> None:
    import ssl

    wanted = [name for name in options.cipher_suites or USUAL_CIPHERS if name not in TLS_13_CIPHERS]
    if not wanted:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return
    try:
        context.set_ciphers(":".join(OPENSSL_CIPHERS[name] for name in wanted))
    except ssl.SSLError:
        raise OptionError(f"this machine's OpenSSL has none of the cipher suites {', '.join(wanted)}") from None


def _set_curves(context: ssl.SSLContext, options: TlsCommon) -> None:
    """One of those that were asked for: Python below 3.15 can name only one, and it must be an allowed one."""
    names = [OPENSSL_CURVES[name] for name in options.curve_preferences]
    if not names:
        return
    for name in names:
        try:
            context.set_ecdh_curve(name)
            return
        except (ValueError, OSError):
            continue
    raise OptionError(f"this machine's OpenSSL has none of the curves {', '.join(options.curve_preferences)}")


def _load_pair(context: ssl.SSLContext, what: str, cert: str, key: str) -> None:
    import ssl

    if not PEM_CERTIFICATE.search(_read(what, cert)):
        raise OptionError(f"{what}tls: failed to find any PEM data in certificate input")
    if PEM_ANY not in _read(what, key):
        raise OptionError(f"{what}tls: failed to find any PEM data in key input")
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        raise OptionError(f"{what}{_load_error(error)}") from None
    except OSError as error:
        raise OptionError(f"{what}open {error.filename or cert}: {(error.strerror or str(error)).lower()}") from None


def _no_password() -> str:
    raise OptionError("the private key is encrypted, and there is nobody to ask for the password; write it decrypted")


def _load_error(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "tls: private key does not match public key"
    if error.reason == "EE_KEY_TOO_SMALL":
        return "the certificate's key is too small for this machine's OpenSSL; use RSA of 2048 bits, or a curve"
    if error.reason == "CA_MD_TOO_WEAK":
        return "the certificate's signature is too weak for this machine's OpenSSL; use SHA-256"
    return f"tls: failed to parse certificate or key ({(error.reason or str(error)).lower().replace('_', ' ')})"


def _load_authorities(context: ssl.SSLContext, name: str) -> None:
    import ssl

    blocks = PEM_CERTIFICATE.findall(_read("", name))
    try:
        context.load_verify_locations(cadata=b"\n".join(blocks).decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise OptionError("failed to parse root ca certificate") from None
