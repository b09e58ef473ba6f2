"""Settings of TLS from flags and from a file; names of users as distinguished names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.certificates import Authority

from millpond.accounts.certificates import match_subject, parse_dn
from millpond.base.errors import OptionError
from millpond.cli import flags, serve
from millpond.config import build, tls
from millpond.config.file import read

SECOND = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With `server.pem`, `server-key.pem`, `ca.pem`, `second.pem` and `second-key.pem`; the working directory."""
    authority = Authority(tmp_path)
    authority.server("server")
    authority.server("second")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(text: str) -> dict[str, Any]:
    Path("it.conf").write_text(text)
    return read("it.conf").settings


def test_a_block_with_everything(folder: Path) -> None:
    options = build.build(settings("""
        tls {
            cert_file: server.pem, key_file: server-key.pem, ca_file: ca.pem, verify_and_map: true, timeout: 0.5
            cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 ], curve_preferences: [CurveP384, X25519 ]
            handshake_first: "300ms", min_version: "1.3", connection_rate_limit: 7, insecure: false
        }
        allow_non_tls: true
        https: "localhost:8443"
    """))
    assert options.tls == tls.TlsOptions(
        cert_file="server.pem", key_file="server-key.pem", ca_file="ca.pem", verify=True, verify_and_map=True,
        timeout_ns=SECOND // 2, cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",),
        curve_preferences=("CurveP384", "X25519"), handshake_first=True, fallback_ns=3 * SECOND // 10,
        min_version="1.3", connection_rate_limit=7,
    )  # fmt: skip
    assert (options.allow_non_tls, options.http_host, options.https_port) == (True, "localhost", 8443)
    assert options.auth_timeout_ns == 3 * SECOND // 2  # a second more than the handshake


def test_the_time_to_authenticate_may_be_configured(folder: Path) -> None:
    block = "tls {cert_file: server.pem, key_file: server-key.pem}\n"
    assert build.build(settings(block)).auth_timeout_ns == 3 * SECOND
    assert build.build(settings(block + "authorization {timeout: 1}")).auth_timeout_ns == SECOND


def test_flags_replace_the_files_and_keep_the_rest(folder: Path) -> None:
    file = settings("tls {cert_file: server.pem, key_file: server-key.pem, timeout: 5, verify: true, ca_file: ca.pem}")
    given = flags.parse(["--tls", "--tlscert", "second.pem", "--tlskey", "second-key.pem"]).settings
    found = build.build({**file, **given}).tls
    assert found == tls.TlsOptions(cert_file="second.pem", key_file="second-key.pem", timeout_ns=5 * SECOND)
    words = "-tlsverify -tlscert=second.pem -tlskey=second-key.pem -tlscacert=ca.pem"
    verified = flags.parse(words.split()).settings
    found = build.build(verified).tls
    assert found is not None
    assert (found.verifies, found.ca_file) == (True, "ca.pem")
    assert build.build({**file, **flags.parse(["-tls=false"]).settings}).tls is None


@pytest.mark.parametrize(
    ("words", "error"),
    [("--tls", "certificate must be present"), ("--tls --tlscert server.pem", "private key must be present"),
     ("--tlscert nothing.pem --tlskey server-key.pem", "open nothing.pem: no such file"),
     ("--tlscert server.pem --tlskey second-key.pem", "private key does not match public key"),
     ("-ms 8443", "cert and key required for HTTPS")],
)  # fmt: skip
def test_flags_that_cannot_be_used(folder: Path, words: str, error: str) -> None:
    with pytest.raises(OptionError, match=error):
        build.build(flags.parse(words.split()).settings)


def test_help_of_tls_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--help_tls"]) == 0
    text = capsys.readouterr().out
    assert "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" in text
    assert "CurveP521" in text
    assert "{" + "c" not in text


def test_ciphers_have_one_name_on_each_side() -> None:
    assert len(set(tls.OPENSSL_CIPHERS.values())) == len(tls.OPENSSL_CIPHERS)
    assert {tls.go_cipher(name) for name in tls.OPENSSL_CIPHERS.values()} == set(tls.OPENSSL_CIPHERS)
    assert tls.go_cipher("TLS_AES_128_GCM_SHA256") == "TLS_AES_128_GCM_SHA256"
    assert set(tls.USUAL_CIPHERS) < set(tls.OPENSSL_CIPHERS)
    assert tls.INSECURE_CIPHERS


# --- distinguished names ---


def dn(*parts: tuple[str, str]) -> tuple[frozenset[tuple[str, str]], ...]:
    return tuple(frozenset({part}) for part in parts)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("CN=a,O=b", dn(("CN", "a"), ("O", "b"))), (" cn = a , o= b ", dn(("CN", "a"), ("O", "b"))),
        (r"CN=a\, b,O=\20c", dn(("CN", "a, b"), ("O", " c"))), (r"CN=\C3\A4", dn(("CN", "\u00e4"))),
        ("CN=a+OU=b,O=c", (frozenset({("CN", "a"), ("OU", "b")}), frozenset({("O", "c")}))),
        (r"CN=a\ ", dn(("CN", "a "))), ("name", None), ("", None), ("CN=#0401", None), ("CN=a,b", None),
        ("CN=a\\", None), (r"CN=a\g", None), (r"CN=a\zz", None), ("=a", None), ("someone@example.com", None),
    ],
)  # fmt: skip
def test_distinguished_names(text: str, parsed: Any) -> None:
    assert parse_dn(text) == parsed


def test_the_order_of_a_certificate_comes_first() -> None:
    wanted = dn(("CN", "a"), ("O", "b"))
    assert match_subject(wanted, ["x", "O=b,CN=a", "CN=a, O=b"]) == "CN=a, O=b"
    assert match_subject(wanted, ["x", "O=b,CN=a", "CN=a"]) == "O=b,CN=a"
    assert match_subject(wanted, ["CN=a", "CN=A,O=b", "CN=a,O=b,C=c"]) is None
