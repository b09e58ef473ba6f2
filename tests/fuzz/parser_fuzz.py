"""A long-running mutating fuzzer of the client parser; no coverage feedback, no dependencies.

It mutates well-formed frames and checks that every input parses the same whole and byte by byte, and that the
parser never takes more than it was given. With the AddressSanitizer build, reads past the end are found too:

    MILLPOND_BUILD=debug MILLPOND_ROOMS=wire python setup.py build_ext --inplace --force
    LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \\
        PYTHONPATH=src python tests/fuzz/parser_fuzz.py --seconds 600

A failure prints its input and the seed; both go into tests/unit/wire/test_parser.py as a vector.
"""

from __future__ import annotations

import argparse
import random
import time

from millpond.wire.parser import FrameReader

SEEDS = [
    b"PUB a 5\r\nhello\r\n",
    b"PUB a.b reply 0\r\n\r\n",
    b"HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    b"SUB a.* queue 1\r\n",
    b"UNSUB 1 5\r\n",
    b'CONNECT {"verbose":false}\r\n',
    b"PING\r\nPONG\r\n+OK\r\nINFO {}\r\n",
    b"-ERR 'x'\r\n",
]


def run(chunks: list[bytes]) -> list[object]:
    """Every frame of the chunks, up to the first error."""
    reader = FrameReader(control_line_max=64, payload_max=256)
    return [frame for chunk in chunks for frame in reader.feed(chunk)]


def mutate(rng: random.Random) -> bytes:
    """A few seeds joined, with bytes flipped, inserted, removed or doubled."""
    data = bytearray(b"".join(rng.choices(SEEDS, k=rng.randint(1, 4))))
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at:at] = bytes([rng.choice(b" \t\r\n0919aP") if rng.random() < 0.7 else rng.randrange(256)])
        elif kind == 1:
            del data[at : at + rng.randint(1, 4)]
        elif kind == 2 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        else:
            data[at:at] = data[at : at + rng.randint(1, 100)]
    return bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the client parser.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    rng = random.Random(options.seed)
    stop = time.monotonic() + options.seconds
    count = 0
    while time.monotonic() < stop:
        data = mutate(rng)
        whole, split = run([data]), run([data[i : i + 1] for i in range(len(data))])
        assert whole == split, f"seed {options.seed}, input {data!r}: {whole} against {split}"
        count += 1
    print(f"{count} inputs, seed {options.seed}: no difference")


if __name__ == "__main__":
    main()
