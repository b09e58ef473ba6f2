from libc.stdint cimport uint64_t
from millpond.store.disk cimport Disk

cdef class MemoryFile:               # what a name stands for
    cdef bytearray data              # its first bytes
    cdef uint64_t size               # those behind `data` are zeros
    cdef bytes sound                 # its content at first
    cdef bint changed                # since then

cdef class MemoryDisk(Disk):
    cdef dict _folders               # path -> {name: MemoryFile; None: a folder}
    cdef dict _kept                  # the same, at first
    cdef list _open                  # descriptor - FD_FIRST -> MemoryFile, a folder's path, None: free
    cdef uint64_t _free              # below it no descriptor is free
    cdef bint _renamed               # names have changed since then
    cdef dict _folder(self, str path)
    cdef MemoryFile _file(self, int fd)
    cdef int _opened(self, object what) except -1
    cdef int _open_at(self, str directory, str name, bint create) except -1
    cdef int _move(self, str directory, str old, str other, str new) except -1
    cdef int _forget(self, str directory, str name) except -1
