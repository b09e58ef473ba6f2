"""Every bound of the server, with its unit in its name and its source behind it.

Compiled modules read these once, at import, into C variables. A bound that users may set
is only the *default* here; the value in force lives in `config.options.Options`.
"""

from __future__ import annotations

from typing import Final

SERVER_VERSION: Final = "2.15.1"
"""Clients gate features on this: the nats-server release whose behaviour we have."""

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- protocol (reference 01, appendix A; nats-server defaults) ---
CONTROL_LINE_BYTES_MAX: Final = 4096
PAYLOAD_BYTES_MAX: Final = 1 * MIB
PENDING_BYTES_MAX: Final = 64 * MIB
CONNECTIONS_MAX: Final = 65_536
AUTH_TIMEOUT_NS: Final = 2_000_000_000
PING_INTERVAL_NS: Final = 120_000_000_000
FIRST_PING_NS: Final = 2_000_000_000
RTT_INTERVAL_NS: Final = 3_600_000_000_000
"""A round trip older than this is measured again even when there is traffic (reference 01, CORE-41)."""
PINGS_OUTSTANDING_MAX: Final = 2
WRITE_DEADLINE_NS: Final = 10_000_000_000
LAME_DUCK_DURATION_NS: Final = 120_000_000_000
LAME_DUCK_GRACE_PERIOD_NS: Final = 10_000_000_000
MATCH_CACHE_REFS_MAX: Final = 500_000
"""Receivers in all cached matches of one account together: 4 MB."""
CLOSED_CLIENTS_KEPT: Final = 10_000
PREAUTH_BYTES_MAX: Final = 8 * KIB
"""What one connection may make us hold before it is authenticated (reliability.md 5)."""

# --- TLS (reference 02.4; the two times as nats-server, the rest our own) ---
TLS_TIMEOUT_NS: Final = 2_000_000_000
TLS_FIRST_FALLBACK_NS: Final = 50_000_000
"""`handshake_first: auto`: how long a client may say nothing before INFO goes out in the clear."""
TLS_AUTH_EXTRA_NS: Final = 1_000_000_000
"""By how much the time to authenticate is longer than that for a handshake, unless it is configured."""
TLS_HANDSHAKE_BYTES_MAX: Final = 128 * KIB
"""What a client may send before its handshake is done: certificates come in a chain."""
TLS_READ_BYTES: Final = 64 * KIB
"""Of encrypted bytes, at a time."""
LAYER_WRITE_BYTES: Final = 64 * KIB
"""Plain bytes that are encrypted, or put into a frame, at a time: nothing more is, before these have left."""
TLS_CONNECTION_BYTES: Final = 17_000
"""What OpenSSL holds for one idle connection, measured with 1,000 of them."""
TLS_SESSIONS_REMEMBERED_MAX: Final = 256
"""Sessions of TLS 1.2 without tickets that OpenSSL may keep for a client to come back with."""

# --- WebSocket (RFC 6455; sizes as nats-server, the rest our own) ---
WS_UPGRADE_NS: Final = 5_000_000_000
"""For the request, TLS included, where no `handshake_timeout` is configured."""
WS_BROWSER_FRAME_BYTES: Final = 4096
WS_COMPRESS_BYTES_MIN: Final = 65
WS_CONTROL_BYTES_MAX: Final = 125
WS_COMPRESSED_PAYLOADS_MAX: Final = 8
"""A compressed message may be so many times `max_payload` long before it is inflated, and one time afterwards."""
WS_COMPRESSED_BYTES_MAX: Final = 64 * MIB
WS_ANSWERS_HELD_BYTES: Final = 4 * KIB
"""Answers to pings that a client does not take; more pings are not answered."""

# --- users and permissions (reference 02) ---
VERIFYING_BYTES_MAX: Final = 64 * KIB
"""What one connection may have sent behind its CONNECT while its password is being verified."""
PASSWORDS_WAITING_MAX: Final = 1024
"""Clients whose passwords wait to be compared with a bcrypt hash."""
BCRYPT_BYTES_MAX: Final = 72
"""bcrypt looks at no more of a password."""
NONCE_BYTES: Final = 11
JWT_BYTES_MAX: Final = MIB
"""Of one token (nats-io/jwt, MaxTokenSize)."""
ACCOUNT_FETCH_TIMEOUT_NS: Final = 1_900_000_000
"""For the claims of an account (nats-server, DEFAULT_ACCOUNT_FETCH_TIMEOUT)."""
ACCOUNT_FETCHES_MAX: Final = 32
"""Accounts whose claims are fetched at a time."""
ACCOUNTS_WAITING_MAX: Final = 1024
"""Accounts whose claims wait to be fetched."""
TEMPLATE_SUBJECTS_MAX: Final = 4096
"""What a scoped signing key's templates may become for one user (nats-server, maxPermTemplateSubjectExpansions)."""
RESPONSES_PER_REQUEST_DEFAULT: Final = 1
RESPONSE_EXPIRES_DEFAULT_NS: Final = 120_000_000_000
SERVICE_RESPONSE_THRESHOLD_NS: Final = 120_000_000_000
SERVICE_RESPONSES_BYTES_MAX: Final = 64 * MIB
"""What answers of imported services hold that are still out; less where memory is short (monitor/memory_watch)."""
SERVICE_RESPONSES_SWEEP_NS: Final = 1_000_000_000
SERVICE_RESPONSES_PER_STEP: Final = 256
"""Of them that one step looks at; each may have an event to tell."""
OIDC_KEYS_MAX: Final = 64
"""Of an issuer; those beyond are not known."""
OIDC_DOCUMENT_BYTES_MAX: Final = 256 * KIB
OIDC_WAITING_MAX: Final = 1024
"""Clients that wait until an issuer's keys are fetched."""
OIDC_FETCH_S: Final = 10.0
OIDC_PAUSE_S: Final = 5.0
"""Between two fetches, whoever asks for them."""
OIDC_RETRY_S: Final = 30.0
OIDC_REFRESH_S: Final = 3600.0
PROXY_HEADER_NS: Final = 5_000_000_000
"""For the header of a load balancer, or for the first bytes of who has none (nats-server, proxyProtoReadTimeout)."""
PROXY_LOOK_S: Final = 0.05
"""How often is looked whether there is more, when the first bytes of a connection do not say yet what it is."""
LOCAL_CONNECTIONS_MAX: Final = 16
"""Operators that may be connected by the local socket at a time, whatever `max_connections` says."""
IMPORTS_IN_A_ROW_MAX: Final = 16
"""Accounts that one message may pass through."""
REPLY_GRANTS_MAX: Final = 4096
"""Reply subjects that one connection may still answer, with `allow_responses`; the oldest goes first."""

# --- the turn (design.md 3) ---
SPIN_NS: Final = 50_000
TURN_INTAKE_NS_MAX: Final = 2_000_000
"""Then the turn goes on to its other phases; who was not heard comes first in the next one."""
TURN_FLUSH_NS_MAX: Final = 2_000_000
"""For what has output since the last turn, and again for what had no time before: a thousand sends, about."""
FLUSHES_PER_CLOCK_LOOK: Final = 32
SESSIONS_ENDED_PER_STEP: Final = 128
"""That are closed, or told that they will be: two milliseconds."""
SUBSCRIPTIONS_REMOVED_PER_TURN: Final = 1000
FRAMES_PER_CLOCK_LOOK: Final = 16
DELIVERIES_PER_FRAME_LOG2: Final = 6
"""64 receivers of one message count as one more frame: it is looked at the clock sooner."""
UNFINISHED_FRAME_LOOK_NS: Final = 100_000_000
"""How often it is looked who takes too long for a frame, in an account that has no room for more of them."""
STALL_CREDIT_BYTES: Final = 64 * KIB
"""What a producer may send after a stall before it can be stalled again: nobody who reads slowly stops it."""
READ_BUFFER_BYTES: Final = 256 * KIB
SPARE_BUFFER_BYTES: Final = 192 * KIB
"""One for each server with TLS or WebSocket: what was read and is not yet the client protocol."""
SEARCH_STEP_ROWS: Final = 16_384
"""Messages that one step looks at, of a search or a count over a stream: about a millisecond."""
PURGE_STEP_MESSAGES: Final = 4096
"""Removals of one step: two milliseconds. A shorter purge is done, and written, as a whole. Consumers make it shorter:
each of them hears of every message."""
CONSUMERS_PER_REMOVAL: Final = 25
"""That many consumers hear of a removal in the time that it takes."""
CONSUMERS_STOPPED_PER_STEP: Final = 64
"""Of a stream that is deleted: a millisecond."""
EVICTIONS_PER_APPEND_MAX: Final = 1024
"""One append makes room so far at once; what is still over the limits goes in steps."""
ADMISSIONS_PER_STEP: Final = 2048
"""Publishes that had to wait, and are judged in one turn."""
ANSWERS_PER_STEP: Final = 8192
"""Acknowledgements that one commit releases in one turn."""
REVIEW_LOOKS_PER_STEP: Final = 16_384
"""Messages times consumers that are asked whether a message is still needed."""
REDELIVERIES_PER_STEP: Final = 4096
CHECKPOINT_STEP_BYTES: Final = 512 * KIB
"""Of consumers' states that are written down in one turn: half a millisecond."""
CHECKPOINT_SHORTENED_PER_STEP: Final = 4 * MIB
"""Of an older checkpoint, whose place the new one takes."""
SUBJECTS_PER_STEP: Final = 2048
NAMES_PER_STEP: Final = 2048
DESCRIBED_PER_STEP: Final = 32
"""Streams or consumers of a list that are described in one turn."""
SURVEYED_PER_STEP: Final = 512
"""Streams and consumers that are asked at a time for the memory they hold: two milliseconds."""
DELETED_PER_STEP: Final = 16_384
DELETIONS_PER_STEP: Final = 32
"""Of streams and their consumers, when an account is purged: two milliseconds."""
FILES_PER_DELETION: Final = 8
"""So many deletions is one of a stream with files, which go together with those of the others of its step."""
FILES_REMOVED_PER_STEP: Final = 16
"""Of a deleted stream: their names, a millisecond."""
PUMP_MESSAGES_PER_CONSUMER: Final = 256
PUMP_BYTES_PER_CONSUMER: Final = 512 * KIB

# --- monitoring over HTTP (reference 07.1; READ_HEAD as nats-server, the rest our own) ---
HTTP_CONNECTIONS_MAX: Final = 128
HTTP_HEAD_BYTES_MAX: Final = 16 * KIB
HTTP_HEADERS_MAX: Final = 100
HTTP_BODY_BYTES_MAX: Final = 64 * KIB
HTTP_READ_HEAD_S: Final = 5.0
HTTP_IDLE_S: Final = 90.0
HTTP_WRITE_S: Final = 30.0
SORTED_PER_STEP: Final = 4096
"""Connections that are put in order at a time."""
PACKED_PER_STEP: Final = 64 * KIB
"""Of a reply that its requester wants packed: two milliseconds of gzip."""
PAGE_ROWS_DEFAULT: Final = 1024
"""Connections, subscriptions, accounts on one page when no limit is asked for."""
CLOSED_CLIENTS_BYTES_MAX: Final = 3 * MIB
CLOSED_CLIENT_SUBSCRIPTIONS_MAX: Final = 64
"""Subscriptions that are remembered of one closed connection."""

# --- the system account (our own) ---
SYSTEM_REQUESTS_MAX: Final = 256
"""Requests of one account that wait for an answer under `$SYS.REQ`; those beyond get none."""
SYSTEM_REQUESTS_BYTES_MAX: Final = 256 * KIB
CLAIMS_REQUESTS_MAX: Final = 4096
"""Requests about claims that wait: whoever manages accounts may send all of them at once."""
CLAIMS_REQUESTS_BYTES_MAX: Final = 16 * MIB

# --- JetStream (reference 03 to 05) ---
API_LEVEL: Final = 5
HEADER_BLOCK_BYTES_MAX: Final = 64 * KIB
RECORD_BYTES_MAX: Final = 32 * MIB
NAME_BYTES_MAX: Final = 255
DURATION_MAX_NS: Final = 2**63 - 1
"""Longer ones are shown as this long, as Go does."""
DESCRIPTION_BYTES_MAX: Final = 4096
METADATA_BYTES_MAX: Final = 128 * KIB
DUPLICATE_WINDOW_DEFAULT_NS: Final = 120_000_000_000
ACK_WAIT_DEFAULT_NS: Final = 30_000_000_000
MAX_ACK_PENDING_DEFAULT: Final = 1000
MAX_WAITING_DEFAULT: Final = 512
INACTIVE_THRESHOLD_DEFAULT_NS: Final = 5_000_000_000
PINNED_TIMEOUT_DEFAULT_NS: Final = 120_000_000_000
CONSUMERS_DEFAULT_MAX: Final = 1000
API_REQUESTS_WAITING_MAX: Final = 10_000
"""Long requests of one account that wait for their turn; with one more all of them are dropped."""
API_REQUESTS_WAITING_BYTES_MAX: Final = 8 * MIB
"""Of their bodies and headers; likewise."""
DIRECT_GETS_WAITING_BYTES_MAX: Final = 8 * MIB
"""Of one stream: what is held of those that take several turns; with more of them, the newest are refused."""
DIRECT_GET_JOB_BYTES: Final = 1024
"""What one of them holds besides the bytes of its request."""
DIRECT_GET_SCRATCH_BYTES_KEPT: Final = 64 * KIB
"""Of the place where one answer is laid out; what a larger one took is given back."""
API_NAMES_PAGE: Final = 1024
API_LIST_PAGE: Final = 256
API_SUBJECTS_PAGE: Final = 100_000
MULTI_LAST_SUBJECTS_MAX: Final = 1024
INFLIGHT_MESSAGES_PER_STREAM_MAX: Final = 100_000
INFLIGHT_BYTES_PER_STREAM_MAX: Final = 128 * MIB
BYTES_UNBOUNDED: Final = 2**63 - 1
"""Where the configuration says that there is no bound but the server's memory."""
FLOW_CONTROL_WINDOW_BYTES_MAX: Final = 32 * MIB
SOURCE_HELD_BYTES_MAX: Final = 64 * MIB
"""What a source may send on while we wait for a read: twice what flow control lets it."""
SOURCE_HEARTBEAT_NS: Final = 1_000_000_000
SOURCE_STALLED_NS: Final = 10_000_000_000
"""A source that was not heard for so long is asked again; its consumer lives as long without us."""
SOURCE_REQUEST_GAP_NS: Final = 2_000_000_000
SOURCE_ANSWER_NS: Final = 30_000_000_000
SOURCE_RESET_ANSWER_NS: Final = 5_000_000_000
SOURCE_BACKOFF_NS: Final = 10_000_000_000
"""More after every failure in a row, up to SOURCE_BACKOFF_NS_MAX."""
SOURCE_BACKOFF_NS_MAX: Final = 120_000_000_000
SOURCE_KEEP_NS: Final = 1_000_000_000
"""How often positions of sources are written down whose messages leave with an acknowledgement."""
SOURCE_KEEP_FIRST_NS: Final = 100_000_000
"""The same until the first position of each is written down: then nothing is lost, though something may come again."""
SOURCE_KEEP_SELDOM_NS: Final = 10_000_000_000
SOURCE_SCAN_MESSAGES: Final = 2000
"""How many messages one step looks at in search of where a source goes on."""
MIRROR_CAUGHT_UP_MESSAGES: Final = 10
"""A mirror that has fewer to come answers direct gets of its origin."""
BATCH_IDLE_NS: Final = 10_000_000_000
BATCH_ID_BYTES_MAX: Final = 64
ATOMIC_BATCH_MESSAGES_MAX: Final = 1000
ATOMIC_BATCHES_PER_STREAM_MAX: Final = 50
ATOMIC_BATCHES_MAX: Final = 1000
ATOMIC_BATCH_BYTES_MAX: Final = 32 * MIB
"""What the waiting messages of all atomic batches may hold in memory."""
FAST_BATCHES_PER_STREAM_MAX: Final = 1000
FAST_BATCHES_MAX: Final = 50_000
FAST_BATCH_MESSAGES_PER_ACK_MAX: Final = 500
"""What all fast batches of a stream share."""
SCHEDULE_PATTERNS_KEPT: Final = 256
"""Parsed patterns and time zones that are remembered."""
SCHEDULE_YEARS_AHEAD: Final = 5
"""A cron pattern that matches nothing for so long is none."""
SCHEDULE_FIRE_DELAY_NS: Final = 250_000_000
"""Schedules fire no sooner than that after they are stored, and are looked at no more often."""
SCHEDULE_RETRY_NS: Final = 2_000_000_000
"""A firing that the stream has no room for is tried again then; a repeating one no later than its next time."""
SCHEDULES_FIRED_AT_ONCE_MAX: Final = 1024
"""Those due together fire in the order of their sequences; so many are put in order at a time."""
COUNTER_DIGITS_MAX: Final = 4300
"""Of a counter's total and of an increment: as many as Python turns into a number without asking."""

# --- configuration files (config/parser) ---
CONFIG_FILE_BYTES_MAX: Final = 4 * MIB
CONFIG_VALUES_MAX: Final = 500_000
CONFIG_DEPTH_MAX: Final = 64
CONFIG_INCLUDES_MAX: Final = 1000

# --- store (design.md 2 and 6; store/FORMAT.md) ---
SEGMENT_BYTES_SMALL: Final = 128 * KIB
SEGMENT_BYTES_LARGE: Final = 8 * MIB
SYNC_THREADS_MAX: Final = 16
"""Threads that sync: a disk takes several syncs together in little more than the time of one. More than four only when
many wait: 1,000 files took 156 us each with 4 threads, 48 us with 16, at the same CPU time (docs/performance.md)."""
SYNCS_TOGETHER: Final = 16
"""While more syncs wait, so many that are done are answered in one turn."""
READ_CACHE_BYTES: Final = 4 * MIB
READ_WINDOW_BYTES: Final = 64 * KIB
COLD_READS_MAX: Final = 64
"""Reads that the read worker has at a time, of READ_WINDOW_BYTES (or of one larger record)."""
READ_AHEAD_WINDOWS: Final = 3
"""What is read of a file beyond the window that somebody has come to, who reads it from the disk window by window."""
READ_THREADS_MAX: Final = 4
"""Of the read worker; each is made when it is first missed."""
SEGMENT_SPARES_MAX: Final = 2
"""Files of one stream that wait to be used again; their blocks are written, so a sync of them is quick."""
FILES_CLOSING_MAX: Final = 32
"""Large files without a name whose blocks are not given back yet; before more are removed, it is waited for these."""
FILE_BYTES_CLOSED_AT_ONCE: Final = MIB
"""A smaller file than that is gone in a tenth of a millisecond."""
SEGMENTS_OPEN_MAX: Final = 4
"""Descriptors of one stream's sealed segments."""
COMPACT_LOG_SEGMENTS_MIN: Final = 4
"""A log that is no larger than so many small segments is never compacted."""
COMPACT_STEP_BYTES: Final = 256 * KIB
"""What compaction looks at per commit, or four times what the commit wrote."""
RECLAIM_SEGMENTS_PER_COMMIT: Final = 8
RESERVE_BYTES: Final = 4 * MIB
"""Set aside per store directory, for removals and consumers' journals on a full disk."""
RESERVE_STEP_BYTES: Final = 64 * KIB
"""What is given up of it at a time, at least."""
ROOM_AGAIN_BYTES: Final = MIB
"""So much must be free beside it before new messages are taken again: a full disk is no flicker."""
SEGMENT_BYTES_LEAST: Final = 16 * KIB
"""Of a segment for removals on a full disk."""
STANDS_STILL_NS: Final = 100_000_000
"""What is asked of the disk and not answered for so long, and four times longer than of late: it stands still, and the
loop asks for nothing that it would wait for."""
JUST_ANSWERED_NS: Final = 1_000_000
"""Who has answered so short ago need not be asked whether he moves."""
FILE_MADE_WAIT_NS: Final = 50_000_000
"""For a new file, usually a thousandth of that; longer: the disk stands still."""
STOOD_STILL_TOLD_NS: Final = 1_000_000_000
"""A line in the log says so of what took longer."""
MADE_LATER_BYTES_MAX: Final = 32 * MIB
"""Segments that publishes begin while the disk stands still, in memory alone; what needs another one is refused."""
TESTIMONY_S: Final = 0.25
"""So long after a commit it is written down how far its file was committed."""
TESTIMONIES_PER_STEP: Final = 256
"""Files in one turn, some five microseconds each."""
OPENED_AHEAD: Final = 32
"""Streams that a start opens while the last writes of those before are synced: each holds two descriptors or a few."""
FETCHED_AHEAD: Final = 32
"""Streams whose logs a start has the kernel read, while those before are opened,"""
FETCHED_BYTES: Final = 32 * 1024
"""so many bytes of each segment."""
FETCHING_MAX: Final = 64
"""Files that wait for that: each has a descriptor. A large log has more segments than there may be descriptors."""
SPACE_PROBE_S: Final = 0.25
"""A full disk is asked again so often."""
LARGE_REFUSED_QUIET_S: Final = 60.0
"""How often the log says that something large found no room on a disk that has some."""
CATALOG_ROOM_BYTES: Final = 256 * KIB
"""Less free space than that, and no stream is created or changed: its files are a few pages each."""
REPACK_ROOM_BYTES: Final = 64 * MIB
"""What a disk must have left before a segment is compressed, for that needs room before it makes some."""
REPACK_PAUSE_S: Final = 60.0
"""How long compression rests after the disk refused."""
SCRUB_SHARE_OF: Final = 100
"""Scrubbing takes one part in so many of the time,"""
SCRUB_BYTES_PER_S: Final = 4 * MIB
"""and reads no more than that: 100 GiB in seven hours."""
SCRUB_FIRST_S: Final = 60.0
"""When it begins; a server without file streams looks for some as often."""
SCRUB_PAUSE_S: Final = 6 * 3600.0
"""From the end of one round to the beginning of the next."""
SCRUB_STEP_LEAST_S: Final = 0.02
LOST_SHOWN_MAX: Final = 1_000
"""Lost sequences that stream info lists; advisories and the log name all of them, as ranges."""
SUMMARY_SEGMENT_BYTES_LEAST: Final = MIB
"""No smaller segment gets a summary: recovery reads it as fast, and it may be gone soon."""
SYNC_INTERVAL_DEFAULT_NS: Final = 120_000_000_000

# --- backups (reference 03.9; chunks, windows and waits as nats-server, the rest our own) ---
SNAPSHOT_CHUNK_BYTES: Final = 128 * KIB
SNAPSHOT_CHUNK_BYTES_MIN: Final = KIB
SNAPSHOT_CHUNK_BYTES_MAX: Final = MIB
SNAPSHOT_WINDOW_BYTES: Final = 8 * MIB
SNAPSHOT_WINDOW_BYTES_MIN: Final = KIB
SNAPSHOT_WINDOW_BYTES_MAX: Final = 32 * MIB
SNAPSHOT_INTEREST_WAIT_NS: Final = 2_000_000_000
SNAPSHOT_ACK_WAIT_NS: Final = 5_000_000_000
SNAPSHOT_FIRST_LOOK_NS: Final = 5_000_000
"""How late the coming of a snapshot's receiver may be noticed."""
SNAPSHOT_LOOK_NS: Final = 100_000_000
"""How late the leaving of a snapshot's receiver may be noticed."""
RESTORE_IDLE_NS: Final = 5_000_000_000
RESTORE_WAITING_BYTES_MAX: Final = 32 * MIB
"""Chunks that came before the ones before them were taken. Clients send a few at a time."""
RESTORE_UNCOMMITTED_BYTES_MAX: Final = 8 * MIB
BACKUP_STEP_BYTES: Final = 256 * KIB
"""What one snapshot or restore moves in one turn: well below a millisecond."""
BACKUPS_MAX: Final = 16
"""Snapshots and restores that run at a time; each may hold some megabytes."""
RESTORE_CONSUMERS_MAX: Final = 100_000
PIN_BYTES_MAX: Final = 16 * MIB
"""What one snapshot may hold of messages that leave the stream before they were read; then it fails."""
S2_BLOCK_BYTES_MAX: Final = 4 * MIB
ARCHIVE_NAME_BYTES_MAX: Final = MIB
ARCHIVE_ENTRY_BYTES_MAX: Final = 64 * MIB

assert CONTROL_LINE_BYTES_MAX <= PREAUTH_BYTES_MAX <= READ_BUFFER_BYTES
assert PAYLOAD_BYTES_MAX <= PENDING_BYTES_MAX
assert PREAUTH_BYTES_MAX <= VERIFYING_BYTES_MAX <= READ_BUFFER_BYTES
assert TLS_READ_BYTES <= SPARE_BUFFER_BYTES
assert TLS_READ_BYTES + CONTROL_LINE_BYTES_MAX <= READ_BUFFER_BYTES
assert READ_WINDOW_BYTES <= SEGMENT_BYTES_SMALL <= SEGMENT_BYTES_LARGE
assert SEGMENT_BYTES_LEAST <= SEGMENT_BYTES_SMALL <= ROOM_AGAIN_BYTES <= RESERVE_BYTES
assert CATALOG_ROOM_BYTES <= ROOM_AGAIN_BYTES
assert HEADER_BLOCK_BYTES_MAX < RECORD_BYTES_MAX
assert SEGMENT_BYTES_LARGE + RECORD_BYTES_MAX < REPACK_ROOM_BYTES
