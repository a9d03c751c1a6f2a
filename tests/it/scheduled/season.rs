//! A season of a newsletter, from the feed to the relay: every article comes to every reader, and comes once.
//!
//! Editors hold and release, readers change their rhythm and pause, the relay defers and refuses for days, issues are
//! cancelled half-way. Nothing here asks the tables what was sent: the relay's own record decides.

use std::time::Duration;

use paperround::deliveries::operate;
use paperround::feeds::release;
use paperround::feeds::store as feeds;
use paperround::id::{ArticleId, SubscriptionId};
use paperround::issues::IssueState;
use paperround::newsletters::Cadence;
use paperround::{read_db, write_db};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{Scene, Setup, instant, scheduled_test};
use crate::support::seed::seed;
use crate::support::smtp_server::{Act, Step};

const READERS: usize = 12;
/// A third of a year, so that a run stays short.
const DAYS: usize = 120;
const CADENCES: [Cadence; 3] = [Cadence::Daily, Cadence::Weekly, Cadence::Monthly];

/// As the page for it will do; neither moves a watermark.
const CHANGE: &str = "UPDATE interests SET cadence = $2 WHERE subscription_id = $1";
const PAUSE: &str = "UPDATE subscriptions SET paused_until = $2 WHERE id = $1";
const READER: &str =
    "SELECT p.id FROM subscriptions AS p JOIN subscribers AS s ON s.id = p.subscriber_id
     WHERE s.email = $1";
const HELD: &str = "SELECT id FROM articles WHERE state = 'held'";

fn email(reader: usize) -> String {
    format!("reader-{reader:02}@example.org")
}

async fn subscription(scene: &Scene, email: &str) -> SubscriptionId {
    read_db!(&scene.app.db, |conn| sqlx::query_scalar(READER)
        .bind(email)
        .fetch_one(conn)
        .await)
    .unwrap()
}

/// A reader takes another rhythm, or a pause of some days.
async fn change_mind(scene: &Scene, random: &mut StdRng) {
    let reader = subscription(scene, &email(random.random_range(0..READERS))).await;
    let cadence = *CADENCES.choose(random).unwrap();
    let pause = random.random_bool(0.5);
    let until = scene.app.now() + Duration::from_hours(24 * random.random_range(1..9));
    let changed = scene.app.db.write::<_, sqlx::Error, _>(move |tx| {
        Box::pin(async move {
            write_db!(tx, |conn| if pause {
                sqlx::query(PAUSE)
                    .bind(reader)
                    .bind(until)
                    .execute(conn)
                    .await
            } else {
                sqlx::query(CHANGE)
                    .bind(reader)
                    .bind(cadence)
                    .execute(conn)
                    .await
            }
            .map(drop))
        })
    });
    changed.await.unwrap();
}

/// For one morning, or for all of the next days, the relay is not kind to some.
fn spoil(scene: &Scene, random: &mut StdRng) {
    let mut script = scene.relay.script();
    script.clear();
    for reader in 0..READERS {
        let step = *[Step::Rcpt, Step::Dot].choose(random).unwrap();
        let act = Act::reply("451 4.3.2 not now");
        match random.random_range(0..20) {
            0..3 => script.once_for(&email(reader), step, act),
            3 => script.always_for(&email(reader), step, act),
            _ => {}
        }
    }
}

/// An editor holds what came this morning.
async fn hold(scene: &Scene, number: usize) {
    let title = format!("Article {number}");
    let all = feeds::articles(&scene.app.db, scene.newsletter.id, None, 10);
    let held = all
        .await
        .unwrap()
        .into_iter()
        .find(|one| one.title == title);
    let held = held.unwrap().id;
    let work = scene
        .app
        .db
        .write(move |tx| Box::pin(async move { feeds::hold(tx, held, "second reading").await }));
    assert!(work.await.unwrap());
}

/// An editor lets go what is held. How many articles those were.
async fn let_go(scene: &Scene) -> usize {
    let held: Vec<ArticleId> = read_db!(&scene.app.db, |conn| sqlx::query_scalar(HELD)
        .fetch_all(conn)
        .await)
    .unwrap();
    for article in &held {
        let (db, newsletter) = (&scene.app.db, scene.newsletter.id);
        let done = release::release_now(db, newsletter, *article, scene.app.now()).await;
        assert!(done.unwrap());
    }
    held.len()
}

/// An operator cancels what is still being sent. How many issues those were.
async fn cancel(scene: &Scene) -> usize {
    let issues = scene.issues().await;
    let open = issues.iter().filter(|one| one.state == IssueState::Sending);
    let mut cancelled = 0;
    for issue in open.map(|one| one.id) {
        let now = scene.app.now();
        let work = scene.app.db.write(move |tx| {
            Box::pin(async move { operate::cancel(tx, issue, "a mistake in it", now).await })
        });
        cancelled += usize::from(work.await.unwrap());
    }
    cancelled
}

/// How often what happened, so that the test shows that it tested.
#[derive(Debug, Default)]
struct Happened {
    held: usize,
    cancelled: usize,
    published: usize,
}

/// One day from half an hour before its slot: the feed, the editors, the readers, then the relay's moods.
async fn live(scene: &Scene, random: &mut StdRng, happened: &mut Happened) {
    let new = random.random_range(0..3);
    happened.published += new;
    let newest = happened.published;
    scene.publish(newest.saturating_sub(40).max(1)..=newest);
    scene.work().await;
    if new > 0 && random.random_bool(0.2) {
        hold(scene, newest).await;
    }
    if random.random_bool(0.1) {
        happened.held += let_go(scene).await;
    }
    for _ in 0..random.random_range(0..3) {
        change_mind(scene, random).await;
    }
    if random.random_bool(0.5) {
        spoil(scene, random);
    }
    // the slot, a first retry, and later ones
    for minutes in [30, 4, 56, 300] {
        scene.app.time.advance(Duration::from_mins(minutes));
        scene.work().await;
        if random.random_bool(0.05) {
            happened.cancelled += cancel(scene).await;
        }
    }
    scene.app.time.advance(Duration::from_mins(24 * 60 - 390));
}

scheduled_test!(
    every_article_comes_to_every_reader_once_in_a_season_of_everything,
    Setup {
        begin: "2026-07-05T05:00:00Z",
        zone: "UTC",
        time: "05:00",
        cool_off: Duration::from_mins(10),
        ..Setup::default()
    },
    async |scene: &Scene| {
        let mut random = StdRng::seed_from_u64(seed());
        for cadence in [Cadence::Weekly, Cadence::Monthly] {
            scene.schedule(cadence, "05:00", "UTC").await;
        }
        for reader in 0..READERS {
            // not all from one network at once
            scene.app.time.advance(Duration::from_hours(4));
            scene.reader(&email(reader), CADENCES[reader % 3]).await;
        }
        scene.app.time.set(instant("2026-07-08T04:30:00Z"));
        let mut happened = Happened::default();
        for _ in 0..DAYS {
            live(scene, &mut random, &mut happened).await;
        }
        // then all is let go, the relay is well again, and each rhythm has its turn once more
        scene.relay.script().clear();
        let_go(scene).await;
        scene.app.time.advance(Duration::from_mins(30));
        for _ in 0..40 {
            scene.work().await;
            scene.app.time.advance(Duration::from_hours(24));
        }
        for reader in 0..READERS {
            let got = scene.digests(&email(reader)).concat();
            let times = |number| got.iter().filter(|one| **one == number).count();
            let wrong = (1..=happened.published).map(|number| (number, times(number)));
            let wrong: Vec<_> = wrong.filter(|(_, times)| *times != 1).collect();
            assert!(
                wrong.is_empty(),
                "{}, article and how often: {wrong:?}",
                email(reader)
            );
        }
        eprintln!("{happened:?}, {} mails", scene.relay.accepted().len());
        assert!(happened.held > 0 && happened.cancelled > 0 && happened.published > DAYS / 2);
    }
);
