//! A newsletter with readers and issues, as the rooms before sending leave them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use paperround::app::App;
use paperround::clock::{Clock, TestClock, Timestamp};
use paperround::db::{Db, Tx};
use paperround::deliveries::enqueue::{self, NewNotice};
use paperround::deliveries::list::Summary;
use paperround::deliveries::operate;
use paperround::deliveries::{Kind, State};
use paperround::id::{
    DeliveryId, IssueId, NewsletterId, SignupId, SubscriberId, SubscriptionId, TopicId, VariantId,
};
use paperround::newsletters::add::{self, NewNewsletter, NewSchedule};
use paperround::newsletters::{Cadence, store};
use paperround::subscribers::evidence::{Channel, Evidence};
use paperround::subscribers::unsubscribe::{Left, unsubscribe};
use paperround::token::ReaderToken;
use paperround::{read_db, write_db};
use sqlx::types::Json;

use super::desk::Desk;
use crate::support::TestApp;

const SUBSCRIBER: &str =
    "INSERT INTO subscribers (id, email, email_key, created_at) VALUES ($1, $2, $2, $3)";
const SUBSCRIPTION: &str =
    "INSERT INTO subscriptions (id, subscriber_id, newsletter_id, state, started_at)
     VALUES ($1, $2, $3, 'active', $4)";
const INTEREST: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq)
     VALUES ($1, $2, 0, 'daily', 0)";
const MOVE_INTEREST: &str = "UPDATE interests SET given_seq = $2 WHERE subscription_id = $1";
const GIVEN: &str = "SELECT given_seq FROM interests WHERE subscription_id = $1";
const ISSUE: &str =
    "INSERT INTO issues (id, newsletter_id, number, kind, cadences, due_at, state, release_when_prepared,
         max_cards, cutoff_seq, created_at, candidates, queued, excluded, in_doubt_policy)
     VALUES ($1, $2, $3, 'scheduled', $4, $5, 'sending', $6, 10, $7, $5, 0, 0, 0, $8)";
const ISSUE_STATE: &str = "SELECT state FROM issues WHERE id = $1";
const PAUSE_REASON: &str =
    "SELECT pause_reason FROM issues WHERE id = $1 AND paused_at IS NOT NULL";
const VARIANT: &str =
    "INSERT INTO variants (id, issue_id, key, locale, article_ids, subject, message, bytes, recipients)
     VALUES ($1, $2, $3, 'en', $4, 'News', $3, 1, 1)";
const DIGEST: &str = "INSERT INTO deliveries (id, issue_id, newsletter_id, subscription_id, variant_id, kind, recipient,
         domain_key, given_from, state, is_open, attempt, tries, doubt, crashes, not_before, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5, 'digest', $6, 'example.org', $7, 'pending', TRUE, 0, 0, 0, 0, $8, $8, $9)";
const LEAVE: &str = "UPDATE subscriptions SET state = 'unsubscribed', ended_at = $2 WHERE id = $1";
const READER_PAUSES: &str = "UPDATE subscriptions SET paused_until = $2 WHERE id = $1";
const SIGNUP: &str =
    "INSERT INTO signups (id, newsletter_id, email, email_key, locale, selection, token_salt, token_hash,
         requested_at, expires_at, evidence)
     VALUES ($1, $2, $3, $3, 'en', $4, $5, $6, $7, $8, $4)";
const CONFIRM: &str = "UPDATE signups SET confirmed_at = $2 WHERE id = $1";
const SUPPRESS: &str =
    "INSERT INTO suppressions (key, scope, reason, at) VALUES ($1, 'all', 'operator', $2)";
const DELIVERY: &str =
    "SELECT id, issue_id, kind, state, recipient, attempt, tries, doubt, crashes, not_before,
         marked_at, settled_at, reply_code, enhanced_code, reply_text, relay_id, reason
     FROM deliveries WHERE id = $1";

/// One reader of the newsletter.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) subscription: SubscriptionId,
    pub(crate) email: String,
}

/// An issue that is sending, with one delivery for each reader.
pub(crate) struct Edition {
    pub(crate) issue: IssueId,
    pub(crate) cutoff: i64,
    pub(crate) deliveries: Vec<DeliveryId>,
}

/// The newsletter.
pub(crate) struct Press {
    pub(crate) db: Db,
    pub(crate) time: Arc<TestClock>,
    pub(crate) desk: Arc<Desk>,
    pub(super) ids: paperround::id::Ids,
    pub(super) entropy: Arc<dyn paperround::id::Entropy>,
    pub(super) app: Arc<App>,
    pub(super) newsletter: NewsletterId,
    topic: TopicId,
    number: AtomicI64,
}

impl Press {
    pub(crate) async fn new(app: &TestApp) -> Self {
        let new = NewNewsletter {
            slug: "world".parse().unwrap(),
            name: "World News".to_owned(),
            description: String::new(),
            from_name: "World News".to_owned(),
            from_address: "news@example.org".to_owned(),
            reply_to: None,
            postal_address: None,
            locale: "en".to_owned(),
            schedule: NewSchedule::usual(
                Cadence::Daily,
                "07:00".parse().unwrap(),
                "Europe/Berlin".parse().unwrap(),
            ),
            form_origins: Vec::new(),
        };
        let newsletter = add::newsletter(app, new).await.unwrap().id;
        let topics = store::topics(&app.db, newsletter).await.unwrap();
        Self {
            db: app.db.clone(),
            time: app.time.clone(),
            desk: Arc::default(),
            ids: app.ids.clone(),
            entropy: app.entropy.clone(),
            app: app.app.clone(),
            newsletter,
            topic: topics[0].id,
            number: AtomicI64::new(0),
        }
    }

    /// The process died: everything is opened anew.
    pub(crate) fn reopen(&mut self, app: &TestApp) {
        self.db = app.db.clone();
        self.app = app.app.clone();
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time.now()
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, sqlx::Result<T>> + Send + 'static,
    ) -> T {
        self.db.write(work).await.unwrap()
    }

    pub(crate) async fn reader(&self, email: &str) -> Reader {
        let (subscriber, subscription): (SubscriberId, SubscriptionId) =
            (self.ids.next(), self.ids.next());
        let (newsletter, topic, now, address) =
            (self.newsletter, self.topic, self.now(), email.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SUBSCRIBER)
                    .bind(subscriber)
                    .bind(address)
                    .bind(now)
                    .execute(conn)
                    .await
                    .map(drop))?;
                write_db!(tx, |conn| sqlx::query(SUBSCRIPTION)
                    .bind(subscription)
                    .bind(subscriber)
                    .bind(newsletter)
                    .bind(now)
                    .execute(conn)
                    .await
                    .map(drop))?;
                write_db!(tx, |conn| sqlx::query(INTEREST)
                    .bind(subscription)
                    .bind(topic)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
        Reader {
            subscription,
            email: email.to_owned(),
        }
    }

    pub(crate) async fn readers(&self, count: usize) -> Vec<Reader> {
        self.readers_at("example.org", count).await
    }

    pub(crate) async fn readers_at(&self, domain: &str, count: usize) -> Vec<Reader> {
        let mut readers = Vec::new();
        for number in 0..count {
            readers.push(self.reader(&format!("reader{number}@{domain}")).await);
        }
        readers
    }

    /// An issue that is sending. Its cutoff is ten articles further than that of the one before.
    pub(crate) async fn edition(&self, readers: &[Reader], policy: &'static str) -> Edition {
        let issue: IssueId = self.ids.next();
        let variant: VariantId = self.ids.next();
        let number = self.number.fetch_add(1, Ordering::SeqCst) + 1;
        let (newsletter, now, cutoff) = (self.newsletter, self.now(), number * 10);
        let given_from = serde_json::json!([
            { "topic_id": self.topic, "start_seq": 0, "given_from": cutoff - 10, "given_to": cutoff }
        ]);
        let digests: Vec<(DeliveryId, Reader)> = readers
            .iter()
            .map(|reader| (self.ids.next(), reader.clone()))
            .collect();
        let deliveries = digests.iter().map(|(id, _)| *id).collect();
        self.write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(ISSUE)
                    .bind(issue)
                    .bind(newsletter)
                    .bind(number)
                    .bind(Json(["daily"]))
                    .bind(now)
                    .bind(true)
                    .bind(cutoff)
                    .bind(policy)
                    .execute(conn)
                    .await
                    .map(drop))?;
                write_db!(tx, |conn| sqlx::query(VARIANT)
                    .bind(variant)
                    .bind(issue)
                    .bind(vec![1_u8])
                    .bind(Json(Vec::<String>::new()))
                    .execute(conn)
                    .await
                    .map(drop))?;
                for (id, reader) in &digests {
                    write_db!(tx, |conn| sqlx::query(DIGEST)
                        .bind(id)
                        .bind(issue)
                        .bind(newsletter)
                        .bind(reader.subscription)
                        .bind(variant)
                        .bind(&reader.email)
                        .bind(Json(&given_from))
                        .bind(now)
                        .bind(now + Duration::from_hours(48))
                        .execute(conn)
                        .await
                        .map(drop))?;
                    write_db!(tx, |conn| sqlx::query(MOVE_INTEREST)
                        .bind(reader.subscription)
                        .bind(cutoff)
                        .execute(conn)
                        .await
                        .map(drop))?;
                }
                Ok(())
            })
        })
        .await;
        Edition {
            issue,
            cutoff,
            deliveries,
        }
    }

    /// A sign-up with its queued confirmation.
    pub(crate) async fn sign_up(&self, email: &str) -> (SignupId, DeliveryId) {
        let signup: SignupId = self.ids.next();
        let now = self.now();
        let notice = NewNotice {
            id: self.ids.next(),
            kind: Kind::Confirmation,
            newsletter_id: self.newsletter,
            signup_id: Some(signup),
            subscription_id: None,
            recipient: email.to_owned(),
            domain: "example.org".to_owned(),
            payload: Some(serde_json::json!({ "locale": "en" })),
            now,
            expires_at: now + Duration::from_hours(48),
        };
        let delivery = notice.id;
        let newsletter = self.newsletter;
        self.write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SIGNUP)
                    .bind(signup)
                    .bind(newsletter)
                    .bind(&notice.recipient)
                    .bind(Json(serde_json::json!({})))
                    .bind(vec![0_u8; 16])
                    .bind(signup.0.as_bytes().to_vec())
                    .bind(now)
                    .bind(notice.expires_at)
                    .execute(conn)
                    .await
                    .map(drop))?;
                enqueue::notice(tx, &notice).await
            })
        })
        .await;
        (signup, delivery)
    }

    /// A queued welcome.
    pub(crate) async fn welcome(&self, reader: &Reader) -> DeliveryId {
        let now = self.now();
        let notice = NewNotice {
            id: self.ids.next(),
            kind: Kind::Welcome,
            newsletter_id: self.newsletter,
            signup_id: None,
            subscription_id: Some(reader.subscription),
            recipient: reader.email.clone(),
            domain: "example.org".to_owned(),
            payload: None,
            now,
            expires_at: now + Duration::from_hours(48),
        };
        let delivery = notice.id;
        self.write(move |tx| Box::pin(async move { enqueue::notice(tx, &notice).await }))
            .await;
        delivery
    }

    pub(crate) async fn confirm(&self, signup: SignupId) {
        let now = self.now();
        self.write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(CONFIRM)
                    .bind(signup)
                    .bind(now)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
    }

    pub(crate) async fn suppress(&self, key: &'static [u8]) {
        let at = self.now() + Duration::from_micros(1);
        self.write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SUPPRESS)
                    .bind(key)
                    .bind(at)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
    }

    /// The reader leaves by the link in a mail.
    pub(crate) async fn unsubscribe(&self, reader: &Reader) {
        let token = ReaderToken {
            subscription: reader.subscription,
            issue: None,
        };
        let evidence = Evidence::of(Channel::OneClick);
        let left = unsubscribe(&self.app, token, evidence).await.unwrap();
        assert_ne!(left, Left::Unknown);
    }

    /// The subscription ends without anybody looking at what waits for it.
    pub(crate) async fn subscription_ends(&self, reader: &Reader) {
        let (subscription, now) = (reader.subscription, self.now());
        self.write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(LEAVE)
                    .bind(subscription)
                    .bind(now)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
    }

    pub(crate) async fn reader_pauses(&self, reader: &Reader, until: Timestamp) {
        let subscription = reader.subscription;
        self.write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(READER_PAUSES)
                    .bind(subscription)
                    .bind(until)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
    }

    pub(crate) async fn delivery(&self, id: DeliveryId) -> Summary {
        read_db!(&self.db, |conn| sqlx::query_as(DELIVERY)
            .bind(id)
            .fetch_one(conn)
            .await)
        .unwrap()
    }

    pub(crate) async fn state(&self, id: DeliveryId) -> State {
        self.delivery(id).await.state
    }

    pub(crate) async fn given_seq(&self, reader: &Reader) -> i64 {
        read_db!(&self.db, |conn| sqlx::query_scalar(GIVEN)
            .bind(reader.subscription)
            .fetch_one(conn)
            .await)
        .unwrap()
    }

    pub(crate) async fn issue_state(&self, issue: IssueId) -> String {
        read_db!(&self.db, |conn| sqlx::query_scalar(ISSUE_STATE)
            .bind(issue)
            .fetch_one(conn)
            .await)
        .unwrap()
    }

    /// Why the issue is paused; `None` when it is not.
    pub(crate) async fn pause_reason(&self, issue: IssueId) -> Option<String> {
        read_db!(&self.db, |conn| sqlx::query_scalar(PAUSE_REASON)
            .bind(issue)
            .fetch_optional(conn)
            .await)
        .unwrap()
    }

    pub(crate) async fn pause(&self, issue: IssueId) {
        let now = self.now();
        self.write(move |tx| {
            Box::pin(async move { operate::pause(tx, issue, "by hand", now).await.map(drop) })
        })
        .await;
    }

    pub(crate) async fn resume(&self, issue: IssueId) {
        let now = self.now();
        let expires_at = now + Duration::from_hours(48);
        let resumed = operate::resume(&self.db, issue, "mended", now, expires_at).await;
        resumed.unwrap();
    }

    pub(crate) async fn pause_sending(&self) {
        let now = self.now();
        let paused = self
            .write(move |tx| {
                Box::pin(async move { operate::pause_sending(tx, "by hand", now).await })
            })
            .await;
        assert!(paused && operate::sending_is_paused(&self.db).await.unwrap());
    }

    pub(crate) async fn resume_sending(&self) {
        let expires_at = self.now() + Duration::from_hours(48);
        let resumed = operate::resume_sending(&self.db, expires_at).await;
        resumed.unwrap();
    }

    pub(crate) async fn cancel(&self, issue: IssueId) {
        let now = self.now();
        self.write(move |tx| {
            Box::pin(async move { operate::cancel(tx, issue, "by hand", now).await.map(drop) })
        })
        .await;
    }
}
