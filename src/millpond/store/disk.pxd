# The store's only door to the operating system's files: whatever makes, reads, changes, removes or syncs one goes through
# here, and whatever looks at names. What is interrupted is done again, what was done in part is completed. One object
# per server; a test or a simulator subclasses it.
from libc.stdint cimport uint64_t

cdef extern from "disk.h" nogil:
    ctypedef struct disk_calls:
        void* self
        int (*in_line)(void* self)
        int (*write)(void* self, int fd, const char* data, size_t size, uint64_t offset)
        int (*read)(void* self, int fd, char* data, size_t size, uint64_t offset, size_t* got)
        int (*sync)(void* self, int fd)
        int (*note)(void* self, const char* path, const char* data, size_t size, uint64_t offset)
        int (*make)(void* self, const char* path, uint64_t size, int* fd)
    # These for the workers: an errno.
    int calls_write(const disk_calls* disk, int fd, const char* data, size_t size, uint64_t offset)
    int calls_read(const disk_calls* disk, int fd, char* data, size_t size, uint64_t offset, size_t* got)
    int calls_sync(const disk_calls* disk, int fd)
    int calls_note(const disk_calls* disk, const char* path, const char* data, size_t size, uint64_t offset)
    int calls_make(const disk_calls* disk, const char* path, uint64_t size, int* fd)

# What `note` and `make` of a disk for tests do: the same through the door. self: a Disk.
cdef int note_through(void* self, const char* path, const char* data, size_t size, uint64_t offset) noexcept with gil
cdef int make_through(void* self, const char* path, uint64_t size, int* fd) noexcept with gil

cdef class Disk:
    cdef disk_calls for_workers      # for the workers, who have no Python state; valid as long as the object
    # A directory is given by its path, for a stream that rests holds no descriptor. `create` makes the name when it is
    # missing. All raise OSError with the name.
    cpdef int open_directory(self, str path) except -1
    cdef int open(self, str directory, str name, bint create) except -1
    cpdef int open_path(self, str path) except -1                # made when it is missing
    cpdef int duplicate(self, int fd) except -1
    cpdef int lock(self, int fd) except -1                       # until it is closed; BlockingIOError: another one has it
    cpdef int close(self, int fd) noexcept
    cdef int unlink(self, str directory, str name) except -1
    cdef int rename(self, str directory, str old, str new) except -1
    # What is there. `size_at`: -1 when nothing is.
    cpdef list names(self, str directory)
    cpdef object size_at(self, str path)
    cpdef bint is_directory(self, str path) except *
    cpdef object size(self, int fd)
    # A whole file, or its first bytes.
    cpdef bytes contents(self, str path, object most=*)
    # The same by path, and directories.
    cpdef int remove(self, str path) except -1
    cpdef int move(self, str old, str new) except -1
    cpdef int touch(self, str path) except -1                    # an empty file, unless there is one
    cpdef int make_directory(self, str path) except -1           # unless there is one
    cpdef int remove_directory(self, str path) except -1
    cpdef int sync(self, int fd) except -1                       # blocks: start and stop only
    # A worker will be asked to sync the file: what was written until now.
    cdef int sync_asked(self, int fd) except -1
    # The file is exactly `size` bytes long and its blocks are there. Raises OSError (disk full).
    cdef int reserve(self, int fd, uint64_t size) except -1
    # Its blocks up to `end` are there, when those up to `begin` were; it may be longer. Raises OSError (disk full).
    cpdef int allocate(self, int fd, uint64_t begin, uint64_t end) except -1
    cpdef int truncate(self, int fd, uint64_t size) except -1
    # What the file system of a path, or of a descriptor, has for us.
    cpdef object free_bytes(self, object place)
    # All of it, or OSError.
    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1
    cpdef int put(self, int fd, bytes data, uint64_t offset) except -1
    # Returns how many bytes were read, fewer than n only at the end of the file.
    cdef size_t read(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    # The same, of what needs no wait: 0 when the first page is not in memory.
    cdef size_t read_hot(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    # The kernel need not keep the pages of this synced range.
    cdef int drop(self, int fd, uint64_t offset, uint64_t n) noexcept
