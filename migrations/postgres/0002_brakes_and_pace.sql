-- What the brakes look at since an issue began, or was resumed last: one row for each worker, so that none waits for
-- another. Beside the issue's row, which stays cold.
CREATE TABLE brake_tallies (
    issue_id uuid NOT NULL REFERENCES issues (id),
    worker_id uuid NOT NULL,
    -- counts, see `deliveries::brakes::tally`
    tally jsonb NOT NULL,
    PRIMARY KEY (issue_id, worker_id)
);

-- Pauses that are over: why, and why somebody let the issue go on.
CREATE TABLE issue_pauses (
    issue_id uuid NOT NULL REFERENCES issues (id),
    paused_at timestamptz NOT NULL,
    pause_reason text COLLATE "C",
    resumed_at timestamptz NOT NULL,
    resume_reason text COLLATE "C" NOT NULL,
    PRIMARY KEY (issue_id, paused_at)
);

-- How much of its allowance a relay has used: the instant at which its bucket is full again.
CREATE TABLE relay_levels (
    relay text COLLATE "C" NOT NULL PRIMARY KEY,
    full_at timestamptz NOT NULL
);
