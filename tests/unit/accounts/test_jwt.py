"""JWTs: what is read, what is refused, and that our tokens are others' tokens."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import nkeys
import pytest
from tests.jwt_rig import Operator

from millpond.accounts import claims as c
from millpond.accounts import claims_rules as rules
from millpond.accounts import jwt, templates
from millpond.accounts.signing import KeyPair, is_signed
from millpond.accounts.time_windows import valid_for_s
from millpond.base import limits
from millpond.base.ids import ACCOUNT_PREFIX, OPERATOR_PREFIX, SERVER_PREFIX, USER_PREFIX

OPERATOR = Operator()
ACCOUNT = OPERATOR.account("A")


def text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(payload: Any, key: KeyPair, header: Any = None, *, v1: bool = False) -> str:
    """A token with any payload."""
    head = text(json.dumps(header or {"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = text(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    return f"{head}.{body}.{text(key.sign((body if v1 else f'{head}.{body}').encode()))}"


def payload(**changes: Any) -> dict[str, Any]:
    return {
        "iss": ACCOUNT.public, "sub": KeyPair.create(USER_PREFIX).public,
        "nats": {"type": "user", "version": 2, **changes.pop("nats", {})}, **changes,
    }  # fmt: skip


def test_pairs_are_those_of_nkeys() -> None:
    for prefix in (OPERATOR_PREFIX, ACCOUNT_PREFIX, USER_PREFIX):
        ours = KeyPair.create(prefix)
        theirs = nkeys.from_seed(ours.seed.encode())
        assert theirs.public_key.decode() == ours.public
        assert is_signed(ours.public, theirs.sign(b"text"), b"text")
        assert theirs.verify(b"text", ours.sign(b"text"))
        assert KeyPair.from_seed(ours.seed).public == ours.public
        assert not is_signed(ours.public, ours.sign(b"text"), b"other")
    with pytest.raises(ValueError, match="not the seed") as error:
        KeyPair.from_seed("SU" + "A" * 56)
    assert "AAAA" not in str(error.value)


def test_what_is_encoded_is_decoded() -> None:
    scope = c.Scope(kind="user_scope", key=ACCOUNT.signing.public, template=c.Template(subs=5))
    body = c.AccountBody(
        exports=(c.Export(subject="a.*", type="service"),), signing_keys=("x", scope), limits=c.Limits(conn=3),
        mappings={"a": (c.WeightedMapping(subject="b"),)}, tags=("t",),
    )  # fmt: skip
    token = jwt.encode(c.AccountClaims(subject=ACCOUNT.public, nats=body), OPERATOR.key)
    found = jwt.decode(token, c.AccountClaims)
    assert found.nats.exports == body.exports and found.nats.scopes == {"x": None, ACCOUNT.signing.public: scope}
    assert found.issuer == OPERATOR.key.public and found.nats.version == 2 and len(found.token_id) == 52


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "3 chunks"), ("a.b", "3 chunks"), ("a.b.c.d", "3 chunks"), ("!.b.c", "base64"),
        ("x" * (limits.JWT_BYTES_MAX + 1), "too large"),
        (signed(payload(), ACCOUNT.key, {"typ": "JWS", "alg": "ed25519-nkey"}), "type"),
        (signed(payload(), ACCOUNT.key, {"typ": "JWT", "alg": "none"}), "algorithm"),
        (signed(payload(), ACCOUNT.key, {"typ": "JWT", "alg": 5}), "algorithm"),
        (signed(payload(), ACCOUNT.key, [1]), "object"),
        (signed(b"[]", ACCOUNT.key), "object"), (signed(b"{", ACCOUNT.key), "JSON"),
        (signed(b"[" * 100_000, ACCOUNT.key), "JSON"), (signed(b"\xff", ACCOUNT.key), "JSON"),
        (signed(payload(nats={"version": 3}), ACCOUNT.key), "newer"),
        (signed(payload(nats={"version": 0}), ACCOUNT.key), "version"),
        (signed(payload(nats={"type": "cluster"}), ACCOUNT.key), "ClusterClaims"),
        (signed(payload(nats={"type": "generic"}), ACCOUNT.key), "not known"),
        (signed(payload(nats={"subs": "many"}), ACCOUNT.key), "int"),
        (signed(payload(exp=2**63), ACCOUNT.key), "range"), (signed(payload(), OPERATOR.key), "signature"),
        (signed(payload(iss=OPERATOR.key.public), OPERATOR.key), "kind"),
        (signed(payload(iss="nobody"), ACCOUNT.key), "signature"),
        (signed(payload(), ACCOUNT.key, v1=True), "signature"),
    ],
    ids=range(23),
)  # fmt: skip
def test_refused(token: str, reason: str) -> None:
    with pytest.raises(jwt.JwtError, match=reason):
        jwt.decode(token, c.UserClaims)


def test_no_error_shows_a_value() -> None:
    for changes in ({"nats": {"subs": "secret"}}, {"exp": "secret"}, {"nats": {"type": "secret"}}):
        with pytest.raises(jwt.JwtError) as error:
            jwt.decode(signed(payload(**changes), ACCOUNT.key), c.UserClaims)
        assert "secret" not in str(error.value)


def test_a_token_of_another_kind() -> None:
    with pytest.raises(jwt.JwtError, match="not user claim"):
        jwt.decode(ACCOUNT.token(), c.UserClaims)


def test_line_ends_and_other_cases_are_read() -> None:
    token = signed(payload(), ACCOUNT.key, {"typ": "jwt", "alg": "ED25519"})
    assert jwt.decode(f"{token}\n", c.UserClaims).issuer == ACCOUNT.public


def test_null_is_nothing() -> None:
    found = jwt.decode(signed(payload(exp=None, nats={"pub": {"allow": None}}), ACCOUNT.key), c.UserClaims)
    assert found.expires_s == 0 and found.nats.pub == c.Subjects()


def test_version_1() -> None:
    before = {
        "iss": ACCOUNT.public, "sub": KeyPair.create(USER_PREFIX).public, "type": "user", "tags": ["a"],
        "issuer_account": ACCOUNT.public, "nats": {"pub": {"allow": ["x"]}, "src": "1.2.3.0/24, 10.0.0.0/8"},
    }  # fmt: skip
    user = jwt.decode(signed(before, ACCOUNT.key, {"typ": "jwt", "alg": "ed25519"}, v1=True), c.UserClaims)
    assert (user.nats.subs, user.nats.payload, user.nats.tags) == (-1, -1, ("a",))
    assert user.nats.issuer_account == ACCOUNT.public and user.nats.networks == ("1.2.3.0/24", "10.0.0.0/8")
    account = {
        "iss": OPERATOR.key.public, "sub": ACCOUNT.public, "type": "account",
        "nats": {"limits": {"subs": 3, "mem_storage": 5}, "signing_keys": ["k"]},
    }  # fmt: skip
    found = jwt.decode(signed(account, OPERATOR.key, v1=True), c.AccountClaims)
    assert (found.nats.limits.subs, found.nats.limits.mem_storage, found.nats.version) == (3, 0, 1)
    activation = {
        "iss": ACCOUNT.public, "sub": ACCOUNT.public, "type": "activation", "nats": {"subject": "a", "type": "stream"},
    }  # fmt: skip
    assert jwt.decode(signed(activation, ACCOUNT.key, v1=True), c.ActivationClaims).nats.kind == "stream"


def test_requests_are_signed_by_servers() -> None:
    server, user = KeyPair.create(SERVER_PREFIX), KeyPair.create(USER_PREFIX)
    body = c.AuthRequestBody(server_id=c.ServerId(name="n", host="h", id=server.public), user_nkey=user.public)
    token = jwt.encode(c.AuthRequestClaims(subject=ACCOUNT.public, nats=body), server)
    assert jwt.decode(token, c.AuthRequestClaims).nats.user_nkey == user.public
    with pytest.raises(jwt.JwtError, match="kind"):
        jwt.decode(jwt.encode(c.AuthRequestClaims(subject="A", nats=body), user), c.AuthRequestClaims)


# --- templates ---


def filled(*allow: str, deny: tuple[str, ...] = (), tags: tuple[str, ...] = ("team:a", "team:b")) -> c.Subjects:
    rights = c.Template(pub=c.Subjects(allow=allow, deny=deny))
    user = c.UserClaims(name="bob", subject="U1", nats=c.UserBody(tags=tags, issuer_account="A1"))
    account = templates.Account("acc", ("where:x",))
    return templates.filled_in(rights, user, account).pub


def test_templates() -> None:
    assert filled("{{name()}}.{{ Subject() }}", "{{account-name()}}.{{account-subject()}}", "plain").allow == (
        "bob.U1", "acc.A1", "plain",
    )  # fmt: skip
    assert filled("t.{{tag(team)}}.{{account-tag(where)}}").allow == ("t.a.x", "t.b.x")
    assert set(filled("{{tag(team)}}.{{tag(team)}}").allow) == {"a.a", "b.b"}
    assert filled("t.{{tag(none)}}") == c.Subjects(deny=(">",)), "nothing is left of what was allowed"
    assert filled("t.{{tag(none)}}", "u").allow == ("u",)
    for bad in ("{{what()}}", "{{tag(}}"):
        with pytest.raises(templates.TemplateError, match="not defined"):
            filled(bad)
    with pytest.raises(templates.TemplateError, match="not defined"):
        filled("a", deny=("{{tag(none)}}",))
    with pytest.raises(templates.TemplateError, match="invalid subject"):
        filled("a", deny=("{{tag(odd)}}",), tags=("odd:a..b",))


def test_templates_are_bounded() -> None:
    many = tuple(f"team:{number}" for number in range(100))
    with pytest.raises(templates.TemplateError, match="limit"):
        filled("{{tag(team)}}.{{tag(team)}}", tags=many)


# --- hours ---


@pytest.mark.parametrize(
    ("window", "hour", "left_h"),
    [(("11:00:00", "22:00:00"), 13, 9), (("11:00:00", "22:00:00"), 23, None), (("22:00:00", "06:00:00"), 5, 1),
     (("22:00:00", "06:00:00"), 23, 7), (("22:00:00", "06:00:00"), 12, None), (("1:00:00", "2:00:00"), 1, None)],
)  # fmt: skip
def test_windows(window: tuple[str, str], hour: int, left_h: int | None) -> None:
    rights = c.Template(times=(c.TimeRange(start=window[0], end=window[1]),), times_location="UTC")
    found = valid_for_s(rights, datetime(2026, 3, 4, hour, tzinfo=UTC))
    assert found == (None if left_h is None else timedelta(hours=left_h).total_seconds())


def test_windows_of_a_place() -> None:
    rights = c.Template(times=(c.TimeRange(start="08:00:00", end="10:00:00"),), times_location="Asia/Tokyo")
    assert valid_for_s(rights, datetime(2026, 3, 4, 0, tzinfo=UTC)) == 3600
    assert valid_for_s(c.Template()) == 0


@pytest.mark.parametrize("bad", [
    {"times": (c.TimeRange(start="25:00:00", end="26:00:00"),)}, {"times": (c.TimeRange(start="", end="x"),)},
    {"times": (c.TimeRange(start="00:00:00", end="23:59:59"),), "times_location": "No/Where"},
    {"times": (c.TimeRange(start="00:00:00", end="23:59:59"), c.TimeRange(start="soon", end="later"))},
])  # fmt: skip
def test_hours_that_are_none_let_nobody_in(bad: dict[str, Any]) -> None:
    """A template may hold such, as nobody judges it before."""
    assert valid_for_s(c.Template(**bad), datetime(2026, 3, 4, 12, tzinfo=UTC)) is None


# --- rules ---


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"src": ("1.2.3.4",)}, "cidr"), ({"src": ("x/8",)}, "cidr"), ({"src": ("1.2.3.4/33",)}, "cidr"),
        ({"times": (c.TimeRange(start="", end="1:00:00"),)}, "start"), ({"times_location": "No/Where"}, "zone"),
        ({"pub": c.Subjects(allow=("a b",))}, "queue"), ({"sub": c.Subjects(deny=("a b c",))}, "spaces"),
        ({"sub": c.Subjects(deny=("",))}, "empty"), ({"sub": c.Subjects(deny=(".a",))}, "start or end"),
        ({"issuer_account": "x"}, "account_id"),
    ],
)  # fmt: skip
def test_users_that_cannot_be(body: dict[str, Any], reason: str) -> None:
    issues = rules.of_user(c.UserClaims(subject="U", nats=c.UserBody(**body)))
    assert rules.is_blocking(issues) and any(reason in issue.description for issue in issues)


def test_networks_and_addresses() -> None:
    from millpond.accounts.operator import is_from

    rights = c.Template(src=("10.0.0.1/8", "::1/128"))
    assert is_from(rights, "10.200.0.1") and is_from(rights, "::1") and is_from(rights, "::ffff:10.0.0.1")
    assert not is_from(rights, "11.0.0.1") and not is_from(rights, "what")
    for bad in ("10.0.0.1", "here", "10.0.0.1/x"):  # in a template, which nobody judges before
        assert not is_from(c.Template(src=(bad, "10.0.0.1/8")), "10.0.0.1")
        assert is_from(c.Template(src=("10.0.0.1/8", bad)), "10.0.0.1")


def test_an_end_beyond_all_times_is_none() -> None:
    from millpond.accounts.operator import identity_of

    for expires_s, ends in ((2**62, 0), (2**33, 2**33)):
        claims = c.UserClaims(subject="U", expires_s=expires_s, nats=c.UserBody(subs=2**40, payload=-7))
        found = identity_of(claims, claims.nats, "A", name="", token="", window_s=0.0, defaults=None).credential
        assert found is not None and found.ends_s == ends
        assert (found.max_subscriptions, found.max_payload) == (2**31 - 1, -1)
