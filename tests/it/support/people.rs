//! Newsletters and readers, made through the front doors.

use std::time::Duration;

use paperround::clock::{Clock as _, SystemClock};
use paperround::feeds::publish::{PostedArticle, publish};
use paperround::id::{SignupId, SubscriptionId};
use paperround::newsletters::add::{self, NewNewsletter, NewSchedule};
use paperround::newsletters::{Cadence, Newsletter};
use paperround::read_db;
use paperround::token::{Purpose, ReaderToken};

use super::http::Site;
use super::{Program, TestApp};

const NEWEST_SIGNUP: &str =
    "SELECT id, token_salt FROM signups WHERE email_key = $1 ORDER BY requested_at DESC LIMIT 1";
const SUBSCRIPTION: &str = "
    SELECT subscriptions.id FROM subscriptions
    JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
    WHERE subscribers.email_key = $1 ORDER BY subscriptions.id";

impl TestApp {
    /// A newsletter that goes out daily at seven in Berlin.
    pub(crate) async fn newsletter(&self, slug: &str) -> Newsletter {
        self.newsletter_due(slug, "07:00", "Europe/Berlin").await
    }

    /// A newsletter that goes out daily at this local time.
    pub(crate) async fn newsletter_due(&self, slug: &str, time: &str, zone: &str) -> Newsletter {
        let new = NewNewsletter {
            slug: slug.parse().expect("a slug"),
            name: "World Review".to_owned(),
            description: "What happened in the world, and why it matters.".to_owned(),
            from_name: "World Review".to_owned(),
            from_address: "news@world-review.org".to_owned(),
            reply_to: None,
            postal_address: Some("12 Harbour Street\n12345 Town".to_owned()),
            locale: "en".to_owned(),
            schedule: NewSchedule::usual(
                Cadence::Daily,
                time.parse().expect("a time"),
                zone.parse().expect("a zone"),
            ),
            form_origins: vec!["https://world-review.org".to_owned()],
        };
        add::newsletter(self, new).await.expect("it can be made")
    }

    /// A newsletter with something to send to so many readers, for the program: it goes by the system's clock, and no
    /// slot comes within the next hours.
    pub(crate) async fn newsletter_with_news(&self, readers: usize) -> Newsletter {
        self.time.set(SystemClock.now());
        let noon = self.now() + Duration::from_hours(12);
        let newsletter = self
            .newsletter_due("world", &noon.to_string()[11..16], "UTC")
            .await;
        let list: Vec<_> = (0..readers)
            .map(|n| format!("reader{n}@example.org"))
            .collect();
        let path = self.folder().join("readers.csv");
        std::fs::write(&path, format!("email\n{}\n", list.join("\n"))).unwrap();
        Program::of(self)
            .run(&["import", path.to_str().unwrap()])
            .expect(0);
        let article = PostedArticle {
            external_id: "a".to_owned(),
            url: "https://example.org/a".to_owned(),
            title: "A title".to_owned(),
            ..Default::default()
        };
        publish(self, newsletter.id, vec![article]).await.unwrap();
        newsletter
    }

    /// The token in the mail that the newest sign-up of this address gets.
    pub(crate) async fn confirm_token(&self, email: &str) -> String {
        let (id, salt): (SignupId, Vec<u8>) =
            read_db!(&self.db, |conn| sqlx::query_as(NEWEST_SIGNUP)
                .bind(email)
                .fetch_one(conn)
                .await)
            .expect("there is a sign-up");
        let salt = salt.try_into().expect("16 bytes");
        self.keys.confirm_token(id, &salt).text()
    }

    /// The first subscription of this address.
    pub(crate) async fn subscription(&self, email: &str) -> SubscriptionId {
        read_db!(&self.db, |conn| sqlx::query_scalar(SUBSCRIPTION)
            .bind(email)
            .fetch_one(conn)
            .await)
        .expect("there is a subscription")
    }

    /// The token in the unsubscribe links of this subscription.
    pub(crate) fn unsubscribe_token(&self, subscription: SubscriptionId) -> String {
        let about = ReaderToken {
            subscription,
            issue: None,
        };
        self.keys.reader_token(Purpose::Unsubscribe, about)
    }

    /// A reader who filled in the form and pressed the button; the path of their unsubscribe link.
    pub(crate) async fn reader(&self, site: &Site, slug: &str, email: &str) -> String {
        // So that the newest sign-up is the newest.
        self.time.advance(Duration::from_millis(1));
        let path = format!("/subscribe/{slug}");
        site.post(&path, &[("email", email)])
            .await
            .assert_status(303);
        let token = self.confirm_token(email).await;
        site.post(&format!("/confirm/{token}"), &[])
            .await
            .assert_status(200);
        let subscription = self.subscription(email).await;
        format!("/unsubscribe/{}", self.unsubscribe_token(subscription))
    }
}
