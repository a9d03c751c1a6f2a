use paperround::db::Db;
use paperround::feeds::add::{FeedOptions, add as add_feed};
use paperround::newsletters::Cadence;
use paperround::worker::scheduler::make_issues_due;

use super::{Scene, Setup, instant, newsletter_named, scheduled_test};
use crate::support::feed_server::Answer;

const ADA: &str = "ada@example.org";

const EVERY_SLOT_COUNTS: &str = "UPDATE schedules SET missed = 'all', max_lateness = 604800";
const FAILURE_POSTGRES: &str =
    "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'not now';
     END $$";

/// From now on the database refuses what is written there; where this holds, on SQLite and on PostgreSQL.
async fn refuse(scene: &Scene, there: &str, [sqlite, postgres]: [&str; 2]) {
    let trigger = format!("CREATE TRIGGER fails BEFORE {there}");
    let failure = match &scene.app.db {
        Db::Sqlite { .. } => {
            format!("{trigger} WHEN {sqlite} BEGIN SELECT RAISE(ABORT, 'not now'); END")
        }
        Db::Postgres(_) => {
            scene.app.execute(FAILURE_POSTGRES).await;
            format!("{trigger} FOR EACH ROW WHEN ({postgres}) EXECUTE FUNCTION fails()")
        }
    };
    scene.app.execute(failure.leak()).await;
}

/// The database takes everything again.
async fn accept(scene: &Scene) {
    let end = match &scene.app.db {
        Db::Sqlite { .. } => "DROP TRIGGER fails",
        Db::Postgres(_) => "DROP FUNCTION fails CASCADE",
    };
    scene.app.execute(end).await;
}

scheduled_test!(
    a_slot_whose_issue_could_not_be_made_is_made_before_those_that_follow_it,
    Setup::default(),
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        scene.app.execute(EVERY_SLOT_COUNTS).await;
        let first = [
            "NEW.due_at = 1783486800000000",
            "NEW.due_at = '2026-07-08 05:00:00+00'",
        ];
        refuse(scene, "INSERT ON issues", first).await;
        scene.publish([1]);
        scene.app.time.set(instant("2026-07-09T06:00:00Z"));
        make_issues_due(&scene.app).await.unwrap();
        assert!(scene.slots().await.is_empty(), "none is settled");
        accept(scene).await;
        scene.work().await;
        let slots = scene.slots().await;
        let made: Vec<_> = slots.iter().map(|slot| slot.issue_id.is_some()).collect();
        assert_eq!(made, [true, true], "{slots:?}");
        assert_eq!(scene.digests(ADA), [[1]]);
    }
);

scheduled_test!(
    an_issue_goes_on_where_the_database_failed_for_a_while,
    Setup::default(),
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        let steps = [
            "UPDATE OF frozen_at ON issues",
            "INSERT ON deliveries",
            "UPDATE OF released_at ON issues",
        ];
        for (came, step) in steps.into_iter().enumerate() {
            refuse(scene, step, ["TRUE", "TRUE"]).await;
            scene.publish([came + 1]);
            scene
                .at(&format!("2026-07-{:02}T05:00:00Z", 8 + came))
                .await;
            assert_eq!(scene.digests(ADA).len(), came, "{step}");
            accept(scene).await;
            scene.work().await;
            assert_eq!(scene.digests(ADA).len(), came + 1, "{step}");
        }
        assert_eq!(scene.digests(ADA), [[1], [2], [3]]);
    }
);

scheduled_test!(
    a_newsletter_whose_feeds_cannot_be_looked_at_holds_up_no_other,
    Setup::default(),
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        let asia = newsletter_named(&scene.app, &Setup::default(), "asia").await;
        let empty = "<rss version='2.0'><channel><title>Asia</title></channel></rss>";
        scene.site.set("/asia", Answer::ok(empty));
        let (app, url) = (&scene.app, scene.site.url("/asia").to_string());
        add_feed(app, &app.fetcher, asia.id, &url, FeedOptions::default())
            .await
            .unwrap();
        let theirs = "NEW.url LIKE '%/asia'";
        refuse(scene, "UPDATE OF reading_until ON feeds", [theirs, theirs]).await;
        scene.publish([1]);
        app.time.set(instant("2026-07-08T05:00:00Z"));
        assert!(make_issues_due(app).await.is_err());
        let slots = scene.slots().await;
        let made: Vec<_> = slots.iter().map(|slot| slot.issue_id.is_some()).collect();
        assert_eq!(made, [true], "{slots:?}");
        accept(scene).await;
        scene.work().await;
        assert_eq!(scene.digests(ADA), [[1]]);
    }
);
