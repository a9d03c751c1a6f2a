-- The whole of the first release: publications, articles, people, sending, service.
-- Rules: ids are UUID version 7; instants are microseconds in UTC; enums are text with a CHECK.
-- Both engines have the same tables and columns; a test compares them.

-- Publications and articles

CREATE TABLE newsletters (
    id uuid NOT NULL PRIMARY KEY,
    slug text COLLATE "C" NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL,
    description text COLLATE "C" NOT NULL,
    from_name text COLLATE "C" NOT NULL,
    from_address text COLLATE "C" NOT NULL,
    reply_to text COLLATE "C",
    -- required before the first send (CAN-SPAM, CASL); may be missing until then
    postal_address text COLLATE "C",
    locale text COLLATE "C" NOT NULL,
    timezone text COLLATE "C" NOT NULL,
    default_cadence text COLLATE "C" NOT NULL CHECK (default_cadence IN ('immediate', 'daily', 'weekly', 'monthly')),
    -- origins whose forms may post here and to which `next` may lead; empty: any form, no `next`
    form_origins jsonb NOT NULL,
    -- the highest article number ever given: a number that was taken back is not given again
    last_seq bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL
);

CREATE TABLE topics (
    id uuid NOT NULL PRIMARY KEY,
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    -- `all` is built in: every article has it
    slug text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    default_on boolean NOT NULL,
    -- the publisher's ceiling
    max_cadence text COLLATE "C" CHECK (max_cadence IN ('immediate', 'daily', 'weekly', 'monthly')),
    UNIQUE (newsletter_id, slug)
);

CREATE TABLE schedules (
    id uuid NOT NULL PRIMARY KEY,
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    cadence text COLLATE "C" NOT NULL CHECK (cadence IN ('immediate', 'daily', 'weekly', 'monthly')),
    -- civil time `HH:MM` in `timezone`
    local_time text COLLATE "C" NOT NULL,
    -- weekdays `mon,tue`, days of the month `1,15`, or `last`; `all` for every day
    days text COLLATE "C" NOT NULL,
    timezone text COLLATE "C" NOT NULL,
    mode text COLLATE "C" NOT NULL CHECK (mode IN ('automatic', 'draft')),
    min_articles bigint NOT NULL,
    max_cards bigint NOT NULL,
    -- seconds
    min_interval bigint NOT NULL,
    missed text COLLATE "C" NOT NULL CHECK (missed IN ('latest', 'all', 'none')),
    -- seconds
    max_lateness bigint NOT NULL,
    enabled boolean NOT NULL,
    -- slots up to this instant are settled
    handled_to timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX schedules_by_newsletter ON schedules (newsletter_id);

CREATE TABLE feeds (
    id uuid NOT NULL PRIMARY KEY,
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    url text COLLATE "C" NOT NULL,
    title text COLLATE "C",
    -- verbatim, for the conditional request
    etag text COLLATE "C",
    last_modified text COLLATE "C",
    next_poll_at timestamptz NOT NULL,
    -- seconds
    poll_interval bigint NOT NULL,
    -- seconds between first sight and release
    cool_off bigint NOT NULL,
    failures bigint NOT NULL,
    last_error text COLLATE "C",
    last_status bigint,
    last_polled_at timestamptz,
    -- when the first read had succeeded; what stood in the feed then is never news
    activated_at timestamptz,
    paused boolean NOT NULL,
    paused_reason text COLLATE "C",
    body_hash bytea,
    -- a permanent redirect is followed for good after it was seen three times
    moved_to text COLLATE "C",
    moved_seen bigint NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (newsletter_id, url)
);
CREATE INDEX feeds_to_poll ON feeds (next_poll_at) WHERE NOT paused;

CREATE TABLE topic_rules (
    id uuid NOT NULL PRIMARY KEY,
    topic_id uuid NOT NULL REFERENCES topics (id),
    feed_id uuid REFERENCES feeds (id),
    field text COLLATE "C" NOT NULL CHECK (field IN ('category', 'tag', 'author', 'url')),
    pattern text COLLATE "C" NOT NULL
);
CREATE INDEX topic_rules_by_topic ON topic_rules (topic_id);

CREATE TABLE articles (
    id uuid NOT NULL PRIMARY KEY,
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    feed_id uuid REFERENCES feeds (id),
    -- given at release, rising within a newsletter; dates never decide what is new
    seq bigint,
    state text COLLATE "C" NOT NULL CHECK (state IN ('known', 'waiting', 'held', 'ready', 'withdrawn')),
    held_reason text COLLATE "C",
    url text COLLATE "C" NOT NULL,
    title text COLLATE "C" NOT NULL,
    summary text COLLATE "C" NOT NULL,
    content_html text COLLATE "C" NOT NULL,
    author text COLLATE "C",
    image_url text COLLATE "C",
    image_width bigint,
    image_height bigint,
    image_alt text COLLATE "C",
    published_at timestamptz,
    first_seen_at timestamptz NOT NULL,
    release_at timestamptz,
    released_at timestamptz,
    updated_at timestamptz NOT NULL,
    content_hash bytea NOT NULL,
    UNIQUE (newsletter_id, seq)
);
CREATE INDEX articles_waiting ON articles (release_at) WHERE state = 'waiting';

CREATE TABLE article_keys (
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('guid', 'url', 'wp_id', 'fingerprint', 'external')),
    value text COLLATE "C" NOT NULL,
    article_id uuid NOT NULL REFERENCES articles (id),
    PRIMARY KEY (newsletter_id, kind, value)
);
CREATE INDEX article_keys_by_article ON article_keys (article_id);

CREATE TABLE article_topics (
    article_id uuid NOT NULL REFERENCES articles (id),
    topic_id uuid NOT NULL REFERENCES topics (id),
    PRIMARY KEY (article_id, topic_id)
);

-- People

CREATE TABLE subscribers (
    id uuid NOT NULL PRIMARY KEY,
    -- as written by the person; the local part is kept
    email text COLLATE "C" NOT NULL,
    -- identity: lower-cased local part, A-label domain
    email_key text COLLATE "C" NOT NULL UNIQUE,
    locale text COLLATE "C",
    timezone text COLLATE "C",
    created_at timestamptz NOT NULL,
    erased_at timestamptz
);

CREATE TABLE signups (
    id uuid NOT NULL PRIMARY KEY,
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    email text COLLATE "C" NOT NULL,
    email_key text COLLATE "C" NOT NULL,
    locale text COLLATE "C" NOT NULL,
    -- topics and cadence as chosen: {"topics": [...], "cadence": ...}
    selection jsonb NOT NULL,
    -- the confirm token is derived from it and from a key outside the database
    token_salt bytea NOT NULL,
    token_hash bytea NOT NULL UNIQUE,
    requested_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    evidence jsonb NOT NULL
);
CREATE INDEX signups_by_expiry ON signups (expires_at);
CREATE INDEX signups_by_key ON signups (email_key);

CREATE TABLE subscriptions (
    id uuid NOT NULL PRIMARY KEY,
    subscriber_id uuid NOT NULL REFERENCES subscribers (id),
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    state text COLLATE "C" NOT NULL CHECK (state IN ('active', 'unsubscribed', 'bounced', 'complained')),
    paused_until timestamptz,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_channel text COLLATE "C",
    UNIQUE (subscriber_id, newsletter_id)
);
-- prepare walks a newsletter's readers in this order
CREATE INDEX subscriptions_by_newsletter ON subscriptions (newsletter_id, id);

-- The whole ledger of who was given what.
CREATE TABLE interests (
    subscription_id uuid NOT NULL REFERENCES subscriptions (id),
    topic_id uuid NOT NULL REFERENCES topics (id),
    -- articles up to here were never this interest's business
    start_seq bigint NOT NULL,
    cadence text COLLATE "C" NOT NULL CHECK (cadence IN ('off', 'immediate', 'daily', 'weekly', 'monthly')),
    -- articles up to here were given
    given_seq bigint NOT NULL,
    PRIMARY KEY (subscription_id, topic_id, start_seq)
);

CREATE TABLE wordings (
    id uuid NOT NULL PRIMARY KEY,
    text text COLLATE "C" NOT NULL,
    locale text COLLATE "C" NOT NULL,
    hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL
);

-- Append-only, chained per address.
CREATE TABLE consent_events (
    id uuid NOT NULL PRIMARY KEY,
    subscriber_id uuid REFERENCES subscribers (id),
    email_hash bytea NOT NULL,
    newsletter_id uuid REFERENCES newsletters (id),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('requested', 'confirmed', 'changed', 'withdrawn', 'imported', 'erased')),
    at timestamptz NOT NULL,
    channel text COLLATE "C" NOT NULL,
    wording_id uuid REFERENCES wordings (id),
    page_url text COLLATE "C",
    ip text COLLATE "C",
    user_agent text COLLATE "C",
    detail jsonb NOT NULL,
    -- the chain covers a salted hash of the personal fields, so that they can be erased without breaking it
    salt bytea NOT NULL,
    commitment bytea NOT NULL,
    previous_hash bytea,
    hash bytea NOT NULL
);
CREATE INDEX consent_events_by_address ON consent_events (email_hash, at, id);

CREATE TABLE suppressions (
    -- keyed hash of the address
    key bytea NOT NULL,
    -- `all`, or a newsletter's id as text
    scope text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'request', 'erased', 'operator')),
    at timestamptz NOT NULL,
    detail text COLLATE "C",
    PRIMARY KEY (key, scope)
);

-- Sending

CREATE TABLE issues (
    id uuid NOT NULL PRIMARY KEY,
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    number bigint NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('scheduled', 'manual', 'correction')),
    -- the cadences it serves: ["daily", "weekly"]
    cadences jsonb NOT NULL,
    due_at timestamptz NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN
        ('draft', 'scheduled', 'preparing', 'sending', 'finished', 'cancelled', 'failed', 'skipped')),
    -- why it failed or was skipped, in words for the operator
    state_reason text COLLATE "C",
    -- paused is no state: the state beneath is kept
    paused_at timestamptz,
    pause_reason text COLLATE "C",
    -- false: stops after prepare until an operator releases it
    release_when_prepared boolean NOT NULL,
    max_cards bigint NOT NULL,
    cutoff_seq bigint,
    subject text COLLATE "C",
    preheader text COLLATE "C",
    intro text COLLATE "C",
    created_at timestamptz NOT NULL,
    frozen_at timestamptz,
    -- how far the walk over the subscriptions has come
    prepared_to uuid,
    candidates bigint NOT NULL,
    queued bigint NOT NULL,
    excluded bigint NOT NULL,
    prepared_at timestamptz,
    released_at timestamptz,
    finished_at timestamptz,
    in_doubt_policy text COLLATE "C" NOT NULL CHECK (in_doubt_policy IN ('resend', 'hold')),
    UNIQUE (newsletter_id, number)
);
CREATE INDEX issues_unfinished ON issues (state, due_at)
    WHERE state IN ('draft', 'scheduled', 'preparing', 'sending');
-- one issue of a newsletter is preparing at a time
CREATE UNIQUE INDEX issues_preparing ON issues (newsletter_id) WHERE state = 'preparing';

-- Deltas per commit and worker; the issue row itself stays cold, because marks lock it.
CREATE TABLE issue_counts (
    issue_id uuid NOT NULL REFERENCES issues (id),
    worker_id uuid NOT NULL,
    sent bigint NOT NULL,
    failed bigint NOT NULL,
    skipped bigint NOT NULL,
    deferred bigint NOT NULL,
    in_doubt bigint NOT NULL,
    held bigint NOT NULL,
    PRIMARY KEY (issue_id, worker_id)
);

CREATE TABLE slots (
    schedule_id uuid NOT NULL REFERENCES schedules (id),
    -- local civil time and zone, or `seq:N` for an immediate one
    slot text COLLATE "C" NOT NULL,
    due_at timestamptz NOT NULL,
    issue_id uuid REFERENCES issues (id),
    outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('issue', 'nothing_new', 'missed', 'below_minimum')),
    at timestamptz NOT NULL,
    PRIMARY KEY (schedule_id, slot)
);
CREATE INDEX slots_by_issue ON slots (issue_id);

-- One row for each article considered: nothing is dropped silently.
CREATE TABLE issue_articles (
    issue_id uuid NOT NULL REFERENCES issues (id),
    article_id uuid NOT NULL REFERENCES articles (id),
    position bigint NOT NULL,
    decision text COLLATE "C" NOT NULL CHECK (decision IN ('card', 'headline', 'withdrawn', 'excluded', 'duplicate')),
    reason text COLLATE "C",
    -- the texts as frozen
    content jsonb NOT NULL,
    PRIMARY KEY (issue_id, article_id)
);

CREATE TABLE variants (
    id uuid NOT NULL PRIMARY KEY,
    issue_id uuid NOT NULL REFERENCES issues (id),
    -- hash of locale and articles with their decisions
    key bytea NOT NULL,
    locale text COLLATE "C" NOT NULL,
    article_ids jsonb NOT NULL,
    subject text COLLATE "C" NOT NULL,
    -- the encoded message with its slots
    message bytea NOT NULL,
    bytes bigint NOT NULL,
    recipients bigint NOT NULL,
    UNIQUE (issue_id, key)
);

-- One queue for every mail.
CREATE TABLE deliveries (
    id uuid NOT NULL PRIMARY KEY,
    issue_id uuid REFERENCES issues (id),
    subscription_id uuid REFERENCES subscriptions (id),
    variant_id uuid REFERENCES variants (id),
    signup_id uuid,
    newsletter_id uuid NOT NULL REFERENCES newsletters (id),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('digest', 'confirmation', 'welcome', 'manage_link', 'alert', 'test')),
    recipient text COLLATE "C" NOT NULL,
    -- the recipient's domain, for pace and alarms
    domain_key text COLLATE "C" NOT NULL,
    -- notices only: what their template needs beyond other rows
    payload jsonb,
    -- the interests this delivery moved, with their given_seq before
    given_from jsonb,
    state text COLLATE "C" NOT NULL CHECK (state IN
        ('pending', 'claimed', 'transmitting', 'in_doubt', 'sent', 'failed', 'skipped', 'held')),
    -- fences: +1 at every claim
    attempt bigint NOT NULL,
    -- replies about this recipient or message
    tries bigint NOT NULL,
    doubt bigint NOT NULL,
    crashes bigint NOT NULL,
    owner uuid,
    lease_until timestamptz,
    not_before timestamptz NOT NULL,
    -- no attempt starts after it
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    marked_at timestamptz,
    settled_at timestamptz,
    reply_code bigint,
    enhanced_code text COLLATE "C",
    reply_text text COLLATE "C",
    relay_id text COLLATE "C",
    reason text COLLATE "C",
    UNIQUE (issue_id, subscription_id)
);
CREATE INDEX deliveries_claimable ON deliveries (issue_id, not_before, id) WHERE state = 'pending';
CREATE INDEX deliveries_notices ON deliveries (not_before, id) WHERE state = 'pending' AND issue_id IS NULL;
CREATE INDEX deliveries_open ON deliveries (issue_id)
    WHERE state IN ('pending', 'claimed', 'transmitting', 'in_doubt');
CREATE INDEX deliveries_owned ON deliveries (owner) WHERE state IN ('claimed', 'transmitting');
CREATE INDEX deliveries_in_doubt ON deliveries (not_before) WHERE state = 'in_doubt';
CREATE INDEX deliveries_by_subscription ON deliveries (subscription_id, created_at);
-- what has waited too long is given up
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 'pending';
CREATE INDEX deliveries_by_signup ON deliveries (signup_id);

CREATE TABLE workers (
    id uuid NOT NULL PRIMARY KEY,
    started_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    host text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL
);

-- Configuration comes from file and environment; only the state lives here.
CREATE TABLE relays (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    state text COLLATE "C" NOT NULL CHECK (state IN ('ok', 'backing_off', 'halted')),
    until timestamptz,
    reason text COLLATE "C",
    changed_at timestamptz NOT NULL
);

-- Service

CREATE TABLE api_tokens (
    id uuid NOT NULL PRIMARY KEY,
    label text COLLATE "C" NOT NULL,
    prefix text COLLATE "C" NOT NULL UNIQUE,
    hash bytea NOT NULL,
    scopes jsonb NOT NULL,
    newsletter_id uuid REFERENCES newsletters (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE idempotency_keys (
    -- who: a token's id, or `cli`
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    request_hash bytea NOT NULL,
    -- both empty while the first request is running
    status bigint,
    response text COLLATE "C",
    created_at timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);

CREATE TABLE rate_limits (
    -- keyed hash of what is limited, with the limit's name
    key bytea NOT NULL,
    window_start timestamptz NOT NULL,
    hits bigint NOT NULL,
    PRIMARY KEY (key, window_start)
);
CREATE INDEX rate_limits_by_age ON rate_limits (window_start);

-- `sending_paused` stops the instance: {"at": ..., "reason": ...}
CREATE TABLE settings (
    key text COLLATE "C" NOT NULL PRIMARY KEY,
    value jsonb NOT NULL
);
