use std::time::Duration;

use paperround::accounts::{Scope, tokens};
use paperround::feeds::add::{FeedOptions, add as add_feed};
use serde_json::Value;

use crate::support::feed_server::{Answer, FeedServer};
use crate::support::http::Site;
use crate::support::{Engine, Program, TestApp};

/// A newsletter with one reader, whose site has a feed that was read and was empty then.
struct Scene {
    app: TestApp,
    site: FeedServer,
    web: Site,
    program: Program,
}

impl Scene {
    async fn open(engine: Engine) -> Self {
        let site = FeedServer::start().await;
        let allow = format!("127.0.0.0/8, {}", site.port);
        let settings = [
            ("fetch.allow", allow.as_str()),
            ("server.request_timeout", "2s"),
        ];
        let app = TestApp::start_with(engine, &settings).await;
        let web = app.serve().await;
        let program = Program::of(&app).with("PAPERROUND_FETCH__ALLOW", &allow);
        let newsletter = app.newsletter("world").await;
        program
            .run(&[
                "newsletter",
                "edit",
                "world",
                "--postal-address",
                "1 Main St",
            ])
            .expect(0);
        app.reader(&web, "world", "ada@example.org").await;
        let scene = Self {
            app,
            site,
            web,
            program,
        };
        scene.publish(&[]);
        let options = FeedOptions {
            cool_off: Duration::ZERO,
            ..FeedOptions::default()
        };
        let (app, url) = (&scene.app, scene.site.url("/feed").to_string());
        add_feed(app, &app.fetcher, newsletter.id, &url, options)
            .await
            .unwrap();
        scene
    }

    fn publish(&self, titles: &[&str]) {
        let items: Vec<String> = titles
            .iter()
            .map(|title| {
                format!("<item><title>{title}</title><link>https://site.example/{title}</link><guid>{title}</guid></item>")
            })
            .collect();
        let items = items.concat();
        let feed =
            format!("<rss version='2.0'><channel><title>Site</title>{items}</channel></rss>");
        self.site.set("/feed", Answer::ok(feed));
    }

    fn issues(&self) -> usize {
        let list = self.program.run(&["issue", "list", "--json"]).expect(0);
        list.out.matches("\"number\"").count()
    }
}

fn titles(preview: &Value) -> Vec<&str> {
    let articles = preview["articles"].as_array().unwrap();
    articles
        .iter()
        .map(|article| article["title"].as_str().unwrap())
        .collect()
}

/// Makes `name::sqlite` and, with the feature `test-postgres`, `name::postgres` of one body.
macro_rules! fresh_test {
    ($name:ident, async |$scene:ident: &Scene| $body:block) => {
        mod $name {
            use super::*;

            async fn body($scene: &Scene) $body

            async fn run(engine: Engine) {
                let scene = Scene::open(engine).await;
                body(&scene).await;
                scene.web.stop().await;
                scene.app.finish().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run(Engine::Sqlite).await;
            }

            #[cfg(feature = "test-postgres")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run(Engine::Postgres).await;
            }
        }
    };
}

fresh_test!(
    preview_and_send_read_the_feeds_first,
    async |scene: &Scene| {
        scene.publish(&["one"]);
        let preview = scene.program.run(&["preview", "--json"]).expect(0).json();
        assert_eq!(titles(&preview), ["one"]);
        assert_eq!(preview["recipients"], 1);
        assert_eq!(scene.issues(), 0, "it makes no issue");

        scene.publish(&["one", "two"]);
        let dry = scene
            .program
            .run(&["send", "--dry-run", "--json"])
            .expect(0)
            .json();
        assert_eq!(titles(&dry).len(), 2);
        assert_eq!(scene.issues(), 0);

        scene.publish(&["one", "two", "three"]);
        let sent = scene.program.run(&["send", "--yes", "--no-wait"]).expect(0);
        assert!(sent.out.contains("three"), "{sent:?}");
        assert_eq!(scene.issues(), 1);
    }
);

fresh_test!(
    a_feed_that_cannot_be_read_is_named_and_the_issue_goes_without_it,
    async |scene: &Scene| {
        scene.publish(&["one"]);
        scene.program.run(&["preview"]).expect(0);
        scene.site.set("/feed", Answer::status(500));
        let sent = scene.program.run(&["send", "--yes", "--no-wait"]).expect(0);
        let url = scene.site.url("/feed").to_string();
        let named = |line: &str| line.contains(&url) && line.contains("goes without");
        assert!(sent.err.lines().any(named), "{}", sent.err);
        assert!(sent.out.contains("one"), "{sent:?}");
        assert_eq!(scene.issues(), 1);
    }
);

fresh_test!(
    an_issue_by_the_api_has_what_is_new_and_waits_for_no_silent_feed,
    async |scene: &Scene| {
        let scopes = vec![Scope::IssuesWrite];
        let token = tokens::create(&scene.app, "test", scopes, None, tokens::LIFETIME).await;
        let bearer = format!("Bearer {}", token.unwrap().1);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let post = async || -> (u16, Value) {
            let address = "/api/v1/newsletters/world/issues";
            let answer = scene.web.send("POST", address, &headers, "{}").await;
            (answer.status, serde_json::from_str(&answer.body).unwrap())
        };
        let (status, body) = post().await;
        assert_eq!((status, body["state"].as_str()), (200, Some("nothing_new")));

        scene.site.set("/feed", Answer::ok("<rss>").stalling());
        let (status, body) = post().await;
        assert_eq!(status, 200, "half of the request's time is kept: {body}");
        let unread = &body["feeds_not_read"][0];
        assert_eq!(unread["reason"], "it did not answer in time");

        scene.publish(&["one"]);
        let (status, body) = post().await;
        assert_eq!((status, body["state"].as_str()), (202, Some("scheduled")));
        assert_eq!(body["feeds_not_read"], serde_json::json!([]));
    }
);
