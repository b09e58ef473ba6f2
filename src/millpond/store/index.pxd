# What a store knows about its live messages without touching a record: per message 20 bytes in
# columns (offset, subject id, link to the next of the same subject, age, size), per subject one
# entry. Shared by the file store and the memory store. Pure memory: no I/O, nothing is logged here.
#
# Messages live in *runs* (one per segment): a run has a base sequence and a base time, and its
# columns are indexed by (seq - base). A run that holds no live message is dropped whole.
#
# Where what is: run.pxd (columns of one run), subject_index.pxd (subjects), index_core.pxd (what changes the
# index: add, remove, move, runs coming and going), here the questions.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.api cimport Filters, StoreState
from millpond.store.index_core cimport Entry, IndexCore

cdef class Index(IndexCore):
    # From IndexCore: state, open_run, add, get, remove, move, live_in_run, drop_run, raise_last, raise_first.
    cdef uint64_t next_live(self, uint64_t from_seq) noexcept
    cdef uint64_t prev_live(self, uint64_t from_seq) noexcept     # highest live <= from_seq
    cdef uint64_t next_match(self, uint64_t from_seq, Filters filters) noexcept
    # In steps; see store/api.pxd.
    cdef uint64_t search(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                         uint64_t* resume) noexcept
    cdef uint64_t count_part(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept
    cdef size_t last_part(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows, uint64_t* seqs,
                          uint64_t* resume) noexcept
    cdef bint is_long(self, uint64_t from_seq, Filters filters) noexcept
    cdef uint64_t last_match(self, Filters filters, uint64_t up_to_seq) noexcept
    cdef uint64_t count_match(self, uint64_t from_seq, Filters filters) noexcept
    cdef uint64_t first_for(self, const char* subject, uint32_t subject_len) noexcept
    cdef uint64_t last_for(self, const char* subject, uint32_t subject_len) noexcept
    cdef uint64_t count_for(self, const char* subject, uint32_t subject_len) noexcept
    cdef uint64_t next_for(self, uint64_t after_seq) noexcept     # next live of the same subject as after_seq (live, or
                                                                  # removed by the change just before this call)
    cdef uint64_t seq_at_time(self, int64_t ts_ns) noexcept       # exact to 1 ms; stores refine with the record
    cdef list subjects_match(self, Filters filters)
    cdef object last_seqs(self, Filters filters, uint64_t up_to_seq, uint64_t subjects_max)
    cdef uint64_t* last_of_each(self, Filters filters, size_t* count) except? NULL
    cdef list deleted(self, uint64_t most)
    cdef uint64_t memory_bytes(self) noexcept                     # columns and runs
    cdef uint64_t subject_bytes(self) noexcept                    # subject table and arena
    cpdef list check(self)
    # --- private ---
    cdef uint64_t _next_of_id(self, uint64_t from_seq, uint32_t subject) noexcept
    cdef uint64_t _scan_up(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                           uint64_t* resume) noexcept
    cdef uint64_t _scan_down(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept
    cdef uint64_t _last_of_id(self, uint64_t up_to_seq, uint32_t subject) noexcept
    cdef uint64_t _count_any(self, uint64_t from_seq, Filters filters) noexcept
