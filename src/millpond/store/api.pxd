# The store's contract: one ordered log of messages per stream, on file or in memory, with the
# queries that streams and consumers ask. No method blocks on a cold read or on a sync.
#
# Positions. Everything that changes a store (append, remove, purge, floor) is one or more log
# records, and `position` counts bytes of log ever appended. `committed_position` is how much of it
# is durable at the store's tier. Whoever owes an answer for a change remembers `position` after the
# change and answers when committed_position has reached it. `committed_seq` is the highest message
# sequence at or below committed_position; consumers deliver no further.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.subjects.filter_tree cimport FilterTree
from millpond.wire.message cimport Msg

cdef enum Load:
    MISSING = 0      # deleted, expired or never there
    FOUND = 1
    COLD = 2         # being read from disk; owner.warm() is called when it has arrived

cdef enum:
    NEVER_EXPIRES = -1

cdef struct Record:              # views, valid until the next call on the same store
    uint64_t seq
    int64_t ts_ns
    const char* subject
    uint32_t subject_len
    const char* hdr              # whole header block, hdr_len 0 = none
    uint32_t hdr_len
    const char* body
    uint32_t body_len

cdef struct StoreState:
    uint64_t messages
    uint64_t bytes               # accounted as nats-server does (message_size), not as on disk
    uint64_t first_seq           # first live; last_seq + 1 when empty
    uint64_t last_seq            # highest ever issued
    int64_t first_ts_ns          # 0 when empty
    int64_t last_ts_ns           # of last_seq, kept when that message is gone
    uint64_t num_deleted         # gaps between first_seq and last_seq
    uint64_t num_subjects

cdef struct Limits:              # 0 = no limit
    uint64_t messages_max
    uint64_t bytes_max
    uint64_t per_subject_max
    int64_t age_max_ns

cdef struct SubjectWalk:         # begins with zeros
    uint32_t at                  # subject id
    uint32_t numbering           # under which the ids are these
    bint done

cdef class StoreOwner:
    """What a store tells the stream that owns it. Called in the loop's thread."""
    # A message left the store, for whatever reason. `subject` is valid during the call.
    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, uint64_t size) except -1
    # Set by owners that put a marker in the place of a subject's last message when it expires.
    cdef bint marks_expiry
    # With marks_expiry: this message, the last of its subject, is about to expire; the owner may append in its
    # place. False: not now (its record is COLD). The views are valid until the owner appends.
    cdef bint expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *
    cdef int committed(self) except -1          # committed_position moved
    cdef int warm(self) except -1               # a COLD read arrived: ask again
    cdef int failed(self, str reason) except -1 # the store can no longer write (sync or disk error)
    cdef int damaged(self, uint64_t stream_seq, str reason) except -1    # that message was lost, and removed

cdef class Filters:
    """A consumer's or a query's subject filters. `all` when empty or exactly [">"]."""
    cdef readonly list subjects                 # [bytes]
    cdef readonly bint all
    cdef readonly bint literal                  # exactly one filter, without wildcards
    cdef readonly bint literals                 # several, all without wildcards
    cdef FilterTree _tree                       # of many; None: they are tried one by one
    cdef bint matches(self, const char* subject, uint32_t subject_len) noexcept

cdef class Store:
    cdef StoreState state
    # state.first_ts_ns, exact where the record of the first message can be read now, or after a wait for the disk; else
    # up to a millisecond early (and exact the next time).
    cpdef int64_t first_ts_ns(self, bint wait=*) except? -1
    cdef Limits limits
    cdef readonly uint64_t position
    cdef readonly uint64_t committed_position
    cdef readonly uint64_t committed_seq
    cdef readonly bint over_limits              # more is over the limits than was removed at once: enforce_part() goes on
    cdef public StoreOwner owner
    cdef public uint64_t removals_max           # at once: the owner knows what it costs to hear of one
    cdef readonly str failure                   # "" = healthy
    cdef readonly bint cut_short                # it was not closed in order: what was not committed may be missing
    cdef readonly object losses                 # losses.Lost: what damage took; None: it cannot (memory)
    cdef readonly uint64_t torn_seq             # a crash tore the last write: messages from here on may be missing; 0 = not

    # Bytes this message counts for (file: 22 + subject + (4 + headers) + body + 8; memory: 16 + all).
    cdef uint64_t message_size(self, uint32_t subject_len, uint32_t hdr_len, uint32_t body_len) noexcept
    # Takes the message at state.last_seq + 1 and returns that sequence. Copies it. Then enforces
    # `limits` by removing the oldest (of the subject, of the stream). ts_ns is raised to last_ts_ns if below.
    # expires_ns: the message's own end (Nats-TTL, ADR-43), wall clock; 0 = none, NEVER_EXPIRES = not even by max_age.
    cdef uint64_t append(self, const Msg* msg, int64_t ts_ns, int64_t expires_ns) except 0
    # Issues the next sequence without a message, and returns it: it is in the log, and nobody gets it.
    cdef uint64_t skip(self, int64_t ts_ns) except 0
    # What is appended in between is one batch: removals are logged behind all of it, so that who opens the store after
    # a crash and finds a beginning of it can take that back, and what it replaced is there.
    cdef int begin_batch(self) except -1
    cdef int end_batch(self) except -1
    # The same for all sequences up to this one, at the cost of one. ts_ns 0: the last message's time stays.
    cdef int skip_through(self, uint64_t stream_seq, int64_t ts_ns) except -1
    # One message by sequence. `wait` reads from disk at once (recovery and tools only).
    cdef Load load(self, uint64_t stream_seq, Record* out, bint wait=*) except *
    cdef bint exists(self, uint64_t stream_seq) noexcept
    # A live message's subject, from the index; the view is valid until the next change. False: not there.
    cdef bint subject_of(self, uint64_t stream_seq, const char** subject, uint32_t* subject_len) noexcept

    # --- queries; 0 = none ---
    cdef uint64_t next_live(self, uint64_t from_seq) noexcept                 # first live >= from_seq
    # The same, passing over what is known to have no header block.
    cdef uint64_t next_headed(self, uint64_t from_seq) noexcept
    cdef uint64_t next_match(self, uint64_t from_seq, Filters filters) noexcept  # first live >= from_seq under the filters
    cdef uint64_t count_match(self, uint64_t from_seq, Filters filters) noexcept # live >= from_seq under the filters
    # The same in steps, between two sequences: no more than `rows` messages are looked at. *resume is where to go
    # on, 0 at the end.
    cdef uint64_t search(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                         uint64_t* resume) noexcept
    cdef uint64_t count_part(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept
    # The same downwards, from from_seq to to_seq.
    cdef uint64_t search_down(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept
    # A part of a walk over all subjects, of at most `looks`; returns how many there were. *low becomes the lowest and
    # *high the highest sequence of from_seq..to_seq at which a message under the filters may be: nearer bounds than
    # those, as far as the subjects know.
    cdef uint64_t bounds_part(self, Filters filters, uint64_t from_seq, uint64_t to_seq, SubjectWalk* walk,
                              uint64_t looks, uint64_t* low, uint64_t* high) noexcept
    # Would count_match take longer than a step may?
    cdef bint is_long(self, uint64_t from_seq, Filters filters) noexcept
    cdef uint64_t last_for(self, const char* subject, uint32_t subject_len) noexcept      # literal
    cdef uint64_t count_for(self, const char* subject, uint32_t subject_len) noexcept     # literal
    cdef uint64_t oldest_size(self, const char* subject, uint32_t subject_len) noexcept   # literal; message_size of its first
    cdef uint64_t last_match(self, Filters filters, uint64_t up_to_seq) noexcept  # highest live <= up_to_seq (0: any)
    cdef uint64_t seq_at_time(self, int64_t ts_ns) noexcept                   # first live with ts >= ts_ns; last_seq + 1 if none
    # A part of a walk over the subjects under the filters, of at most *looks, which are taken off. `found` gets the
    # sequences of their last messages; `later` gets the subjects that begin below up_to_seq and go on behind it, for
    # lasts_down(). False: they are more than `most` (0: any number).
    cdef bint lasts_of_part(self, Filters filters, uint64_t up_to_seq, SubjectWalk* walk, uint64_t* looks, set found,
                            set later, uint64_t most) except -1
    # Looks at no more than `rows` messages from from_seq downwards; those that are the first ones seen of the subjects in
    # `later`, which leave it, go into `found`. Returns where to go on, 0 at the end.
    cdef uint64_t lasts_down(self, set later, uint64_t from_seq, uint64_t rows, set found) except? 0xFFFFFFFFFFFFFFFF
    # The last messages of their subjects, as of a sequence: a list that nobody has to keep. How many there are now,
    # and the lowest of them; False: these are too many subjects to look at in one step.
    cdef bint count_lasts(self, Filters filters, uint64_t* count, uint64_t* first) noexcept
    # The same in steps, as of `as_of`, among the sequences from_seq..as_of; *first is set by the first one found.
    cdef uint64_t lasts_part(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows, uint64_t* first,
                             uint64_t* resume) noexcept
    # The first one at or behind from_seq; see search.
    cdef uint64_t search_last(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept
    # Is, or was, the message of that subject and sequence one of them? And the live one of the subject before it, 0: none.
    cdef bint is_last(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, uint64_t as_of) noexcept
    cdef uint64_t before(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) noexcept
    # Deleted sequences between first and last, ascending, from `from_seq` on: ([at most `most`], where to go on or 0).
    cpdef tuple deleted_part(self, uint64_t from_seq, uint64_t most)

    # --- removal; every one of them is logged ---
    cdef bint remove(self, uint64_t stream_seq, bint secure) except *         # False: was not there
    # filters all, below_seq 0 (= all), keep 0 (= none kept). Returns how many went.
    cdef uint64_t purge(self, Filters filters, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF
    # The same in steps: at most `most` messages of *at..end_seq; sets *at to where to go on, 0 at the end.
    cdef uint64_t purge_part(self, Filters filters, uint64_t* at, uint64_t end_seq,
                             uint64_t most) except? 0xFFFFFFFFFFFFFFFF
    # Removes what has reached its own end, and what is older than limits.age_max_ns (oldest first; not what was
    # appended with NEVER_EXPIRES). Looks at no more than `budget` messages. Returns the wall time (ns) when the next
    # one falls due, `now_ns` when there is more to look at already, 0 when nothing will.
    cdef int64_t expire(self, int64_t now_ns, uint32_t budget) except? -1
    # Sets and enforces them, in part if it is long: first that of subjects, unless others were set before and are not
    # reached yet.
    cdef int set_limits(self, Limits limits) except -1
    # Removes at most `most` messages that are over the limits. True: there are more.
    cdef bint enforce_part(self, uint64_t most) except *
    # An empty store starts at `first_seq` instead of 1.
    cdef int set_first_seq(self, uint64_t first_seq) except -1

    # --- life ---
    # Nothing is written, and so nothing committed, until go_on() (memory: nothing to do).
    cpdef int hold(self) except -1
    cpdef int go_on(self) except -1
    cpdef int close(self) except -1             # writes, syncs (file), releases everything
    cpdef int destroy(self) except -1           # close, without a write or a wait: its files are not wanted any more
    cpdef list check(self)                      # fsck of the live store against its own invariants; [] = sound
    cpdef dict memory(self)                     # {"index": bytes, "subjects": bytes, "buffers": bytes, ...}
    # The turn's commit phase. A memory store tells its owner here what has become committed since the last
    # call; a file store is committed by the Committer and does nothing here.
    cpdef int commit(self) except -1
