"""Accounts (reference 02.3): isolation, limits, exports, imports and mappings, on both servers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from .core_target import Settings
from .raw import CoreRecord, Raw
from .scenarios_permissions import connect, pub, user

ACCOUNTS: Settings = {"config": """
accounts {
  A { users: [ { user: a, pass: x } ] }
  B { users: [ { user: b, pass: x } ] }
  SMALL { users: [ { user: small, pass: x } ], limits { max_conn: 1, max_subs: 2, max_payload: 10 } }
  RULES {
    users: [ { user: ruled, pass: x }, { user: free, pass: x, permissions {} } ]
    default_permissions { publish: "ok.>", subscribe: "ok.>" }
  }
}
"""}
EXCHANGE: Settings = {"config": """
accounts {
  EXP {
    users: [ { user: exp, pass: x } ]
    exports: [
      { stream: "public.>" }, { stream: "private.*", accounts: [ IMP ] },
      { stream: "mine.*.>", account_token_position: 2 }
      { stream: "pairs.*.*" }
      { service: "svc.one" }, { service: "svc.many", response: stream }, { service: "svc.chunks", response: chunked }
      { service: "calc.*.*" }, { service: "every.>" }, { service: "owned.*.do", account_token_position: 2 }
      { service: "shared" }
    ]
  }
  IMP {
    users: [ { user: imp, pass: x } ]
    imports: [
      { stream: { account: EXP, subject: "public.>" } }
      { stream: { account: EXP, subject: "private.*" }, prefix: "from.exp" }
      { stream: { account: EXP, subject: "mine.IMP.>" }, to: "my.>" }
      { stream: { account: EXP, subject: "pairs.*.*" }, to: "swapped.$2.$1" }
      { service: { account: EXP, subject: "svc.one" } }
      { service: { account: EXP, subject: "svc.many" }, to: "many" }
      { service: { account: EXP, subject: "svc.chunks" }, to: "chunks" }
      { service: { account: EXP, subject: "calc.*.*" }, to: "sum.$2.$1" }
      { service: { account: EXP, subject: "every.>" }, to: "all.>" }
      { service: { account: EXP, subject: "owned.IMP.do" }, to: "do" }
      { service: { account: EXP, subject: "shared" }, share: true }
    ]
    exports: [ { service: "svc.one" } ]
  }
  THIRD { users: [ { user: third, pass: x } ], 
    imports: [ { service: { account: IMP, subject: "svc.one" }, to: "far" } ] }
}
"""}
MAPPED: Settings = {"config": """
mappings { top: bottom, "t.*.*": "$2.$1.t", lost: [ { dest: lost, weight: 0 } ] }
accounts {
  M { users: [ { user: m, pass: x }, { user: limited, pass: x, permissions { publish: "from.>" } } ]
      mappings { "from.*": "to.$1", plain: other, "all": [ { dest: one, weight: 100% } ] } }
}
"""}


STREAMS: Settings = {"config": """
jetstream { store_dir: "STORE", max_mem: 10M, max_file: 10M }
accounts {
  WITH { users: [ { user: "on", pass: x } ], jetstream: enabled }
  WITHOUT { users: [ { user: "off", pass: x } ] }
  TIGHT { users: [ { user: tight, pass: x } ], jetstream {
      max_mem: 1000000, max_file: 2000000, max_streams: 2, max_consumers: 1, max_ack_pending: 50, max_bytes: true,
      mem_max_stream_bytes: 600000, disk_max_stream_bytes: 700000 } }
}
"""}
NO_STREAMS: Settings = {"config": """
jetstream { store_dir: "STORE" }
accounts {
  OFF { users: [ { user: "off", pass: x } ], jetstream: disabled }
  UNSAID { users: [ { user: "unsaid", pass: x } ] }
}
"""}
SYSTEM_ONLY = "accounts { SYS { users: [ { user: admin, pass: x } ] } }\nsystem_account: SYS"
SYSTEM_USERS: list[Settings] = [
    {"config": SYSTEM_ONLY},
    {"config": "accounts { $SYS { users: [ { user: admin, pass: x } ] } }"},
    {"config": f"{SYSTEM_ONLY}\nauthorization {{ timeout: 3 }}"},
    {"config": SYSTEM_ONLY.replace("accounts {", "accounts { B { users: [] },")},
    {"config": "accounts { SYS { users: [ { user: admin, pass: x } ] } }"},
    {"config": f"{SYSTEM_ONLY}\nno_auth_user: admin"},
]


IMPORTED_API: Settings = {"config": """
jetstream { store_dir: "STORE" }
accounts {
  WITH { users: [ { user: "with", pass: x } ], jetstream: enabled, exports: [ { service: "$JS.API.INFO" } ] }
  WITHOUT { users: [ { user: "without", pass: x } ]
            imports: [ { service: { account: WITH, subject: "$JS.API.INFO" } } ] }
}
"""}


def asked(s: CoreRecord, raw: Raw, subject: str, **body: object) -> None:
    """Records what a request is answered, without what belongs to one run."""
    payload = json.dumps(body).encode() if body else b""
    raw.send(b"SUB answer 9\r\n" + pub(subject.encode(), b"answer", payload) + b"UNSUB 9 1\r\n")
    answer = json.loads(raw.message().body)
    shown = {key: answer[key] for key in ("error", "limits", "streams", "seq", "stream", "consumers") if key in answer}
    s.note(f"{subject} {body} -> {shown} {answer.get('config', {}).get('max_ack_pending')}")


def stream(s: CoreRecord, raw: Raw, name: str, **config: object) -> None:
    asked(s, raw, f"$JS.API.STREAM.CREATE.{name}", name=name, subjects=[name], **config)


def limits_of_streams(s: CoreRecord) -> None:
    for name in ("on", "off", "tight"):
        raw = user(s, name)
        for subject in ("$JS.API.INFO", "$JS.API.STREAM.NAMES"):
            asked(s, raw, subject)
    raw = user(s, "tight")
    memory = {"storage": "memory"}
    stream(s, raw, "A", **memory)
    stream(s, raw, "A", **memory, max_bytes=600_001)
    stream(s, raw, "A", max_bytes=700_001)
    stream(s, raw, "A", **memory, max_bytes=500_000, max_consumers=2)
    stream(s, raw, "A", **memory, max_bytes=500_000)
    stream(s, raw, "B", **memory, max_bytes=500_001)
    stream(s, raw, "B", max_bytes=600_000)
    stream(s, raw, "C", max_bytes=600_000)
    asked(s, raw, "$JS.API.STREAM.UPDATE.B", name="B", subjects=["B"], max_bytes=700_001)
    for consumer, config in (("c", {"max_ack_pending": 51}), ("c", {"max_ack_pending": -1}), ("d", {})):
        full = {"durable_name": consumer, "ack_policy": "explicit", **config}
        asked(s, raw, f"$JS.API.CONSUMER.CREATE.A.{consumer}", stream_name="A", config=full)
    asked(s, raw, "$JS.API.INFO")
    asked(s, user(s, "on"), "$JS.API.STREAM.NAMES")


def no_streams_anywhere(s: CoreRecord) -> None:
    """JetStream is on, and no account has it."""
    for name in ("off", "unsaid"):
        raw = user(s, name)
        for subject in ("$JS.API.INFO", "$JS.API.STREAM.CREATE.A", "$JS.API.CONSUMER.CREATE.A.c.x"):
            asked(s, raw, subject)


def another_account_answers(s: CoreRecord) -> None:
    """An account without streams imports a part of the API: that is answered over there, once."""
    raw = user(s, "without")
    asked(s, raw, "$JS.API.INFO")
    for subject in (b"$JS.API.STREAM.NAMES", b"$JS.API.CONSUMER.INFO.A.c"):
        s.say(raw, b"SUB in 5\r\n" + pub(subject, b"in"))


def listen(s: CoreRecord, name: str, subs: bytes = b"SUB > 1\r\n") -> Raw:
    raw = user(s, name)
    s.say(raw, subs, label=f"{name} {subs!r}")
    return raw


def isolation(s: CoreRecord) -> None:
    a, b = listen(s, "a"), listen(s, "b")
    other = user(s, "a")
    s.say(other, pub(b"x", b"inbox", b"hello"))
    s.heard_so_far(a)
    s.heard_so_far(b)
    s.say(b, b"UNSUB 1\r\n" + pub(b"y", b"r"))
    s.say(b, b"SUB q workers 2\r\n")
    s.say(a, b"SUB q workers 2\r\nUNSUB 1\r\n" + pub(b"q") * 3)


def account_of_a_client(s: CoreRecord) -> None:
    for name in ("a", "small", "free"):
        raw = s.open(connect(user=name, protocol=1, **{"pass": "x"}) + b"PING\r\n")
        s.heard(raw, name)
        raw.send(b"PING\r\n")
        frames, _ = raw.until_pong()
        fields = [re.findall(rb'"(?:max_payload|remote_account|acc_is_sys)":[^,}]*', frame) for frame in frames]
        s.note(f"{name} {fields}")
        raw.close()


def small_account(s: CoreRecord) -> None:
    raw = listen(s, "small", b"SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nSUB a 1\r\n")
    second = s.open(connect(user="small", **{"pass": "x"}))
    s.heard_end(second)
    s.say(raw, pub(b"a", b"", b"x" * 10))
    s.fatal(raw, pub(b"a", b"", b"x" * 11))


def defaults_of_an_account(s: CoreRecord) -> None:
    for name in ("ruled", "free"):
        raw = user(s, name)
        s.say(raw, b"SUB ok.a 1\r\nSUB b 2\r\n" + pub(b"ok.a") + pub(b"b"), label=name)


def streams(s: CoreRecord) -> None:
    for subs in (
        b"SUB public.a 1\r\n", b"SUB public.* 1\r\n", b"SUB public.> 1\r\n", b"SUB *.a 1\r\n", b"SUB > 1\r\n",
        b"SUB from.exp.a 1\r\n", b"SUB from.> 1\r\n", b"SUB from.exp.* 1\r\n", b"SUB private.a 1\r\n",
        b"SUB my.a.b 1\r\n", b"SUB my.> 1\r\n", b"SUB my.* 1\r\n", b"SUB mine.> 1\r\n", b"SUB swapped.1.2 1\r\n",
        b"SUB swapped.*.2 1\r\n", b"SUB swapped.1.> 1\r\n", b"SUB swapped.*.* 1\r\n", b"SUB pairs.> 1\r\n",
        b"SUB public.a 1\r\nUNSUB 1\r\n", b"SUB public.a q 1\r\n",
    ):  # fmt: skip
        imp, exp = listen(s, "imp", subs), user(s, "exp")
        for subject in (
            b"public.a", b"public.b.c", b"private.a", b"mine.IMP.a", b"mine.IMP.a.b", b"mine.EXP.a", b"pairs.2.1",
            b"pairs.1.2", b"from.exp.a",
        ):  # fmt: skip
            s.say(exp, pub(subject, b"back", b"body"))
        s.heard_so_far(imp)
        s.say(imp, pub(b"public.a") + pub(b"from.exp.a"), label="importers publish for themselves")
        imp.close()
        exp.close()


def answer(s: CoreRecord, exp: Raw, body: bytes, *, times: int = 1, reply: bytes = b"") -> None:
    """Answers the request that came last, as often as asked."""
    frames = exp.until_pong_of(b"")
    s.note(f"request {[hidden(frame) for frame in frames]}")
    subject = frames[-1].split()[3]
    for _ in range(times):
        s.say(exp, pub(subject, reply, body), label="answer")


def hidden(frame: bytes) -> bytes:
    frame = re.sub(rb'"rtt":\d+', b'"rtt":0', frame)
    frame = re.sub(rb'"(start|server)":"[^"]*"', rb'"\1":""', frame)
    frame = re.sub(rb" \d+ \d+\r\n", b" n n\r\n", frame)
    frame = re.sub(rb'"id":\d+', b'"id":0', frame)
    return re.sub(rb"_R_\.\w+\.\w+", b"_R_", frame)


def services(s: CoreRecord) -> None:
    for request, served, times in (
        (b"svc.one", b"svc.one", 2), (b"many", b"svc.many", 3), (b"chunks", b"svc.chunks", 2),
        (b"sum.2.1", b"calc.*.*", 1), (b"do", b"owned.IMP.do", 1),
    ):  # fmt: skip
        imp = listen(s, "imp", b"SUB inbox.* 1\r\n")
        s.say(imp, pub(request, b"inbox.none"), label="nobody serves")
        exp = listen(s, "exp", b"SUB %s 1\r\n" % served)
        s.say(imp, pub(request, b"inbox.a", b"question"))
        answer(s, exp, b"answered", times=times)
        s.heard_so_far(imp)
        s.say(imp, pub(request, b"", b"no reply wanted"))
        s.note(f"{[hidden(frame) for frame in exp.until_pong_of(b'')]}")
        imp.close()
        exp.close()


def requests_with_wildcards(s: CoreRecord) -> None:
    """Whoever asks for a consumer names its filter in the subject; a message on such a subject goes to imports too."""
    exp = listen(s, "exp", b"SUB > 1\r\n")
    for request in (b"sum.>.1", b"sum.*.>", b"sum.*.*.*", b"all.>", b"all.a.*.>", b"all.*"):
        s.say(user(s, "imp"), pub(request, b"inbox.a", b"question"))
        s.note(f"{[hidden(frame) for frame in exp.until_pong_of(b'')]}")
    imp = listen(s, "imp", b"SUB from.> 1\r\nSUB swapped.> 2\r\nSUB public.> 3\r\n")
    exp.send(b"UNSUB 1\r\n")
    for subject in (b"private.*", b"private.>", b"pairs.*.>", b"pairs.>.1", b"public.>", b"public.*.a"):
        s.say(exp, pub(subject, b"", b"body"))
    s.heard_so_far(imp)


def streams_of_answers_end(s: CoreRecord) -> None:
    imp, exp = listen(s, "imp", b"SUB inbox.* 1\r\n"), listen(s, "exp", b"SUB svc.many 1\r\n")
    s.say(imp, pub(b"many", b"inbox.a"))
    frames = exp.until_pong_of(b"")
    subject = frames[-1].split()[3]
    for body in (b"1", b"2", b"", b"3"):
        s.say(exp, pub(subject, b"", body), label=f"answer {body!r}")
    s.heard_so_far(imp)


def told_of_who_asks(s: CoreRecord) -> None:
    exp = listen(s, "exp", b"SUB shared 1\r\nSUB svc.one 2\r\n")
    imp = s.open(connect(user="imp", name="asker", lang="py", version="1", **{"pass": "x"}))
    s.say(imp, pub(b"shared", b"inbox"))
    block = b"NATS/1.0\r\nA: b\r\nNats-Request-Info: forged\r\nC: d\r\n\r\n"
    s.say(imp, b"HPUB svc.one inbox %d %d\r\n%s\r\n" % (len(block), len(block), block))
    frames = exp.until_pong_of(b"")
    s.note(f"{[hidden(frame) for frame in frames]}")


def from_a_third_account(s: CoreRecord) -> None:
    third, exp = listen(s, "third", b"SUB inbox.* 1\r\n"), listen(s, "exp", b"SUB svc.one 1\r\n")
    s.say(third, pub(b"far", b"inbox.a", b"question"))
    answer(s, exp, b"answered")
    s.heard_so_far(third)


def mapped(s: CoreRecord) -> None:
    m, limited = listen(s, "m"), user(s, "limited")
    s.say(m, pub(b"from.a") + pub(b"plain") + pub(b"all") + pub(b"from.a.b") + pub(b"to.a"))
    s.say(limited, pub(b"from.a") + pub(b"to.a"))
    s.heard_so_far(m)
    s.say(m, b"UNSUB 1\r\nSUB to.* 2\r\n" + pub(b"from.a", b"reply") + pub(b"plain", b"reply"))


def only_system_users(s: CoreRecord) -> None:
    """Others are guests of the global account, unless somebody thought of authorization."""
    heard = s.open(connect())
    s.say(heard, b"SUB a 1\r\n")
    for first in (connect(), connect(user="admin", **{"pass": "x"}), connect(user="admin", **{"pass": "y"}),
                  connect(user="x", **{"pass": "x"}), b""):  # fmt: skip
        raw = s.open(first)
        s.note(f"auth_required: {b'auth_required' in raw.info_line}")
        frames = s.say(raw, b"SUB a 1\r\n" + pub(b"a", b"", first[-20:]), label=repr(first))
        s.note(f"then {[b'auth_required' in frame for frame in frames if frame.startswith(b'INFO')]}")
    s.heard_so_far(heard)


SCENARIOS: list[tuple[Settings, Callable[[CoreRecord], None]]] = [
    (ACCOUNTS, isolation),
    (ACCOUNTS, account_of_a_client),
    (ACCOUNTS, small_account),
    (ACCOUNTS, defaults_of_an_account),
    (EXCHANGE, streams),
    (EXCHANGE, services),
    (EXCHANGE, requests_with_wildcards),
    (EXCHANGE, streams_of_answers_end),
    (EXCHANGE, told_of_who_asks),
    (EXCHANGE, from_a_third_account),
    (MAPPED, mapped),
    (STREAMS, limits_of_streams),
    (NO_STREAMS, no_streams_anywhere),
    (IMPORTED_API, another_account_answers),
    *((settings, only_system_users) for settings in SYSTEM_USERS),
]
