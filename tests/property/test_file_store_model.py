"""The file store beside the obvious one, in random steps, with stops and crashes between them.

A crash is the directory as it is at that moment, opened again: what was not committed is gone, and the model goes
back to what it was at the last commit.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.store.committer import Committer
from millpond.store.file_store import FileStore
from millpond.store.read_cache import ReadCache
from store_model import Model, operations
from tests.readiness import readable

SEGMENT_BYTES = 4096
interruptions = st.dictionaries(st.integers(0, 25), st.sampled_from(["commit", "stop", "crash", "kill", "turns"]))


class FileModel(Model):
    """The model with a disk under it."""

    def begin(self, root: Path, committer: Committer, cache: ReadCache, compress: bool) -> None:
        self.root, self.committer, self.cache, self.compress = root, committer, cache, compress
        self.store.compress(compress)
        self.commit()

    def commit(self) -> None:
        self.committer.drain()
        assert self.store.committed_position == self.store.position
        assert self.store.committed_seq == self.last_seq
        self.kept = copy.deepcopy((self.live, self.last_seq, self.ts_ns, self.limits))

    def open(self, directory: str) -> None:
        before, self.store = self.store, FileStore(directory, self.committer, self.cache, self.owner, SEGMENT_BYTES)
        before.close()
        assert self.store.damage == []
        self.store.configure(*self.limits)
        self.store.compress(self.compress)

    def interrupt(self, how: str) -> None:
        if how == "turns":                         # compaction takes its steps between drains
            for _ in range(10):
                self.committer.run_now()
                if self.committer.in_flight():
                    readable(self.committer.event_fd)
                self.committer.collect()
                self.cache.packer.drain()
                self.store.check()
        if how != "crash":
            self.commit()
        if how == "commit":
            self.cache.packer.drain()
        if how in ("commit", "turns"):
            return
        directory = self.store.log.directory
        if how == "stop":
            self.store.close()
        else:
            self.live, self.last_seq, self.ts_ns, limits = copy.deepcopy(self.kept)
            copied = tempfile.mkdtemp(dir=self.root)
            shutil.copytree(directory, copied, dirs_exist_ok=True)
            directory = copied
        told = len(self.owner.told)
        self.open(directory)
        if how == "crash":                         # what came after the commit was never promised
            self.enforce_everything(limits)
            del self.owner.told[told:]
            self.told = list(self.owner.told)
        self.commit()

    def enforce_everything(self, limits: tuple[int, int, int, int]) -> None:
        if limits != self.limits:
            from store_model import SUBJECTS

            self.enforce(SUBJECTS)


def run_beside_the_model(
    steps: list[tuple], interruptions: dict[int, str], sync: str, compress: bool = False
) -> None:
    with tempfile.TemporaryDirectory() as root:
        committer, cache = Committer(sync), ReadCache()
        first = Path(root) / "slot"
        first.mkdir()
        model = FileModel(FileStore(str(first), committer, cache, None, SEGMENT_BYTES))
        model.begin(Path(root), committer, cache, compress)
        for number, step in enumerate(steps):
            model.apply(step)
            model.check_state()
            assert model.store.committed_position <= model.store.position
            assert model.store.committed_seq <= model.last_seq
            if number in interruptions:
                model.interrupt(interruptions[number])
                model.check_state()
        model.check_told()
        model.check_messages()
        model.check_queries()
        model.store.close()
        cache.close()
        committer.close()


@given(operations, interruptions, st.sampled_from(["always", "never"]), st.booleans())
@settings(deadline=None, max_examples=60)
def test_agrees_with_the_model(
    steps: list[tuple], interruptions: dict[int, str], sync: str, compress: bool
) -> None:
    run_beside_the_model(steps, interruptions, sync, compress)
