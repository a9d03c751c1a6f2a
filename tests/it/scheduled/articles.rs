use std::time::Duration;

use paperround::feeds::release;
use paperround::feeds::store as feeds;
use paperround::id::{ArticleId, SubscriptionId};
use paperround::newsletters::Cadence;
use paperround::newsletters::slots::Outcome;
use paperround::write_db;

use super::{Scene, Setup, scheduled_test};

const ADA: &str = "ada@example.org";
const BEN: &str = "ben@example.org";

/// As the page for it will do; it moves no watermark.
const CHANGE: &str = "UPDATE interests SET cadence = $2 WHERE subscription_id = $1";

async fn change(scene: &Scene, reader: SubscriptionId, cadence: Cadence) {
    let changed = scene.app.db.write::<_, sqlx::Error, _>(move |tx| {
        Box::pin(async move {
            write_db!(tx, |conn| sqlx::query(CHANGE)
                .bind(reader)
                .bind(cadence)
                .execute(conn)
                .await
                .map(drop))
        })
    });
    changed.await.unwrap();
}

async fn article(scene: &Scene, number: usize) -> ArticleId {
    let all = feeds::articles(&scene.app.db, scene.newsletter.id, None, 100)
        .await
        .unwrap();
    let title = format!("Article {number}");
    all.iter().find(|one| one.title == title).unwrap().id
}

scheduled_test!(
    check_01_activating_a_feed_of_ten_entries_mails_nothing,
    Setup {
        known: 10,
        ..Setup::default()
    },
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        for time in [
            "2026-07-07T05:30:00Z",
            "2026-07-08T05:00:00Z",
            "2026-07-09T05:00:00Z",
        ] {
            scene.at(time).await;
            assert_eq!(scene.digests(ADA).len(), 0, "{time}");
        }
        let outcomes: Vec<_> = scene
            .slots()
            .await
            .iter()
            .map(|slot| slot.outcome)
            .collect();
        assert_eq!(outcomes, [Outcome::NothingNew; 2]);
        // what comes from now on is news
        scene.publish(1..=11);
        scene.at("2026-07-10T05:00:00Z").await;
        assert_eq!(scene.digests(ADA), [[11]]);
    }
);

scheduled_test!(
    check_05_an_article_of_a_site_at_utc_minus_7_an_hour_after_a_send_is_in_the_next_issue,
    Setup {
        zone: "America/Phoenix",
        ..Setup::default()
    },
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        scene.publish([1]);
        scene.at("2026-07-07T14:00:00Z").await;
        assert_eq!(scene.digests(ADA), [[1]]);
        // an hour later, dated rightly, dated as if local time were UTC, and not dated
        let right = "Tue, 07 Jul 2026 08:00:00 -0700";
        let wrong = "Tue, 07 Jul 2026 08:00:00 GMT";
        scene.publish_dated([(1, ""), (2, right), (3, wrong), (4, "")]);
        scene.at("2026-07-07T15:00:00Z").await;
        assert_eq!(scene.digests(ADA).len(), 1);
        scene.at("2026-07-08T14:00:00Z").await;
        assert_eq!(scene.digests(ADA), [vec![1], vec![2, 3, 4]]);
        scene.at("2026-07-09T14:00:00Z").await;
        assert_eq!(scene.digests(ADA).len(), 2);
    }
);

scheduled_test!(
    check_19_an_article_held_while_a_newer_one_is_mailed_comes_next_and_once,
    Setup {
        cool_off: Duration::from_mins(10),
        ..Setup::default()
    },
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        scene.publish([101, 102]);
        scene.at("2026-07-08T04:30:00Z").await;
        let held = article(scene, 101).await;
        let work = scene.app.db.write(move |tx| {
            Box::pin(async move { feeds::hold(tx, held, "second reading").await })
        });
        assert!(work.await.unwrap());
        scene.at("2026-07-08T05:00:00Z").await;
        assert_eq!(scene.digests(ADA), [[102]]);
        let (db, newsletter) = (&scene.app.db, scene.newsletter.id);
        let released = release::release_now(db, newsletter, held, scene.app.now()).await;
        assert!(released.unwrap());
        scene.at("2026-07-09T05:00:00Z").await;
        assert_eq!(scene.digests(ADA), [[102], [101]]);
        // one that is in its cool-off at a send comes with the next
        scene.publish([101, 102, 103]);
        scene.at("2026-07-10T04:55:00Z").await;
        scene.at("2026-07-10T05:00:00Z").await;
        assert_eq!(scene.digests(ADA).len(), 2);
        scene.at("2026-07-11T05:00:00Z").await;
        assert_eq!(scene.digests(ADA), [[102], [101], [103]]);
    }
);

scheduled_test!(
    a_topic_moved_from_daily_to_weekly_and_back_brings_nothing_twice_and_misses_nothing,
    Setup::default(),
    async |scene: &Scene| {
        // Mondays
        scene
            .schedule(Cadence::Weekly, "07:00", "Europe/Berlin")
            .await;
        scene.reader(ADA, Cadence::Daily).await;
        scene.reader(BEN, Cadence::Daily).await;
        let ada = scene.app.subscription(ADA).await;
        let days = [
            ("2026-07-08T05:00:00Z", Cadence::Daily),
            ("2026-07-09T05:00:00Z", Cadence::Weekly),
            ("2026-07-10T05:00:00Z", Cadence::Daily),
            ("2026-07-11T05:00:00Z", Cadence::Weekly),
            ("2026-07-12T05:00:00Z", Cadence::Weekly),
            ("2026-07-13T05:00:00Z", Cadence::Weekly),
            ("2026-07-14T05:00:00Z", Cadence::Daily),
            ("2026-07-15T05:00:00Z", Cadence::Weekly),
            ("2026-07-20T05:00:00Z", Cadence::Weekly),
        ];
        for (number, (time, cadence)) in (1..).zip(days) {
            change(scene, ada, cadence).await;
            scene.publish(1..=number);
            scene.at(time).await;
        }
        let expected = [vec![1], vec![2, 3], vec![4, 5, 6], vec![7], vec![8, 9]];
        assert_eq!(scene.digests(ADA), expected);
        assert_eq!(scene.digests(BEN).concat(), (1..=9).collect::<Vec<_>>());
    }
);
