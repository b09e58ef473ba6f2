"""Faults seeded by hand into the store: each breaks one of its promises, and each must make a test fail.

A fault is a piece of text that stands once in a source, and what takes its place. `run.py` tries them; that the texts
are still there is tested with everything else (test_faults.py), so a fault moves along with the code that it breaks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]

UNIT: Final = "tests/unit/store/"
COMMITTER: Final = UNIT + "test_committer.py"
CATALOG: Final = UNIT + "test_catalog.py"
CUT: Final = UNIT + "test_cut_write.py"
DIRECTORY: Final = UNIT + "test_directory.py"
FILE: Final = UNIT + "test_file_store.py"
FULL: Final = UNIT + "test_full_disk.py"
LOST: Final = UNIT + "test_lost_pages.py"
ORDER: Final = UNIT + "test_journal_order.py"
PACKED: Final = UNIT + "test_packed.py"
PIN: Final = UNIT + "test_pin.py"
RECOVERY: Final = UNIT + "test_recovery.py"
STILL: Final = UNIT + "test_still_disk.py"
STATES: Final = UNIT + "test_consumer_state.py"
SUMMARIES: Final = UNIT + "test_summaries.py"
TORN: Final = UNIT + "test_torn_write.py"
WITNESS: Final = UNIT + "test_witness.py"
MODEL: Final = "tests/property/test_file_store_model.py"
CONSUMERS: Final = "tests/property/test_consumer_model.py"
AFTER_A_KILL: Final = "tests/unit/jetstream/test_after_a_kill.py"
TAIL: Final = "tests/unit/jetstream/test_recovery_tail.py"
CUTS: Final = "tests/crash/test_power_cut.py"
SYNCS: Final = "tests/crash/test_failing_sync.py"
KILLS: Final = "tests/kills/test_kills.py"


class Fault(NamedTuple):
    """`old` stands once in src/millpond/<file>; with `new` in its place one of `tests` fails."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def seeded(self, text: str) -> str:
        """The source with the fault. Raises ValueError when the text to break is not there exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: its text stands {text.count(self.old)} times in {self.file}, 1 is needed")
        return text.replace(self.old, self.new)


FAULTS: Final = (
    # --- believed after a kill ---
    Fault(
        "names-of-segments-believed-after-a-kill", "store/recovery_belief.pyx",
        "        self.unproven.append(self._log.disk.open_directory(self._log.directory))", "        pass",
        (AFTER_A_KILL,),
    ),
    Fault(
        "names-of-segments-made-anew-through-one-name", "store/segment_files.pyx",
        "            self.disk.rename(self.directory, name, name + AGAIN)\n"
        "            self.disk.rename(self.directory, name + AGAIN, name)\n",
        "            self.disk.rename(self.directory, name, segment_name(0) + AGAIN)\n"
        "            self.disk.rename(self.directory, segment_name(0) + AGAIN, name)\n",
        (LOST,),
    ),
    Fault(
        "moved-segment-not-put-back", "store/recovery_parts.pyx",
        "sorted(self._log.put_back(self._present))", "sorted(self._present)",
        (LOST,),
    ),
    Fault(
        "journal-believed-after-a-kill", "store/consumer_file.py",
        "            is_certain = self._write_again(NAMES[self.current], best.end)", "            is_certain = True",
        (AFTER_A_KILL,),
    ),
    Fault(
        "hidden-place-written-before-its-mark", "jetstream/storage.py",
        "            shelf.go_on_when_marked()", "            shelf._marked('')",
        (AFTER_A_KILL,),
    ),
    Fault(
        "mark-believed-after-a-kill", "store/directory.py",
        "                mark_again(path, self._disk)\n", "",
        (AFTER_A_KILL,),
    ),
    Fault(
        "what-has-left-is-missing", "store/recovery_parts.pyx",
        " and self._parts[i].head.generation > oldest:", ":",
        (RECOVERY,),
    ),
    # --- acknowledged before it is on disk ---
    Fault(
        "sync-skipped", "store/committer.pyx",
        "return self.tier == SYNCED or (target.insists and self.ever_syncs)", "return False",
        (FILE, CUTS),
    ),
    Fault(
        "told-at-the-first-of-several-syncs", "store/committer.pyx",
        "        if target._syncs_left:\n            return 0\n        if target._no_room",
        "        if target._syncs_left > 1:\n            return 0\n        if target._no_room",
        (COMMITTER, CUTS),
    ),
    Fault(
        "last-error-wins", "store/committer.pyx",
        "target._sync_error = target._sync_error or error", "target._sync_error = error",
        (COMMITTER, SYNCS),
    ),
    Fault(
        "sync-error-ignored", "store/committer.pyx",
        "target.synced(target._sync_error)", "target.synced(0)",
        (FILE, SYNCS),
    ),
    Fault(
        "names-told-before-the-sync", "store/names.pyx",
        "        self._covered, self._waiting = self._covered + self._waiting, []\n"
        "        try:\n            if self._fd < 0:",
        "        tell_all(self._waiting, '')\n        self._waiting = []\n        try:\n            if self._fd < 0:",
        (COMMITTER, CUTS),
    ),
    Fault(
        "refused-write-forgotten", "store/committer.pyx",
        "            return self._begin(target, target._sync_fds)\n        target.refused = True",
        "            return self._begin(target, target._sync_fds)\n"
        "        self.forget(target)\n        target.refused = True",
        (FULL,),
    ),
    Fault(
        "segment-written-without-its-file", "store/segment_log.pyx",
        "        if self._later:\n            return -1  ", "        if False:\n            return -1  ",
        (STILL,),
    ),
    Fault(
        "stands-still-unnoticed", "store/committer.pyx",
        "return worker_now_ns() - oldest._asked_ns > max(STANDS_STILL_NS, 4 * self._sync_ns)", "return False",
        (STILL,),
    ),
    Fault(
        "what-is-begun-in-memory-has-no-bound", "store/segment_files.pyx",
        "if self.committer.made_later_bytes + bytes > LATER_BYTES_MAX:", "if False:",
        (STILL,),
    ),
    Fault(
        "interval-forgets-other-files", "store/committer.pyx",
        "                for other in target._others or ():\n                    self._remember(other)\n", "",
        (FILE,),
    ),
    Fault(
        "visible-before-the-sync", "store/file_store.pyx",
        "        self._writing_position, self._writing_seq = self.position, self.state.last_seq\n",
        "        self._writing_position, self._writing_seq = self.position, self.state.last_seq\n"
        "        self.committed_seq = self._writing_seq\n",
        (FILE, MODEL),
    ),
    Fault(
        "acknowledged-before-the-sync", "store/file_store.pyx",
        "        if fd < 0 and (more or",
        "        self.committed_position = self._writing_position\n        if fd < 0 and (more or",
        (FILE, CUTS),
    ),
    Fault(
        "new-segments-name-not-synced", "store/segment_log.pyx",
        "        if not self._names_synced and target is not None:", "        if False:",
        (FILE, CUTS),
    ),
    Fault(
        "only-the-last-segment-synced", "store/segment_log.pyx",
        "            if fd >= 0 and target is not None:", "            if False:",
        (FILE, CUTS),
    ),
    Fault(
        "directories-synced-without-their-names", "store/disk.h",
        "        if (S_ISDIR(info.st_mode)) failed = fsync(fd);", "        if (S_ISDIR(info.st_mode)) failed = 0;",
        (CUTS,),
    ),
    # --- after a failed sync or write ---
    Fault(
        "failed-sync-tried-again", "store/file_store.pyx",
        '            return self.fail(f"cannot {what} {self.log.directory}: {os.strerror(error)}")',
        "            return self._committer.enlist(self._writer)",
        (FILE, SYNCS),
    ),
    Fault(
        "failed-write-passed-over", "store/file_store.pyx",
        '            self.fail(f"cannot write {self.log.directory}: {error}")\n', "",
        (FULL, FILE),
    ),
    Fault(
        "journals-name-believed-after-a-failed-sync", "store/consumer_journal.pyx",
        "        self._files.unsynced()\n", "",
        (ORDER,),
    ),
    Fault(
        "failed-journal-goes-on-in-its-file", "store/consumer_journal.pyx",
        "        self._start_over()\n        self._committer.enlist(self)\n        return -1",
        "        self._committer.enlist(self)\n        return -1",
        (CONSUMERS, SYNCS),
    ),
    Fault(
        "last-write-not-written-again", "store/recovery_belief.pyx",
        "self._log.disk.write(self.unproven[i - self._sync_from], self._image + begin, end - begin, begin)", "pass",
        (RECOVERY,),
    ),
    Fault(
        "last-write-written-again-without-a-sync", "store/segment_log.pyx",
        "        self._proof_runs = Proof(committer, witness, fds, self.directory) if fds else None\n", "",
        (RECOVERY, WITNESS),
    ),
    Fault(
        "last-write-believed-before-its-sync", "store/proof.pyx",
        "        self._committer.wait_for(self)\n", "",
        ("tests/unit/jetstream/test_storage.py", RECOVERY),
    ),
    Fault(
        "torn-log-testified-to", "store/recovery_belief.pyx",
        "            if self._parts[i].distrust != NOWHERE or self._parts[i].made_up:", "            if False:",
        (WITNESS,),
    ),
    Fault(
        "summary-before-an-erasure-is-done-again", "store/repacking.pyx",
        " and not segment.erasing and segment.buffer == NULL", " and segment.buffer == NULL",
        (UNIT + "test_scrubbing.py",),
    ),
    # --- removals ---
    Fault(
        "tombstone-forgotten", "store/file_store.pyx",
        "        self._gone[self._gone_count] = seq\n        self._gone_count += 1\n", "",
        (FILE, MODEL),
    ),
    Fault(
        "floor-forgotten", "store/file_store.pyx",
        "            self.log.put(FLOOR, 0, floor, NULL, 0)", "            pass",
        (FILE, MODEL),
    ),
    Fault(
        "removals-behind-what-was-published-later", "store/file_store.pyx",
        "        if self._removals_first and self._batch != GOES_ON:", "        if False:",
        (CUT,),
    ),
    Fault(
        "evictions-wait-with-a-limit-on-bytes", "store/file_store.pyx",
        "(not evicted or (self.limits.bytes_max and self.limits.per_subject_max))", "not evicted",
        (CUT,),
    ),
    Fault(
        "removals-of-a-batch-in-its-middle", "store/file_store.pyx",
        "if self._removals_first and self._batch != GOES_ON:", "if self._removals_first:",
        (CUT, TAIL),
    ),
    Fault(
        "raised-sequence-forgotten", "store/file_store.pyx",
        "            self.log.put(FIRST, 0, self.state.first_seq, NULL, 0)\n", "",
        (FILE, MODEL),
    ),
    Fault(
        "torn-removal-believed", "store/recovery.pyx",
        "        if step.offset >= part.distrust:\n            return self._disbelieve(part, step.offset)\n", "",
        (RECOVERY, TORN),
    ),
    Fault(
        "torn-trim-believed", "store/recovery_belief.pyx",
        "if offset < self._parts[self._count - 1].distrust or any([oldest < gone <= generation for gone in left]):",
        "if True:",
        (TORN,),
    ),
    Fault(
        "disbelieved-but-left-on-disk", "store/recovery.pyx",
        "        return self._log.disk.write(self._log.fd(part.number), <const char*>head, length, offset)",
        "        return 0",
        (SUMMARIES, TORN, RECOVERY),
    ),
    # --- erasures ---
    Fault(
        "erased-where-it-may-look-torn", "store/erasing.pyx",
        "        elif not log.proven(generation, offset):", "        elif False:",
        (RECOVERY, CUTS),
    ),
    Fault(
        "erasure-not-done-again", "store/recovery.pyx",
        "        if bad or self._is_message(part, &erasure):", "        if False:",
        (FILE, RECOVERY),
    ),
    Fault(
        "file-with-an-erased-message-used-again", "store/segment_log.pyx",
        "if spares < SPARES_MAX and not segment.scrub and segment.packed == NULL",
        "if spares < SPARES_MAX and segment.packed == NULL",
        (RECOVERY, FILE),
    ),
    Fault(
        "summary-keeps-an-erased-subject", "store/erasing.pyx",
        "            repacker.wipe(number)                  # and that is on disk before the message is overwritten\n"
        "            left.append(item)\n",
        "            erase(log, number, offset, seq, size)\n",
        (SUMMARIES,),
    ),
    # --- what is read ---
    Fault(
        "checksum-not-compared", "store/record.pyx",
        "    return record_plausible(at, have) and crc32c(seed, at + 4, head.length - 4) == head.crc",
        "    return record_plausible(at, have)",
        (RECOVERY,),
    ),
    Fault(
        "another-message-in-its-place", "store/file_store.pyx",
        "                or out.seq != entry.seq or out.subject_len != entry.subject_len:", "                or False:",
        (RECOVERY, FILE),
    ),
    Fault(
        "no-search-behind-damage", "store/record.pyx",
        "        if bad[0] == end:\n            bad[0] = at\n        at += ALIGN\n",
        "        if bad[0] == end:\n            bad[0] = at\n        return end\n",
        (RECOVERY,),
    ),
    Fault(
        "whole-page-of-zeros-is-padding", "store/record.pyx",
        "            if at % PAGE == 0 and bad[0] == end:", "            if False:",
        (RECOVERY,),
    ),
    Fault(
        "zeros-within-a-write-are-padding", "store/record.pyx",
        "            if at > begin and bad[0] == end and not (<const Head*>(image + at)).flags & BATCH:",
        "            if False:",
        (TORN, RECOVERY),
    ),
    Fault(
        "torn-head-is-damage", "store/recovery_belief.pyx",
        "        if is_damage:", "        if True:",
        (TORN,),
    ),
    Fault(
        "witness-of-the-newest-segment-only", "store/recovery_belief.pyx",
        "            if self._parts[i].head.generation >= self._witness.generation:", "            if True:",
        (TORN,),
    ),
    Fault(
        "missing-segment-taken-for-torn", "store/recovery_belief.pyx",
        " and not self._misses_witnessed(i):", ":",
        (TORN,),
    ),
    Fault(
        "missing-segment-not-noticed", "store/recovery_parts.pyx",
        "            if after.head.before != part.head.generation:\n"
        "                after.gap = True\n                continue\n", "",
        (RECOVERY,),
    ),
    Fault(
        "older-copy-wins", "store/recovery.pyx",
        "        return -1 if x.generation < y.generation else 1",
        "        return 1 if x.generation < y.generation else -1",
        (FILE, MODEL, TORN, RECOVERY),
    ),
    Fault(
        "copies-not-marked", "store/segment_log.pyx",
        "            head.flags = BEFORE_HAS_COPIES if self.at[last].copies else 0", "            head.flags = 0",
        (FILE, MODEL, SUMMARIES),
    ),
    # --- sequences ---
    Fault(
        "sequences-of-an-empty-log-issued-again", "store/recovery.pyx",
        "        self._store.index.raise_last(part.head.last_seq)\n", "",
        (FILE, RECOVERY, MODEL),
    ),
    Fault(
        "new-segment-forgets-the-last-sequence", "store/segment_log.pyx",
        "head.last_seq, head.last_ts_ns, head.bytes = self.last_seq, self.last_ts_ns, bytes",
        "head.last_seq, head.last_ts_ns, head.bytes = 0, self.last_ts_ns, bytes",
        (FILE, RECOVERY, MODEL),
    ),
    Fault(
        "time-goes-back", "store/file_store.pyx",
        "        ts_ns = max(ts_ns, self.state.last_ts_ns)\n", "",
        (MODEL, FILE),
    ),
    # --- segments ---
    Fault(
        "segment-leaves-the-log-before-its-trim", "store/segment_log.pyx",
        "        while n + 1 < last and self.at[<uint32_t>self.order[n]].live == 0:",
        "        while n + 1 < last and self.at[<uint32_t>self.order[n]].live <= 1:",
        (FILE, MODEL),
    ),
    Fault(
        "trim-not-logged", "store/segment_log.pyx",
        "        self.put(TRIM, 0, self.at[<uint32_t>self.order[n]].generation, NULL, 0)\n", "",
        (RECOVERY, FILE, TORN),
    ),
    Fault(
        "evicted-under-a-pin-is-not-kept", "store/indexed_store.pyx",
        "if self.pins and not secure:", "if self.pins and not secure and not evicted:",
        (PIN,),
    ),
    Fault(
        "segments-leave-under-a-pin", "store/file_store.pyx",
        "        if not self.pins:\n            self.log.trim()", "        self.log.trim()",
        (PIN,),
    ),
    Fault(
        "moved-message-is-no-copy", "store/segment_log.pyx",
        "        head.flags = (record.flags & HAS_EXPIRY) | COPY | self._flags(number[0], offset[0])",
        "        head.flags = (record.flags & HAS_EXPIRY) | self._flags(number[0], offset[0])",
        (FILE, MODEL),
    ),
    Fault(
        "moved-message-loses-its-end", "store/segment_log.pyx",
        "        head.flags = (record.flags & HAS_EXPIRY) | COPY", "        head.flags = COPY",
        (FILE, RECOVERY, MODEL),
    ),
    Fault(
        "summary-of-what-is-not-proven", "store/recovery_parts.pyx",
        "        if not part.proven or not part.foot.bytes", "        if not part.foot.bytes",
        (SUMMARIES, TORN),
    ),
    Fault(
        "packed-before-a-later-write", "store/repacking.pyx",
        "and self._log.proven(segment.generation, segment.used)", "and True",
        (PACKED,),
    ),
    Fault(
        "packed-file-renamed-before-its-sync", "store/packer.pyx",
        "        job.error = calls_sync(order.disk, order.target)", "        job.error = 0",
        (PACKED, CUTS),
    ),
    # --- the catalog ---
    Fault(
        "save-writes-over-the-certain-copy", "store/catalog.pyx",
        "self._copy = 1 if self._certain == 0 else 0", "self._copy = 0 if self._certain == 0 else 1",
        (CATALOG,),
    ),
    Fault(
        "creation-not-synced-with-an-interval", "store/catalog.pyx",
        "        self.insists = True\n", "        self.insists = False\n",
        (CATALOG,),
    ),
    Fault(
        "newer-copy-relied-on-unsynced", "store/catalog.pyx",
        "            disk.sync(self._fds[self._certain])\n", "",
        (CATALOG,),
    ),
    Fault(
        "damaged-configuration-believed", "store/catalog.pyx",
        "if magic != MAGIC or len(payload) != length or checksum(data[: HEAD.size - 4] + payload) != crc:",
        "if magic != MAGIC or len(payload) != length:",
        (CATALOG,),
    ),
    # --- consumers ---
    Fault(
        "swap-over-the-good-journal", "store/consumer_file.py",
        "return 1 if known == 0 else 0", "return 0 if known == 0 else 1",
        (STATES, CONSUMERS, "tests/crash/test_ack_sync.py", CUTS),
    ),
    Fault(
        "frames-behind-a-torn-one-read", "store/consumer_file.py",
        "if not payload or len(payload) != length or checksum(payload) != crc:",
        "if not payload or len(payload) != length:",
        (CONSUMERS, STATES, CUTS),
    ),
    Fault(
        "deleted-consumer-comes-back", "store/consumer_journal.pyx",
        "        op[0] = OpId(DELETE, state.id)\n", "        op[0] = OpId(END, 0)\n",
        (STATES, CONSUMERS),
    ),
    Fault(
        "acknowledgement-confirmed-before-the-sync", "store/consumer_journal.pyx",
        "        self._written_position = frame.position\n",
        "        self._written_position = self.committed_position = frame.position\n",
        (CONSUMERS, CUTS),
    ),
    Fault(
        "journal-ahead-of-the-log", "store/consumer_journal.pyx",
        "if self._sealed.goes_on or self._store is None or self._sealed.needs <= self._store.committed_position:",
        "if True:",
        (UNIT + "test_journal_order.py", "tests/simulator"),
    ),
    Fault(
        "journal-ahead-of-messages-on-their-way", "store/consumer_ops.pyx",
        "if self.store is not None and stream_seq > self.store.committed_seq:", "if False:",
        (UNIT + "test_journal_order.py", "tests/unit/jetstream/test_after_a_kill.py"),
    ),
    Fault(
        "consumer-that-passes-over-what-was-removed-knows-of-nothing", "jetstream/consumer.pyx",
        "        return self.state.knows_of(self.stream.store.position)       # it will be passed over\n",
        "        return 0\n",
        ("tests/unit/jetstream/test_journal_waits.py", "tests/simulator"),
    ),
    Fault(
        "newest-journal-not-chosen", "store/consumer_file.py",
        "best = max(found, key=lambda journal: journal.generation)",
        "best = min(found, key=lambda journal: journal.generation)",
        (CONSUMERS, "tests/crash/test_ack_sync.py"),
    ),
    # --- slots ---
    Fault(
        "slot-emptied-without-its-mark", "store/directory.py",
        "        disk.move(str(slot / MARKED), str(slot / RELEASED))",
        "        disk.remove(str(slot / MARKED))",
        (DIRECTORY, CUTS),
    ),
    Fault(
        "store-of-another-server-taken", "store/directory.py",
        "            self._disk.lock(fd)", "            pass",
        (DIRECTORY,),
    ),
    # --- a full disk ---
    Fault(
        "taken-behind-what-is-not-written", "store/file_store.pyx",
        "        if self._unwritten or self._writer.refused or", "        if",
        (FULL,),
    ),
    # --- batches ---
    Fault(
        "beginning-of-a-batch-kept", "jetstream/recovery_tail.pyx",
        "        _take_back(store, first, last)\n    return first", "        pass\n    return first",
        (TAIL,),
    ),
    Fault(
        "rollup-not-finished", "jetstream/recovery_tail.pyx",
        "            _roll_up(store, &msg, stream_seq)\n", "            pass\n",
        (TAIL,),
    ),
)  # fmt: skip

SIMULATED: Final = (
    "sync-skipped", "acknowledged-before-the-sync", "directories-synced-without-their-names", "tombstone-forgotten",
    "failed-sync-tried-again", "save-writes-over-the-certain-copy", "last-write-not-written-again",
    "last-write-written-again-without-a-sync", "newer-copy-relied-on-unsynced", "new-segments-name-not-synced",
    "acknowledgement-confirmed-before-the-sync", "visible-before-the-sync", "torn-removal-believed",
    "names-of-segments-believed-after-a-kill", "journal-believed-after-a-kill", "hidden-place-written-before-its-mark",
)  # fmt: skip
"""What the simulator finds by itself (`run.py --simulate`)."""
