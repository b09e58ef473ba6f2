"""Any token is claims or a JwtError, and any claims are judged: whatever a stranger shows, and whatever is signed."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jwt_rig import Operator

from millpond.accounts import claims as c
from millpond.accounts import claims_rules as rules
from millpond.accounts import jwt
from millpond.accounts.book import AccountBook, AccountError
from millpond.accounts.operator import identity_of, is_from, rights_of
from millpond.accounts.templates import TemplateError
from millpond.accounts.time_windows import valid_for_s
from millpond.monitor.account_claims import claimed

OPERATOR = Operator()
ACCOUNT = OPERATOR.account("A")
USER = ACCOUNT.user("u")
PERMISSIONS: dict[str, Any] = {
    "pub": {"allow": ["a.{{name()}}", "b.>"], "deny": ["{{tag(x)}}"]}, "sub": {"allow": ["c q"]},
    "resp": {"max": 1, "ttl": 5},
}  # fmt: skip
RIGHTS: dict[str, Any] = {
    **PERMISSIONS, "src": ["10.0.0.0/8"], "times": [{"start": "01:00:00", "end": "02:00:00"}], "times_location": "UTC",
    "subs": 1, "data": 1, "payload": 1, "bearer_token": False, "allowed_connection_types": ["STANDARD"],
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "user": {**RIGHTS, "issuer_account": ACCOUNT.public, "tags": ["x:1"]},
    "activation": {"subject": "a.*", "kind": "stream", "issuer_account": ACCOUNT.public},
    "account": {
        "imports": [{"subject": "a.*.b", "account": ACCOUNT.public, "local_subject": "$1", "type": "stream"},
                    {"subject": "s", "account": ACCOUNT.public, "to": "t", "type": "service", "token": "eyJ"}],
        "exports": [{"subject": "a.*.b", "type": "stream", "token_req": True, "revocations": {"*": 5}},
                    {"subject": "s.*", "type": "service", "response_type": "Stream", "account_token_position": 2,
                     "response_threshold": 5, "service_latency": {"sampling": 5, "results": "l"}}],
        "limits": {"subs": 1, "conn": -1, "imports": 5, "exports": 5, "wildcards": True, "mem_storage": 5,
                   "tiered_limits": {"R1": {"mem_storage": 1, "streams": 1}}},
        "signing_keys": [ACCOUNT.signing.public,
                         {"kind": "user_scope", "key": ACCOUNT.signing.public, "role": "r", "template": RIGHTS}],
        "revocations": {"*": 5}, "default_permissions": PERMISSIONS, "tags": ["t"],
        "mappings": {"m.*": [{"subject": "n.$1", "weight": 50}, {"subject": "o"}]},
        "authorization": {"auth_users": ["U"], "allowed_accounts": ["*"], "xkey": "X"},
        "trace": {"dest": "t", "sampling": 5}, "cluster_traffic": "owner", "description": "d", "info_url": "http://x",
    },
}  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["a.*", "a.>", "a..b", "$1", "$9.*", "{{name()}}", "{{x}}", "{{tag(x)}}.{{tag(x)}}", "*", ">",
                       "", " ", "stream", "service", "user_scope", "24:00:00", "::/0", "1.2.3.4/99", ACCOUNT.public])
)  # fmt: skip
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.text(max_size=3), LEAVES, max_size=2)
CHANGES = st.lists(st.tuples(st.integers(0, 10_000), VALUES), max_size=4)


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in it."""
    found: list[tuple[Any, Any]] = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        if isinstance(item, (dict, list)):
            found += places(item)
    return found


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@given(st.text() | st.text(alphabet="eyJ.abc-_=\n", max_size=60))
def test_any_text(text: str) -> None:
    with contextlib.suppress(jwt.JwtError):
        jwt.decode_any(text)


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=70))
def test_any_bytes_in_chunks(header: bytes, body: bytes, signature: bytes) -> None:
    try:
        jwt.decode_any(".".join(map(encoded, (header, body, signature))))
    except jwt.JwtError:
        return
    raise AssertionError("nobody has signed this")


@given(st.integers(0, len(USER.token) - 1), st.characters(codec="ascii"))
def test_a_changed_token_is_refused(at: int, char: str) -> None:
    token = USER.token[:at] + char + USER.token[at + 1 :]
    try:
        found = jwt.decode(token, c.UserClaims)
    except jwt.JwtError:
        return
    # What is left of a last digit's bits, and a line end, say nothing.
    assert found == jwt.decode(USER.token, c.UserClaims)


@settings(deadline=None)
@given(st.sampled_from(sorted(BODIES)), CHANGES)
def test_any_claims_that_are_signed(kind: str, changes: list[tuple[int, Any]]) -> None:
    """Those of which a few members are something else."""
    key = OPERATOR.key if kind == "account" else ACCOUNT.key
    body = copy.deepcopy(BODIES[kind])
    claims = {"iss": key.public, "sub": ACCOUNT.public, "exp": 2**33, "nats": {**body, "type": kind, "version": 2}}
    for place, value in changes:
        found = places(claims)
        container, name = found[place % len(found)]
        container[name] = value
    head = f"{encoded(jwt._HEADER)}.{encoded(json.dumps(claims).encode())}"
    token = f"{head}.{encoded(key.sign(head.encode()))}"
    try:
        found = jwt.decode_any(token)
    except jwt.JwtError:
        assert changes, "they are good as they are"
        return
    book = AccountBook([OPERATOR.key.public])
    if isinstance(found, c.AccountClaims):
        rules.of_account(found)
        try:
            known = book.put(token)
        except AccountError:
            return
        assert known is not None
        book.options()
        claimed(known)
    elif isinstance(found, c.UserClaims):
        rules.of_user(found)
        known = book.put(ACCOUNT.token())
        assert known is not None
        with contextlib.suppress(TemplateError):
            rights = rights_of(found, known)
            valid_for_s(rights)
            is_from(rights, "127.0.0.1")
            identity_of(found, rights, "A", name="", token="", window_s=0.0, defaults=None)
