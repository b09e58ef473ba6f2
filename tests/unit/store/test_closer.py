"""Removed files are closed beside the loop; who needs their room waits for it."""

import errno
import os

import pytest
from millpond.store.closer import Closer
from millpond.store.committer import Committer
from millpond.store.consumer_journal import ConsumerJournal
from millpond.store.disk import REAL
from millpond.store.file_store import FileStore

from millpond.base import limits


@pytest.fixture
def closer():
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    made = Closer(wake, REAL)
    yield made
    made.stop()
    os.close(wake)


def a_file(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.unlink(path)
    return fd


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError as error:
        assert error.errno == errno.EBADF
        return False
    return True


def test_who_waits_is_told_when_what_was_given_before_is_closed(closer, tmp_path):
    told = []
    closer.when_closed(lambda: told.append("nothing"))
    assert told == ["nothing"], "there is nothing to wait for"
    for name in "ab":
        closer.close_file(a_file(tmp_path / name))
        closer.when_closed(lambda name=name: told.append(name))
    assert told == ["nothing"] and closer.closed == 0
    assert closer.finish() and not closer.finish()
    assert told == ["nothing"], "it is told in its own time"
    closer.collect()
    assert told == ["nothing", "a", "b"]


def test_they_are_closed(closer, tmp_path):
    files = [a_file(tmp_path / "x") for _ in range(limits.FILES_CLOSING_MAX)]
    for fd in files:
        assert not closer.is_full()
        closer.close_file(fd)
    assert closer.is_full()
    closer.finish()
    assert not closer.is_full() and not any(map(is_open, files))


def test_a_stop_closes_what_is_left(closer, tmp_path):
    files = [a_file(tmp_path / "x") for _ in range(9)]
    for fd in files:
        closer.close_file(fd)
    closer.stop()
    assert not any(map(is_open, files))


def test_one_that_fails_when_it_is_told_stops_no_others(closer, tmp_path):
    told = []
    closer.close_file(a_file(tmp_path / "x"))
    closer.when_closed(lambda: 1 / 0)
    closer.when_closed(lambda: told.append(1))
    closer.finish()
    closer.collect()
    assert told == [1]


def test_the_disk_is_not_full_while_removed_files_have_room(tmp_path, monkeypatch):
    """A write that is refused is tried again when they are closed."""
    committer = Committer("always")
    journal = ConsumerJournal(str(tmp_path), committer)
    journal.open_consumer("c", b"{}")
    fd, real = a_file(tmp_path / "x"), os.pwrite
    committer.closer.close_file(fd)

    def pwrite(to, data, at):
        if committer.closer.closed == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(to, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    committer.drain()
    assert journal.committed_position == journal.position and not committer.space.full
    journal.close()
    committer.close()


def test_segments_are_not_removed_faster_than_the_thread_closes_them(tmp_path):
    committer, slot = Committer("never"), tmp_path / "slot"
    slot.mkdir()
    store = FileStore(str(slot), committer, segment_bytes=limits.FILE_BYTES_CLOSED_AT_ONCE)
    for _ in range(40):
        store.append_message(b"s", bytes(limits.FILE_BYTES_CLOSED_AT_ONCE * 3 // 4))
    committer.drain()
    segments = len(list(slot.glob("log.*")))
    closer = committer.closer
    assert segments > limits.SEGMENT_SPARES_MAX + 3
    for _ in range(limits.FILES_CLOSING_MAX):
        closer.close_file(a_file(tmp_path / "x"))
    store.purge_messages()
    for _ in range(5):
        committer.run_now()
    assert closer.given == limits.FILES_CLOSING_MAX and len(list(slot.glob("log.*"))) >= segments
    committer.drain()
    assert closer.closed == closer.given > limits.FILES_CLOSING_MAX
    assert len(list(slot.glob("log.*"))) <= limits.SEGMENT_SPARES_MAX + 1
    assert store.check() == []
    store.close()
    committer.close()
