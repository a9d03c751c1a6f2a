-- Digests, the many, belong to no sign-up: each was written into this index for nothing.
DROP INDEX deliveries_by_signup;
CREATE INDEX deliveries_by_signup ON deliveries (signup_id) WHERE signup_id IS NOT NULL;
