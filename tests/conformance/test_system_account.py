"""The system account: the same request gets the same document from both servers, key for key, in the same order.

Values count too, but for what `HIDDEN` names. A request that gets no answer is known by the next one being answered.
"""

from __future__ import annotations

import base64
import gzip
import json
import operator
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from millpond.store.backup.s2_stream import S2Reader

from .anew import both
from .conftest import running_pair
from .fenced import answer
from .target import Target
from .wire_client import Client, ConnectionGone, Frame

pytestmark = pytest.mark.reference

CONFIG = """
server_name: conformance
server_tags: ["x", "y"]
server_metadata: {rack: r1}
accounts {
  ADMIN { users: [{user: sys, password: sys}], exports: [{stream: "$SYS.ACCOUNT.*.>", accounts: [A]}] }
  A {
    jetstream: enabled
    users: [
      {user: a, password: a}
      {user: few, password: few, permissions: {
        publish: {allow: ["$SYS.>"], deny: "no"}, subscribe: "_INBOX.>", allow_responses: true}}
    ]
    exports: [{stream: "s.>"}, {service: "q.*", response_type: stream, accounts: [B]}]
    mappings: {"m.1": "n.1", "w": [{destination: x, weight: 40%}, {destination: y, weight: 50%}]}
  }
  B {
    users: [{user: b, password: b}]
    imports: [
      {stream: {account: A, subject: "s.>"}, prefix: "pre"}, {stream: {account: A, subject: "s.t"}}
      {service: {account: A, subject: "q.1"}, to: "k"}
    ]
  }
}
system_account: ADMIN
"""
HIDDEN = frozenset({
    "id", "seq", "time", "timestamp", "server_id", "git_commit", "host", "port", "now", "start", "stop", "uptime",
    "idle", "last_activity", "rtt", "mem", "cpu", "cores", "gomaxprocs", "cid", "update_time", "config_load_time",
    "config_digest", "store_dir", "max_storage", "max_memory", "http_req_stats", "http_port", "pending_bytes",
    "created", "first_ts", "last_ts", "ts", "last_active",
    # Both have subscriptions of their own, in different numbers.
    "subscriptions", "num_subscriptions", "num_cache", "num_inserts", "num_removes", "num_matches", "cache_hit_rate",
    "max_fanout", "avg_fanout",
    # They count the sizes of documents that hold the server's host and numbers.
    "out_bytes", "bytes", "msgs", "in_msgs", "out_msgs", "in_client_msgs", "in_client_bytes", "out_client_msgs",
    "out_client_bytes", "in_bytes", "total_connections", "connections",
})  # fmt: skip
OURS = {"data": frozenset({"memory", "turn_us"}), "config": frozenset({"sync_always"})}
UNORDERED = ("accounts", "imports", "exports", "subscriptions_list", "account_statz")
"""Lists that nats-server makes from a map."""


def shown(value: Any, key: str = "") -> Any:
    """A document without what one run only has."""
    if key in HIDDEN and not isinstance(value, (dict, list)):
        return "<number>" if isinstance(value, (int, float)) else f"<{type(value).__name__}>"
    if isinstance(value, dict):
        left_out = OURS.get(key, frozenset())
        if key == "memstats":
            return "<go>"
        return {name: shown(item, name) for name, item in value.items() if name not in left_out}
    if key == "cmdline":
        return "<go>"
    if isinstance(value, list):
        rows = [shown(item, "row") for item in value]
        return sorted(rows, key=json.dumps) if key in UNORDERED else rows
    return value


def text(frame: Frame) -> str:
    """What a reply says, headers first."""
    body = frame.payload
    if b"gzip" in frame.headers:
        body = gzip.decompress(body)
    elif b"snappy" in frame.headers:
        body = S2Reader().decode_all(body)
    where = frame.headers.replace(b"\r\n", b"|").decode()
    return f"{where} {json.dumps(shown(json.loads(body))) if body[:1] == b'{' else body.decode()}"


class Users:
    """One client of each kind on one server."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.by_name = {name: self.connect(name) for name in ("sys", "a", "few", "b")}
        self.server_id = self.by_name["sys"].info["server_id"]

    def connect(self, user: str, **options: Any) -> Client:
        return self.target.connect(user=user, at_once=True, **{"pass": user, "name": f"{user}'s", **options})

    def ask(self, name: str, subject: str, body: bytes, headers: dict[str, str] | None = None) -> str:
        """The answer, or that there is none."""
        client, fence = self.by_name[name], "$SYS.REQ.ACCOUNT.PING.CONNZ"
        if name == "sys":
            fence = "$SYS.REQ.SERVER.PING.IDZ"
        frame = answer(client, subject.replace("<id>", self.server_id), body, headers, fence)
        return "no answer" if frame is None else text(frame).replace(self.server_id, "<id>")

    def close(self) -> None:
        for client in self.by_name.values():
            client.close()


@pytest.fixture(scope="module")
def users(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Users]]:
    config = tmp_path_factory.mktemp("system") / "system.conf"
    config.write_text(CONFIG)
    with running_pair(request, ("-c", str(config))) as pair:
        found = [Users(target) for target in pair]
        yield found
        for each in found:
            each.close()


def agree(users: list[Users], name: str, subject: str, body: bytes = b"", headers: dict[str, str] | None = None) -> str:
    """The answer. On a busy machine that of nats-server comes behind the marker now and then: both are asked anew."""
    ask_reference, ask_other = (partial(each.ask, name, subject, body, headers) for each in users)
    truth, found = both(ask_reference, ask_other, operator.eq)
    assert found == truth
    return truth


SERVER_PAGES = [
    "IDZ", "VARZ", "SUBSZ", "CONNZ", "ROUTEZ", "GATEWAYZ", "LEAFZ", "ACCOUNTZ", "JSZ", "HEALTHZ", "PROFILEZ", "EXPVARZ",
    "RAFTZ",
]  # fmt: skip
ACCOUNT_PAGES = ["SUBSZ", "CONNZ", "LEAFZ", "JSZ", "INFO", "STATZ", "CONNS"]


@pytest.mark.parametrize("page", SERVER_PAGES)
def test_pages_of_the_server(users: list[Users], page: str) -> None:
    answer = agree(users, "sys", f"$SYS.REQ.SERVER.PING.{page}")
    assert "no answer" not in answer
    assert agree(users, "sys", f"$SYS.REQ.SERVER.<id>.{page}") == answer


@pytest.mark.parametrize("subject", ["PING", "PING.STATSZ", "<id>.STATSZ"])
def test_statistics(users: list[Users], subject: str) -> None:
    asked = f"$SYS.REQ.SERVER.{subject}"
    answers = [each.by_name["sys"].request(asked.replace("<id>", each.server_id)) for each in users]
    assert text(answers[1]) == text(answers[0])
    assert '"statsz": {"start"' in text(answers[0])


@pytest.mark.parametrize("account", ["A", "B", "ADMIN", "$G", "NOBODY", "PING"])
@pytest.mark.parametrize("page", ACCOUNT_PAGES)
def test_pages_of_accounts(users: list[Users], page: str, account: str) -> None:
    if page == "SUBSZ":  # nats-server lists its own subscriptions, with its own numbers
        answers = [each.by_name["sys"].request(f"$SYS.REQ.ACCOUNT.{account}.{page}") for each in users]
        truth, found = (list(json.loads(each.payload)["data"]) for each in answers)
        assert found == truth
        return
    agree(users, "sys", f"$SYS.REQ.ACCOUNT.{account}.{page}")


BODIES = {
    "CONNZ": [
        b"x", b"{", b"[]", b" ", b"null", b'{"sort":"foo"}', b'{"sort":1}', b'{"state":"x"}', b'{"state":3}',
        b'{"cid":-1}', b'{"SORT":"cid"}', b'{"limit":1,"offset":1}', b'{"acc":"A","auth":true}',
        b'{"user":"b","subscriptions":true}', b'{"server_name":"conf"}', b'{"tags":["X"]}', b'{"server_name":"x"}',
        b'{"server_name":"conf","exact_match":true}', b'{"tags":["z"]}', b'{"tags":"x"}', b'{"host":"127"}',
        b'{"server_name":"conformance","exact_match":true,"host":"127.0.0.1"}', b'{"cluster":"c"}', b'{"domain":"d"}',
    ],
    "SUBSZ": [b'{"test":"a.*"}', b'{"account":"NOBODY","subscriptions":true}'],
    "JSZ": [
        b'{"accounts":true}', b'{"leader_only":true}', b'{"account":"A","streams":true,"consumer":true}', b'{"raft":1}',
    ],
    "HEALTHZ": [
        b'{"consumer":"x"}', b'{"account":"nobody"}', b'{"js-enabled-only":true}',
        b'{"account":"nobody","details":true}',
    ],
    "ACCOUNTZ": [b'{"account":"NOBODY"}', b'{"account":"ADMIN"}', b'{"account":"B"}'],
    "PROFILEZ": [
        b'{"name":"cpu"}', b'{"name":"z\\"z"}', b'{"name":"cpu","duration":16000000000}', b'{"duration":"x"}',
    ],
    "VARZ": [b'{"domain":1}'],
    "GATEWAYZ": [b'{"accounts":2}'],
    "LEAFZ": [b'{"account":2}'],
    "ROUTEZ": [b'{"subscriptions":2}'],
    "RAFTZ": [b'{"group":2}'],
    "EXPVARZ": [b"x"],
    "IPQUEUESZ": [b'{"all":3}'],
}  # fmt: skip


@pytest.mark.parametrize(("page", "body"), [(page, body) for page, bodies in BODIES.items() for body in bodies])
def test_options(users: list[Users], page: str, body: bytes) -> None:
    agree(users, "sys", f"$SYS.REQ.SERVER.PING.{page}", body)


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("ACCOUNT.PING.STATZ", b'{"accounts":["A"],"include_unused":true}'),
        ("ACCOUNT.B.STATZ", b'{"include_unused":true}'), ("ACCOUNT.PING.STATZ", b'{"accounts":["NOBODY"]}'),
        ("ACCOUNT.A.STATZ", b"x"), ("ACCOUNT.A.JSZ", b'{"streams":true}'), ("SERVER.<id>.RELOAD", b"x"),
        ("SERVER.<id>.RELOAD", b'{"server_name":"x"}'), ("SERVER.<id>.KICK", b""), ("SERVER.<id>.KICK", b"{}"),
        ("SERVER.<id>.KICK", b'{"cid":"x"}'), ("SERVER.<id>.KICK", b'{"cid":999999}'), ("SERVER.<id>.LDM", b""),
        ("SERVER.<id>.LDM", b'{"cid":999999}'), ("SERVER.PING.NOTHING", b""), ("SERVER.PING.STATZ", b""),
        ("SERVER.NOBODY.VARZ", b""), ("ACCOUNT.NSUBS", b'{"acc":"A","subject":"_INBOX.me.x"}'),
        ("ACCOUNT.NSUBS", b"x"), ("ACCOUNT.NSUBS", b'{"acc":"NOBODY","subject":"a"}'),
        ("ACCOUNT.NSUBS", b'{"acc":"A","subject":"_INBOX.>"}'), ("USER.INFO", b""),
    ],
)  # fmt: skip
def test_other_requests_of_the_system_account(users: list[Users], subject: str, body: bytes) -> None:
    agree(users, "sys", f"$SYS.REQ.{subject}", body)


def test_subscribers_of_a_queue(users: list[Users]) -> None:
    for each in users:
        each.by_name["b"].subscribe("crowd", "q")
        each.by_name["b"].subscribe("crowd")
        each.by_name["b"].flush()
        each.by_name["sys"].subscribe("here.*", "q")
        each.by_name["sys"].flush()
    for queue, count in (("q", 1), ("z", 0)):
        asked = {"acc": "B", "subject": "crowd", "queue": base64.b64encode(queue.encode()).decode()}
        assert agree(users, "sys", "$SYS.REQ.ACCOUNT.NSUBS", json.dumps(asked).encode()).strip() == str(count)
    assert agree(users, "sys", "$SYS.REQ.ACCOUNT.NSUBS", b'{"acc":"B","subject":"crowd"}').strip() == "2"
    for body, count in ((b"here.x", 1), (b"here.x q", 1), (b"here.x z", 0), (b"here.>", 1), (b"away", 0)):
        assert agree(users, "sys", "$SYS.DEBUG.SUBSCRIBERS", body).strip() == str(count)


@pytest.mark.parametrize("encoding", ["gzip", "snappy", "s2", "GZIP, deflate", "br"])
def test_encodings(users: list[Users], encoding: str) -> None:
    agree(users, "sys", "$SYS.REQ.SERVER.PING.VARZ", b"", {"Accept-Encoding": encoding})
    agree(users, "sys", "$SYS.REQ.SERVER.PING.CONNZ", b"x", {"Accept-Encoding": encoding})


@pytest.mark.parametrize("who", ["a", "few", "b"])
@pytest.mark.parametrize(
    "subject",
    [
        "REQ.USER.INFO", "REQ.ACCOUNT.PING.CONNZ", "REQ.ACCOUNT.PING.STATZ", "REQ.SERVER.PING.CONNZ", "REQ.SERVER.PING",
        "REQ.SERVER.PING.VARZ", "REQ.SERVER.PING.IDZ", "REQ.ACCOUNT.A.CONNZ", "REQ.ACCOUNT.PING.SUBSZ",
        "DEBUG.SUBSCRIBERS", "REQ.SERVER.<id>.KICK", "REQ.ACCOUNT.NSUBS",
    ],
)  # fmt: skip
def test_what_ordinary_accounts_may_ask(users: list[Users], who: str, subject: str) -> None:
    agree(users, who, f"$SYS.{subject}")


@pytest.mark.parametrize("body", [b"x", b'{"acc":"B"}', b'{"server_name":"x"}', b'{"auth":true}'])
def test_nobody_sees_another_account(users: list[Users], body: bytes) -> None:
    answer = agree(users, "a", "$SYS.REQ.SERVER.PING.CONNZ", body)
    assert "b's" not in answer


AUDIT = "$JS.EVENT.ADVISORY.API"
VERBS = ["INFO", "STREAM.INFO.X", "STREAM.NAMES", "CONSUMER.MSG.NEXT.A.B", "NO"]
HEARD = {("b", "CONSUMER.MSG.NEXT.A.B"): 1, ("b", "NO"): 0}
"""How many messages follow a request; 2 else: the answer and its audit."""


@pytest.mark.parametrize("who", ["sys", "b"])
@pytest.mark.parametrize("verb", VERBS)
def test_streams_of_accounts_without(users: list[Users], verb: str, who: str) -> None:
    def heard(client: Client, asked: str, count: int) -> list[str]:
        client.publish(f"$JS.API.{asked}", b"", client.new_reply())
        rows = []
        for _ in range(count):
            frame = client.next_message()
            document = shown(json.loads(frame.payload or b"{}"))
            document.pop("client", None)
            rows.append(f"{frame.subject.rstrip('0123456789')} {frame.status} {json.dumps(document)}")
        return sorted(rows)

    told = []
    for each in users:
        client = each.by_name[who]
        sid = client.subscribe(AUDIT)
        told.append([heard(client, verb, HEARD.get((who, verb), 2)), heard(client, "INFO", 2)])
        client.unsubscribe(sid)
    assert told[0] == told[1]
    assert all("account_info_response" in row for row in told[0][1]), "nothing came between"


# --- events ---


NKEY = b'{"nkey":"UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN"}'


class Watcher:
    """Hears events; each one by its subject, in order."""

    def __init__(self, users: Users, *subjects: str) -> None:
        self.users = users
        self.client = users.connect("sys")
        for subject in subjects:
            self.client.subscribe(subject.replace("<id>", users.server_id))
        self.client.flush()

    def next(self, subject: str) -> tuple[str, Any]:
        frame = self.client.next_message(subject.replace("<id>", self.users.server_id))
        return text(frame), json.loads(frame.payload)


def events(users: list[Users], subjects: list[str], act: Any, awaited: list[str]) -> list[str]:
    """What both servers tell while `act` runs: they must say the same."""
    heard: list[list[str]] = []
    for each in users:
        watcher = Watcher(each, *subjects)
        act(each)
        heard.append([watcher.next(subject)[0] for subject in awaited])
        watcher.client.close()
    assert heard[1] == heard[0]
    return heard[0]


def test_a_client_comes_and_goes(users: list[Users]) -> None:
    def act(each: Users) -> None:
        client = each.connect("b", name="short", lang="l", version="2")
        client.publish("x", b"abc")
        client.flush()
        client.close()

    subjects = ["$SYS.ACCOUNT.B.>", "$SYS.SERVER.ACCOUNT.B.CONNS"]
    counts = ["$SYS.SERVER.ACCOUNT.B.CONNS", "$SYS.ACCOUNT.B.SERVER.CONNS"]
    ends = ["$SYS.ACCOUNT.B.CONNECT", "$SYS.ACCOUNT.B.DISCONNECT"]
    heard = events(users, subjects, act, [*counts, *ends, *counts])
    assert '"user": "b", "name": "short", "lang": "l", "ver": "2"' in heard[2]
    assert '"reason": "Client Closed"' in heard[3]


@pytest.mark.parametrize(
    "connect",
    [b'{"user":"bad","pass":"secret","name":"n","lang":"l"}', b"{}", b'{"auth_token":"secret"}', NKEY],
)
def test_a_client_is_refused(users: list[Users], connect: bytes) -> None:
    def act(each: Users) -> None:
        client = each.connect("b")
        client.close()
        with pytest.raises(ConnectionGone):
            Refused(each.target.port, connect)

    heard = events(
        users, ["$SYS.SERVER.<id>.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.$G.DISCONNECT"], act,
        ["$SYS.SERVER.<id>.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.$G.DISCONNECT"],
    )  # fmt: skip
    assert all("Authentication Failure" in each and "secret" not in each for each in heard)


class Refused(Client):
    """Sends a CONNECT of its own making and waits for the end."""

    def __init__(self, port: int, connect: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.buffer = bytearray()
        self.send(b"CONNECT " + connect + b"\r\n")
        while True:
            self.read_frame()


def test_a_client_is_kicked(users: list[Users]) -> None:
    def act(each: Users) -> None:
        client = each.connect("b")
        body = json.dumps({"cid": client.info["client_id"]}).encode()
        answer = json.loads(each.by_name["sys"].request(f"$SYS.REQ.SERVER.{each.server_id}.KICK", body).payload)
        assert list(answer) == ["server"]
        assert all(frame.op == "INFO" for frame in client.until_closed())

    heard = events(users, ["$SYS.ACCOUNT.B.DISCONNECT"], act, ["$SYS.ACCOUNT.B.DISCONNECT"])
    assert '"reason": "Kicked"' in heard[0]


def test_a_client_is_told_to_leave(users: list[Users]) -> None:
    for each in users:
        new, old = each.connect("b"), each.connect("b", protocol=0)
        for client, wanted in ((new, ["server"]), (old, ["server", "error"])):
            body = json.dumps({"cid": client.info["client_id"]}).encode()
            reply = each.by_name["sys"].request(f"$SYS.REQ.SERVER.{each.server_id}.LDM", body)
            assert list(json.loads(reply.payload)) == wanted
        told = new.read_frame()
        while told.op != "INFO":
            told = new.read_frame()
        while b'"ldm":true' not in told.payload:
            told = new.read_frame()
        new.close()
        old.close()


def test_another_account_may_import_events(users: list[Users], tmp_path: Path) -> None:
    """An export of the system account: who imports it hears the same."""
    config = tmp_path / "import.conf"
    config.write_text(CONFIG.replace("    exports: [{stream: \"s.>\"}", '    imports: [{stream: {account: ADMIN, '
                                     'subject: "$SYS.ACCOUNT.*.>"}}]\n    exports: [{stream: "s.>"}'))
    heard = []
    for each in users:
        target = Target(each.target.kind, flags=("-c", str(config))).start()
        try:
            here = Users(target)
            here.by_name["a"].subscribe("$SYS.ACCOUNT.B.CONNECT")
            here.by_name["a"].flush()
            here.connect("b").close()
            heard.append(text(here.by_name["a"].next_message("$SYS.ACCOUNT.B.CONNECT")))
            here.close()
        finally:
            target.discard()
    assert heard[0] == heard[1]


def test_statistics_are_broadcast_on_request(users: list[Users]) -> None:
    heard = []
    for each in users:
        watcher = Watcher(each, "$SYS.SERVER.<id>.STATSZ")
        watcher.client.publish("$SYS.REQ.SERVER.PING.STATSZ")
        heard.append(watcher.next("$SYS.SERVER.<id>.STATSZ")[0])
        watcher.client.close()
    assert heard[0] == heard[1]


def test_the_server_says_that_it_leaves(users: list[Users], tmp_path: Path) -> None:
    config = tmp_path / "leave.conf"
    config.write_text(CONFIG + '\nlame_duck_duration: "30s"\nlame_duck_grace_period: "1ms"\n')
    heard = []
    for each in users:
        target = Target(each.target.kind, flags=("-c", str(config))).start()
        try:
            watcher = Watcher(Users(target), "$SYS.SERVER.<id>.LAMEDUCK")
            assert target.process is not None
            target.process.send_signal(signal.SIGUSR2)
            told = [watcher.next("$SYS.SERVER.<id>.LAMEDUCK")[0]]
            heard.append(told)
        finally:
            target.discard()
    assert heard[0] == heard[1]


def test_shutdown_is_told(users: list[Users], tmp_path: Path) -> None:
    config = tmp_path / "shutdown.conf"
    config.write_text(CONFIG)
    heard = []
    for each in users:
        target = Target(each.target.kind, flags=("-c", str(config))).start()
        try:
            watcher = Watcher(Users(target), "$SYS.>")
            target.stop()
            rows = [frame for frame in watcher.client.until_closed() if frame.subject.endswith("SHUTDOWN")]
            heard.append([text(frame) for frame in rows])
        finally:
            target.discard()
    assert heard[0] == heard[1]
    assert len(heard[0]) == 1


def test_a_reload_by_request(users: list[Users], tmp_path: Path) -> None:
    config = tmp_path / "reload.conf"
    answers = []
    for each in users:
        config.write_text(CONFIG)
        target = Target(each.target.kind, flags=("-c", str(config))).start()
        try:
            here = Users(target)
            config.write_text(CONFIG.replace("{user: b,", "{user: new, password: new}, {user: b,"))
            told = [here.ask("sys", "$SYS.REQ.SERVER.<id>.RELOAD", b"")]
            here.connect("new").close()
            config.write_text(CONFIG + "\nnonsense: 1\n")
            refused = here.ask("sys", "$SYS.REQ.SERVER.<id>.RELOAD", b"")
            told.append(str('"error": {"code": 500, "description": "' in refused and "nonsense" in refused))
            answers.append(told)
            here.close()
        finally:
            target.discard()
    assert answers[0] == answers[1]
