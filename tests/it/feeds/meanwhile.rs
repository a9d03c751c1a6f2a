use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use paperround::feeds::refresh::Refreshed;
use paperround::feeds::refresh_newsletter::refresh_newsletter;
use paperround::feeds::{ArticleState, store};
use tokio::time::{sleep, timeout};

use super::{Scene, items, minutes, rss};
use crate::support::feed_server::Answer;
use crate::support::{TestApp, db_test};

/// How long the site takes to answer.
const SLOW: Duration = Duration::from_millis(250);

/// Reads the feed, and does `meanwhile` after the site was asked and before anybody looks at its answer.
async fn read_while(scene: &Scene<'_>, meanwhile: impl Future<Output = ()>) -> Refreshed {
    let before = scene.site.asked("/feed").len();
    let asked = async {
        while scene.site.asked("/feed").len() == before {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let mut read = pin!(scene.read());
    tokio::select! {
        biased;
        () = asked => {}
        early = &mut read => panic!("it is read already: {early:?}"),
    }
    meanwhile.await;
    read.await
}

const PAUSED: &str = "UPDATE feeds SET paused = TRUE";

db_test!(
    a_feed_that_is_paused_while_it_is_read_brings_nothing_until_it_is_resumed,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let slow = Answer::ok(rss(&items([1]))).delayed(SLOW);
        scene.site.set("/feed", slow);
        let read = read_while(&scene, app.execute(PAUSED)).await;
        assert_eq!(read, Refreshed::Skipped);
        assert!(scene.articles().await.is_empty());
        let (feed, now) = (scene.feed, app.now());
        let resumed = app
            .db
            .write(move |tx| Box::pin(async move { store::resume(tx, feed, now).await }));
        assert!(resumed.await.unwrap());
        // it is due at once, and nobody is reading it
        scene.after(minutes(0)).await;
        assert_eq!(scene.articles().await.len(), 1);
    }
);

const NEVER_READ: &str = "UPDATE feeds SET activated_at = NULL";
const FIRST_READ: &str = "UPDATE feeds SET activated_at = last_polled_at";

db_test!(
    what_a_slow_first_reading_found_is_dropped_where_another_was_the_first,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        app.execute(NEVER_READ).await;
        let slow = Answer::ok(rss(&items([1]))).delayed(SLOW);
        scene.site.set("/feed", slow);
        let read = read_while(&scene, app.execute(FIRST_READ)).await;
        assert_eq!(read, Refreshed::Skipped);
        // what came after the first reading is news
        scene.after(minutes(15)).await;
        let articles = scene.articles().await;
        let states: Vec<_> = articles.iter().map(|article| article.state).collect();
        assert_eq!(states, [ArticleState::Waiting]);
    }
);

db_test!(
    who_waits_for_anothers_reading_of_a_feed_is_content_with_what_came_of_it,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        for answer in [Answer::ok(rss(&items([1]))), Answer::status(500)] {
            scene.site.set("/feed", answer.delayed(SLOW));
            let before = scene.site.asked("/feed").len();
            let mut second = pin!(scene.read());
            let first = read_while(&scene, async {
                let early = timeout(SLOW, &mut second).await;
                assert!(early.is_err(), "the other is still reading it");
                app.time.advance(minutes(1));
            })
            .await;
            assert_ne!(first, Refreshed::Skipped);
            assert_eq!(second.await, Refreshed::Skipped);
            assert_eq!(scene.site.asked("/feed").len(), before + 1);
        }
    }
);

db_test!(
    a_feed_that_another_process_is_still_reading_is_named_and_the_issue_goes_without_it,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let slow = Answer::ok(rss(&items([1]))).delayed(SLOW);
        scene.site.set("/feed", slow);
        let within = Duration::from_millis(50);
        let read = read_while(&scene, async {
            let unread = refresh_newsletter(app, &scene.fetcher, scene.newsletter, within).await;
            let unread: Vec<_> = unread
                .unwrap()
                .into_iter()
                .map(|feed| (feed.id, feed.reason))
                .collect();
            let reason = "another process was still reading it".to_owned();
            assert_eq!(unread, [(scene.feed, reason)]);
        })
        .await;
        assert!(matches!(read, Refreshed::Read(_)), "{read:?}");
    }
);
