use std::time::Duration;

use paperround::feeds::add::{FeedOptions, add as add_feed};
use paperround::issues::{Issue, IssueState};
use paperround::newsletters::Cadence;
use paperround::worker;
use tokio_util::sync::CancellationToken;

use super::{Scene, Setup, newsletter_named, scheduled_test};
use crate::support::feed_server::Answer;

const ADA: &str = "ada@example.org";

/// Far less than the half minute after which a silent site is given up.
const SOON: Duration = Duration::from_secs(12);

/// Ten feeds of another newsletter, more than are read at a time, whose site takes the question and never answers.
async fn silent_feeds(scene: &Scene) -> Vec<String> {
    let app = &scene.app;
    let slow = newsletter_named(app, &Setup::default(), "slow").await;
    let paths: Vec<String> = (0..10).map(|number| format!("/silent-{number}")).collect();
    for path in &paths {
        let empty = "<rss version='2.0'><channel><title>Slow</title></channel></rss>";
        scene.site.set(path, Answer::ok(empty));
        let (url, options) = (scene.site.url(path).to_string(), FeedOptions::default());
        add_feed(app, &app.fetcher, slow.id, &url, options)
            .await
            .unwrap();
    }
    paths
}

scheduled_test!(
    sites_that_do_not_answer_hold_up_nobody_elses_issue,
    Setup::default(),
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        let paths = silent_feeds(scene).await;
        // polls of silent feeds are at work when the slots of both newsletters come
        scene.app.time.advance(Duration::from_hours(1));
        for path in &paths {
            scene.site.set(path, Answer::ok("<rss>").stalling());
        }
        let asked = || -> usize { paths.iter().map(|path| scene.site.asked(path).len()).sum() };
        let before = asked();
        let prepared = worker::prepare(scene.app.app.clone()).await.unwrap();
        let (lock, stop) = (
            scene.app.db.lock_worker().await.unwrap(),
            CancellationToken::new(),
        );
        let work = tokio::spawn(prepared.run(lock, stop.clone()));
        let polling = async {
            while asked() < before + 8 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, polling)
            .await
            .expect("they are asked");
        scene.publish([1]);
        scene.app.time.advance(Duration::from_hours(23));
        // the clock's jump ends the worker's life: what is mailed is looked at after its next beginning
        let is_sending = |issue: &Issue| issue.state == IssueState::Sending;
        let released = async {
            while !scene.issues().await.iter().any(is_sending) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, released)
            .await
            .expect("the issue is made and released meanwhile");
        stop.cancel();
        tokio::time::timeout(SOON, work)
            .await
            .expect("what is read is not waited for")
            .unwrap();
        for path in &paths {
            scene.site.set(path, Answer::status(404));
        }
        scene.work().await;
        assert_eq!(scene.digests(ADA), [[1]]);
    }
);

scheduled_test!(
    a_feed_is_read_when_it_is_due_though_another_is_still_being_read,
    Setup::default(),
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        let silent = scene.site.url("/silent").to_string();
        let empty = "<rss version='2.0'><channel><title>Slow</title></channel></rss>";
        scene.site.set("/silent", Answer::ok(empty));
        let (app, options) = (&scene.app, FeedOptions::default());
        add_feed(app, &app.fetcher, scene.newsletter.id, &silent, options)
            .await
            .unwrap();
        scene.site.set("/silent", Answer::ok("<rss>").stalling());
        let prepared = worker::prepare(app.app.clone()).await.unwrap();
        let (lock, stop) = (
            app.db.lock_worker().await.unwrap(),
            CancellationToken::new(),
        );
        let work = tokio::spawn(prepared.run(lock, stop.clone()));
        for path in ["/silent", "/feed"] {
            let before = scene.site.asked(path).len();
            let asked = async {
                while scene.site.asked(path).len() == before {
                    // due again, also where its last reading has just ended
                    app.time.advance(Duration::from_mins(20));
                    tokio::time::sleep(Duration::from_millis(1200)).await;
                }
            };
            tokio::time::timeout(SOON, asked).await.expect(path);
        }
        stop.cancel();
        work.await.unwrap();
        scene.site.set("/silent", Answer::status(404));
        scene.publish([1]);
        scene.at("2026-07-08T05:00:00Z").await;
        assert_eq!(scene.digests(ADA), [[1]]);
    }
);
