"""Every limit in one place, units last. Relations that must hold are asserted at the end.

What comes from the network, a file or a person is checked against these where it enters.
"""

from __future__ import annotations

from typing import Final

# --- the wire -------------------------------------------------------------------------------
FRAME_BYTES: Final = 1 << 20  # one WebSocket message
INLINE_BYTES: Final = 64 * 1024  # a payload in a message; more travels as a blob
FRAME_TASKS: Final = 1_000  # tasks in one Assign, reports in one Report
FRAMES_QUEUED: Final = 64  # unsent frames of one link; a slower reader is cut off
BLOB_BYTES: Final = 1 << 30  # one blob
CHUNK_BYTES: Final = 4 << 20  # items or lines stored together …
ITEM_BYTES: Final = 256 << 20  # … but for an item that is larger: it is a chunk by itself
TASK_INPUT_BYTES: Final = 64 << 20  # items or lines of one task, if they are more than one
ANSWER_BYTES: Final = 64 << 20  # an answer given whole (collect, concatenate); larger ones are read as a stream
APPEND_ITEMS: Final = 1_000  # items of one Append message sent inline

# --- a job ----------------------------------------------------------------------------------
PROGRAM_BYTES: Final = 64 << 20
ARGS: Final = 256
ARG_BYTES: Final = 32 * 1024
ARGS_BYTES: Final = 128 * 1024  # all of them together: they travel with each lease
NAME_CHARS: Final = 200
RANGE_BOUND: Final = (1 << 63) - 1  # |start|, |stop|, and the number of integers in it
STORED_MAX: Final = (1 << 63) - 1  # any integer that is kept: stores have 64 bits
JOB_ITEMS: Final = 1 << 40
KEEP_MS_MAX: Final = 366 * 86_400_000  # the longest time a job may ask to be kept
GRID_AXES: Final = 16
GRID_VALUES: Final = 100_000
OUTPUT_BYTES: Final = 256 << 20  # what one run may write to stdout
NODE_UNCLAIMED_OUTPUTS: Final = 8  # times OUTPUT_BYTES a node may put as blobs without naming them in a report
OUTPUT_BYTES_DEFAULT: Final = 16 << 20
ANSWERS_BYTES: Final = OUTPUT_BYTES + (16 << 20)  # the answers of one task as they are packed, with what went wrong
STDERR_TAIL_BYTES: Final = 4 * 1024
MEMORY_BYTES_MIN: Final = 1 << 20
MEMORY_BYTES_MAX: Final = 1 << 40
MEMORY_BYTES_DEFAULT: Final = 512 << 20
TIMEOUT_MS_MIN: Final = 10
TIMEOUT_MS_MAX: Final = 7 * 86_400_000
TIMEOUT_MS_DEFAULT: Final = 60_000
PRIORITY_MAX: Final = 100  # −100 … 100
ERRORS_MAX_DEFAULT: Final = 100  # program errors before the job stops
STALE_CEILING_DEFAULT: Final = 10  # lost leases before a task is abandoned
NUMBER_CHARS: Final = 4_000  # a decimal number a reducer reads

# --- functions and values --------------------------------------------------------------------
FUNCTION_BYTES: Final = 32 << 20  # a function with all that travels with it
FUNCTION_NODES: Final = 100_000  # things in one function: captured values, functions, classes, modules
SOURCE_LINES: Final = 1_000_000  # of a file a function is in
FUNCTION_REFERENCES: Final = 1_000_000  # of these things to one another
CAPTURE_BYTES: Final = 8 << 20  # one captured value; more is an argument
VALUE_DEPTH: Final = 100  # containers in containers
VALUE_CONTAINERS: Final = 4_000_000  # containers in one value; a list met twice counts twice
FAILURE_BYTES: Final = 16 * 1024  # the traceback of a call that raised
FAILURE_WHOLE_BYTES: Final = 1 << 20  # all that a node which is not trusted may say a call raised
ANSWER_ERROR_CHARS: Final = 2_000  # why a run has no answer
ERROR_CHARS: Final = 300  # the line that says what a call raised

# --- agreement -------------------------------------------------------------------------------
COMPARED_BYTES: Final = 4 << 20  # of an answer that is looked into; larger ones agree when they are the same bytes
COMPARATOR_MS: Final = 5_000  # one run of a submitter's own comparator …
COMPARATOR_BYTES: Final = 256 << 20  # … and its memory
COMPARATOR_RUNS: Final = 4_096  # for the answers of one task
COMPARED_LINES: Final = 1_000_000  # lines in it, where their order does not count
INTERVALS_BYTES: Final = 1 << 20  # means with their errors in one answer
INTERVAL_Z_MAX: Final = 100.0  # standard errors two means that agree may differ by
INTERVAL_RATIO_MAX: Final = 100.0  # times an error may be as large as the other one
ARRAY_HEADER_BYTES: Final = 10_000  # what numpy reads, too
ARRAY_AXES: Final = 64  # what numpy has, too

# --- time -----------------------------------------------------------------------------------
HEARTBEAT_SECONDS: Final = 20
LEASE_SECONDS: Final = 60  # renewed by heartbeats; also when a silent node counts as lost
RECONNECT_SECONDS: Final = 5  # what is left of a lease when its node's socket closes
ORPHAN_SECONDS: Final = 300  # an open job whose client is gone is sealed after this
TICK_GAP_SECONDS: Final = 5  # a longer gap means this machine slept: leases are extended
TICK_MS: Final = 250
DEADLINE_FACTOR: Final = 4  # a lease may last this many time-outs of all its runs …
DEADLINE_SLACK_MS: Final = 60_000  # … and this much for waiting and sending; never renewed
DECLINED_MS: Final = 30_000  # how long a node that declined a job is not offered it again
FAILED_MS: Final = 1_000  # how long others are offered a job first whose task a node could not run
TARGET_SECONDS: Final = 1.0  # how long one task should take on the node that asks
NAMES_REST_MS: Final = 60_000  # how long the engine knows the name and key of a job that has ended
IDLE_WORKER_SECONDS: Final = 300  # a worker of runtime python that has nothing to do ends, but for one
RERANK_MS: Final = 1_000  # the active queue is sorted at most this often

# --- the engine -----------------------------------------------------------------------------
BATCH_COMMANDS: Final = 500  # commands of one group commit
BATCH_RESULTS: Final = 4_000  # results in the reports of one group commit
REBUILD_SECONDS_MAX: Final = 5  # the longest pause between two attempts to rebuild from the store
INBOUND_COMMANDS: Final = 20_000  # commands waiting for the keeper; more is Busy
ACTIVE_QUEUE: Final = 1_000  # ranked jobs of one owner, priority and kind of need; more wait in a backlog
SPECULATE_MS: Final = 1_000  # late tasks are looked for at most this often
TAIL_TASKS: Final = 20  # open tasks below which a job is in its tail …
TAIL_SHARE: Final = 0.85  # … or this share of them is settled
TAIL_OPEN_MAX: Final = 5_000  # with more open tasks none is looked at
TURNAROUNDS_KEPT: Final = 31
SPEED_MOST: Final = 1e6  # of a node in the agent's integer benchmark; a hundred times the reference, more than there is
REFERENCE_SPEED: Final = 10_000.0  # in the agent's integer benchmark, of the machine credit is counted by
OFFERS_TRIED: Final = 64  # waiting offers compared for one task
SKIPS_PER_STALE: Final = 10  # plans that passed a queue head over before it counts as stale once
STALE_PENALTY: Final = 10.0  # P_s of the priority formula
PROGRESS_BOOST: Final = 1.5  # W of the priority formula, for a job that is under way
SHARE_HALF_LIFE_MS: Final = 86_400_000
RECALL_ROWS: Final = 1_000
RECALL_AGAIN_MS: Final = 10_000  # after which the engine asks the store again for what it was not told
BLOCK_TASKS: Final = 1_024  # ordinals folded into one partial
HELD_ASSIGNMENTS: Final = 4_000  # assignments one node may hold
EVENTS_KEPT: Final = 10_000

# --- agreement ------------------------------------------------------------------------------
TRUST_LEAST: Final = 1.0  # of the trust index
TRUST_MOST: Final = 10.0
ABSENCE_DAYS_MAX: Final = 36_500
ABSENCE_MS_LEAST: Final = 24 * 3600 * 1000  # for less nobody is forgotten
CANARIES_KEPT: Final = 64  # settled tasks of a job that may be given once more, as canaries
CLOSING_AUDITS_MAX: Final = 20  # answers of one node looked at once more when a job ends
OVERLAP_MAX: Final = 50  # nodes a job may ask to report each task
ERROR_BOUND_LEAST: Final = 1e-9  # the smallest chance of a wrong answer a job may ask for
FINAL_AFTER_MS: Final = 3_600_000  # how long answers stay open to being judged again, where they are
FINAL_AFTER_MS_MAX: Final = 366 * 86_400_000  # the longest time answers may stay open to being judged again
VOTES_MAX: Final = 100  # votes on a task; if they do not agree it is given up
HOPELESS_DOUBT: Final = (
    0.5  # a node that is believed to be wrong more often than this is hardly given tasks that bound errors …
)
HOPELESS_REST_MS: Final = 60_000  # … one at a time, and after each it rests so long, or …
HOPELESS_REST_TASKS: Final = 20  # … as many times as long as it is expected to take for one, …
HOPELESS_REST_MS_MAX: Final = 86_400_000  # … but not longer
AUDIT_REST_MS: Final = 40  # how long a second look may wait for other work to travel with it
VOTERS_TRIED: Final = 64  # tasks in a job's queue that are looked at for one a node may vote on

# --- people ---------------------------------------------------------------------------------
PAGE_ROWS: Final = 1_000
PAGE_ROWS_DEFAULT: Final = 100
JOBS_OPEN_PER_OWNER: Final = 10_000
NODES_PER_OWNER: Final = 100_000
TRUSTED: Final = 64  # owners, groups or words a node may name as those whose Python it runs

assert OVERLAP_MAX * 2 <= VOTES_MAX
assert INLINE_BYTES * 8 <= FRAME_BYTES, "a frame holds several inline payloads"
assert HEARTBEAT_SECONDS * 3 <= LEASE_SECONDS, "a lease survives two lost heartbeats"
assert RECONNECT_SECONDS < LEASE_SECONDS
assert BATCH_COMMANDS < INBOUND_COMMANDS
assert ARGS_BYTES * 4 <= FRAME_BYTES, "the arguments of a few jobs fit a frame"
assert FRAME_TASKS <= HELD_ASSIGNMENTS
assert CHUNK_BYTES < TASK_INPUT_BYTES <= ITEM_BYTES < BLOB_BYTES
assert APPEND_ITEMS * INLINE_BYTES <= TASK_INPUT_BYTES, "light items need not be weighed"
assert FUNCTION_BYTES <= PROGRAM_BYTES
assert INLINE_BYTES < INTERVALS_BYTES <= COMPARED_BYTES < OUTPUT_BYTES
assert CAPTURE_BYTES * 2 <= FUNCTION_BYTES
assert FAILURE_BYTES * 2 <= INLINE_BYTES, "what a call raised fits a message"
