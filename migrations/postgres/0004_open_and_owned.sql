-- Every mail changes its state three times, and an index whose condition names the state is written anew each time.
-- These two name what changes less: whether something may still become of a mail, and who has it in hand.
ALTER TABLE deliveries ADD COLUMN is_open boolean
    CHECK (is_open = (state IN ('pending', 'claimed', 'transmitting', 'in_doubt')));
UPDATE deliveries SET is_open = state IN ('pending', 'claimed', 'transmitting', 'in_doubt');
-- for what a worker of the version before queues that still runs
ALTER TABLE deliveries ALTER COLUMN is_open SET DEFAULT TRUE;
DROP INDEX deliveries_open;
CREATE INDEX deliveries_open ON deliveries (issue_id) WHERE is_open;
DROP INDEX deliveries_owned;
CREATE INDEX deliveries_owned ON deliveries (owner) WHERE owner IS NOT NULL;
