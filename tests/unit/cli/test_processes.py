"""Finding processes by what /proc shows of them: servers to signal, and the holder of a port."""

from __future__ import annotations

from pathlib import Path

from millpond.cli import signals
from millpond.server.port_holder import holder


def fake(proc: Path, pid: int, *words: str) -> Path:
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    (folder / "comm").write_text(f"{Path(words[0]).name}\n" if words else "\n")
    return folder


def test_servers_are_known_by_their_command_line(tmp_path: Path) -> None:
    servers = [
        fake(tmp_path, 10, "/usr/bin/nats-server", "-c", "x"),
        fake(tmp_path, 11, "/opt/bin/python3.11", "/opt/bin/millpond", "serve"),
        fake(tmp_path, 12, "/opt/bin/python", "-m", "millpond", "serve", "-js"),
        fake(tmp_path, 13, "/opt/bin/python", "/opt/bin/nats-server"),
        fake(tmp_path, 14, "millpond", "-p", "1"),
        fake(tmp_path, 15, "/opt/bin/python3.13", "-I", "/tmp/shim/nats-server", "-js"),
        fake(tmp_path, 16, "/opt/bin/python3.13", "-IS", "/tmp/shim/nats-server", "-js"),
    ]
    fake(tmp_path, 20, "/opt/bin/python", "/opt/bin/millpond", "doctor", "memory")
    fake(tmp_path, 21, "vi", "nats-server")
    fake(tmp_path, 22, "/opt/bin/python", "-m", "pytest")
    fake(tmp_path, 23)
    fake(tmp_path, 24, "python")
    assert sorted(signals.servers(tmp_path)) == [int(folder.name) for folder in servers]


def test_the_holder_of_a_port(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: 0100007F:107E 00000000:0000 {} 00000000:00000000 00:00000000 00000000  1000        0 {} 1\n"
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(head + row.format("01", 5) + row.format("0A", 6))
    process = fake(tmp_path, 77, "/usr/bin/nats-server")
    (process / "fd" / "3").symlink_to("socket:[5]")
    assert holder(4222, tmp_path) == ""
    (process / "fd" / "4").symlink_to("socket:[6]")
    assert holder(4222, tmp_path) == "process 77 (nats-server)"
    assert holder(4223, tmp_path) == ""
    assert holder(4222, tmp_path / "nothing") == ""
