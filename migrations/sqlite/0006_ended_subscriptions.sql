-- Each start compares those that ended with the suppression journal: it read all subscriptions to find them.
CREATE INDEX subscriptions_ended ON subscriptions (id) WHERE state = 'unsubscribed';
