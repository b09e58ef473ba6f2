# One stream. The API rooms (plain Python) drive it through the def/cpdef methods below; by then configurations
# are validated. States: open -> (failed) -> stopped.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.jetstream.batch_totals cimport BatchTotals
from millpond.jetstream.storage_room cimport StorageRoom
from millpond.jetstream.stream_core cimport StreamCore

cdef class Stream(StreamCore):
    cdef readonly int64_t created_ns
    cdef readonly dict consumers             # {name: Consumer}; the API room adds and removes through add/remove_consumer
    cdef readonly bint was_purged            # as a whole, since the start: an empty stream begins at 1 then
    cdef readonly uint64_t rolled_through    # rollups up to here are not to be done again: kept with the configuration

    # --- life ---
    # subscribe to config.subjects, rebuild the dedupe window, start expiry
    cpdef int start(self) except -1
    # unsubscribe, stop consumers, close the store. delete=True, when the deletion is durable: answer all that is owed
    # and destroy the store; else unanswered publishes stay unanswered.
    cpdef int stop(self, bint delete) except -1
    # The deletion has begun: nothing comes in or out any more; what was taken is answered when it is committed, or by
    # stop(True). Returns its consumers, which are halted and still to be stopped.
    cpdef list retire(self)
    cpdef int update(self, object config) except -1      # a validated new configuration takes effect
    cpdef int add_consumer(self, object consumer) except -1
    cpdef int remove_consumer(self, object consumer) except -1

    # Batches are counted in `totals`, with the server's others; `abandoned(stream, batch_id, reason)` hears of
    # those that end without a commit. Before start().
    cpdef int use_batches(self, BatchTotals totals, object abandoned) except -1
    # What was found damaged when its files were opened goes to tell_damage.
    cpdef int report_damage(self) except -1
    # How many publishes, and bytes of them, may be under way: beyond that they are refused (10167).
    cpdef int use_bounds(self, size_t inflight_messages, uint64_t inflight_bytes) except -1
    # What all streams of the same storage may hold together; without this call there is no such bound.
    cpdef int use_room(self, StorageRoom room, StorageRoom share) except -1

    # --- for the API (control plane) ---
    cpdef dict state(self)                   # messages bytes first_seq last_seq first_ts_ns last_ts_ns num_deleted num_subjects
    # {"seq", "subject": bytes, "hdr": bytes, "body": bytes, "ts_ns"} | None (not there). Raises Cold when it
    # must be read first; then `on_warm(callback)` says when to ask again.
    cpdef object get_message(self, uint64_t stream_seq)
    # For the last message under the one filter, or the first from `stream_seq` on under the other. `step()` until it
    # says False, then `found` is the sequence, 0: there is none. `is_short`: the first step is likely to be the last.
    cpdef object search(self, uint64_t stream_seq, bytes last_by_subject, bytes next_by_subject)
    cpdef bint delete_message(self, uint64_t stream_seq, bint secure) except *
    # The same for a request in which nothing is special, answered with `body`, a constant, when it is durable. False:
    # nothing has happened, the API must judge it.
    cdef bint delete_quickly(self, uint64_t stream_seq, bint secure, const char* reply, uint32_t reply_len,
                             const char* body, uint32_t body_len) except -1
    # The same for a purge of one literal subject with one message at most, in a stream without consumers: `none` or
    # `one` is the answer.
    cdef bint purge_quickly(self, const char* subject, uint32_t subject_len, const char* reply, uint32_t reply_len,
                            const char* none, const char* one, uint32_t body_len) except -1
    cpdef uint64_t purge(self, bytes subject, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF
    # The same, in steps when the stream is long; then `done(how many)`. Not when the stream is stopped before.
    cpdef int start_purge(self, bytes subject, uint64_t below_seq, uint64_t keep, object done, object failed=*) except -1
    # `ask()` behind all removals that are under way; at once when there are none.
    cpdef int after_removals(self, object ask) except -1
    cpdef tuple deleted_part(self, uint64_t from_seq, uint64_t most)     # see Store
    cpdef int set_first_seq(self, uint64_t first_seq) except -1     # an empty stream starts there
    cpdef uint64_t seq_at_time(self, int64_t ts_ns) except 0        # first live at or after it; last_seq + 1 if none
    cpdef int answer_gets_for(self, str origin) except -1           # a mirror also answers direct gets of its origin; "": no more

    # --- private ---
    cdef list _subs, _gets_for
    cdef bint _remove_quickly(self, uint64_t stream_seq, bint secure, const char* reply, uint32_t reply_len,
                              const char* body, uint32_t body_len) except -1
    cdef int _open(self) except -1
    cdef int _bound_removals(self) except -1
    cdef int _subscribe(self) except -1
    cdef list _gets_under(self, str name)
    cdef int _unsubscribe(self) except -1
    cdef int _apply_features(self) except -1
    cdef int _apply_limits(self, bint updated) except -1
    cdef int _apply_schedules(self) except -1
