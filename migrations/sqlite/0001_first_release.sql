-- The whole of the first release: publications, articles, people, sending, service.
-- Rules: ids are UUID version 7; instants are microseconds in UTC; enums are text with a CHECK.
-- Both engines have the same tables and columns; a test compares them.

-- Publications and articles

CREATE TABLE newsletters (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    from_name TEXT NOT NULL,
    from_address TEXT NOT NULL,
    reply_to TEXT,
    -- required before the first send (CAN-SPAM, CASL); may be missing until then
    postal_address TEXT,
    locale TEXT NOT NULL,
    timezone TEXT NOT NULL,
    default_cadence TEXT NOT NULL CHECK (default_cadence IN ('immediate', 'daily', 'weekly', 'monthly')),
    -- origins whose forms may post here and to which `next` may lead; empty: any form, no `next`
    form_origins TEXT NOT NULL,
    -- the highest article number ever given: a number that was taken back is not given again
    last_seq INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE topics (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    -- `all` is built in: every article has it
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    default_on INTEGER NOT NULL CHECK (default_on IN (0, 1)),
    -- the publisher's ceiling
    max_cadence TEXT CHECK (max_cadence IN ('immediate', 'daily', 'weekly', 'monthly')),
    UNIQUE (newsletter_id, slug)
) STRICT;

CREATE TABLE schedules (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    cadence TEXT NOT NULL CHECK (cadence IN ('immediate', 'daily', 'weekly', 'monthly')),
    -- civil time `HH:MM` in `timezone`
    local_time TEXT NOT NULL,
    -- weekdays `mon,tue`, days of the month `1,15`, or `last`; `all` for every day
    days TEXT NOT NULL,
    timezone TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('automatic', 'draft')),
    min_articles INTEGER NOT NULL,
    max_cards INTEGER NOT NULL,
    -- seconds
    min_interval INTEGER NOT NULL,
    missed TEXT NOT NULL CHECK (missed IN ('latest', 'all', 'none')),
    -- seconds
    max_lateness INTEGER NOT NULL,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    -- slots up to this instant are settled
    handled_to INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX schedules_by_newsletter ON schedules (newsletter_id);

CREATE TABLE feeds (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    url TEXT NOT NULL,
    title TEXT,
    -- verbatim, for the conditional request
    etag TEXT,
    last_modified TEXT,
    next_poll_at INTEGER NOT NULL,
    -- seconds
    poll_interval INTEGER NOT NULL,
    -- seconds between first sight and release
    cool_off INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    last_error TEXT,
    last_status INTEGER,
    last_polled_at INTEGER,
    -- when the first read had succeeded; what stood in the feed then is never news
    activated_at INTEGER,
    paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
    paused_reason TEXT,
    body_hash BLOB,
    -- a permanent redirect is followed for good after it was seen three times
    moved_to TEXT,
    moved_seen INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (newsletter_id, url)
) STRICT;
CREATE INDEX feeds_to_poll ON feeds (next_poll_at) WHERE NOT paused;

CREATE TABLE topic_rules (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    topic_id BLOB NOT NULL REFERENCES topics (id) CHECK (length(topic_id) = 16),
    feed_id BLOB REFERENCES feeds (id) CHECK (length(feed_id) = 16),
    field TEXT NOT NULL CHECK (field IN ('category', 'tag', 'author', 'url')),
    pattern TEXT NOT NULL
) STRICT;
CREATE INDEX topic_rules_by_topic ON topic_rules (topic_id);

CREATE TABLE articles (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    feed_id BLOB REFERENCES feeds (id) CHECK (length(feed_id) = 16),
    -- given at release, rising within a newsletter; dates never decide what is new
    seq INTEGER,
    state TEXT NOT NULL CHECK (state IN ('known', 'waiting', 'held', 'ready', 'withdrawn')),
    held_reason TEXT,
    url TEXT NOT NULL,
    title TEXT NOT NULL,
    summary TEXT NOT NULL,
    content_html TEXT NOT NULL,
    author TEXT,
    image_url TEXT,
    image_width INTEGER,
    image_height INTEGER,
    image_alt TEXT,
    published_at INTEGER,
    first_seen_at INTEGER NOT NULL,
    release_at INTEGER,
    released_at INTEGER,
    updated_at INTEGER NOT NULL,
    content_hash BLOB NOT NULL,
    UNIQUE (newsletter_id, seq)
) STRICT;
CREATE INDEX articles_waiting ON articles (release_at) WHERE state = 'waiting';

CREATE TABLE article_keys (
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('guid', 'url', 'wp_id', 'fingerprint', 'external')),
    value TEXT NOT NULL,
    article_id BLOB NOT NULL REFERENCES articles (id) CHECK (length(article_id) = 16),
    PRIMARY KEY (newsletter_id, kind, value)
) STRICT;
CREATE INDEX article_keys_by_article ON article_keys (article_id);

CREATE TABLE article_topics (
    article_id BLOB NOT NULL REFERENCES articles (id) CHECK (length(article_id) = 16),
    topic_id BLOB NOT NULL REFERENCES topics (id) CHECK (length(topic_id) = 16),
    PRIMARY KEY (article_id, topic_id)
) STRICT;

-- People

CREATE TABLE subscribers (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- as written by the person; the local part is kept
    email TEXT NOT NULL,
    -- identity: lower-cased local part, A-label domain
    email_key TEXT NOT NULL UNIQUE,
    locale TEXT,
    timezone TEXT,
    created_at INTEGER NOT NULL,
    erased_at INTEGER
) STRICT;

CREATE TABLE signups (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    locale TEXT NOT NULL,
    -- topics and cadence as chosen: {"topics": [...], "cadence": ...}
    selection TEXT NOT NULL,
    -- the confirm token is derived from it and from a key outside the database
    token_salt BLOB NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    requested_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    confirmed_at INTEGER,
    evidence TEXT NOT NULL
) STRICT;
CREATE INDEX signups_by_expiry ON signups (expires_at);
CREATE INDEX signups_by_key ON signups (email_key);

CREATE TABLE subscriptions (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    subscriber_id BLOB NOT NULL REFERENCES subscribers (id) CHECK (length(subscriber_id) = 16),
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    state TEXT NOT NULL CHECK (state IN ('active', 'unsubscribed', 'bounced', 'complained')),
    paused_until INTEGER,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    end_channel TEXT,
    UNIQUE (subscriber_id, newsletter_id)
) STRICT;
-- prepare walks a newsletter's readers in this order
CREATE INDEX subscriptions_by_newsletter ON subscriptions (newsletter_id, id);

-- The whole ledger of who was given what.
CREATE TABLE interests (
    subscription_id BLOB NOT NULL REFERENCES subscriptions (id) CHECK (length(subscription_id) = 16),
    topic_id BLOB NOT NULL REFERENCES topics (id) CHECK (length(topic_id) = 16),
    -- articles up to here were never this interest's business
    start_seq INTEGER NOT NULL,
    cadence TEXT NOT NULL CHECK (cadence IN ('off', 'immediate', 'daily', 'weekly', 'monthly')),
    -- articles up to here were given
    given_seq INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, topic_id, start_seq)
) STRICT;

CREATE TABLE wordings (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    text TEXT NOT NULL,
    locale TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- Append-only, chained per address.
CREATE TABLE consent_events (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    subscriber_id BLOB REFERENCES subscribers (id) CHECK (length(subscriber_id) = 16),
    email_hash BLOB NOT NULL,
    newsletter_id BLOB REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('requested', 'confirmed', 'changed', 'withdrawn', 'imported', 'erased')),
    at INTEGER NOT NULL,
    channel TEXT NOT NULL,
    wording_id BLOB REFERENCES wordings (id) CHECK (length(wording_id) = 16),
    page_url TEXT,
    ip TEXT,
    user_agent TEXT,
    detail TEXT NOT NULL,
    -- the chain covers a salted hash of the personal fields, so that they can be erased without breaking it
    salt BLOB NOT NULL,
    commitment BLOB NOT NULL,
    previous_hash BLOB,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX consent_events_by_address ON consent_events (email_hash, at, id);

CREATE TABLE suppressions (
    -- keyed hash of the address
    key BLOB NOT NULL,
    -- `all`, or a newsletter's id as text
    scope TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'request', 'erased', 'operator')),
    at INTEGER NOT NULL,
    detail TEXT,
    PRIMARY KEY (key, scope)
) STRICT;

-- Sending

CREATE TABLE issues (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('scheduled', 'manual', 'correction')),
    -- the cadences it serves: ["daily", "weekly"]
    cadences TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('draft', 'scheduled', 'preparing', 'sending', 'finished', 'cancelled', 'failed', 'skipped')),
    -- why it failed or was skipped, in words for the operator
    state_reason TEXT,
    -- paused is no state: the state beneath is kept
    paused_at INTEGER,
    pause_reason TEXT,
    -- false: stops after prepare until an operator releases it
    release_when_prepared INTEGER NOT NULL CHECK (release_when_prepared IN (0, 1)),
    max_cards INTEGER NOT NULL,
    cutoff_seq INTEGER,
    subject TEXT,
    preheader TEXT,
    intro TEXT,
    created_at INTEGER NOT NULL,
    frozen_at INTEGER,
    -- how far the walk over the subscriptions has come
    prepared_to BLOB CHECK (length(prepared_to) = 16),
    candidates INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    excluded INTEGER NOT NULL,
    prepared_at INTEGER,
    released_at INTEGER,
    finished_at INTEGER,
    in_doubt_policy TEXT NOT NULL CHECK (in_doubt_policy IN ('resend', 'hold')),
    UNIQUE (newsletter_id, number)
) STRICT;
CREATE INDEX issues_unfinished ON issues (state, due_at)
    WHERE state IN ('draft', 'scheduled', 'preparing', 'sending');
-- one issue of a newsletter is preparing at a time
CREATE UNIQUE INDEX issues_preparing ON issues (newsletter_id) WHERE state = 'preparing';

-- Deltas per commit and worker; the issue row itself stays cold, because marks lock it.
CREATE TABLE issue_counts (
    issue_id BLOB NOT NULL REFERENCES issues (id) CHECK (length(issue_id) = 16),
    worker_id BLOB NOT NULL CHECK (length(worker_id) = 16),
    sent INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    deferred INTEGER NOT NULL,
    in_doubt INTEGER NOT NULL,
    held INTEGER NOT NULL,
    PRIMARY KEY (issue_id, worker_id)
) STRICT;

CREATE TABLE slots (
    schedule_id BLOB NOT NULL REFERENCES schedules (id) CHECK (length(schedule_id) = 16),
    -- local civil time and zone, or `seq:N` for an immediate one
    slot TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    issue_id BLOB REFERENCES issues (id) CHECK (length(issue_id) = 16),
    outcome TEXT NOT NULL CHECK (outcome IN ('issue', 'nothing_new', 'missed', 'below_minimum')),
    at INTEGER NOT NULL,
    PRIMARY KEY (schedule_id, slot)
) STRICT;
CREATE INDEX slots_by_issue ON slots (issue_id);

-- One row for each article considered: nothing is dropped silently.
CREATE TABLE issue_articles (
    issue_id BLOB NOT NULL REFERENCES issues (id) CHECK (length(issue_id) = 16),
    article_id BLOB NOT NULL REFERENCES articles (id) CHECK (length(article_id) = 16),
    position INTEGER NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('card', 'headline', 'withdrawn', 'excluded', 'duplicate')),
    reason TEXT,
    -- the texts as frozen
    content TEXT NOT NULL,
    PRIMARY KEY (issue_id, article_id)
) STRICT;

CREATE TABLE variants (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    issue_id BLOB NOT NULL REFERENCES issues (id) CHECK (length(issue_id) = 16),
    -- hash of locale and articles with their decisions
    key BLOB NOT NULL,
    locale TEXT NOT NULL,
    article_ids TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- the encoded message with its slots
    message BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    UNIQUE (issue_id, key)
) STRICT;

-- One queue for every mail.
CREATE TABLE deliveries (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    issue_id BLOB REFERENCES issues (id) CHECK (length(issue_id) = 16),
    subscription_id BLOB REFERENCES subscriptions (id) CHECK (length(subscription_id) = 16),
    variant_id BLOB REFERENCES variants (id) CHECK (length(variant_id) = 16),
    signup_id BLOB CHECK (length(signup_id) = 16),
    newsletter_id BLOB NOT NULL REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('digest', 'confirmation', 'welcome', 'manage_link', 'alert', 'test')),
    recipient TEXT NOT NULL,
    -- the recipient's domain, for pace and alarms
    domain_key TEXT NOT NULL,
    -- notices only: what their template needs beyond other rows
    payload TEXT,
    -- the interests this delivery moved, with their given_seq before
    given_from TEXT,
    state TEXT NOT NULL CHECK (state IN
        ('pending', 'claimed', 'transmitting', 'in_doubt', 'sent', 'failed', 'skipped', 'held')),
    -- fences: +1 at every claim
    attempt INTEGER NOT NULL,
    -- replies about this recipient or message
    tries INTEGER NOT NULL,
    doubt INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    owner BLOB CHECK (length(owner) = 16),
    lease_until INTEGER,
    not_before INTEGER NOT NULL,
    -- no attempt starts after it
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    marked_at INTEGER,
    settled_at INTEGER,
    reply_code INTEGER,
    enhanced_code TEXT,
    reply_text TEXT,
    relay_id TEXT,
    reason TEXT,
    UNIQUE (issue_id, subscription_id)
) STRICT;
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
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    started_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    host TEXT NOT NULL,
    version TEXT NOT NULL
) STRICT;

-- Configuration comes from file and environment; only the state lives here.
CREATE TABLE relays (
    name TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('ok', 'backing_off', 'halted')),
    until INTEGER,
    reason TEXT,
    changed_at INTEGER NOT NULL
) STRICT;

-- Service

CREATE TABLE api_tokens (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    label TEXT NOT NULL,
    prefix TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    newsletter_id BLOB REFERENCES newsletters (id) CHECK (length(newsletter_id) = 16),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;

CREATE TABLE idempotency_keys (
    -- who: a token's id, or `cli`
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    -- both empty while the first request is running
    status INTEGER,
    response TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;

CREATE TABLE rate_limits (
    -- keyed hash of what is limited, with the limit's name
    key BLOB NOT NULL,
    window_start INTEGER NOT NULL,
    hits INTEGER NOT NULL,
    PRIMARY KEY (key, window_start)
) STRICT;
CREATE INDEX rate_limits_by_age ON rate_limits (window_start);

-- `sending_paused` stops the instance: {"at": ..., "reason": ...}
CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
