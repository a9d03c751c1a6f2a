//! What a dry run says.

use paperround::issues::Decision;

use super::*;
use crate::support::db_test;

db_test!(
    a_preview_has_the_number_that_the_issue_would_get_and_the_editors_words,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, first.id).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let mut new = new_issue(&newsletter, DAILY, app.now());
        new.subject = Some("A long night".to_owned());
        new.intro = Some("Dear reader, it was a long night.".to_owned());
        let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
        assert_eq!(shown.variants[0].subject, "A long night");
        let sample = shown.sample.expect("somebody would get it");
        assert_eq!(sample.subject, "A long night");
        assert!(sample.text.contains("Dear reader, it was a long night."));
        for part in [&sample.html, &sample.text] {
            // a token that opens nothing, and no mark
            assert!(part.contains("/unsubscribe/preview-"), "{part}");
        }
        let eml = String::from_utf8(sample.eml).unwrap();
        assert!(eml.contains("\r\nFeedback-ID: i-2:n-world:"), "{eml}");
    }
);

db_test!(
    a_preview_tells_who_is_paused_from_whom_it_has_nothing_for,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let asia = [(topic(app, &newsletter, "asia").await, Cadence::Daily)];
        let until = Some(app.now() + Duration::from_hours(24));
        reader(app, &newsletter, "ada@example.org", &all, None).await;
        for name in ["ben", "bob"] {
            let email = format!("{name}@example.org");
            reader(app, &newsletter, &email, &all, until).await;
        }
        reader(app, &newsletter, "eve@example.org", &asia, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let new = new_issue(&newsletter, DAILY, app.now());
        let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
        let counts = (shown.recipients, shown.nothing_for, shown.paused);
        assert_eq!((counts, shown.waiting), ((1, 1, 2), 0));
    }
);

db_test!(
    a_preview_has_as_many_cards_as_the_issue_then_has,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[]), posted(2, &[])]).await;
        let mut new = new_issue(&newsletter, DAILY, app.now());
        new.max_cards = 1;
        let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
        let sent = send(app, new).await;
        let held = store::articles::of_issue(&app.db, sent.id).await.unwrap();
        for articles in [&shown.articles, &held] {
            let decisions: Vec<_> = articles.iter().map(|it| it.decision).collect();
            assert_eq!(decisions, [Decision::Card, Decision::Headline]);
        }
        let variants = store::prepared::variants(&app.db, sent.id).await.unwrap();
        let bytes = usize::try_from(variants[0].bytes).unwrap();
        assert_eq!(shown.variants[0].bytes, bytes);
    }
);
