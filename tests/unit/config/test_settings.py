"""From files and flags to options: what is set, what wins, what is refused and how that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millpond.base.errors import OptionError
from millpond.cli import flags
from millpond.config import build
from millpond.config.file import ConfigFile, read
from millpond.config.keys import AUTHORIZATION, JETSTREAM, LIMITS, TOP, Key
from millpond.config.options import JetStreamOptions, Options
from millpond.config.security import User
from millpond.config.source import ConfigErrors

SECOND = 1_000_000_000


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def read_text(text: str) -> ConfigFile:
        (tmp_path / "f.conf").write_text(text)
        return read(tmp_path / "f.conf", {})

    return read_text


def test_every_target_is_a_field_of_the_options() -> None:
    top, inner = set(Options.__struct_fields__), set(JetStreamOptions.__struct_fields__)
    for table in (TOP, AUTHORIZATION, JETSTREAM, LIMITS):
        for key in table.values():
            for target in key.targets if isinstance(key, Key) else ():
                name = target.removeprefix("jetstream.")
                assert name in (inner if target != name else top | {"store_dir"}), target


def test_every_flag_sets_a_field_of_the_options() -> None:
    commands = {*flags.COMMAND, "combined", *build.TLS_FLAGS}
    for target, _ in flags.FLAGS.values():
        name = target.removeprefix("jetstream.")
        fields = JetStreamOptions.__struct_fields__ if target != name else Options.__struct_fields__
        assert name in fields or target in commands | {"store_dir"}, target


def test_a_whole_file(config: Any) -> None:
    file = config("""
        listen: "127.0.0.1:4333"
        server_name: pond
        max_payload: 2MB
        max_connections: 10
        ping_interval: "30s"
        write_deadline: 1m30s
        authorization { user: ann, password: "s3cret", timeout: 1.5 }
        jetstream { store_dir: "/data", max_mem: 1G, max_file: "2G", domain: hub, strict: no, sync: interval
                    sync_interval: 30s, limits { default_max_consumers: 7 } }
    """)
    options = build.build(file.settings)
    assert (options.host, options.port, options.server_name) == ("127.0.0.1", 4333, "pond")
    assert (options.max_payload, options.max_connections) == (2 << 20, 10)
    assert (options.ping_interval_ns, options.write_deadline_ns) == (30 * SECOND, 90 * SECOND)
    assert (options.username, options.password, options.auth_timeout_ns) == ("ann", "s3cret", 1_500_000_000)
    assert options.jetstream == JetStreamOptions(
        store_dir="/data", max_memory=10**9, max_file=2 << 30, domain="hub", strict=False, sync="interval",
        sync_interval_ns=30 * SECOND, default_max_consumers=7,
    )  # fmt: skip
    assert build.notices(file.settings, options) == []


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("listen: 4333", {"port": 4333}), ("listen: ':4333'", {"port": 4333}),
        ("listen: '[::1]:-1'", {"host": "::1", "port": -1}),
        ("port: 0", {}), ("max_payload: 0", {}), ("max_pending: 0", {}), ("max_connections: 0", {"max_connections": 0}),
        ("max_subs: -1", {"max_subscriptions": 0}), ("trace_verbose: true", {"trace": True, "trace_verbose": True}),
        ("host: a\nHOST: b", {"host": "b"}), ("write_timeout: close", {"write_timeout": "close"}),
        ("write_timeout: default", {"write_timeout": ""}), ("jetstream: enabled", {"jetstream": True}),
        ("jetstream {enabled: false, domain: d}", {"jetstream": False, "jetstream.domain": "d"}),
        ("jetstream {sync: Never}", {"jetstream": True, "jetstream.sync": "never"}),
        ("default_js_domain {A: hub, $G: ''}", {"default_js_domain": {"A": "hub", "$G": ""}}),
        ("feature_flags {b: true, a: false}", {"feature_flags": {"a": False, "b": True}}),
        ("jetstream {unique_tag: ' AZ '}", {"jetstream": True, "jetstream.unique_tag": "az"}),
        ("connect_error_reports: 5\njetstream {meta_compact: 3, extension_hint: x}", {"jetstream": True}),
        ("unused: 1\nport: $unused", {"port": 1}), ("authorization {timeout: '2s'}", {"auth_timeout_ns": 2 * SECOND}),
    ],
)  # fmt: skip
def test_settings(config: Any, text: str, settings: dict[str, Any]) -> None:
    assert config(text).settings == settings


def test_all_errors_are_told_at_once_with_places_and_near_words(config: Any) -> None:
    with pytest.raises(ConfigErrors) as caught:
        config('prot: 1\njetstream {\n  max_file_stor: 1\n  store_dir: 5\n}\ncluster {}\njetstream{domain: x}\n')
    places = [error.place.source.line_and_column(error.place.offset) for error in caught.value.errors]
    assert places == [(1, 1), (3, 3), (4, 3), (6, 1), (7, 1)]
    text = caught.value.explained()
    assert 'f.conf:1:1: unknown field "prot"; did you mean "port"?\n    prot ...\n    ^^^^' in text
    assert 'unknown field "max_file_stor" in jetstream; did you mean "max_file_store"?' in text
    assert "4:3: expected a string, but this is an integer" in text
    assert "cluster: millpond does not serve clustering yet" in text
    assert "write a blank before the '{'" in text


@pytest.mark.parametrize(
    "text",
    ["pasword: hunter2", "authorization {user: a, pasword: hunter2}", "authorization {password: [hunter2]}",
     "authorization {token: hunter2, user: a}", "authorization {password: hunter2", "jetstream: hunter2",
     "authorization {password: 'hunter2}", "jetstream {key: hunter2}", "accounts {a: hunter2}", "port: hunter2",
     "authorization {timeout: hunter2}", "authorization: hunter2", "jetstream {max_mem: hunter2}"],
)  # fmt: skip
def test_no_error_shows_a_value(config: Any, text: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        config(text)
    assert "hunter2" not in caught.value.explained()


def test_warnings(config: Any) -> None:
    assert ["config has no values or is empty" in line for line in config("# nothing").warnings] == [True]
    found = config("ping_interval: 10\njetstream {sync_interval: 60}\nauthorization {timeout: 100}")
    assert [line.split(": ")[-1].split(";")[0] for line in found.warnings] == [
        "ping_interval should be converted to a duration", "sync_interval should be converted to a duration",
        "timeout is high, consider keeping it under 60 seconds",
    ]  # fmt: skip
    assert found.settings["ping_interval_ns"] == 10 * SECOND


def test_an_interval_alone_does_not_weaken_the_default_and_is_told(config: Any) -> None:
    file = config("jetstream {sync_interval: '2m'}")
    options = build.build(file.settings)
    assert options.jetstream is not None
    assert (options.jetstream.sync, options.jetstream.sync_interval_ns) == ("always", 120 * SECOND)
    assert any("sync: interval" in line for line in build.notices(file.settings, options))
    settings = {**file.settings, **flags.parse(["-sync", "interval"]).settings}
    assert build.notices(settings, build.build(settings)) == []


def test_flags_win_over_the_file(config: Any) -> None:
    file = config("port: 1\ndebug: true\nhost: x\njetstream {store_dir: /a, max_mem: 5}\nauthorization {token: t}")
    given = flags.parse(["-p", "2", "--debug=false", "-sd=/b", "-a", ""]).settings
    options = build.build({**file.settings, **given})
    assert (options.port, options.debug, options.host, options.token) == (2, False, "0.0.0.0", "t")
    assert options.jetstream is not None
    assert (options.jetstream.store_dir, options.jetstream.max_memory) == ("/b", 5)
    assert build.build({**file.settings, **flags.parse(["-js=false"]).settings}).jetstream is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_payload": 65 << 20}, "cannot be higher than max_pending"),
        ({"max_payload": 33 << 20, "max_pending": 1 << 30}, "above the largest record"),
        ({"max_control_line": -1}, "above 0"),
        ({"port": 65536}, "not a port"),
        ({"client_advertise": "host:port"}, "client_advertise"),
        ({"lame_duck_grace_period_ns": 120 * SECOND}, "strictly lower"),
        ({"users": (User(name="a"), User(name="a"))}, "Duplicate user"),
        ({"users": (User(name="a"),), "token": "t"}, "token and a users array"),
        ({"no_auth_user": "a"}, "users/nkeys are not defined"),
        ({"users": (User(name="a"),), "no_auth_user": "b"}, "not present"),
    ],
)
def test_values_that_do_not_go_together_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        build.build(settings)


def test_flags_in_go_style() -> None:
    words = "-DV --c=f -t -log_size_limit 5 --sl quit=1 -js=true -memory 64MiB"
    parsed = flags.parse(words.split())
    assert parsed == flags.Flags(
        settings={"debug": True, "trace": True, "log_size_limit": 5, "jetstream": True, "memory_bytes": 64 << 20},
        config="f", check=True, signal="quit=1",
    )  # fmt: skip
    assert flags.parse(["-VV"]).settings == {"trace": True, "trace_verbose": True}
    assert flags.parse(["help"]).help
    assert flags.parse(["VERSION"]).version


@pytest.mark.parametrize(
    ("words", "error"),
    [("-p", "needs an argument"), ("-p x", "an integer"), ("x", "unrecognized command"), ("-D=2", "boolean"),
     ("-prot 1", "did you mean -port"), ("-routes x", "not supported"), ("-sync=often", "choose always")],
)  # fmt: skip
def test_flags_that_are_refused(words: str, error: str) -> None:
    with pytest.raises(OptionError, match=error):
        flags.parse(words.split())
