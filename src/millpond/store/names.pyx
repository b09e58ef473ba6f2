"""The names in a directory, made durable: what is asked for while a sync runs shares the next one."""

import os

from millpond.store.committer cimport Committer, Target, tell_all


cdef class Names(Target):
    """The names in `directory`. Everyone who asks is told, also when the directory cannot be opened any more."""

    def __init__(self, str directory, Committer committer):
        self._directory, self._committer = directory, committer
        self._waiting, self._covered, self._fd = [], [], -1

    cpdef int keep(self, object done) except -1:
        self._waiting.append(done)
        return self._committer.enlist(self)

    cdef int write(self) except -2:
        self._covered, self._waiting = self._covered + self._waiting, []
        try:
            if self._fd < 0:
                self._fd = self._committer.disk.open_directory(self._directory)
        except OSError as error:
            self._tell(f"cannot open {self._directory}: {error.strerror}")
            return -1
        return self._fd

    cdef int synced(self, int error) except -1:
        if not self._waiting:
            self._committer.disk.close(self._fd)
            self._fd = -1
        return self._tell(f"cannot sync {self._directory}: {os.strerror(error)}" if error else "")

    cdef int _tell(self, str failure) except -1:
        covered, self._covered = self._covered, []
        return tell_all(covered, failure)
