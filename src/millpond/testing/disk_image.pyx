"""What a power cut may leave of all that was done to a simulated disk (simulated_disk.pyx).

What was synced is certain. Of everything else any part may be there:

- Each write is, is not, or some of its sectors are, whatever became of those before and after it; each change of a
  file's length likewise, so a file may have grown without what was written there. (But what is written behind a new end
  gets new blocks: it is there only if the file was cut off before.)
- Of the changes of a directory's names some first few are, or any of them, or none. A name that is there without its
  file's content is an empty file.
- After a sync that failed, the kernel holds the pages for clean: what it should have made certain is there by chance,
  and no later sync makes it certain.

A kill leaves everything, in memory: whoever comes next reads it as it was written (`memory`), and what is certain is
certain no more than before. So the same image goes on with what the next one does, and a power cut may come then.
"""

from libc.stdint cimport uint64_t

from millpond.testing.simulated_disk import GONE, MOVED, NAME, SIZE, SYNCED, UNSYNCED, WRITE

cdef enum:
    SECTOR = 512

SURVIVALS = ("nothing", "everything", "first", "some", "all but one", "only one", "torn")


cdef class Content:
    """A file's bytes on disk and in memory, and what was done since: [(number of the step, step)]."""

    cdef bytearray stable, memory
    cdef list pending

    def __init__(self, bytes stable=b""):
        self.stable, self.memory, self.pending = bytearray(stable), bytearray(stable), []

    cdef Content copy(self):
        cdef Content other = Content()
        other.stable, other.memory, other.pending = self.stable[:], self.memory[:], self.pending[:]
        return other


cdef int _grow(bytearray content, uint64_t size) except -1:
    if size > <uint64_t>len(content):
        content.extend(bytes(size - len(content)))
    return 0


cdef int _apply(bytearray content, tuple step, object rng) except -1:
    """rng: only some sectors of a write arrive. None: all do."""
    cdef uint64_t at, end, next
    if step[0] == SIZE:
        del content[step[2]:]
        return _grow(content, step[2])
    at, data = step[2], step[3]
    end = at + len(data)
    if rng is None:
        _grow(content, end)
        content[at:end] = data
        return 0
    begin = at
    share = rng.choice((0.1, 0.5, 0.9))
    while at < end:
        next = min(end, (at // SECTOR + 1) * SECTOR)
        if rng.random() < share:
            _grow(content, next)
            content[at:next] = data[at - begin:next - begin]
        at = next
    return 0


cdef int _rename(dict names, tuple step, object moved) except -1:
    """One change of names. moved: what the old name of a MOVED stood for when it was moved."""
    kind = step[0]
    if kind == NAME:
        names[step[1]] = step[2]
    elif kind == GONE:
        names.pop(step[1], None)
    else:
        names[step[2]] = moved
        if names.get(step[1]) is moved:
            del names[step[1]]
    return 0


cdef class DiskImage:
    """`feed` it a trace step by step; at any moment `image` is what a power cut at that moment may leave.

    files: {path: File, or None for a directory} of what was there before the trace, all of it on disk; contents:
    {path: bytes} of these files.
    """

    cdef dict _names, _contents        # what is certain: path -> File or None; File -> Content
    cdef dict _now                     # the same of names without any cut
    cdef list _pending                 # changes of names: (number, directory, step, what a MOVED moves)
    cdef uint64_t _fed
    cdef object _rng                   # decides what a failed sync has done

    def __init__(self, dict files, dict contents, rng):
        self._names, self._now, self._pending, self._rng = dict(files), dict(files), [], rng
        self._contents = {file: Content(contents[path]) for path, file in files.items() if file is not None}

    def feed(self, tuple step):
        cdef Content content
        kind = step[0]
        if kind in (WRITE, SIZE):
            content = self._contents[step[1]]
            content.pending.append((self._fed, step))
            _apply(content.memory, step, None)
        elif kind in (SYNCED, UNSYNCED):
            if isinstance(step[1], str):
                self._sync_names(step[1], step[2], kind == SYNCED)
            else:
                self._sync(self._contents[step[1]], step[2], kind == SYNCED)
        else:
            if kind == NAME and step[2] is not None:
                self._contents[step[2]] = Content()
            moved = self._now[step[1]] if kind == MOVED else None
            self._pending.append((self._fed, step[1].rpartition("/")[0], step, moved))
            _rename(self._now, step, moved)
        self._fed += 1

    def copy(self, rng):
        """Another one that goes on from here by itself. rng: its own chance."""
        cdef DiskImage other = DiskImage({}, {}, rng)
        other._names, other._now, other._pending = dict(self._names), dict(self._now), self._pending[:]
        other._contents = {file: (<Content>content).copy() for file, content in self._contents.items()}
        other._fed = self._fed
        return other

    def memory(self):
        """What a process reads that runs now: ({path: bytes, or None for a directory}, {path: File})."""
        found = {path: None if file is None else bytes((<Content>self._contents[file]).memory)
                 for path, file in sorted(self._now.items())}
        return found, {path: file for path, file in self._now.items() if file is not None}

    cdef int _sync(self, Content content, uint64_t before, bint success) except -1:
        left = []
        for number, step in content.pending:
            if number >= before:
                left.append((number, step))
            elif success or self._rng.random() < 0.5:
                _apply(content.stable, step, None)
        content.pending = left
        return 0

    cdef int _sync_names(self, str directory, uint64_t before, bint success) except -1:
        left = []
        for change in self._pending:
            if change[0] >= before or change[1] != directory:
                left.append(change)
            elif success or self._rng.random() < 0.5:
                _rename(self._names, change[2], change[3])
        self._pending = left
        return 0

    def uncertain(self):
        """How many steps are not on disk for certain."""
        return len(self._pending) + sum([len((<Content>content).pending) for content in self._contents.values()])

    def image(self, rng, str survival):
        """{path: bytes, or None for a directory}, one of the possible ones."""
        kept, torn = self._chosen(rng, survival)
        names = dict(self._names)
        for number, _, step, moved in self._pending:
            if number in kept:
                _rename(names, step, moved)
        found = {}
        for path in sorted(names):
            parent = path.rpartition("/")[0]
            if path and (parent not in found or found[parent] is not None):
                continue                           # what is in a directory whose own name was lost is lost with it
            file = names[path]
            found[path] = None if file is None else self._left(self._contents[file], rng, kept, torn)
        return found

    cdef bytes _left(self, Content content, rng, set kept, set torn):
        if not content.pending:
            return bytes(content.stable)
        left, shrunk = bytearray(content.stable), None
        for number, step in content.pending:
            if number in kept and (shrunk is None or step[0] == SIZE or step[2] + len(step[3]) <= shrunk):
                _apply(left, step, rng if number in torn else None)
                if step[0] == SIZE:
                    shrunk = None
            elif step[0] == SIZE and step[2] < <uint64_t>len(left):
                shrunk = step[2] if shrunk is None else min(shrunk, step[2])
        return bytes(left)

    cdef tuple _chosen(self, rng, str survival):
        """(numbers of the steps that are there, those of them that are there in part)."""
        everything = [number for number, _, _, _ in self._pending]
        for content in self._contents.values():
            everything += [number for number, _ in (<Content>content).pending]
        everything.sort()
        if survival == "nothing" or not everything:
            return set(), set()
        if survival == "everything":
            return set(everything), set()
        if survival == "first":
            first = everything[:rng.randint(1, len(everything))]
            return set(first), {first[len(first) - 1]}
        if survival == "torn":
            return set(everything), set(rng.sample(everything, rng.randint(1, len(everything))))
        one = rng.choice(everything)
        if survival == "only one":
            return {one}, {one} if rng.random() < 0.3 else set()
        if survival == "all but one":
            return set(everything) - {one}, set()
        share = rng.random()
        kept = {number for number in everything if rng.random() < share}
        return kept, {number for number in kept if rng.random() < 0.3}
