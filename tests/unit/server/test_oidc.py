"""Users who are known by the token of an issuer: a web server of this process, with keys that change."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import nats
import pytest
from accounts_rig import options
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from nats.aio.client import Client
from tests.certificates import Authority

import millpond
from millpond.accounts import oidc
from millpond.accounts.oidc import Issuer, Unknown
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config.oidc import OidcOptions
from millpond.server import reload

RSA_KEY = rsa.generate_private_key(65_537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
KEYS = {
    "r": (RSA_KEY, "RS256", RSAAlgorithm), "e": (EC_KEY, "ES256", ECAlgorithm), "o": (OTHER_KEY, "ES256", ECAlgorithm),
}  # fmt: skip
SECRET = "b8f1-nobody-may-read-this"


def jwk(kid: str, **more: Any) -> dict[str, Any]:
    key, algorithm, kind = KEYS[kid]
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": algorithm, **more}


class Web:
    """An issuer, over TLS."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.keys = [jwk("r"), jwk("e")]
        self.says: dict[str, Any] = {}
        self.asked: list[str] = []
        self.issuer = ""

    async def __aenter__(self) -> Web:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = self.authority.server()
        context.load_cert_chain(pair.cert_file, pair.key_file)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.issuer = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/realm"
        return self

    async def __aexit__(self, *unused: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.asked.append(path)
        found: Any = {"keys": self.keys}
        if path == "/realm/.well-known/openid-configuration":
            found = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **self.says}
        body = json.dumps(found).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    def token(self, kid: str = "r", **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": self.issuer, "aud": "nats", "sub": "ann", "exp": now + 600, "secret": SECRET, **claims}
        key, algorithm, _ = KEYS[kid]
        return jwt.encode({name: value for name, value in body.items() if value is not None}, key, algorithm,
                          headers={"kid": kid})  # fmt: skip

    def config(self, claim: str = "groups") -> str:
        return f"""
            accounts {{
              A {{ users: [ {{ oidc: admins }}, {{ user: a, pass: x }} ] }}
              B {{ users: [ {{ oidc: "*", permissions {{ publish: "ok.>" }} }} ] }}
            }}
            authorization {{ oidc {{
              issuer: "{self.issuer}", audience: nats, claim: "{claim}", ca_file: "{self.authority.ca_file}"
            }} }}
        """


def run(tmp_path: Path, scenario: Callable[[millpond.Server, Web], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Web(tmp_path) as web, millpond.Server.from_options(options(tmp_path, web.config())) as server:
            await asyncio.wait_for(scenario(server, web), 30)

    asyncio.run(main())


async def enter(server: millpond.Server, token: str) -> Client:
    """Raises when it is not let in."""
    return await nats.connect(server.client_url, token=token, allow_reconnect=False, connect_timeout=20)


async def refused(server: millpond.Server, token: str) -> None:
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
        await enter(server, token)


def session_of(server: millpond.Server, nc: Client) -> Any:
    return server.broker.sessions[nc.client_id]


def test_who_is_let_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: millpond.Server, web: Web) -> None:
        admin = await enter(server, web.token(groups=["staff", "admins"]))
        other = await enter(server, web.token("e", groups="staff", sub="bob"))
        found = [(each.identity.name, each.account.name) for each in (session_of(server, nc) for nc in (admin, other))]
        assert found == [("ann", "A"), ("bob", "B")]
        assert session_of(server, other).info(False).jwt == "", "a token is as good as a password"
        sub = await other.subscribe("no.x")
        await other.publish("no.x", b"")
        await other.publish("ok.x", b"")
        await other.flush()
        assert sub.pending_msgs == 0
        now = int(time.time())
        for claims in (
            {"groups": None}, {"groups": []}, {"groups": [5]}, {"groups": "a", "aud": "other"},
            {"groups": "a", "aud": None}, {"groups": "a", "iss": "https://other"}, {"groups": "a", "exp": now - 60},
            {"groups": "a", "exp": None},
            {"groups": "a", "sub": None}, {"groups": "a", "nbf": now + 600},
        ):  # fmt: skip
            await refused(server, web.token(**claims))
        good = web.token(groups="admins")
        await refused(server, good[:-6] + "AAAAAA")
        await refused(server, jwt.encode(jwt.decode(good, options={"verify_signature": False}), "", "none"))
        await refused(server, "oidc:admins")
        with pytest.raises(nats.errors.Error):
            await nats.connect(server.client_url, user="oidc:admins", password="", allow_reconnect=False)
        password = await nats.connect(server.client_url, user="a", password="x")
        for nc in (admin, other, password):
            await nc.close()

    run(tmp_path, scenario)
    assert SECRET not in caplog.text and "eyJ" not in caplog.text


def test_a_public_key_is_no_password(tmp_path: Path) -> None:
    """A token that is signed by HMAC with the issuer's public key, which everybody has."""

    async def scenario(server: millpond.Server, web: Web) -> None:
        nc = await enter(server, web.token(groups="admins"))
        head, body = web.token(groups="admins").split(".")[:2]
        pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        text = jwt.utils.base64url_encode(b'{"alg":"HS256","kid":"r"}').decode()
        signed = f"{text}.{body}"
        seal = jwt.utils.base64url_encode(hmac.new(pem, signed.encode(), hashlib.sha256).digest()).decode()
        await refused(server, f"{signed}.{seal}")
        await refused(server, f"{head}.{body}.")
        await nc.close()

    run(tmp_path, scenario)


def test_the_end_of_a_token_is_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "LEEWAY_S", 0)

    async def scenario(server: millpond.Server, web: Web) -> None:
        closed = asyncio.Event()

        async def over() -> None:
            closed.set()

        await (await enter(server, web.token(groups="admins"))).close()      # the keys are there from here
        nc = await nats.connect(
            server.client_url, token=web.token(groups="admins", exp=int(time.time()) + 3), allow_reconnect=False,
            closed_cb=over, connect_timeout=20,
        )  # fmt: skip
        cid = nc.client_id
        await closed.wait()
        assert {row.cid: row.reason for row in server.broker.closed}[cid] == "Authentication Expired"

    run(tmp_path, scenario)


def test_new_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are fetched when a token comes whose key is not known, and not for each of those."""
    monkeypatch.setattr(limits, "OIDC_PAUSE_S", 0.01)

    async def scenario(server: millpond.Server, web: Web) -> None:
        first = await enter(server, web.token(groups="admins"))
        before = len(web.asked)
        again = await enter(server, web.token(groups="admins"))
        assert len(web.asked) == before, "nothing is fetched for a key that is known"
        web.keys = [jwk("o")]
        nc = await enter(server, web.token("o", groups="admins"))
        assert len(web.asked) == before + 2
        await refused(server, web.token("r", groups="admins"))
        assert first.is_connected, "who is in stays"
        for each in (first, again, nc):
            await each.close()

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "says", [{"issuer": "https://other"}, {"jwks_uri": "http://127.0.0.1/keys"}, {"jwks_uri": None}, {"jwks_uri": 5}]
)
def test_what_an_issuer_says_of_itself(
    tmp_path: Path, says: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(server: millpond.Server, web: Web) -> None:
        await refused(server, web.token(groups="admins"))

    async def main() -> None:
        async with Web(tmp_path) as web:
            web.says = says
            async with millpond.Server.from_options(options(tmp_path, web.config())) as server:
                await asyncio.wait_for(scenario(server, web), 30)

    asyncio.run(main())
    assert "cannot be fetched: it " in caplog.text


def test_an_issuer_that_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By its certificate. The server starts, and lets others in."""

    async def main() -> None:
        (tmp_path / "other").mkdir()
        async with Web(tmp_path) as web:
            text = web.config().replace(str(web.authority.ca_file), str(Authority(tmp_path / "other").ca_file))
            async with millpond.Server.from_options(options(tmp_path, text)) as server:
                await refused(server, web.token(groups="admins"))
                await (await nats.connect(server.client_url, user="a", password="x")).close()

    asyncio.run(asyncio.wait_for(main(), 30))
    assert "certificate verify failed" in caplog.text


def test_a_reload(tmp_path: Path) -> None:
    """Who is in stays while its user is there; another issuer needs a start."""

    async def scenario(server: millpond.Server, web: Web) -> None:
        nc = await enter(server, web.token(groups="admins"))
        other = await enter(server, web.token(groups="x"))
        cid = nc.client_id
        reload.apply(server, options(tmp_path, web.config().replace("pass: x", "pass: y")))
        assert (session_of(server, nc).identity.name, session_of(server, nc).account.name) == ("ann", "A")
        await nc.flush()
        with pytest.raises(OptionError, match="oidc"):
            reload.apply(server, options(tmp_path, web.config("sub").replace("pass: x", "pass: y")))
        reload.apply(server, options(tmp_path, web.config().replace("oidc: admins", "oidc: others")))
        assert cid not in server.broker.sessions
        await other.flush()
        for each in (nc, other):
            await each.close()

    run(tmp_path, scenario)


# --- the configuration ---

BLOCK = "oidc { issuer: 'https://a/', audience: b }"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("authorization { oidc { issuer: 'https://a' } }", "oidc needs audience"),
        ("authorization { oidc { audience: b } }", "oidc needs issuer"),
        ("authorization { oidc { issuer: 'http://a', audience: b } }", "https://<host>"),
        ("authorization { oidc { issuer: 'https://u:p@a', audience: b } }", "https://<host>"),
        ("authorization { oidc { issuer: 'https://a', audience: b, claims: x } }", 'unknown field "claims"'),
        (f"authorization {{ {BLOCK} }}", "lets nobody in"),
        ("authorization { users: [ { oidc: a } ] }", "users by oidc need an issuer"),
        (f"authorization {{ {BLOCK}, users: [ {{ oidc: a, user: b }} ] }}", "take no names"),
        (f"authorization {{ {BLOCK}, users: [ {{ oidc: a }}, {{ oidc: a }} ] }}", "Duplicate user"),
        (f"no_auth_user: 'oidc:a'\nauthorization {{ {BLOCK}, users: [ {{ oidc: a }} ] }}", "not present as user"),
    ],
)
def test_what_cannot_be(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        options(tmp_path, text)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millpond.config.oidc.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'millpond\[oidc\]'"):
        options(tmp_path, f"authorization {{ {BLOCK}, users: [ {{ oidc: a }} ] }}")


# --- keys, and what names users ---


def issuer(**more: str) -> Issuer:
    return Issuer(OidcOptions(issuer="https://a", audience="b", **more))


def test_keys_that_are_taken() -> None:
    found = issuer()
    odd = [
        5, {}, {"kty": "oct", "k": "AAAA"}, jwk("r", use="enc"), jwk("r", alg="RS512"), jwk("e", crv="P-384"),
        {**jwk("r"), "kid": 5}, {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "A", "y": "A"},
    ]  # fmt: skip
    assert found.take(json.dumps({"keys": [*odd, jwk("r")]}).encode()) == 1
    for document in (b"", b"[]", b"{}", b'{"keys": 5}', json.dumps({"keys": odd}).encode(), b"[" * 100_000):
        with pytest.raises(ValueError, match="it"):
            found.take(document)
    many = [{**jwk("r"), "kid": str(number)} for number in range(limits.OIDC_KEYS_MAX + 1)]
    assert found.take(json.dumps({"keys": many}).encode()) == limits.OIDC_KEYS_MAX


@pytest.mark.parametrize("token", ["", "eyJ", "eyJ..", "eyJhbGciOiJSUzI1NiJ9.e30.AA", f"eyJ{'W' * 4000}.x.y", "a.b.c"])
def test_any_text_is_no_token(token: str) -> None:
    found = issuer()
    found.take(json.dumps({"keys": [jwk("r")]}).encode())
    assert found.verify(token) is None


def test_a_key_by_no_name() -> None:
    """One that is alone needs none."""
    found, token = issuer(), jwt.encode({"iss": "https://a", "aud": "b", "sub": "s", "exp": 9e9}, RSA_KEY, "RS256")
    found.take(json.dumps({"keys": [jwk("r")]}).encode())
    claims = found.verify(token)
    assert claims is not None and claims.values == ("s",) and claims.ends_s == oidc.LAST_S
    found.take(json.dumps({"keys": [jwk("r"), jwk("e")]}).encode())
    with pytest.raises(Unknown):
        found.verify(token)


@pytest.mark.parametrize(
    ("name", "values"),
    [("g", ("a", "b")), ("deep.er", ("c",)), ("https://x.y/z", ("d",)), ("no.thing", ()), ("n", ()), ("sub.x", ())],
)
def test_where_a_claim_is(name: str, values: tuple[str, ...]) -> None:
    claims = {"g": ["a", 5, "b", ""], "deep": {"er": "c"}, "https://x.y/z": "d", "n": 5, "sub": "s"}
    assert oidc._values(claims, name) == values
