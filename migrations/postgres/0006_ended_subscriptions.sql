-- The suppression journal, which asks for the subscriptions that ended, stands beside SQLite alone.
SELECT 1;
