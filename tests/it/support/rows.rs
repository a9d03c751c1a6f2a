//! What stands in the database, as text: for tests that say that nothing, or one thing, has changed.

use paperround::read_db;

use super::TestApp;

/// One line for each row of the tables about people and mails: what it is and how it stands.
const ROWS: &[&str] = &[
    "SELECT 'signup ' || email_key || CASE WHEN confirmed_at IS NULL THEN ' open' ELSE ' confirmed' END
     FROM signups ORDER BY 1",
    "SELECT 'subscriber ' || email_key FROM subscribers ORDER BY 1",
    "SELECT 'subscription ' || subscribers.email_key || ' ' || newsletters.slug || ' ' || subscriptions.state
         || ' ' || COALESCE(subscriptions.end_channel, '-')
     FROM subscriptions JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
     JOIN newsletters ON newsletters.id = subscriptions.newsletter_id ORDER BY 1",
    "SELECT 'interest ' || topics.slug || ' ' || interests.cadence || ' ' || CAST(interests.start_seq AS TEXT)
         || ' ' || CAST(interests.given_seq AS TEXT)
     FROM interests JOIN topics ON topics.id = interests.topic_id ORDER BY 1",
    "SELECT 'consent ' || kind || ' ' || channel FROM consent_events ORDER BY 1",
    "SELECT 'delivery ' || kind || ' ' || recipient || ' ' || state || ' ' || COALESCE(reason, '-')
     FROM deliveries ORDER BY 1",
    "SELECT 'suppression ' || reason FROM suppressions ORDER BY 1",
    "SELECT 'wording ' || text FROM wordings ORDER BY 1",
    "SELECT 'limit ' || CAST(hits AS TEXT) FROM rate_limits ORDER BY 1",
];

impl TestApp {
    /// Every row about people and mails, a line each.
    pub(crate) async fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for sql in ROWS {
            let found: Vec<String> = read_db!(&self.db, |conn| sqlx::query_scalar(*sql)
                .fetch_all(conn)
                .await)
            .expect("the tables can be read");
            rows.extend(found);
        }
        rows
    }

    /// The rows that begin with `word`.
    pub(crate) async fn rows_of(&self, word: &str) -> Vec<String> {
        let mut rows = self.rows().await;
        rows.retain(|row| row.starts_with(word));
        rows
    }
}
