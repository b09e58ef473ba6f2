"""Why a handshake failed, in the words of Go's crypto/tls, which is what nats-server's users read in its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl

NOT_TLS: Final = "tls: first record does not look like a TLS handshake"
NOT_PINNED: Final = "certificate not pinned"
TOO_LONG: Final = "tls: handshake message is longer than {} bytes"

REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls: client didn't provide a certificate",
    "UNSUPPORTED_PROTOCOL": "tls: client offered only unsupported versions",
    "NO_SHARED_CIPHER": "tls: no cipher suite supported by both client and server",
    "NO_SUITABLE_KEY_SHARE": "tls: no key exchanges supported by both client and server",
    "NO_SHARED_GROUPS": "tls: no key exchanges supported by both client and server",
    "NO_SHARED_GROUP": "tls: no key exchanges supported by both client and server",
    "WRONG_VERSION_NUMBER": NOT_TLS,
    "HTTP_REQUEST": NOT_TLS,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "local error: tls: bad record MAC",
}
"""OpenSSL's reason -> text."""
ALERTS: Final = {
    "UNEXPECTED_MESSAGE": "unexpected message",
    "BAD_RECORD_MAC": "bad record MAC",
    "HANDSHAKE_FAILURE": "handshake failure",
    "BAD_CERTIFICATE": "bad certificate",
    "UNSUPPORTED_CERTIFICATE": "unsupported certificate",
    "CERTIFICATE_REVOKED": "revoked certificate",
    "CERTIFICATE_EXPIRED": "expired certificate",
    "CERTIFICATE_UNKNOWN": "unknown certificate",
    "ILLEGAL_PARAMETER": "illegal parameter",
    "UNKNOWN_CA": "unknown certificate authority",
    "ACCESS_DENIED": "access denied",
    "DECODE_ERROR": "error decoding message",
    "DECRYPT_ERROR": "error decrypting message",
    "PROTOCOL_VERSION": "protocol version not supported",
    "INSUFFICIENT_SECURITY": "insufficient security level",
    "INTERNAL_ERROR": "internal error",
    "USER_CANCELLED": "user canceled",
    "UNRECOGNIZED_NAME": "unrecognized name",
}
"""What a client says of our certificate, among others."""
AUTHORITY_CODES: Final = (2, 18, 19, 20, 21)
"""X509_V_ERR_ of chains that end nowhere we know."""
TIME_CODES: Final = (9, 10)
UNVERIFIED: Final = "tls: failed to verify certificate: x509: "


def explained(error: ssl.SSLError) -> str:
    """One line."""
    code = getattr(error, "verify_code", 0)
    if code:
        return UNVERIFIED + _unverified(code, str(getattr(error, "verify_message", "")))
    reason = error.reason or ""
    if "_ALERT_" in reason:
        name = reason.partition("_ALERT_")[2]
        return f"remote error: tls: {ALERTS.get(name, name.lower().replace('_', ' '))}"
    return REASONS.get(reason) or f"tls: {reason.lower().replace('_', ' ') or error}"


def _unverified(code: int, message: str) -> str:
    if code in AUTHORITY_CODES:
        return "certificate signed by unknown authority"
    if code in TIME_CODES:
        return "certificate has expired or is not yet valid"
    return message
