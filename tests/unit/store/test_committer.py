"""Committer: syncs side by side, names of a directory made durable together."""

import gc
import os
import shutil
import signal

import pytest
from millpond.store.catalog import Catalog
from millpond.store.committer import Committer
from millpond.store.names import Names
from tests.readiness import readable
from tests.unit.store.file_rig import rig


def test_names_asked_for_while_a_sync_runs_share_the_next_one(tmp_path):
    with rig(tmp_path) as r:
        names, told = Names(str(tmp_path), r.committer), []
        for number in range(10):
            names.keep(told.append)
            if number in (0, 4):
                r.committer.run_now()
        assert not told
        r.commit()
        assert told == [""] * 10
        assert r.committer.syncs == 2


def test_names_of_a_directory_that_is_gone_are_not_kept(tmp_path):
    (tmp_path / "gone").mkdir()
    committer, told = Committer("always"), []
    names = Names(str(tmp_path / "gone"), committer)
    names.keep(told.append)
    committer.drain()
    shutil.rmtree(tmp_path / "gone")
    names.keep(told.append)
    committer.drain()
    assert told == ["", f"cannot open {tmp_path}/gone: {os.strerror(2)}"]
    committer.close()


def test_many_syncs_end_whatever_their_number(tmp_path):
    """More than the worker's rings hold at first, by more threads than one."""
    committer, told = Committer("always"), []
    names = []
    for number in range(500):
        (tmp_path / str(number)).mkdir()
        names.append(Names(str(tmp_path / str(number)), committer))
        names[-1].keep(lambda failure, number=number: told.append((number, failure)))
    committer.drain()
    assert sorted(told) == [(number, "") for number in range(500)]
    assert committer.syncs == 500
    committer.close()


def test_answers_that_are_told_of_together_keep_nobody_waiting(tmp_path):
    """The wake-up descriptor alone says when to collect; the last ones of any number are told of too."""
    committer, told = Committer("always"), []
    names = []
    for number in range(200):
        (tmp_path / str(number)).mkdir()
        names.append(Names(str(tmp_path / str(number)), committer))
    for many in (1, 3, 5, 16, 17, 50, 200):
        for name in names[:many]:
            name.keep(told.append)
        committer.run_now()
        while committer.in_flight():
            assert readable(committer.event_fd, 60), f"some of {many} are forgotten"
            committer.collect()
        assert told == [""] * many
        told.clear()
    committer.close()


def test_it_says_when_waiting_for_the_disk_takes_long(tmp_path):
    """What the reactor asks before it polls on: a sync is in flight, and of late they took longer than that."""
    committer = Committer("always")
    names = Names(str(tmp_path), committer)
    for _ in range(2):
        assert not committer.py_waits_longer(0)
        names.keep(lambda failure: None)
        committer.run_now()
        assert not committer.py_waits_longer(10**15)
        waits = committer.py_waits_longer(0)
        committer.drain()
    assert waits
    committer.close()


@pytest.mark.parametrize("sync", ["always", "interval", "never"])
def test_who_raises_when_he_is_told_keeps_nobody_else_waiting(tmp_path, caplog, sync):
    """Neither those who asked for the same names, nor the targets that come after."""

    def broken(failure):
        raise AssertionError("a fault of his own")

    committer, told = Committer(sync), []
    for number in range(3):
        (tmp_path / f"{number}").mkdir()
        names = Names(str(tmp_path / f"{number}"), committer)
        for done in (broken, told.append):
            names.keep(done)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    for done in (broken, told.append):
        catalog.save(b"value", done)
    committer.drain()
    assert told == [""] * 4
    assert caplog.text.count("failed when it was told about the disk") == 4
    catalog.close()
    committer.close()


def test_how_far_a_file_was_committed_is_written_down_once_for_many_commits(tmp_path):
    """Beside the loop's work: a commit costs no more for it."""
    with rig(tmp_path) as r:
        asked = []
        r.committer.on_owing = lambda: asked.append((tmp_path / "witness").exists())
        store = r.open()
        for number in range(5):
            store.append_message(b"a", b"%d" % number)
            r.turn()
        assert asked == [False], "when the first one is owed"
        assert not (tmp_path / "witness").exists()
        assert r.committer.testify() is False
        r.settle()
        assert (tmp_path / "witness").stat().st_size > 0
        store.append_message(b"a", b"5")
        r.turn()
        assert asked == [False, True]
        assert r.committer.testify(0) is True, "it is owed still"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="a child is awaited by its descriptor")
def test_a_child_of_fork_has_no_threads_to_wait_for(tmp_path):
    """It may collect what its parent has left behind."""
    committers = [Committer("always") for _ in range(3)]
    for number, committer in enumerate(committers):
        (tmp_path / str(number)).mkdir()
        Names(str(tmp_path / str(number)), committer).keep(lambda failure: None)
        committer.drain()                          # its thread has slept, been woken, and sleeps again
    child = os.fork()
    if child == 0:
        committers.clear()
        committer = None
        gc.collect()
        os._exit(0)
    ended = os.pidfd_open(child)
    try:
        assert readable(ended, 30), "the child waits for ever"
    finally:
        os.close(ended)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    for committer in committers:
        committer.close()
