use std::fs;
use std::io::Write as _;

use paperround::subscribers::email_address::{AddressRules, EmailAddress};
use paperround::subscribers::evidence::Channel;
use paperround::subscribers::explain::explain;

use super::Scene;
use crate::support::Engine;

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const EVE: &str = "eve@example.org";

fn journal(scene: &Scene) -> String {
    fs::read_to_string(scene.app.folder().join("suppressions.journal")).unwrap_or_default()
}

/// D10: an operator puts an older database back by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_forgets_no_unsubscribe() {
    let scene = Scene::new(Engine::Sqlite, &[ADA, BOB, EVE]).await;
    scene.work().await;
    // one who left and came back before the copy stays
    scene.leave(&scene.link(EVE).await).await;
    scene.app.time.advance(std::time::Duration::from_secs(1));
    let site = scene.site().await;
    scene.app.reader(&site, "world", EVE).await;
    site.stop().await;
    scene.work().await;
    let scene = scene.keep("copy").await;
    let link = scene.link(ADA).await;
    scene.leave(&link).await;
    scene.leave(&link).await;
    assert_eq!(
        journal(&scene).lines().count(),
        2,
        "one line for each goodbye"
    );
    assert!(!journal(&scene).contains("example.org"));
    let before = scene.mailed().len();

    let scene = scene.put_back("copy").await;
    assert_eq!(
        scene
            .app
            .rows_of("subscription ada@example.org world active")
            .await
            .len(),
        1
    );
    scene.article("first").await;
    scene.work().await;
    assert!(scene.is_paused().await);
    assert_eq!(
        scene.app.rows_of("subscription").await,
        [
            "subscription ada@example.org world unsubscribed journal",
            "subscription bob@example.org world active -",
            "subscription eve@example.org world active -",
        ]
    );
    assert_eq!(
        scene.app.rows_of("consent withdrawn").await,
        ["consent withdrawn journal", "consent withdrawn one_click"]
    );
    let resumed = scene.program().run(&["resume", "--yes"]).expect(0);
    assert!(resumed.err.contains("1 unsubscribes"), "{resumed:?}");
    let rows = scene.app.rows().await;
    scene.work().await;
    let mailed = scene.mailed();
    let new: Vec<_> = mailed.iter().filter(|reader| *reader == ADA).collect();
    assert_eq!(new.len(), 1, "the welcome from before");
    assert_eq!(mailed.len(), before + 2, "bob's and eve's issue");
    // again is harmless
    scene.work().await;
    let after = scene.app.rows().await;
    assert_eq!(rows.len(), after.len());
    assert_eq!(journal(&scene).lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_that_the_database_does_not_know_applies_when_the_row_comes_back() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let scene = scene.keep("before-bob").await;
    let site = scene.site().await;
    let link = scene.app.reader(&site, "world", BOB).await;
    site.stop().await;
    let scene = scene.keep("with-bob").await.put_back("before-bob").await;
    scene.leave(&link).await;
    assert!(
        journal(&scene).starts_with("v1 unsubscribe "),
        "{}",
        journal(&scene)
    );
    let scene = scene.put_back("with-bob").await;
    scene.work().await;
    assert_eq!(
        scene.app.rows_of("subscription bob").await,
        ["subscription bob@example.org world unsubscribed journal"]
    );
    assert!(scene.mailed().iter().all(|reader| reader != BOB));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_could_not_be_written_is_written_at_the_next_start() {
    let scene = Scene::new(Engine::Sqlite, &[ADA, BOB]).await;
    scene.work().await;
    let path = scene.app.folder().join("suppressions.journal");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    // the database has it: the answer is 200
    scene.leave(&scene.link(ADA).await).await;
    let scene = scene
        .restart(|data| fs::remove_dir(data.folder().join("suppressions.journal")).unwrap())
        .await;
    assert_eq!(journal(&scene), "");
    scene.work().await;
    let written = journal(&scene);
    assert_eq!(written.lines().count(), 1);
    let ada = scene.app.subscription(ADA).await.to_string();
    assert!(written.contains(&ada));
    // a crash in the middle of a line costs that line alone
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    file.write_all(b"v1 unsubscribe 2026-07-0").unwrap();
    scene.leave(&scene.link(BOB).await).await;
    let lines: Vec<_> = journal(&scene).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    scene.work().await;
    assert_eq!(journal(&scene).lines().count(), 2);
    assert!(!scene.is_paused().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_goodbye_whose_line_is_missing_is_added_beside_the_first() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    scene.leave(&scene.link(ADA).await).await;
    scene.app.time.advance(std::time::Duration::from_secs(1));
    let site = scene.site().await;
    scene.app.reader(&site, "world", ADA).await;
    site.stop().await;
    scene.app.time.advance(std::time::Duration::from_secs(1));
    let path = scene.app.folder().join("suppressions.journal");
    let first = journal(&scene);
    scene.leave(&scene.link(ADA).await).await;
    // the process died between the commit and the line
    fs::write(&path, &first).unwrap();
    for _ in 0..2 {
        scene.work().await;
        let lines = journal(&scene);
        assert!(lines.starts_with(&first), "{lines}");
        assert_eq!(lines.lines().count(), 2, "{lines}");
    }
}

const PEOPLE: &str = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 501)
     INSERT INTO subscribers (id, email, email_key, created_at)
     SELECT unhex(printf('%032x', n)), 'reader' || n || '@example.org', 'reader' || n || '@example.org', 0
     FROM numbers";
const GOODBYES: &str =
    "INSERT INTO subscriptions (id, subscriber_id, newsletter_id, state, started_at, ended_at)
     SELECT subscribers.id, subscribers.id, newsletters.id, 'unsubscribed', 0, 1
     FROM subscribers CROSS JOIN newsletters";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_new_gets_every_goodbye_however_many_there_are() {
    let scene = Scene::new(Engine::Sqlite, &[]).await;
    scene.app.execute(PEOPLE).await;
    scene.app.execute(GOODBYES).await;
    scene.work().await;
    let whole = journal(&scene);
    assert_eq!(whole.lines().count(), 501);
    // a line far behind is missing
    let path = scene.app.folder().join("suppressions.journal");
    let (others, _last) = whole.trim_end().rsplit_once('\n').unwrap();
    fs::write(&path, format!("{others}\n")).unwrap();
    scene.work().await;
    assert_eq!(journal(&scene).lines().count(), 501);
}

const FORGOTTEN: &str = "UPDATE subscriptions SET state = 'active', ended_at = NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_goodbye_that_was_forgotten_is_said_again_however_many_there_are() {
    let scene = Scene::new(Engine::Sqlite, &[]).await;
    scene.app.execute(PEOPLE).await;
    scene.app.execute(GOODBYES).await;
    scene.work().await;
    scene.app.execute(FORGOTTEN).await;
    scene.work().await;
    let mut rows = scene.app.rows_of("subscription").await;
    rows.retain(|row| row.ends_with(" unsubscribed journal"));
    assert_eq!(rows.len(), 501);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_at_the_very_moment_of_joining_is_not_forgotten() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    // the clock stands still: it has the time at which the subscription began
    scene.leave(&scene.link(ADA).await).await;
    scene.app.execute(FORGOTTEN).await;
    scene.work().await;
    assert_eq!(
        scene.app.rows_of("subscription").await,
        ["subscription ada@example.org world unsubscribed journal"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_of_a_goodbye_that_was_forgotten_says_when_it_was_said() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.app.time.advance(std::time::Duration::from_secs(1));
    let left_at = scene.app.now();
    scene.leave(&scene.link(ADA).await).await;
    scene.app.execute(FORGOTTEN).await;
    scene.app.time.advance(std::time::Duration::from_hours(1));
    scene.work().await;
    let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
    let explained = explain(&scene.app.db, &ada).await.unwrap().remove(0);
    assert_eq!(explained.person.ended_at, Some(left_at));
    let again = explained.consent.last().unwrap();
    assert_eq!(again.channel, Channel::Journal);
    let said = serde_json::to_value(left_at).unwrap();
    assert_eq!(again.detail["left_at"], said);
}

const BOUNCED: &str = "UPDATE subscriptions SET state = 'bounced', ended_at = started_at
     WHERE id = (SELECT MIN(id) FROM subscriptions)";
const COMPLAINED: &str =
    "UPDATE subscriptions SET state = 'complained', ended_at = started_at WHERE state = 'active'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_did_not_leave_is_written_to_the_journal() {
    let scene = Scene::new(Engine::Sqlite, &[ADA, BOB]).await;
    scene.app.execute(BOUNCED).await;
    scene.app.execute(COMPLAINED).await;
    scene.work().await;
    assert_eq!(journal(&scene), "");
}

#[cfg(feature = "test-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_has_no_journal() {
    let scene = Scene::new(Engine::Postgres, &[ADA]).await;
    scene.work().await;
    scene.leave(&scene.link(ADA).await).await;
    assert!(!scene.app.folder().join("suppressions.journal").exists());
    assert!(!scene.app.folder().join("epoch").exists());
}
