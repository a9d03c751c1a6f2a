use paperround::feeds::store;
use paperround::feeds::topic_rules::add_topic_rule;
use paperround::feeds::topics::{RuleField, TopicRule};
use paperround::newsletters::add;

use super::{Item, Scene, item};
use crate::support::{TestApp, db_test};

db_test!(
    relative_lazy_and_webp_images_become_loadable_ones,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let with = |n: usize, body: &str| Item {
            link: format!("https://site.example/{n}/"),
            body: body.to_owned(),
            ..item(n)
        };
        let mut all = vec![
            with(1, "<img src='/a.jpg' width=800 height=600 alt='A &amp; B'>"),
            with(
                2,
                "<img src='data:image/gif;base64,R0lGOD' data-src='/b.jpg'>",
            ),
            with(
                3,
                "<img src='/c.webp' srcset='/c.webp 1200w, /c-1200.jpg 1200w'>",
            ),
            with(
                4,
                "<img src='/d.webp'><img src=/pixel.gif width=1 height=1>",
            ),
            with(5, "<img src=/e.jpg>"),
            with(6, ""),
        ];
        all[4].more =
            "<enclosure url='https://cdn.example/e.png' type='image/png' length='1'/>".into();
        all[5].more =
            "<media:thumbnail url='https://cdn.example/f.jpg' width='640' height='360'/>".into();
        all.reverse();
        scene.publish(&all);
        scene.read().await;
        let articles = scene.articles().await;
        let images: Vec<_> = articles
            .iter()
            .map(|article| article.image_url.as_deref())
            .collect();
        assert_eq!(
            images,
            [
                Some("https://site.example/a.jpg"),
                Some("https://site.example/b.jpg"),
                Some("https://site.example/c-1200.jpg"),
                None,
                Some("https://cdn.example/e.png"),
                Some("https://cdn.example/f.jpg"),
            ]
        );
        let first = &articles[0];
        assert_eq!(
            (first.image_width, first.image_height),
            (Some(800), Some(600))
        );
        assert_eq!(first.image_alt.as_deref(), Some("A & B"));
        assert!(
            articles[1]
                .content_html
                .contains("src=\"https://site.example/b.jpg\"")
        );
    }
);

db_test!(
    a_hostile_entry_is_stored_as_harmless_text,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let hostile = Item {
            guid: Some("x".repeat(5_000)),
            link: "javascript:alert(1)".to_owned(),
            title: "One\u{202e}&lt;script&gt;alert(1)&lt;/script&gt;\r\nBcc: a@example.org"
                .to_owned(),
            body: "<div>".repeat(20_000) + "deep",
            more: "<category>a\u{7}b</category>".to_owned(),
            ..Item::default()
        };
        scene.publish(&[hostile]);
        let outcome = scene.read().await;
        assert_eq!(scene.articles().await.len(), 1, "{outcome:?}");
        let article = &scene.articles().await[0];
        assert_eq!(article.title, "One Bcc: a@example.org");
        assert_eq!(article.url, "https://site.example/");
        assert_eq!(article.content_html, "<p>deep</p>");
    }
);

db_test!(
    every_article_is_in_all_and_in_the_topics_of_its_rules,
    async |app: &TestApp| {
        let scene = Scene::with(app, &[]).await;
        let asia = add::topic(
            app,
            scene.newsletter,
            "asia".parse().unwrap(),
            "Asia".to_owned(),
            None,
        )
        .await
        .unwrap();
        let rule = TopicRule {
            topic_id: asia.id,
            feed_id: None,
            field: RuleField::Category,
            pattern: "asia*".to_owned(),
        };
        add_topic_rule(app, scene.newsletter, rule.clone())
            .await
            .unwrap();
        add_topic_rule(
            app,
            scene.newsletter,
            TopicRule {
                pattern: " ".to_owned(),
                ..rule
            },
        )
        .await
        .unwrap_err();
        let mut tagged = item(1);
        tagged.more = "<category>News</category><category>Asia-Pacific</category>".into();
        scene.publish(&[item(2), tagged]);
        scene.read().await;
        let mut topics = Vec::new();
        for article in scene.articles().await {
            topics.push(store::topics_of(&app.db, article.id).await.unwrap());
        }
        assert_eq!(topics.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert!(topics[0].contains(&asia.id) && !topics[1].contains(&asia.id));
    }
);
