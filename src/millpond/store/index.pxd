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
from millpond.store.index_core cimport Entry, IndexCore, Row

cdef class Index(IndexCore):
    # From IndexCore: state, open_run, add, get, remove, move, live_in_run, drop_run, raise_last, raise_first.
    cdef uint64_t next_live(self, uint64_t from_seq) noexcept
    # Where the messages from `seq` on are no longer known to lie in the segment of this one.
    cdef uint64_t run_end(self, uint64_t seq) noexcept
    cdef uint64_t prev_live(self, uint64_t from_seq) noexcept     # highest live <= from_seq
    cdef uint64_t next_match(self, uint64_t from_seq, Filters filters) noexcept
    # In steps; see store/api.pxd.
    cdef uint64_t search(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                         uint64_t* resume) noexcept
    cdef uint64_t count_part(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept
    cdef uint64_t search_down(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
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
    # Last messages of their subjects; see store/api.pxd.
    cdef bint count_lasts(self, Filters filters, uint64_t* count, uint64_t* first) noexcept
    cdef uint64_t lasts_part(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows, uint64_t* first,
                             uint64_t* resume) noexcept
    cdef uint64_t search_last(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept
    cdef bint is_last(self, uint64_t seq, const char* subject, uint32_t subject_len, uint64_t as_of) noexcept
    cdef uint64_t before(self, uint64_t seq, const char* subject, uint32_t subject_len) noexcept
    cdef tuple deleted_part(self, uint64_t from_seq, uint64_t most)
    cdef uint64_t memory_bytes(self) noexcept                     # columns and runs
    cdef uint64_t subject_bytes(self) noexcept                    # subject table and arena
    cpdef list check(self)
    # --- private ---
    cdef bint _is_last_of(self, uint32_t id, uint64_t seq, uint64_t as_of) noexcept
    cdef uint64_t _next_of_id(self, uint64_t from_seq, uint32_t subject) noexcept
    cdef uint64_t _scan_up(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                           uint64_t* resume) noexcept
    cdef uint64_t _scan_down(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept
    cdef uint64_t _last_of_id(self, uint64_t up_to_seq, uint32_t subject) noexcept
    cdef uint64_t _count_any(self, uint64_t from_seq, Filters filters) noexcept
