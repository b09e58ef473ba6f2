"""The script: once through everything that makes a store call the operating system.

Whatever is refused on the way, it goes on. What was not created is created again where it is needed next.
"""

from __future__ import annotations

from stream_model_rules import Delete, Purge, Update

from .judge import SECOND_NS
from .play import Play, plain

LARGE = 1500
"""A few of these fill a segment."""


def script(play: Play) -> None:
    for chapter in (begins, publishes, reads, fills, removes, killed, expires, backs_up, follows, stopped, ends):
        streams_are_there(play)
        chapter(play)
        play.look()


def streams_are_there(play: Play) -> None:
    play.create(
        "S", compression="s2", allow_msg_ttl=True, allow_rollup_hdrs=True, allow_atomic=True,
    )  # fmt: skip
    play.create("T")
    play.create("Q", retention="workqueue")
    play.consumer("S", "A")
    play.consumer("T", "B")
    play.consumer("Q", "W")


def begins(play: Play) -> None:
    """A stream comes and goes before anything else is there."""
    play.create("V")
    play.consumer("V", "X")
    play.do("V", plain("v.a"))
    play.delete("V")


def publishes(play: Play) -> None:
    play.do("S", plain("s.a", Nats_Msg_Id="one"))
    play.do("S", plain("s.a", Nats_Msg_Id="one"))
    play.send("S", *(plain(f"s.{name}", size) for name, size in (("a", 10), ("b", 400), ("c", 0))))
    play.send("T", plain("t.a"), plain("t.b"))
    play.send("Q", *(plain(f"q.{i}") for i in range(4)))
    play.settle()
    play.batch("S", plain("s.a"), plain("s.batch", 300), plain("s.b"))
    play.do("S", plain("s.a", Nats_Expected_Last_Sequence="1"))
    play.look()
    play.testify()


def reads(play: Play) -> None:
    play.pull("S", "A", 4)
    play.ack("S", "A")
    play.ack("S", "A", b"-NAK")
    play.ack("S", "A", b"+TERM")
    play.ack("S", "A", confirm=False)
    play.pull("Q", "W", 3)
    play.ack("Q", "W")
    play.ack("Q", "W")
    play.settle()
    play.pull("T", "B", 10)
    play.ack("T", "B")
    play.testify()
    play.settle()


def fills(play: Play) -> None:
    """Segments end: they are compressed and summarised; what is of no more use leaves."""
    for i in range(12):
        play.do("S", plain("s.large", LARGE, Nats_Msg_Id=f"large {i}"))
    play.pack()
    for i in range(12):
        play.do("T", plain("t.large" if i % 4 else "t.kept", LARGE))
    play.pack()
    play.testify()
    play.do("T", Purge("t.large"))
    for _ in range(8):
        play.do("T", plain("t.large", LARGE))
    play.do("T", Purge("t.large", keep=2))
    play.pack()
    play.scrub("S")
    play.scrub("T")


def removes(play: Play) -> None:
    play.do("S", Delete(2))
    play.do("S", Delete(9, erase=True))
    play.pack()
    play.do("S", Delete(12, erase=True), plain("s.a", 900))
    play.pack()
    play.do("S", Purge("s.b"))
    play.do("S", plain("s.rolled", 10, Nats_Rollup="sub"))
    play.do("S", Purge(seq=6))
    play.do("S", Update((("max_msgs", 8),)))
    play.do("S", plain("s.b", 500), plain("s.b", 500))
    play.pack()


def killed(play: Play) -> None:
    """In the middle of it, and once more when it has just begun again."""
    play.send("S", plain("s.a", 700), plain("s.b", 20), Delete(20))
    play.send("T", Purge("t.kept", seq=20), plain("t.after"))
    play.pull("S", "A", 2)
    play.ack("S", "A", confirm=False)
    play.kill()
    play.kill()
    play.do("S", plain("s.a"))
    play.do("T", plain("t.a"))


def expires(play: Play) -> None:
    play.do("S", plain("s.short", 10, Nats_TTL="1"), plain("s.short", 10, Nats_TTL="2s"))
    play.do("S", Update((("max_age", 200 * SECOND_NS), ("max_msgs", -1))))
    play.advance(SECOND_NS + SECOND_NS // 2)
    play.look()
    play.advance(2 * SECOND_NS)
    play.do("S", plain("s.a"))
    play.advance(200 * SECOND_NS)
    play.do("S", plain("s.again", 10, Nats_Msg_Id="one"))


def backs_up(play: Play) -> None:
    backup = play.snapshot("T")
    play.delete("T")
    play.restore("T", backup)
    play.create("T")
    play.do("T", plain("t.restored"))


def follows(play: Play) -> None:
    """What else consumers are asked for."""
    play.pull("S", "A", 3)
    play.ack("S", "A")
    play.pause("S", "A", play.server.clock.wall_ns // SECOND_NS * SECOND_NS + 3600 * SECOND_NS)
    play.pause("S", "A", 0)
    play.reset("S", "A", 1)
    play.pull("S", "A", 2)
    play.ack("S", "A")
    play.drop_consumer("S", "A")
    play.drop_consumer("Q", "W")


def stopped(play: Play) -> None:
    play.pull("Q", "W", 5)
    play.ack("Q", "W")
    play.do("S", plain("s.before", 2 * LARGE))
    play.stop()
    play.do("S", plain("s.after"))
    play.do("Q", plain("q.after"))


def ends(play: Play) -> None:
    """Everything that was not done yet is."""
    play.do("S", plain("s.last", LARGE), plain("s.last", LARGE), plain("s.last", LARGE))
    play.do("S", Purge())
    play.pack()
    play.testify()
    play.do("T", plain("t.last"))
