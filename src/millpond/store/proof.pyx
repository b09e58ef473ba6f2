"""The last write of a log that was found at a start: it is on disk when its sync has succeeded, and not believed before.

Workers sync it, while others are opened. One that fails is told to who waits: the log cannot be opened.
"""

import os

from millpond.store.committer cimport Committer, Target


cdef class Proof(Target):
    """fds: descriptors of what was written, one or more; they are closed here. witness: testifies to it when it is on
    disk, so that the next start need not prove it once more."""

    def __init__(self, Committer committer, Target witness, list fds, str directory):
        self._committer, self._witness, self._fds, self._directory = committer, witness, fds, directory
        committer.sync_beside(self, fds)

    cdef int synced(self, int error) except -1:
        self._error = error
        for fd in self._fds:
            self._committer.disk.close(fd)
        return 0

    cpdef int wait(self) except -1:
        """Raises OSError when it could not be synced."""
        self._committer.wait_for(self)
        if self._error:
            raise OSError(self._error, os.strerror(self._error), self._directory)
        return self._committer.testify_later(self._witness)
