"""The limits of the front. docs/reliability.md describes what a client gets at each of them."""

from __future__ import annotations

# ---- threads of a worker process -----------------------------------------------------------------

WORK_SLOTS = 5  # requests that are answered at the same time
MAX_WRITES = WORK_SLOTS - 1  # of them, since a write may wait for a lock and reads do not
MAX_WRITES_OF_TENANT = WORK_SLOTS - 2
SIGN_IN_SLOTS = 1  # hashing a password takes 50 ms of a whole core
PROBE_SLOTS = 1
SPARE_THREADS = 1  # to receive requests while all WORK_SLOTS are taken
# Each thread has a connection of its own.
PROBE_PORT_THREADS = 2  # that use the database on the port for probes: /readyz and /metrics
WAKE_THREADS = 2  # that run requests again which wait for commits: one for reads, one for writes
DATABASE_CONNECTIONS = (
    WORK_SLOTS + SPARE_THREADS + SIGN_IN_SLOTS + PROBE_SLOTS + PROBE_PORT_THREADS + WAKE_THREADS
)

# ---- connections ---------------------------------------------------------------------------------

MAX_CONNECTIONS = 16_384
OTHER_FILES = 256  # that a worker opens beside its connections
BACKLOG = 4_096  # connections that the kernel holds until they are accepted
HEAD_SECONDS = 10  # until a connection has sent the head of its first or its next request
# After which the kernel ends a connection whose client does not read or is unreachable.
SEND_SECONDS = 30

# ---- bodies --------------------------------------------------------------------------------------

BODY_SECONDS = 10.0  # until a body has arrived, and in addition:
BODY_SECONDS_PER_BYTE = 1 / 131_072  # one second for each 128 KiB of its Content-Length
MAX_INCOMPLETE_BODIES = 4_096
MAX_BODY_BYTES_HELD = 64 * 1_048_576  # of all requests that are not answered yet

# ---- requests that wait for a thread -------------------------------------------------------------

MAX_WAIT_SECONDS = 5.0
MAX_WAITING = 1_024  # requests in each queue
MAX_KNOWN_TOKENS = 10_000  # whose users take turns; each takes 0.2 KB
WATCH_AFTER_SECONDS = 0.2  # after which it is noticed that the client of a waiting request is gone
TEND_SECONDS = 0.2  # between two looks at what waits

# ---- requests that wait for commits --------------------------------------------------------------

MAX_HELD = 4_096  # requests of a worker; each takes about 25 KB with its connection
MAX_HELD_OF_TENANT = 2_048
MAX_HELD_OF_TOKEN = 1_024
MAX_HELD_BODY_BYTES = 16_384  # of a request; one with a longer body is answered at once
HELD_RETRY_SECONDS = 5  # in Retry-After above these limits
HEARTBEAT_SECONDS = 15.0  # without a part of a stream, after which a comment is sent
RECHECK_SECONDS = 30.0  # after which a stream is run again, without any commit
REPEAT_SECONDS = 2.0  # after which it is run again if an error may have passed
MIN_RETRY_MS, MAX_RETRY_MS = 1_000, 3_000  # after which a client connects again; spread by chance
MAX_UNREAD_OF_STREAM = 65_536  # bytes, above which a stream waits until its client reads
MAX_WAKES_KEPT = 10_000  # tenants

# ---- responses -----------------------------------------------------------------------------------

MIN_UNREAD_BYTES = 65_536  # shorter responses are not counted: the kernel takes them
MAX_UNREAD_BYTES = 128 * 1_048_576  # of the responses in memory that are not read yet
MAX_UNREAD_FILE_BYTES = 2_048 * 1_048_576  # of those in temporary files
MAX_STREAM_BYTES_IN_MEMORY = 1_048_576  # of a streamed response; a longer one becomes a file
FILE_SECONDS = (
    60  # after which the file of a streamed response is removed; it was opened long before
)

# ---- the end -------------------------------------------------------------------------------------

BODY_GRACE_SECONDS = 1.0  # for which a stopping worker waits for incomplete bodies and requests
LINGER_SECONDS = 1.0  # for which it then waits for clients that read their response slowly

# ---- the port for probes -------------------------------------------------------------------------

MAX_PROBE_CONNECTIONS = 16
PROBE_CONNECTION_SECONDS = 5.0  # between two parts of a request
CHECK_SECONDS = 5.0  # after which /readyz answers 503
READING_SECONDS = 1.5  # after which /metrics leaves out the values of the database

# ---- the clock -----------------------------------------------------------------------------------

FROZEN_AFTER_SECONDS = 1.0  # without a run of the loop that tends the front
