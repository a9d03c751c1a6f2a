-- What the brakes look at since an issue began, or was resumed last: one row for each worker, so that none waits for
-- another. Beside the issue's row, which stays cold.
CREATE TABLE brake_tallies (
    issue_id BLOB NOT NULL REFERENCES issues (id) CHECK (length(issue_id) = 16),
    worker_id BLOB NOT NULL CHECK (length(worker_id) = 16),
    -- counts, see `deliveries::brakes::tally`
    tally TEXT NOT NULL,
    PRIMARY KEY (issue_id, worker_id)
) STRICT;

-- Pauses that are over: why, and why somebody let the issue go on.
CREATE TABLE issue_pauses (
    issue_id BLOB NOT NULL REFERENCES issues (id) CHECK (length(issue_id) = 16),
    paused_at INTEGER NOT NULL,
    pause_reason TEXT,
    resumed_at INTEGER NOT NULL,
    resume_reason TEXT NOT NULL,
    PRIMARY KEY (issue_id, paused_at)
) STRICT;

-- How much of its allowance a relay has used: the instant at which its bucket is full again.
CREATE TABLE relay_levels (
    relay TEXT NOT NULL PRIMARY KEY,
    full_at INTEGER NOT NULL
) STRICT;
