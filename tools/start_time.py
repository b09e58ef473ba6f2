"""How long a server takes to start, and what it holds then: of several commands, in turns.

    python tools/start_time.py [--rounds 20] 'millpond serve' 'nats-server' ...

Each is started with `-a 127.0.0.1 -p PORT` and its further words, in a directory of its own that is new each time;
`STORE` in a command is a directory in there. Printed per command, as median (least):

    cpu      CPU time of all its threads until it says that it is ready
    accepts  from the start until a client is not refused
    INFO     until that client has read INFO: it is served
    ready    until it says so
    RSS, private    when it has been idle for a second
    objects  shared objects that it has mapped

CPU time says the same on a busy machine; the rest does not.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

IDLE_S = 1.0
GIVE_UP_S = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="+")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {command: [] for command in given.commands}
    for _ in range(given.rounds):
        for command in given.commands:
            found[command].append(start(command))
    print(f"load {Path('/proc/loadavg').read_text().split()[0]}, {given.rounds} rounds: median (least)")
    for command, rounds in found.items():
        shown = "  ".join(f"{name} {_pair([each[name] for each in rounds])}" for name in rounds[0])
        print(f"{command}\n    {shown}")


def _pair(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f})"


def start(command: str) -> dict[str, float]:
    """One start, in milliseconds and MiB."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        words = shlex.split(command.replace("STORE", f"{folder}/store"))
        reached: dict[str, float] = {}
        began = time.monotonic()
        process = subprocess.Popen(
            [*words, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.PIPE, text=True, cwd=folder
        )
        client = threading.Thread(target=connect, args=(port, began, reached))
        client.start()
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "Server is ready" in line:
                    break
            ready = time.monotonic() - began
            cpu = cpu_seconds(process.pid)
            client.join()
            time.sleep(IDLE_S)
            held = memory(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            process.wait()
    times = {"cpu": cpu, **reached, "ready": ready}
    return {**{name: seconds * 1e3 for name, seconds in times.items()}, **held}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def connect(port: int, began: float, reached: dict[str, float]) -> None:
    """Until it is let in, every half millisecond."""
    while time.monotonic() - began < GIVE_UP_S:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as sock:
            reached["accepts"] = time.monotonic() - began
            sock.recv(5)
            reached["INFO"] = time.monotonic() - began
            return
        time.sleep(0.0005)


def cpu_seconds(pid: int) -> float:
    """On a processor, all threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory(pid: int) -> dict[str, float]:
    """MiB; and how many shared objects."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    mib = {name: int(value.split()[0]) / 1024 for name, value in rows.items()}
    maps = {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if ".so" in line}
    private = mib["Private_Clean"] + mib["Private_Dirty"]
    return {"RSS": mib["Rss"], "private": private, "objects": float(len(maps))}


if __name__ == "__main__":
    main()
