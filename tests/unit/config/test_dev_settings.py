"""Dev mode: what is left open, and what would let others in or make some clients unlike others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import millpond
from millpond.base.errors import OptionError
from millpond.config import build, dev
from millpond.config.file import read
from millpond.config.options import Options


def test_what_is_left_open() -> None:
    options = build.build({"dev": True})
    assert (options.host, options.http_port, options.debug) == ("127.0.0.1", -1, False)
    assert options.jetstream is not None
    assert options.jetstream.store_dir is None, "a private directory"
    assert build.notices({}, options) == [dev.NOTICE]


def test_what_was_said_stays() -> None:
    said = {"host": "::1", "http_port": 8222, "store_dir": "/here", "jetstream.sync": "never", "debug": True}
    options = build.build({"dev": True, **said})
    assert (options.host, options.http_port, options.debug) == ("::1", 8222, True)
    assert options.jetstream is not None
    assert (options.jetstream.store_dir, options.jetstream.sync) == ("/here", "never")
    options = build.build({"dev": True, "http_port": 0, "jetstream": False})
    assert (options.http_port, options.jetstream) == (0, None)


def test_without_it_nothing_changes() -> None:
    assert build.build({}) == build.build({"dev": False}) == Options()
    assert build.notices({}, Options()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com", "127.0.0.1.example.com", "*", "[::]"])
@pytest.mark.parametrize("name", ["host", "http_host"])
def test_another_host_is_refused(name: str, host: str) -> None:
    with pytest.raises(OptionError, match=f"loopback only, because .*; {name} .* is not loopback: leave it out"):
        build.build({"dev": True, name: host})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_names_of_this_machine(host: str) -> None:
    assert build.build({"dev": True, "host": host}).host == host


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("accounts { A { users: [ { user: a, pass: x } ] } }", "users, accounts"),
        ("accounts { A {} }", "accounts"),
        ("authorization { user: a, password: x }", "a user"),
        ("authorization { token: x }", "a token"),
        ("system_account: S", "accounts, a system account"),
        ("no_system_account: true", "a system account"),
        ('websocket { listen: "127.0.0.1:-1", no_tls: true, authorization { token: x } }', "users of WebSocket"),
    ],
)
def test_a_file_with_credentials_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "f.conf"
    path.write_text(text)
    with pytest.raises(OptionError, match=f"without credentials, .* about {what}: start without --dev, and connect as"):
        build.build({**read(path).settings, "dev": True})


def test_websocket_listens_there_as_well(tmp_path: Path) -> None:
    path = tmp_path / "f.conf"
    path.write_text('websocket { listen: "0.0.0.0:-1", no_tls: true }')
    with pytest.raises(OptionError, match=r"the websocket block's host .* is not loopback"):
        build.build({**read(path).settings, "dev": True})


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"token": "x"}])
def test_a_server_in_a_program_is_refused_as_well(settings: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="dev mode"):
        millpond.Server(dev=True, **settings)
