"""Where rows of docs/performance.md end for anybody: the same loads on bare.py, which decides nothing, and what was
found out about the rows that stay below what they were meant to reach."""

from __future__ import annotations

from typing import Final

from rows import BARE, BARE_SYNC, OURS, Row, Table

from millpond.bench.scenarios import Load


def _publish(title: str, **settings: int) -> Row:
    return Row(title=title, load=Load(kind="js-publish", storage="file", **settings))


FLOORS: Final = [
    Table(
        title="The floor: a program that only reads",
        rows=[
            Row(title="publish 128 B", load=Load(kind="pub")),
            Row(title="publish 1 KiB", load=Load(kind="pub", size=1024)),
            Row(title="publish 4 KiB", load=Load(kind="pub", size=4096)),
        ],
        pairs=(("", OURS, BARE),),
    ),
    Table(
        title="The floor: a program that only writes, syncs and answers",
        rows=[
            _publish("publish, 1 in flight", window=1),
            _publish("publish into 1,000 streams in turn, 1,000 in flight", window=1000, streams=1000),
        ],
        pairs=(("", OURS, BARE_SYNC),),
    ),
]
"""In these tables *theirs* is benchmarks/bare.py."""

ACCOUNT: Final = """## What keeps rows where they are

Counted on a machine that others used too, where rates mean little; figures of one line were taken in turn. *Theirs* in
the tables about floors is `benchmarks/bare.py`: one blocking thread that decides nothing.

**Publish 1 KiB, 4 KiB.** The generator is busy all the time (`*`) and the server waits for it by asking again and again
(`--spin_us`), so CPU per op is little more than one second by the rate. Where it never waits, a message costs 283 ns
against nats-server's 389 (1 KiB), 870 to 1,000 ns against 1,700 to 2,040 (4 KiB). Of 4 KiB three quarters are the
kernel's, 36 % are its copy into the read buffer. A loop in C that does nothing but recv pays 246 and 592 ns.

- Read buffers of 64 KiB, 256 KiB, 1 MiB in that loop: 224, 246, 234 ns for 1 KiB; 509, 592, 511 ns for 4 KiB. No
  difference.
- To discard a payload for which nobody has subscribed (`recv` with `MSG_TRUNC`) takes two reads for each message:
  1,690 ns instead of 246 for 1 KiB, 2,010 instead of 592 for 4 KiB, 4,800 instead of 2,640 for 16 KiB. It never pays.
- Not to poll at all (`--spin_us 0`): 356 against 361 ns for 1 KiB, 1,014 against 872 for 4 KiB.

**Request and reply, 1 in flight.** The server asks again and again for the next request (`--spin_us`), so it is busy
all the time and CPU per op is one second by the rate; nats-server sleeps for a part of it.

**64 KiB and 1 MiB into a file stream.** 1.3 and 0.9 times the rate in the table, 1.6 to 1.7 in two pairs of runs of
each on their own; CPU per op 1.2 to 1.7. It was not taken apart yet. From client to client a message of 1 MiB cost
1.8 ms of CPU time until large buffers were kept for the next one, and 0.5 to 0.6 since.

**Durable, 1 in flight; the lock cycle, 1 in flight.** `bare.py --sync`, without a loop, threads, streams or checks,
uses 156 us of CPU time for one message on a machine where the server uses 229 and nats-server 172: fdatasync itself and
being woken from it. The rest is the hand-over to the thread that syncs and back. That thread stays, for a slow disk
must not stop everybody else: no sync runs in the loop's thread. nats-server waits for its disk in the thread that
serves the stream. The round trip without the disk is 2.4 times as fast here (39 us against 95, the rows under *Neither
waits for the disk*); with the 200 us of the sync behind both, 1.2 is what can be left of that.

- To let that thread ask again and again for the next sync, 40 or 80 us after each one, instead of sleeping: slower, in
  three runs of each. A round trip took 196 to 226 and 187 to 232 us instead of 171 to 194, and 170 to 230 us of CPU
  time instead of 120 to 140.

**Over TLS, 1 in flight.** OpenSSL is reached through Python's `ssl`. While that went through the methods in Python
around its calls, 30 % of the server's samples were the interpreter's and 10 % OpenSSL's; without these the rate went
from 1.0 times nats-server's to 1.3. The load generator goes the same way for each message. With 64 in flight calls
are shared. CPU per op says little here: the server asks again and again until the next request comes (`--spin_us`).

**Durable against their default: push, and fetch without acks.** Synced pages leave the page cache at once, so that the
container is not charged for them; whoever reads later reads from the disk, 64 KiB at a time, in another thread. That
costs 240 ns a message (563 against 324 with `--sync interval`, where pages are still there), 79 us for each window of
330 messages. The rows under *Neither waits for the disk* are the most that could be reached without it.

- 8 and 16 windows read ahead instead of 3: 643 and 514 ns for push, 711 and 627 instead of 760 for fetch, at no better
  rates for push. With 16 a quarter of the read cache would belong to one reader.
- Windows of 128 KiB: 509 ns instead of 563, 722 instead of 760; small readers would fill the cache twice as fast.

**1,000 durable streams in turn.** Every message is a write and an fdatasync of another file. In a loop in C they cost
24 to 47 us of CPU time for each file and, of elapsed time, with 1, 2, 4, 16, 64 threads 1,914, 602, 156, 48, 24 us. So
there are up to 16 threads when many syncs wait (there were 4), and while more wait the loop is woken for 16 of them
together. In six pairs of runs the server took 1.3 to 1.9 times as many messages a second, in the same CPU time: 40 to
55 us each, half of which is that of the loop in C. `bare.py --sync`, with as many threads, uses 66. In the same runs 10
streams cost 3 us each, and 100 streams 9 to 10 instead of 11 to 13.

- `syncfs` instead of 1,000 syncs: 4 to 5 us of CPU time for each file, 36 to 85 us elapsed. Not used: it also writes
  whatever anybody else on that file system has not synced, and waits for it.
- To begin all writes (`sync_file_range`) before the first sync: 21 us instead of 27 of CPU time, the same elapsed time.
- 64 threads: no better than 16 for the server, which works on one processor meanwhile.

**1,000 consumers of a subject each.** Only those that want a message hear of it: 2.7 to 4.6 us for a publish with its
delivery, where it was 22.6; with one consumer 1.2 to 1.6; nats-server in the same runs 34 and 5.3. What is left are
cache misses: each message finds another consumer.
"""
