use paperround::feeds::publish::{Outcome, PostedArticle, PublishError, publish};
use paperround::id::NewsletterId;

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
