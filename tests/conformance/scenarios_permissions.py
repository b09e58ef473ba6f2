"""Users, passwords, nkeys and permissions out of a configuration file (reference 02.1, 02.2)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import nkeys

from .core_target import Settings
from .raw import CoreRecord, Raw, show_info

HASH = "$2b$04$IFJkPdE8mp0GuT7uqL./BeLdyN2I1xucdJqXUqhWeo077UgWZY5Na"
"""bcrypt of `s3cr3t`, at the least cost."""
SEED = b"SUAJ7NWLYPU7SODF67D53MORER7SOJJTX2WKLIXT4HBEMRT2MZYCPSEIIM"
NKEY = "UAM5PN3ZWD4BTF4VZTPSVET2F2LEIKXEZRCAGJFJEZV6HJUMZ2I57M4X"

USERS: Settings = {"config": f"""
authorization {{ users = [
  {{ user: plain, password: s3cr3t }}
  {{ user: hashed, password: "{HASH}" }}
  {{ nkey: {NKEY} }}
  {{ user: old, pass: x, allowed_connection_types: [ mqtt, WEBSOCKET ] }}
  {{ user: std, pass: x, connection_types: [ standard ] }}
  {{ user: empty }}
] }}
"""}
ONE_HASHED: Settings = {"config": f'authorization {{ user: derek, password: "{HASH}" }}'}
COSTLY: Settings = {"config": """
authorization { user: derek, password: "$2b$11$6gqmxWaFrMajsHofvzCzS.v44DEE.cZIBQZeMp7cFVftG9TcVmibK", timeout: 0.05 }
"""}
"""bcrypt of `s3cr3t`, which takes longer to verify than the authorization's timeout."""
TOKEN_HASHED: Settings = {"config": f'authorization {{ token: "{HASH}" }}'}
NO_AUTH_USER: Settings = {"config": """
authorization { users = [
  { user: known, password: x }
  { user: guest, password: y, permissions { publish: "guest.>", subscribe: [ "guest.>", "_INBOX.>" ] } }
] }
no_auth_user: guest
"""}
NO_AUTH_NKEY: Settings = {"config": f"""
authorization {{ users = [ {{ nkey: {NKEY}, permissions {{ publish: "a" }} }} ] }}
no_auth_user: {NKEY}
"""}
RULES: Settings = {"config": """
authorization {
  default_permissions { publish: "sandbox.>", subscribe: { allow: [ "sandbox.>", "_INBOX.>" ] } }
  users = [
    { user: default, pass: x }
    { user: pub, pass: x, permissions { publish { allow: [ "a.*", "b.>" ], deny: [ "a.secret", "b.*.secret" ] } } }
    { user: nopub, pass: x, permissions { publish { deny: ">" } } }
    { user: sub, pass: x, permissions { subscribe { allow: [ "a.*", "b.>", "c" ], deny: [ "b.no", "b.*.no" ] } } }
    { user: filtered, pass: x, permissions { subscribe { deny: [ "x.secret", "y.*.no", "z.> workers" ] } } }
    { user: queues, pass: x, permissions { subscribe {
        allow: [ "plain", "q v1", "both", "both v1.*", "wild *.dev" ], deny: [ "d q1", "e", "plain bad" ] } } }
    { user: responder, pass: x, permissions { subscribe: [ "svc.>", "other" ], allow_responses: true } }
    { user: twice, pass: x, permissions { publish: "log", subscribe: "svc.>", 
        allow_responses: { max: 2, expires: 1h } } }
    { user: brief, pass: x, permissions { subscribe: "svc.>", allow_responses: { max: -1, expires: 1ms } } }
    { user: admin, pass: x, permissions {} }
    { user: lists, pass: x, permissions { pub: [], sub { allow: [] } } }
  ]
}
"""}


def pub(subject: bytes, reply: bytes = b"", body: bytes = b"") -> bytes:
    return b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(body), body)


def connect(**fields: object) -> bytes:
    quiet = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
    return b"CONNECT " + json.dumps({**quiet, **fields}).encode() + b"\r\n"


def user(s: CoreRecord, name: str) -> Raw:
    return s.open(connect(user=name, **{"pass": "x"}))


def tried(s: CoreRecord, *table: dict[str, object]) -> None:
    """Each set of CONNECT fields on a connection of its own: what comes back, and why it ended."""
    for fields in table:
        raw = s.open(connect(**fields))
        s.say(raw, b"SUB a 1\r\n" + pub(b"a"), label=str(fields))
        raw.close()


def users(s: CoreRecord) -> None:
    raw = s.open()
    s.note(str(raw.info.get("auth_required")))
    tried(
        s, {"user": "plain", "pass": "s3cr3t"}, {"user": "plain", "pass": "wrong"}, {"user": "plain"}, {},
        {"user": "hashed", "pass": "s3cr3t"}, {"user": "hashed", "pass": "s3cr3T"}, {"user": "hashed", "pass": HASH},
        {"user": "hashed", "pass": "s3cr3t" + "x" * 100}, {"user": "hashed", "pass": "s3cr3t\0"},
        {"user": "nobody", "pass": "s3cr3t"}, {"auth_token": "s3cr3t"}, {"user": "old", "pass": "x"},
        {"user": "std", "pass": "x"}, {"user": "empty"}, {"user": "empty", "pass": "x"},
        {"user": "plain", "pass": "s3cr3t", "account": "A"}, {"user": "plain", "pass": "s3cr3t", "nkey": NKEY},
        {"nkey": NKEY}, {"nkey": NKEY, "sig": "AAAA"}, {"user": NKEY}, {"user": NKEY, "pass": ""},
    )  # fmt: skip
    for first in (b"PING\r\n", b"SUB a 1\r\n", b"PUB a 0\r\n\r\n"):
        s.fatal(s.open(), first)
    s.fatal(s.open(), connect(user="hashed", **{"pass": "no"}))


def a_single_hashed_user(s: CoreRecord) -> None:
    tried(s, {"user": "derek", "pass": "s3cr3t"}, {"user": "derek", "pass": HASH}, {"user": "d", "pass": "s3cr3t"}, {})


def longer_than_the_deadline(s: CoreRecord) -> None:
    tried(s, {"user": "derek", "pass": "s3cr3t"}, {"user": "derek", "pass": "wrong"})
    s.fatal(s.open(b"CONNECT {"), b"", label="silent")


def a_hashed_token(s: CoreRecord) -> None:
    tried(s, {"auth_token": "s3cr3t"}, {"auth_token": HASH}, {"pass": "s3cr3t"}, {})


def behind_a_slow_password(s: CoreRecord) -> None:
    """What comes behind the CONNECT waits until the password is verified, and takes effect in order."""
    raw = s.open(connect(user="hashed", **{"pass": "s3cr3t"}) + b"SUB a 1\r\n" + pub(b"a", b"", b"x" * 5000))
    s.say(raw, pub(b"a", b"", b"last"))
    raw = s.open()
    raw.send_pieces(bytes([byte]) for byte in connect(user="hashed", **{"pass": "s3cr3t"}) + b"SUB a 1\r\n")
    s.say(raw, pub(b"a"), label="in pieces")


def signature(raw: Raw, *, url_safe: bool) -> str:
    signed = nkeys.from_seed(SEED).sign(str(raw.info["nonce"]).encode())
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = encode(signed).decode()
    return text.rstrip("=") if url_safe else text


def nonces(s: CoreRecord) -> None:
    first, second = s.open(), s.open()
    s.note(f"{len(str(first.info['nonce']))} {first.info['nonce'] != second.info['nonce']}")
    first.info_line = first.info_line.replace(str(first.info["nonce"]).encode(), b"N")
    s.note(show_info(first.info_line))
    for url_safe in (True, False):
        raw = s.open()
        raw.send(connect(nkey=NKEY, sig=signature(raw, url_safe=url_safe)))
        s.say(raw, b"SUB a 1\r\n" + pub(b"a"), label=f"url_safe {url_safe}")
    raw, other = s.open(), s.open()
    other.send(connect(nkey=NKEY, sig=signature(raw, url_safe=True)))
    s.say(other, b"", label="another one's nonce")


def guests(s: CoreRecord) -> None:
    known = {"user": "known", "pass": "x"}
    s.note(f"asked to say who it is: {s.open().info.get('auth_required')}")
    for first in (connect(), connect(**known), b"", connect(**{"pass": "x"}), connect(user="known")):
        raw = s.open(first)
        s.say(raw, b"SUB guest.> 1\r\nSUB other 2\r\n" + pub(b"guest.a") + pub(b"other"), label=repr(first))
        raw.close()


def guests_with_nkey(s: CoreRecord) -> None:
    for fields in ({}, {"nkey": NKEY}, {"user": "x"}):
        raw = s.open(connect(**fields))
        s.say(raw, b"SUB > 1\r\n" + pub(b"a") + pub(b"b"), label=str(fields))
    raw = s.open(b"SUB > 1\r\n")
    s.say(raw, pub(b"a"))


def published(s: CoreRecord) -> None:
    for name in ("default", "pub", "nopub", "admin", "lists"):
        listener, raw = user(s, "admin"), user(s, name)
        s.say(listener, b"SUB > 1\r\n")
        for subject in (
            b"a", b"a.x", b"a.secret", b"a.x.y", b"b", b"b.x", b"b.x.secret", b"b.x.secret.y", b"sandbox", b"sandbox.x",
            b"A.x", b"a.*", b"a.>", b">", b"a..x", b".a", b"b.x.", b"$SYS.x", b"_GR_.x", b"b." + b"x" * 150,
        ):  # fmt: skip
            s.say(raw, pub(subject), label=f"{name} {subject[:40]!r}")
            s.say(raw, pub(subject, b"r"), label=f"{name} {subject[:40]!r} again, with a reply")
        s.heard_so_far(listener)


def subscribed(s: CoreRecord) -> None:
    for name in ("default", "sub", "filtered", "queues", "lists"):
        raw = user(s, name)
        table = [
            b"a", b"a.x", b"a.*", b"a.>", b"b.x", b"b.>", b"b.no", b"b.*", b"b.x.no", b"c", b">", b"*", b"sandbox.>",
            b"plain", b"plain q", b"plain bad", b"q", b"q v1", b"q v2", b"both", b"both v1", b"both v1.x", b"both v1.*",
            b"wild", b"wild a.dev", b"wild a.prod", b"wild *.dev", b"d", b"d q1", b"d q2", b"e", b"e q1", b"x.>",
            b"x.secret", b"z.a workers", b"z.a", b"z.> workers", b"x.> _sys_",
        ]  # fmt: skip
        for number, words in enumerate(table):
            if (name, words) == ("sub", b"a.>"):
                continue                             # wider_than_allowed
            s.say(raw, b"SUB %s %d\r\n" % (words, number), label=f"{name} SUB {words!r}")


def wider_than_allowed(s: CoreRecord) -> None:
    """`a.>` is allowed by `a.*` there, and brings `a.b.c`."""
    raw, source = user(s, "sub"), user(s, "admin")
    s.say(raw, b"SUB a.> 1\r\n")
    s.say(source, pub(b"a.b.c"))
    s.heard_so_far(raw)


def filtered(s: CoreRecord) -> None:
    """A subscription with wildcards over denied subjects is taken; what is denied does not arrive."""
    table = (b"x.*", b"x.>", b">", b"*.*", b"*.*.*", b"x.secret2", b"y.a.*", b"z.a workers", b"z.> workers", b"z.> w")
    for sub in table:
        raw, source = user(s, "filtered"), user(s, "admin")
        s.say(raw, b"SUB %s 1\r\n" % sub)
        for subject in (b"x.secret", b"x.open", b"x.secret.more", b"y.a.no", b"y.a.yes", b"z.a"):
            s.say(source, pub(subject))
        s.heard_so_far(raw)
        s.say(raw, b"UNSUB 1\r\n" + pub(b"x.secret", b"r"), label="no responders")
        raw.close()


def answers(s: CoreRecord) -> None:
    """A reply subject that was received may be published to; how often, and how long, is a rule."""
    for name, times in (("responder", 3), ("twice", 4), ("admin", 2)):
        asker, answerer = user(s, "admin"), user(s, name)
        s.say(asker, b"SUB inbox.> 1\r\n")
        s.say(answerer, b"SUB svc.* 1\r\n", label=name)
        s.say(answerer, pub(b"inbox.1") + pub(b"log") + pub(b"other"), label="unasked")
        s.say(asker, pub(b"svc.a", b"inbox.1") + pub(b"svc.a", b"inbox.2"))
        s.heard_so_far(answerer)
        for subject in (b"inbox.1", b"inbox.2", b"inbox.3"):
            s.say(answerer, pub(subject) * times, label=f"{name} {subject!r}")
        s.say(asker, b"", label="heard")
        s.say(asker, pub(b"svc.a", b"inbox.1"), label="asked again")
        s.heard_so_far(answerer)
        s.say(answerer, pub(b"inbox.1"), label="and answered")
        asker.close()
        answerer.close()


def late_answers(s: CoreRecord) -> None:
    asker, answerer = user(s, "admin"), user(s, "brief")
    s.say(answerer, b"SUB svc.* 1\r\n")
    s.say(asker, b"SUB inbox.> 1\r\n" + pub(b"svc.a", b"inbox.1"))
    s.heard_so_far(answerer)
    frames: list[bytes] = []
    while not frames:  # until the millisecond is over
        answerer.send(pub(b"inbox.1") + b"PING\r\n")
        frames, _ = answerer.until_pong()
    s.note(f"{frames}")


SCENARIOS: list[tuple[Settings, Callable[[CoreRecord], None]]] = [
    (USERS, users),
    (USERS, behind_a_slow_password),
    (USERS, nonces),
    (ONE_HASHED, a_single_hashed_user),
    (TOKEN_HASHED, a_hashed_token),
    (COSTLY, longer_than_the_deadline),
    (NO_AUTH_USER, guests),
    (NO_AUTH_NKEY, guests_with_nkey),
    (RULES, published),
    (RULES, subscribed),
    (RULES, wider_than_allowed),
    (RULES, filtered),
    (RULES, answers),
    (RULES, late_answers),
]
