"""Operator mode and the auth callout in a server of this process."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from tests.jwt_rig import Account, Operator

import millpond
from millpond.accounts import callout, jwt, xkey
from millpond.accounts import claims as c
from millpond.accounts.operator import completed, trust
from millpond.accounts.signing import KeyPair
from millpond.base.errors import OptionError
from millpond.base.ids import CURVE_PREFIX, SERVER_PREFIX, encode_key
from millpond.config.build import build
from millpond.config.file import read
from millpond.config.operator import CalloutOptions, OperatorOptions, ResolverOptions
from millpond.config.options import Options
from millpond.config.security import AccountOptions, User
from millpond.config.source import ConfigErrors


def options(path: Path, text: str) -> Options:
    file = path / "operator.conf"
    file.write_text(text)
    return build({**read(file).settings, "host": "127.0.0.1", "port": -1})


def creds(path: Path, account: Account, **body: Any) -> str:
    file = path / f"{account.name}.creds"
    file.write_text(account.user("u", **body).creds)
    return str(file)


def test_clients_with_a_file_of_credentials(tmp_path: Path) -> None:
    operator = Operator()
    account = operator.account("A", limits={"disk_storage": -1, "mem_storage": -1, "streams": -1, "consumer": -1})
    text = operator.config(account, more=f'jetstream {{ store_dir: "{tmp_path}/store" }}')

    async def scenario() -> None:
        for count in (1, 2):  # and once more, with what is on disk
            async with millpond.Server.from_options(options(tmp_path, text)) as server:
                client = await nats.connect(server.client_url, user_credentials=creds(tmp_path, account))
                stream = client.jetstream()
                await stream.add_stream(name="S", subjects=["s"])
                assert (await stream.publish("s", b"1")).seq == count
                await client.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_no_secret_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    operator = Operator()
    account = operator.account("A")
    user, bearer = account.user("u"), account.user("b", bearer_token=True)

    async def scenario() -> None:
        async with millpond.Server.from_options(options(tmp_path, operator.config(account))) as server:
            for token, signature in ((user.token, "x"), (bearer.token, ""), (bearer.token[:-4] + "aaaa", "")):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                await reader.readline()
                writer.write(f'CONNECT {{"jwt":"{token}","sig":"{signature}"}}\r\nPING\r\n'.encode())
                await reader.readline()
                writer.close()

    with caplog.at_level(logging.DEBUG, logger="millpond"):
        asyncio.run(asyncio.wait_for(scenario(), 30))
    text = caplog.text
    assert "Signature not verified" in text and "Authenticated JWT" in text
    for secret in (user.token, bearer.token, user.key.seed):
        assert secret not in text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"assert_server_version": "2.16.0"}, "minor version 16"), ({"assert_server_version": "3.0.0"}, "major"),
        ({"assert_server_version": "2.15.2"}, "update"), ({"assert_server_version": "x"}, "form"),
        ({"signing_keys": ("nobody",)}, "public operator nkey"),
    ],
)  # fmt: skip
def test_operators_that_cannot_be(body: dict[str, Any], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        trust(OperatorOptions(tokens=(Operator().token(**body),)))


def test_operators_are_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page that tells of them, and each reload, asks for them."""
    given = OperatorOptions(tokens=(Operator().token(),))
    found = trust(given)

    def signed(*unused: object) -> bool:
        raise AssertionError("it was verified before")

    monkeypatch.setattr(jwt, "is_signed", signed)
    assert trust(msgspec.structs.replace(given, default_sentinel="x")) == found
    with pytest.raises(AssertionError):
        trust(OperatorOptions(tokens=(Operator().token(),)))


def test_versions_that_are_served() -> None:
    for version in ("2.15.1", "2.14.9", "1.99.99", ""):
        assert trust(OperatorOptions(tokens=(Operator().token(assert_server_version=version),))).keys


def test_strict_operators_sign_with_their_other_keys() -> None:
    operator, other = Operator(), Operator()
    found = trust(OperatorOptions(tokens=(
        operator.token(signing_keys=(other.key.public,), strict_signing_key_usage=True),)))  # fmt: skip
    assert found.keys == found.strict == (other.key.public,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"users": (User(name="u"),)}, "users to be configured"), ({"no_auth_user": "u"}, "no_auth_user"),
        ({"accounts": (AccountOptions(name="A"),)}, "Accounts to be configured"),
        ({"callout": CalloutOptions(issuer="A", users=("u",))}, "callouts"), ({"system_account": "AX"}, "identical"),
    ],
)  # fmt: skip
def test_what_goes_not_with_an_operator(changes: dict[str, Any], reason: str) -> None:
    operator = OperatorOptions(tokens=(Operator().token(),), resolver=ResolverOptions())
    assert completed(Options(operator=operator)).system_account
    with pytest.raises(OptionError, match=reason):
        completed(Options(operator=operator, **changes))
    with pytest.raises(OptionError, match="resolver"):
        completed(Options(operator=OperatorOptions(tokens=operator.tokens)))


@pytest.mark.parametrize(
    ("sentinel", "reason"), [("x", "not valid"), ("plain", "bearer"), ("bearer", ""), ("scoped", "")]
)
def test_sentinels(sentinel: str, reason: str) -> None:
    operator = Operator()
    account = operator.account("A")
    token = {
        "plain": account.user("u").token, "bearer": account.user("u", bearer_token=True).token,
        "scoped": account.user("u", by=account.signing, scoped=True).token,
    }.get(sentinel, sentinel)  # fmt: skip
    given = Options(operator=OperatorOptions(
        tokens=(operator.token(),), resolver=ResolverOptions(), default_sentinel=token))  # fmt: skip
    if not reason:
        completed(given)
        return
    with pytest.raises(OptionError, match=reason):
        completed(given)


def test_keys_without_tokens() -> None:
    """Nobody says of them whose accounts these are, so some settings go with tokens only."""
    operator = Operator()
    token = operator.account("A").user("u", bearer_token=True).token
    keys = OperatorOptions(keys=(operator.key.public,), resolver=ResolverOptions())
    assert completed(Options(operator=keys)).operator == keys
    for sentinel in ("x", token):
        with pytest.raises(OptionError, match="default sentinel requires operators and accounts"):
            completed(Options(operator=msgspec.structs.replace(keys, default_sentinel=sentinel)))
    for kind in ("full", "cache"):
        directory = ResolverOptions(kind=kind, directory="d")  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="no operator key found"):
            completed(Options(operator=msgspec.structs.replace(keys, resolver=directory)))


def test_no_secret_is_in_what_is_shown_of_settings(tmp_path: Path) -> None:
    resolver = ResolverOptions(kind="url", url="http://user:SECRET@host/")
    secret, preload = "SECRET", (("A", "SECRET"),)
    given = OperatorOptions(tokens=(secret,), resolver=resolver, preload=preload, default_sentinel=secret)
    server = callout.ThisServer(
        id="N", name="n", host="h", version="v", tags=(), keys=KeyPair.create(SERVER_PREFIX), xkey="X",
        xkey_secret=b"SECRET",
    )  # fmt: skip
    for each in (resolver, given, Options(operator=given), server):
        assert "SECRET" not in repr(each)
    with pytest.raises(ConfigErrors) as caught:
        options(tmp_path, f"operator: {Operator().token()}\nresolver: URL(ftp://user:SECRET@host/)")
    assert "SECRET" not in str(caught.value)


def test_a_sentinel_lets_in_who_shows_no_token(tmp_path: Path) -> None:
    operator = Operator()
    account = operator.account("A")
    sentinel = account.user("s", bearer_token=True)
    text = operator.config(account, more=f"default_sentinel: {sentinel.token}")

    async def scenario() -> None:
        async with millpond.Server.from_options(options(tmp_path, text)) as server:
            client = await nats.connect(server.client_url)
            (session,) = server.broker.sessions.values()
            assert session.account.name == account.public
            await client.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_boxes() -> None:
    from nacl.public import PrivateKey

    ours, theirs = bytes(range(32)), bytes(range(1, 33))
    public = [encode_key(CURVE_PREFIX, bytes(PrivateKey(each).public_key)) for each in (ours, theirs)]
    box = xkey.seal(b"text", ours, public[1])
    assert xkey.unseal(box, theirs, public[0]) == b"text"
    for bad in (box[:-1], b"xkv1", b"", box[:40] + b"x" + box[41:]):
        with pytest.raises(ValueError, match="nkeys"):
            xkey.unseal(bad, theirs, public[0])


def test_a_callout_that_seals_needs_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = encode_key(CURVE_PREFIX, bytes(32))
    issuer = Operator().account("A").public
    text = (
        "authorization { users: [{user: a, password: a}], "
        f"auth_callout {{ issuer: {issuer}, auth_users: [a], xkey: {public} }} }}"
    )
    monkeypatch.setattr(xkey, "is_there", lambda: False)

    async def scenario() -> None:
        await millpond.Server.from_options(options(tmp_path, text)).start()

    with pytest.raises(OptionError, match="PyNaCl"):
        asyncio.run(scenario())


def test_titles() -> None:
    assert callout.title("not an x") == "Not an x" and callout.title("") == ""
    assert c.UserBody(subs=1).has_rights and not c.UserBody(tags=("a",)).has_rights
