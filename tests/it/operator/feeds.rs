use paperround::feeds::{release, store};

use crate::support::feed_server::{Answer, FeedServer};
use crate::support::{Program, TestApp, db_test};

/// A program that may read feeds of `site`, which is on this machine.
pub(super) fn program(app: &TestApp, site: &FeedServer) -> Program {
    let allowed = format!("127.0.0.1/32,{}", site.port);
    Program::of(app).with("PAPERROUND_FETCH__ALLOW", &allowed)
}

/// A feed with articles: number, category, author.
pub(super) fn rss(articles: &[(u32, &str, &str)]) -> String {
    let items = articles.iter().map(|(number, category, author)| {
        format!(
            "<item><title>Article {number}</title><link>http://site.example/{category}/{number}/</link>\
             <guid>{number}</guid><category>{category}</category><dc:creator>{author}</dc:creator></item>"
        )
    });
    format!(
        "<?xml version='1.0'?><rss version='2.0' xmlns:dc='http://purl.org/dc/elements/1.1/'><channel>\
         <title>Site</title><link>http://site.example/</link>{}</channel></rss>",
        items.collect::<String>()
    )
}

db_test!(
    a_rule_puts_articles_of_a_feed_into_a_topic_until_it_is_removed,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await;
        let site = FeedServer::start().await;
        site.set("/feed", Answer::ok(rss(&[])));
        site.set("/other", Answer::ok(rss(&[])));
        let program = program(app, &site);
        let (feed, other) = (
            site.url("/feed").to_string(),
            site.url("/other").to_string(),
        );
        for url in [&feed, &other] {
            program
                .run(&["feed", "add", url, "--cool-off", "0s"])
                .expect(0);
        }
        for topic in ["asia", "opinion"] {
            let run = program
                .run(&["topic", "add", topic, "--name", topic])
                .expect(0);
            assert!(
                run.err
                    .contains(&format!("paperround topic rule add {topic} --category")),
                "the next step is named: {}",
                run.err
            );
        }
        assert!(
            program
                .run(&["topic", "rule", "list"])
                .expect(0)
                .err
                .contains("Next: paperround topic rule add")
        );
        program
            .run(&["topic", "rule", "add", "asia", "--category", "Asia*"])
            .expect(0);
        program
            .run(&[
                "topic",
                "rule",
                "add",
                "opinion",
                "--author",
                "ada lovelace",
                "--feed",
                &feed,
            ])
            .expect(0);
        let rules = program
            .run(&["topic", "rule", "list", "--json"])
            .expect(0)
            .json();
        assert_eq!(
            (&rules[0]["topic"], &rules[0]["pattern"], &rules[0]["feed"]),
            (&"asia".into(), &"Asia*".into(), &serde_json::Value::Null)
        );
        assert_eq!(rules[1]["feed"], feed.as_str());

        site.set(
            "/feed",
            Answer::ok(rss(&[
                (1, "Asia-Pacific", "Ada Lovelace"),
                (2, "Europe", "Bob"),
            ])),
        );
        site.set("/other", Answer::ok(rss(&[(3, "Africa", "Ada Lovelace")])));
        program.run(&["feed", "refresh"]).expect(0);
        let rule = rules[0]["id"].as_str().unwrap().to_owned();
        program.run(&["topic", "rule", "remove", &rule]).expect(0);
        site.set("/other", Answer::ok(rss(&[(4, "Asia-Pacific", "Bob")])));
        program.run(&["feed", "refresh"]).expect(0);

        // The program's clock is the machine's; the articles of the future are released too.
        let later = app.now() + std::time::Duration::from_hours(24 * 36500);
        release::release_due(&app.db, later).await.unwrap();
        let topics = paperround::newsletters::store::topics(&app.db, newsletter.id)
            .await
            .unwrap();
        let mut found = Vec::new();
        for article in store::articles(&app.db, newsletter.id, None, 10)
            .await
            .unwrap()
        {
            let ids = store::topics_of(&app.db, article.id).await.unwrap();
            let mut names: Vec<_> = topics
                .iter()
                .filter(|topic| ids.contains(&topic.id))
                .map(|topic| topic.slug.as_str())
                .collect();
            names.sort_unstable();
            found.push(format!("{}: {}", article.title, names.join(" ")));
        }
        found.sort();
        assert_eq!(
            found,
            [
                "Article 1: all asia opinion",
                "Article 2: all",
                "Article 3: all",
                "Article 4: all"
            ]
        );
    }
);

db_test!(
    a_rule_that_cannot_be_says_why_and_is_not_added,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let program = Program::of(app);
        program
            .run(&["topic", "add", "asia", "--name", "Asia"])
            .expect(0);
        let rule = ["topic", "rule", "add", "asia", "--category", "Asia"];
        program.run(&rule).expect(0);
        let nobody = "0198e0a2-7c1b-7000-8000-000000000001";
        for (act, code, words) in [
            (&rule[..], 4, "the topic has this rule already"),
            (
                &["topic", "rule", "add", "asia", "--category", " "],
                2,
                "the pattern is empty",
            ),
            (
                &["topic", "rule", "add", "all", "--category", "Asia"],
                4,
                "every article has the topic all",
            ),
            (
                &["topic", "rule", "add", "mars", "--category", "Asia"],
                2,
                "world has no topic \"mars\". There is: all, asia",
            ),
            (
                &[
                    "topic",
                    "rule",
                    "add",
                    "asia",
                    "--url",
                    "/asia/",
                    "--feed",
                    "http://x.example/",
                ],
                2,
                "`paperround feed list` prints their addresses",
            ),
            (&["topic", "rule", "add", "asia"], 2, "--category <PATTERN>"),
            (
                &["topic", "rule", "remove", nobody],
                2,
                "`paperround topic rule list` prints them",
            ),
        ] {
            let run = program.run(act).expect(code);
            assert!(run.err.contains(words), "{act:?}: {}", run.err);
        }
        let rules = program
            .run(&["topic", "rule", "list", "--json"])
            .expect(0)
            .json();
        assert_eq!(rules.as_array().unwrap().len(), 1);
    }
);

db_test!(
    a_paused_feed_is_not_read_until_it_is_resumed,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = FeedServer::start().await;
        site.set("/feed", Answer::ok(rss(&[])));
        let program = program(app, &site);
        let feed = site.url("/feed").to_string();
        program.run(&["feed", "add", &feed]).expect(0);
        let asked = || site.asked("/feed").len();
        let before = asked();
        program
            .run(&["feed", "pause", &feed, "--reason", "the site is rebuilt"])
            .expect(0);
        program.run(&["feed", "pause", &feed]).expect(4);
        program.run(&["feed", "refresh"]).expect(0);
        assert_eq!(asked(), before);
        let list = program.run(&["feed", "list"]).expect(0).out;
        assert!(list.contains("paused: the site is rebuilt"), "{list}");
        program.run(&["feed", "resume", &feed]).expect(0);
        program.run(&["feed", "resume", &feed]).expect(4);
        program.run(&["feed", "refresh"]).expect(0);
        assert_eq!(asked(), before + 1);
        let run = program
            .run(&["feed", "pause", "http://x.example/"])
            .expect(2);
        assert!(run.err.contains("`paperround feed list`"), "{}", run.err);
    }
);
