use paperround::feeds::publish::{Outcome, PostedArticle, PublishError, publish};
use paperround::feeds::store;
use paperround::feeds::topic_rules::{add_topic_rule, remove_topic_rule};
use paperround::feeds::topics::{RuleField, TopicRule};
use paperround::id::{ArticleId, NewsletterId, TopicId};
use paperround::newsletters::add;

use super::{Scene, item, minutes};
use crate::support::{TestApp, db_test};

fn posted(n: usize) -> PostedArticle {
    PostedArticle {
        external_id: format!("id-{n}"),
        url: format!("https://site.example/{n}/"),
        title: format!("Article {n}"),
        content_html: Some("<p onclick=x>Text</p><script>alert(1)</script>".to_owned()),
        ..PostedArticle::default()
    }
}

async fn post(
    app: &TestApp,
    newsletter: NewsletterId,
    articles: Vec<PostedArticle>,
) -> Vec<Outcome> {
    let published = publish(app, newsletter, articles).await.unwrap();
    published
        .into_iter()
        .map(|published| published.outcome)
        .collect()
}

db_test!(
    posted_articles_are_released_at_once_and_a_repeat_changes_nothing,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let batch = vec![posted(1), posted(2)];
        assert_eq!(
            post(app, scene.newsletter, batch.clone()).await,
            [Outcome::Created; 2]
        );
        assert_eq!(
            scene.released().await,
            [(1, "Article 1".to_owned()), (2, "Article 2".to_owned())]
        );
        assert_eq!(scene.articles().await[0].content_html, "<p>Text</p>");
        assert_eq!(
            post(app, scene.newsletter, batch).await,
            [Outcome::Unchanged; 2]
        );
        let mut edited = posted(2);
        edited.title = "Article two".into();
        edited.url = "https://site.example/two/".into();
        assert_eq!(
            post(app, scene.newsletter, vec![edited]).await,
            [Outcome::Edited]
        );
        assert_eq!(scene.released().await[1], (2, "Article two".to_owned()));
    }
);

db_test!(
    an_article_that_is_posted_and_in_the_feed_is_one_article,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        post(app, scene.newsletter, vec![posted(1)]).await;
        scene.publish(&[item(1)]);
        assert_eq!(scene.count_new().await, 0);
        scene.after(minutes(60)).await;
        assert_eq!(scene.articles().await.len(), 1);
    }
);

db_test!(
    a_batch_with_a_fault_stores_nothing_and_every_fault_is_told,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let mut wrong = posted(2);
        wrong.title = " \u{202e}".into();
        wrong.url = "javascript:alert(1)".into();
        wrong.image_url = Some("http://site.example/a.jpg".to_owned());
        let batch = vec![posted(1), wrong, posted(1)];
        let Err(PublishError::Faults(faults)) = publish(app, scene.newsletter, batch).await else {
            panic!("faults were expected")
        };
        let places: Vec<_> = faults
            .iter()
            .map(|fault| (fault.index, fault.field))
            .collect();
        assert_eq!(
            places,
            [
                (1, "title"),
                (1, "url"),
                (1, "image_url"),
                (2, "external_id")
            ]
        );
        let mut topic = posted(3);
        topic.topics = vec!["sports".to_owned()];
        let unknown = publish(app, scene.newsletter, vec![posted(4), topic])
            .await
            .unwrap_err();
        assert!(
            matches!(unknown, PublishError::Faults(faults) if faults[0].problem.contains("sports"))
        );
        let many = publish(app, scene.newsletter, (0..101).map(posted).collect())
            .await
            .unwrap_err();
        assert!(matches!(many, PublishError::TooMany(101)));
        let nobody = publish(app, uuid::Uuid::nil().into(), vec![posted(1)])
            .await
            .unwrap_err();
        assert!(matches!(nobody, PublishError::NoNewsletter));
        assert_eq!(scene.articles().await, []);
    }
);

db_test!(
    a_posted_article_stands_as_it_was_posted_last_with_its_first_number_and_date,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let (begun, dated) = (app.now(), app.now() - minutes(60));
        let mut changed = begun;
        for (word, outcome) in [
            ("one", Outcome::Created),
            ("two", Outcome::Edited),
            ("two", Outcome::Unchanged),
            ("one", Outcome::Edited),
        ] {
            let article = PostedArticle {
                external_id: "id-1".to_owned(),
                url: format!("https://site.example/{word}/"),
                title: format!("Title {word}"),
                summary: Some(format!("Summary {word}")),
                content_html: Some(format!("<p>Content {word}</p>")),
                authors: vec![format!("Ada {word}"), "Ben".to_owned()],
                image_url: Some(format!("https://site.example/{word}.jpg")),
                published_at: Some(app.now() - minutes(60)),
                ..PostedArticle::default()
            };
            let outcomes = post(app, scene.newsletter, vec![article]).await;
            assert_eq!(outcomes, [outcome], "{word}");
            if outcome == Outcome::Edited {
                changed = app.now();
            }
            let stored = scene.articles().await.remove(0);
            assert_eq!(stored.url, format!("https://site.example/{word}/"));
            assert_eq!(stored.title, format!("Title {word}"));
            assert_eq!(stored.summary, format!("Summary {word}"));
            assert_eq!(stored.content_html, format!("<p>Content {word}</p>"));
            assert_eq!(stored.author, Some(format!("Ada {word}, Ben")));
            let image = format!("https://site.example/{word}.jpg");
            assert_eq!(stored.image_url, Some(image));
            assert_eq!((stored.seq, stored.published_at), (Some(1), Some(dated)));
            let times = (stored.first_seen_at, stored.released_at, stored.updated_at);
            assert_eq!(times, (begun, Some(begun), changed), "{word}");
            app.time.advance(minutes(1));
        }
    }
);

async fn topic(app: &TestApp, newsletter: NewsletterId, slug: &str) -> TopicId {
    let (slug, name) = (slug.parse().unwrap(), slug.to_owned());
    let made = add::topic(app, newsletter, slug, name, None).await;
    made.unwrap().id
}

fn rule_of_asia(topic_id: TopicId) -> TopicRule {
    TopicRule {
        topic_id,
        feed_id: None,
        field: RuleField::Category,
        pattern: "asia*".to_owned(),
    }
}

/// The topics of an article are these, and no others.
async fn assert_topics(app: &TestApp, article: ArticleId, topics: &[TopicId]) {
    let mut found = store::topics_of(&app.db, article).await.unwrap();
    let mut expected = topics.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

db_test!(
    an_article_is_in_all_topics_that_were_ever_named_for_it,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let topics = paperround::newsletters::store::topics(&app.db, scene.newsletter).await;
        let all = topics.unwrap()[0].id;
        let asia = topic(app, scene.newsletter, "asia").await;
        let europe = topic(app, scene.newsletter, "europe").await;
        let africa = topic(app, scene.newsletter, "africa").await;
        add_topic_rule(app, scene.newsletter, rule_of_asia(asia))
            .await
            .unwrap();
        let mut article = posted(1);
        article.topics = vec!["europe".to_owned()];
        article.categories = vec!["Asia-Pacific".to_owned()];
        let first = publish(app, scene.newsletter, vec![article]).await.unwrap();
        let id = first[0].article_id;
        assert_topics(app, id, &[all, asia, europe]).await;
        let mut edited = posted(1);
        "Another title".clone_into(&mut edited.title);
        edited.topics = vec!["africa".to_owned()];
        post(app, scene.newsletter, vec![edited]).await;
        assert_topics(app, id, &[all, asia, europe, africa]).await;
        // one that the feed brought, and that is posted as it is
        scene.publish(&[item(2)]);
        assert_eq!(scene.count_new().await, 1);
        let mut known = posted(2);
        known.topics = vec!["europe".to_owned()];
        let known = publish(app, scene.newsletter, vec![known]).await.unwrap();
        assert_eq!(known[0].outcome, Outcome::Unchanged);
        assert_topics(app, known[0].article_id, &[all, europe]).await;
    }
);

db_test!(
    a_newsletters_rules_are_nothing_to_another,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let topics = paperround::newsletters::store::topics(&app.db, scene.newsletter).await;
        let all = topics.unwrap()[0].id;
        let other = app.newsletter("asia").await.id;
        let theirs = topic(app, other, "pacific").await;
        let rule = add_topic_rule(app, other, rule_of_asia(theirs)).await;
        let mut article = posted(1);
        article.categories = vec!["Asia-Pacific".to_owned()];
        let made = publish(app, scene.newsletter, vec![article]).await.unwrap();
        assert_topics(app, made[0].article_id, &[all]).await;
        let removed = remove_topic_rule(app, scene.newsletter, rule.unwrap()).await;
        assert!(!removed.unwrap());
        for (newsletter, count) in [(scene.newsletter, 0), (other, 1)] {
            let rules = store::list_rules(&app.db, newsletter).await.unwrap();
            assert_eq!(rules.len(), count);
        }
    }
);
