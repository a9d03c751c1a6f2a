use paperround::feeds::ArticleState;
use paperround::feeds::refresh::Refreshed;

use super::{Scene, item, items, minutes, rss};
use crate::support::feed_server::Answer;
use crate::support::{TestApp, db_test};

db_test!(
    activation_of_a_feed_of_ten_entries_is_no_news,
    async |app: &TestApp| {
        let scene = Scene::with(app, &items(1..=10)).await;
        scene.after(minutes(60)).await;
        let articles = scene.articles().await;
        assert_eq!(articles.len(), 10);
        assert!(
            articles
                .iter()
                .all(|article| article.state == ArticleState::Known && article.seq.is_none())
        );
        assert_eq!(scene.released().await, []);
    }
);

db_test!(a_second_feed_is_no_news_either, async |app: &TestApp| {
    let scene = Scene::with(app, &items(1..=2)).await;
    scene.site.set("/other", Answer::ok(rss(&items(7..=9))));
    assert_eq!(scene.add("/other").await.known, 3);
    scene.after(minutes(60)).await;
    assert_eq!(scene.released().await, []);
});

db_test!(
    guids_that_all_flip_from_http_to_https_are_no_news,
    async |app: &TestApp| {
        let mut all = items(1..=10);
        let scene = Scene::with(app, &all).await;
        for item in &mut all {
            item.guid = item.guid.take().map(|guid| guid.replace("http:", "https:"));
            item.link = item
                .link
                .replace("http:", "https:")
                .replace("site.", "www.site.");
        }
        scene.publish(&all);
        assert_eq!(scene.count_new().await, 0);
        // the new guids are known from now on too
        for item in &mut all {
            item.link
                .clone_from(&"https://elsewhere.example/".to_owned());
        }
        scene.publish(&all);
        assert_eq!(scene.count_new().await, 0);
        assert_eq!(scene.articles().await.len(), 10);
    }
);

db_test!(a_changed_date_is_no_news, async |app: &TestApp| {
    let mut all = items(1..=3);
    for item in &mut all {
        item.date = Some("Mon, 06 Jul 2026 08:00:00 GMT");
    }
    let scene = Scene::with(app, &all).await;
    for item in &mut all {
        item.date = Some("Tue, 07 Jul 2026 04:59:00 GMT");
    }
    scene.publish(&all);
    let Refreshed::Read(saved) = scene.read().await else {
        panic!("the feed was not read")
    };
    assert_eq!((saved.new, saved.edited, saved.unchanged), (0, 0, 3));
});

db_test!(a_recycled_guid_is_a_new_article, async |app: &TestApp| {
    let mut latest = item(1);
    latest.guid = Some("latest".to_owned());
    let scene = Scene::with(app, &[latest.clone()]).await;
    latest.link = "http://site.example/2/".into();
    latest.title = "Something else".into();
    app.time.advance(minutes(1));
    scene.publish(&[latest.clone()]);
    assert_eq!(scene.count_new().await, 1);
    // the guid is its own now: an edit of address or title alone is an edit
    latest.title = "Something else, corrected".into();
    scene.publish(&[latest.clone()]);
    assert_eq!(scene.count_new().await, 0);
    latest.link = "http://site.example/2-corrected/".into();
    scene.publish(&[latest]);
    assert_eq!(scene.count_new().await, 0);
    let titles: Vec<_> = scene
        .articles()
        .await
        .into_iter()
        .map(|article| article.title)
        .collect();
    assert_eq!(titles, ["Article 1", "Something else, corrected"]);
});

db_test!(
    an_edit_changes_the_text_and_keeps_the_number,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.publish(&items([1]));
        scene.after(minutes(15)).await;
        scene.after(minutes(10)).await;
        let before = scene.articles().await.remove(0);
        assert_eq!(before.seq, Some(1));
        let mut edited = item(1);
        edited.title = "Article one".into();
        edited.body = "<p>Corrected.</p>".into();
        scene.publish(&[edited]);
        scene.after(minutes(15)).await;
        let after = scene.articles().await.remove(0);
        assert_eq!(
            (after.id, after.seq, after.released_at),
            (before.id, before.seq, before.released_at)
        );
        assert_eq!(
            (after.title.as_str(), after.summary.as_str()),
            ("Article one", "Corrected.")
        );
        assert_eq!(scene.articles().await.len(), 1);
    }
);

db_test!(
    an_article_that_leaves_the_feed_stays,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.publish(&items([1, 2]));
        scene.read().await;
        scene.publish(&items([3]));
        scene.after(minutes(15)).await;
        scene.after(minutes(15)).await;
        assert_eq!(scene.released().await.len(), 3);
        // and is no news when it comes back
        scene.publish(&items([1, 2, 3]));
        assert_eq!(scene.count_new().await, 0);
    }
);

db_test!(
    f8_entries_without_guid_or_with_the_same_one_come_once_each,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let mut all = items(1..=6);
        all[0].guid = None;
        all[1].guid = None;
        all[1].link = String::new();
        all[2].guid = Some("same".to_owned());
        all[3].guid = Some("same".to_owned());
        all.push(all[4].clone());
        for _ in 0..3 {
            scene.publish(&all);
            scene.read().await;
            assert_eq!(scene.articles().await.len(), 6);
            all.reverse();
        }
    }
);

db_test!(
    f8_a_feed_of_50_000_entries_is_cut_to_the_newest_2_000_and_each_comes_once,
    async |app: &TestApp| {
        let scene = Scene::with(app, &items(1..=50_000)).await;
        assert_eq!(scene.articles().await.len(), 2_000);
        let mut more = items(0..=49_999);
        more[0].title = "New".into();
        scene.publish(&more);
        assert_eq!(scene.count_new().await, 1);
    }
);

db_test!(
    an_article_in_two_feeds_is_one_article_that_its_own_feed_edits,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        scene.site.set("/other", Answer::ok(rss(&[])));
        let other = scene.add("/other").await.feed.id;
        scene.publish(&items([1]));
        assert_eq!(scene.count_new().await, 1);
        let mut copy = item(1);
        copy.body = "<p>Shortened</p>".into();
        scene.site.set("/other", Answer::ok(rss(&[copy])));
        let read = paperround::feeds::refresh::refresh(
            app,
            &scene.fetcher,
            other,
            paperround::feeds::refresh::When::Now,
        )
        .await;
        let Refreshed::Read(saved) = read.unwrap() else {
            panic!("the feed was not read")
        };
        assert_eq!((saved.new, saved.edited, saved.unchanged), (0, 0, 1));
        assert_eq!(
            scene.articles().await[0].summary,
            "What happened in case 1."
        );
    }
);

db_test!(
    any_key_that_stays_is_enough_to_know_an_article,
    async |app: &TestApp| {
        let mut all = items(1..=3);
        all[0].guid = Some("guid-1".to_owned());
        let scene = Scene::with(app, &all).await;
        for item in &mut all {
            "<p>Written anew.</p>".clone_into(&mut item.body);
        }
        // its guid alone, its address alone, and the number alone that WordPress gave it
        "http://site.example/one/".clone_into(&mut all[0].link);
        all[1].guid = Some("guid-2".to_owned());
        "Another title".clone_into(&mut all[1].title);
        all[2].guid = None;
        "A third title".clone_into(&mut all[2].title);
        "http://site.example/?p=3".clone_into(&mut all[2].link);
        scene.publish(&all);
        let Refreshed::Read(saved) = scene.read().await else {
            panic!("the feed was not read")
        };
        assert_eq!((saved.new, saved.edited, saved.unchanged), (0, 3, 0));
        assert_eq!(scene.articles().await.len(), 3);
    }
);
