use std::time::Duration;

use paperround::feeds::add::{AddError, FeedOptions, add};
use paperround::feeds::refresh::Refreshed;
use paperround::feeds::refresh_newsletter::refresh_newsletter;
use paperround::feeds::store;
use paperround::worker::scheduler::{poll_feeds_due, release_due};

use super::{Scene, items, minutes, rss};
use crate::support::feed_server::Answer;
use crate::support::{TestApp, db_test};

db_test!(
    a_feed_is_asked_when_it_is_due_and_not_before,
    async |app: &TestApp| {
        let scene = Scene::with(app, &items([1])).await;
        scene.after(minutes(14)).await;
        assert_eq!(scene.site.asked("/feed").len(), 1);
        scene.after(minutes(1)).await;
        scene.after(minutes(0)).await;
        assert_eq!(scene.site.asked("/feed").len(), 2);
        assert_eq!(scene.feed().await.next_poll_at, app.now() + minutes(15));
        scene.site.set(
            "/feed",
            Answer::ok(rss(&items([1, 2]))).header("cache-control", "max-age=3600"),
        );
        scene.after(minutes(15)).await;
        assert_eq!(scene.feed().await.next_poll_at, app.now() + minutes(60));
    }
);

db_test!(
    nothing_is_read_where_nothing_changed,
    async |app: &TestApp| {
        let scene = Scene::with(app, &items([1])).await;
        assert_eq!(scene.read().await, Refreshed::Unchanged, "the same bytes");
        let tagged = Answer::ok(rss(&items([1, 2])))
            .header("etag", "\"v2\"")
            .header("last-modified", "noon");
        scene.site.set("/feed", tagged);
        assert_eq!(scene.count_new().await, 1);
        assert_eq!(scene.read().await, Refreshed::Unchanged, "304");
        assert_eq!(scene.feed().await.last_status, Some(304));
        assert_eq!(scene.site.asked("/feed")[3]["if-modified-since"], "noon");
    }
);

db_test!(
    f6_a_feed_that_fails_keeps_its_articles_and_comes_back,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.publish(&items([1]));
        scene.read().await;
        scene.site.set(
            "/feed",
            Answer::ok("<!doctype html><h1>Error establishing a database connection</h1>"),
        );
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert!(
                matches!(scene.read().await, Refreshed::Failed(reason) if reason.contains("web page"))
            );
            waits.push(scene.feed().await.next_poll_at.since(app.now()));
        }
        assert!(
            waits[0] <= minutes(19)
                && waits[2] > minutes(40)
                && waits[9] <= Duration::from_hours(30),
            "{waits:?}"
        );
        let failing = scene.feed().await;
        assert_eq!((failing.failures, failing.last_status), (10, Some(200)));
        release_due(app).await.unwrap();
        scene.after(minutes(15)).await;
        assert_eq!(
            scene.released().await.len(),
            1,
            "its articles are released all the same"
        );
        scene.publish(&items([1, 2]));
        assert_eq!(scene.count_new().await, 1);
        let healed = scene.feed().await;
        assert_eq!((healed.failures, healed.last_error), (0, None));
        assert_eq!(healed.next_poll_at, app.now() + minutes(15));
    }
);

db_test!(
    f9_retry_after_is_obeyed_and_gone_is_for_good,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene
            .site
            .set("/feed", Answer::status(429).header("retry-after", "7200"));
        scene.read().await;
        assert_eq!(scene.feed().await.next_poll_at, app.now() + minutes(120));
        scene.site.set("/feed", Answer::status(410));
        scene.read().await;
        let gone = scene.feed().await;
        assert!(gone.paused && gone.paused_reason.unwrap().contains("410"));
        assert_eq!(scene.read().await, Refreshed::Skipped);
        let (feed, now) = (scene.feed, app.now());
        let resumed = app
            .db
            .write(move |tx| Box::pin(async move { store::resume(tx, feed, now).await }));
        assert!(resumed.await.unwrap());
        scene.publish(&items([1]));
        assert_eq!(scene.count_new().await, 1);
    }
);

db_test!(
    a_permanent_redirect_is_believed_when_it_was_seen_three_times,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene
            .site
            .set("/new", Answer::ok(rss(&items([1]))).header("etag", "\"x\""));
        scene.site.set("/feed", Answer::redirect(308, "/new"));
        for _ in 0..2 {
            scene.read().await;
            assert!(scene.feed().await.url.ends_with("/feed"));
        }
        scene.publish(&items([1]));
        scene.read().await;
        scene.site.set("/feed", Answer::redirect(301, "/new"));
        for expect in ["/feed", "/feed", "/new"] {
            scene.read().await;
            assert!(scene.feed().await.url.ends_with(expect));
        }
    }
);

db_test!(
    a_poll_that_dies_is_repeated_as_a_whole,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene
            .site
            .set("/feed", Answer::ok(rss(&items([1]))).stalling());
        app.time.advance(minutes(15));
        // the process dies between the claim and the end of the answer
        let dying = tokio::time::timeout(
            Duration::from_millis(300),
            poll_feeds_due(app, &scene.fetcher),
        );
        assert!(dying.await.is_err());
        scene.publish(&items([1, 2]));
        scene.after(minutes(0)).await;
        assert_eq!(
            scene.articles().await.len(),
            0,
            "claimed: nobody asks at once"
        );
        scene.after(minutes(5)).await;
        assert_eq!(scene.articles().await.len(), 2);
    }
);

db_test!(
    feeds_are_read_again_before_an_issue_and_a_silent_one_holds_nothing_up,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.site.set("/silent", Answer::ok(rss(&[])));
        scene.add("/silent").await;
        scene.site.set("/silent", Answer::ok("<rss>").stalling());
        scene.publish(&items([1]));
        let within = Duration::from_millis(500);
        refresh_newsletter(app, &scene.fetcher, scene.newsletter, within)
            .await
            .unwrap();
        assert_eq!(scene.articles().await.len(), 1);
    }
);

db_test!(
    two_schedulers_at_once_store_each_article_once,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        for round in 1..=5 {
            scene.publish(&items(1..=round * 4));
            app.time.advance(minutes(15));
            let poll = || poll_feeds_due(app, &scene.fetcher);
            let (a, b, c, d) = tokio::join!(poll(), scene.read(), poll(), scene.read());
            a.and(c).unwrap();
            assert!(
                !matches!(
                    (&b, &d),
                    (Refreshed::Failed(_), _) | (_, Refreshed::Failed(_))
                ),
                "{b:?} {d:?}"
            );
            app.time.advance(minutes(10));
            let (a, b) = tokio::join!(release_due(app), release_due(app));
            assert_eq!(a.unwrap() + b.unwrap(), 4);
        }
        let numbers: Vec<_> = scene
            .released()
            .await
            .into_iter()
            .map(|(seq, _)| seq)
            .collect();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    }
);

db_test!(
    a_site_leads_to_its_feed_and_several_are_offered,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let link =
            |path: &str| format!("<link rel=alternate type=application/rss+xml href={path}>");
        let page = |links: &[&str]| {
            Answer::ok(format!(
                "<!doctype html>{}",
                links.iter().map(|path| link(path)).collect::<String>()
            ))
        };
        scene.site.set("/found", Answer::ok(rss(&items(1..=3))));
        scene.site.set("/", page(&["/found", "/comments/feed/"]));
        let added = scene.add("/").await;
        assert_eq!(
            (added.feed.url.as_str(), added.known),
            (scene.site.url("/found").as_str(), 3)
        );
        assert_eq!(added.feed.title.as_deref(), Some("Site"));
        let again = |path: &str| scene.site.url(path).to_string();
        let scene = &scene;
        let attempt = |address: String| async move {
            add(
                app,
                &scene.fetcher,
                scene.newsletter,
                &address,
                FeedOptions::default(),
            )
            .await
            .unwrap_err()
        };
        assert!(matches!(
            attempt(again("/")).await,
            AddError::AlreadyThere(_)
        ));
        scene.site.set("/two", page(&["/a", "/b"]));
        assert!(
            matches!(attempt(again("/two")).await, AddError::Choose(found) if found.len() == 2)
        );
        scene.site.set("/none", page(&[]));
        assert!(matches!(
            attempt(again("/none")).await,
            AddError::Unreadable(..)
        ));
        assert!(matches!(
            attempt("not an address".to_owned()).await,
            AddError::NotAnAddress(_)
        ));
        assert!(matches!(
            attempt("http://10.0.0.1/feed".to_owned()).await,
            AddError::Unreadable(..)
        ));
        assert_eq!(
            store::feeds_of(&app.db, scene.newsletter)
                .await
                .unwrap()
                .len(),
            2
        );
    }
);

db_test!(
    redirects_to_several_places_are_not_believed_together,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        for place in ["/a", "/b", "/a", "/b"] {
            scene.site.set(place, Answer::ok(rss(&items([1]))));
            scene.site.set("/feed", Answer::redirect(301, place));
            scene.read().await;
            assert!(scene.feed().await.url.ends_with("/feed"), "{place}");
        }
    }
);

db_test!(
    a_feed_moves_for_good_where_no_other_feed_of_its_newsletter_is,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let asia = app.newsletter("asia").await.id;
        for (whose, place) in [(scene.newsletter, "/other"), (asia, "/new")] {
            scene.site.set(place, Answer::ok(rss(&[])));
            let (url, options) = (scene.site.url(place).to_string(), FeedOptions::default());
            let added = add(app, &scene.fetcher, whose, &url, options).await;
            added.unwrap();
        }
        for (place, expected) in [("/other", "/feed"), ("/new", "/new")] {
            scene.site.set("/feed", Answer::redirect(301, place));
            for _ in 0..3 {
                scene.read().await;
            }
            assert!(scene.feed().await.url.ends_with(expected), "{place}");
        }
    }
);

db_test!(
    a_feed_has_the_title_and_the_validator_of_what_was_read_last,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        for (count, title, etag, expected) in [
            (1, "Old", Some("\"v1\""), "Old"),
            (2, "New", None, "New"),
            // it keeps the title that it had
            (3, "", Some("\"v3\""), "New"),
        ] {
            let titled = format!("<title>{title}</title>");
            let feed = rss(&items(1..=count)).replace("<title>Site</title>", &titled);
            let mut answer = Answer::ok(feed);
            if let Some(etag) = etag {
                answer = answer.header("etag", etag);
            }
            scene.site.set("/feed", answer);
            assert_eq!(scene.count_new().await, 1);
            let feed = scene.feed().await;
            assert_eq!(feed.title.as_deref(), Some(expected));
            assert_eq!(feed.etag.as_deref(), etag);
        }
    }
);
