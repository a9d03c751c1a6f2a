use std::sync::atomic::{AtomicBool, Ordering};

use paperround::clock::Timestamp;
use paperround::feeds::publish::{PostedArticle, publish};
use paperround::feeds::release::{release_due, release_now};
use paperround::feeds::{ArticleState, store};
use paperround::id::ArticleId;

use super::{Scene, item, items, minutes};
use crate::support::{TestApp, db_test};

async fn hold(app: &TestApp, id: ArticleId) -> bool {
    let held = app
        .db
        .write(move |tx| Box::pin(async move { store::hold(tx, id, "second reading").await }));
    held.await.unwrap()
}

async fn dismiss(app: &TestApp, id: ArticleId) -> bool {
    app.db
        .write(move |tx| Box::pin(async move { store::dismiss(tx, id).await }))
        .await
        .unwrap()
}

db_test!(
    an_article_waits_for_its_cool_off_and_shows_its_mended_title,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let mut typo = item(1);
        typo.title = "Artcle 1".into();
        scene.publish(&[typo]);
        scene.after(minutes(15)).await;
        assert_eq!(scene.articles().await[0].state, ArticleState::Waiting);
        scene.publish(&items([1]));
        scene.read().await;
        scene.after(minutes(9)).await;
        assert_eq!(scene.released().await, []);
        scene.after(minutes(1)).await;
        assert_eq!(scene.released().await, [(1, "Article 1".to_owned())]);
        assert_eq!(scene.articles().await[0].released_at, Some(app.now()));
    }
);

db_test!(
    articles_are_numbered_as_they_were_published,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let mut dated = items([6, 5]);
        dated[0].date = Some("Tue, 07 Jul 2026 04:00:00 GMT");
        dated[1].date = Some("Tue, 07 Jul 2026 03:00:00 GMT");
        // without dates the feed's order counts: the newest first
        dated.extend(items([4, 3]));
        scene.publish(&dated);
        scene.after(minutes(15)).await;
        scene.after(minutes(10)).await;
        let titles: Vec<_> = scene
            .released()
            .await
            .into_iter()
            .map(|(_, title)| title)
            .collect();
        assert_eq!(titles, ["Article 3", "Article 4", "Article 5", "Article 6"]);
    }
);

db_test!(
    an_article_dated_ahead_waits_for_its_date_and_one_far_ahead_is_held,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let mut ahead = items([1, 2]);
        ahead[0].date = Some("Tue, 07 Jul 2026 12:00:00 GMT");
        ahead[1].date = Some("Thu, 09 Jul 2026 12:00:00 GMT");
        scene.publish(&ahead);
        scene.after(minutes(15)).await;
        scene.after(minutes(6 * 60)).await;
        assert_eq!(scene.released().await, []);
        scene.after(minutes(46)).await;
        assert_eq!(scene.released().await.len(), 1);
        scene.after(minutes(5 * 24 * 60)).await;
        let held = scene.articles().await.remove(1);
        assert_eq!(
            (held.state, held.held_reason.as_deref()),
            (ArticleState::Held, Some("dated more than a day ahead"))
        );
    }
);

db_test!(
    a_number_that_was_taken_back_is_not_given_again,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.publish(&items([3, 2, 1]));
        scene.after(minutes(15)).await;
        scene.after(minutes(10)).await;
        let articles = scene.articles().await;
        let third = articles[2].id;
        assert!(hold(app, third).await);
        assert!(!hold(app, third).await, "once");
        assert_eq!(scene.released().await.len(), 2);
        scene.publish(&items([4, 3, 2, 1]));
        scene.after(minutes(15)).await;
        scene.after(minutes(10)).await;
        assert!(
            release_now(&app.db, scene.newsletter, third, app.now())
                .await
                .unwrap()
        );
        assert!(
            !release_now(&app.db, scene.newsletter, third, app.now())
                .await
                .unwrap(),
            "once"
        );
        let released = scene.released().await;
        let expect = [
            (1, "Article 1"),
            (2, "Article 2"),
            (4, "Article 4"),
            (5, "Article 3"),
        ];
        assert_eq!(released, expect.map(|(seq, title)| (seq, title.to_owned())));
        assert!(store::newest_seq(&app.db, scene.newsletter).await.unwrap() >= 5);
    }
);

db_test!(
    what_is_dismissed_is_no_news_until_an_editor_says_so,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.publish(&items([1]));
        scene.read().await;
        let id = scene.articles().await[0].id;
        assert!(dismiss(app, id).await && !dismiss(app, id).await);
        scene.after(minutes(60)).await;
        assert_eq!(scene.released().await, []);
        assert!(
            release_now(&app.db, scene.newsletter, id, app.now())
                .await
                .unwrap()
        );
        assert_eq!(scene.released().await.len(), 1);
        assert!(!dismiss(app, id).await, "readers may have it");
    }
);

// A reader of numbers that takes everything up to the newest number never misses one, whatever is released meanwhile.
db_test!(
    a_lower_number_never_appears_after_a_higher_one_was_seen,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let done = AtomicBool::new(false);
        let post = async |site: usize| {
            for n in 0..20 {
                let article = PostedArticle {
                    external_id: format!("{site}-{n}"),
                    url: format!("https://site.example/{site}/{n}"),
                    title: format!("Article {site}-{n}"),
                    ..PostedArticle::default()
                };
                publish(app, scene.newsletter, vec![article]).await.unwrap();
            }
        };
        let watch = async {
            let (mut given, mut last) = (Vec::new(), false);
            while !last {
                last = done.load(Ordering::SeqCst);
                let cutoff = store::newest_seq(&app.db, scene.newsletter).await.unwrap();
                let after = given.last().copied().unwrap_or(0);
                let ready = store::ready_after(&app.db, scene.newsletter, after, cutoff)
                    .await
                    .unwrap();
                given.extend(ready.into_iter().filter_map(|article| article.seq));
            }
            given
        };
        let posts = async {
            tokio::join!(post(1), post(2), post(3));
            done.store(true, Ordering::SeqCst);
        };
        let (given, ()) = tokio::join!(watch, posts);
        assert_eq!(given, (1..=60).collect::<Vec<_>>());
    }
);

/// State, reason, when it will be released, and when it was.
type Stands = (
    ArticleState,
    Option<String>,
    Option<Timestamp>,
    Option<Timestamp>,
);

db_test!(
    an_article_keeps_nothing_of_what_it_waited_for,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.publish(&items([1]));
        scene.read().await;
        let id = scene.articles().await[0].id;
        let held: Stands = (
            ArticleState::Held,
            Some("second reading".to_owned()),
            None,
            None,
        );
        let known: Stands = (ArticleState::Known, None, None, None);
        let ready: Stands = (ArticleState::Ready, None, None, Some(app.now()));
        // held while it waits, and again when it was released
        for expected in [&held, &known, &ready, &held, &ready] {
            let done = if *expected == held {
                hold(app, id).await
            } else if *expected == known {
                dismiss(app, id).await
            } else {
                let released = release_now(&app.db, scene.newsletter, id, app.now());
                released.await.unwrap()
            };
            assert!(done, "{expected:?}");
            let article = scene.articles().await.remove(0);
            let stands = (
                article.state,
                article.held_reason,
                article.release_at,
                article.released_at,
            );
            assert_eq!(stands, *expected);
        }
    }
);

db_test!(
    one_look_releases_all_that_is_due_however_much_it_is,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.publish(&items(1..=201));
        scene.read().await;
        app.time.advance(minutes(10));
        assert_eq!(release_due(&app.db, app.now()).await.unwrap(), 201);
        let released = scene.released().await;
        let numbers: Vec<i64> = released.into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(numbers, (1..=201).collect::<Vec<i64>>());
    }
);

db_test!(
    each_newsletter_numbers_its_own_articles,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let newsletters = [scene.newsletter, app.newsletter("asia").await.id];
        for newsletter in newsletters {
            // it waits for its date
            let article = PostedArticle {
                external_id: "a".to_owned(),
                url: "https://site.example/a/".to_owned(),
                title: "Article".to_owned(),
                published_at: Some(app.now() + minutes(60)),
                ..PostedArticle::default()
            };
            publish(app, newsletter, vec![article]).await.unwrap();
        }
        app.time.advance(minutes(60));
        assert_eq!(release_due(&app.db, app.now()).await.unwrap(), 2);
        for newsletter in newsletters {
            let ready = store::ready_after(&app.db, newsletter, 0, i64::MAX).await;
            let numbers: Vec<_> = ready.unwrap().iter().map(|it| it.seq).collect();
            assert_eq!(numbers, [Some(1)]);
        }
    }
);

db_test!(
    articles_of_a_large_feed_are_numbered_in_its_order,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        // the newest first; more than are saved together
        scene.publish(&items((1..=150).rev()));
        scene.read().await;
        app.time.advance(minutes(10));
        release_due(&app.db, app.now()).await.unwrap();
        let expected: Vec<(i64, String)> = (1..=150)
            .map(|number| (number, format!("Article {number}")))
            .collect();
        assert_eq!(scene.released().await, expected);
    }
);

db_test!(
    articles_are_numbered_as_their_times_come,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let mut both = items([1, 2]);
        both[0].date = Some("Tue, 07 Jul 2026 06:00:00 GMT");
        // the second is seen later, and its time comes earlier
        for count in [1, 2] {
            scene.publish(&both[..count]);
            scene.read().await;
            app.time.advance(minutes(15));
        }
        app.time.advance(minutes(60));
        release_due(&app.db, app.now()).await.unwrap();
        let expected = [(1, "Article 2"), (2, "Article 1")];
        let expected = expected.map(|(seq, title)| (seq, title.to_owned()));
        assert_eq!(scene.released().await, expected);
    }
);
