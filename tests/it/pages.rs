//! What every page is made of, and how errors look.

use crate::support::{TestApp, db_test};

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

db_test!(
    every_page_loads_nothing_foreign_and_leaves_nothing_behind,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", "ada@example.org").await;
        let paths = [
            "/",
            "/subscribe",
            "/subscribe/world",
            "/subscribe/world/sent",
            "/confirm/x",
            "/unsubscribe/x",
            &leave,
            "/nothing",
            "/problems/invalid",
        ];
        for path in paths {
            let page = site.get(path).await;
            assert_eq!(
                page.header("content-security-policy"),
                Some(POLICY),
                "{path}"
            );
            assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(page.header("set-cookie"), None);
            assert_eq!(
                page.header("content-type"),
                Some("text/html; charset=utf-8")
            );
            assert!(
                !page.body.contains("<script") && !page.body.contains(" style="),
                "{path}"
            );
            for link in page.body.split("href=\"").skip(1) {
                let link = link.split('"').next().unwrap();
                let own = ["/", "#", "mailto:"]
                    .iter()
                    .any(|start| link.starts_with(start));
                assert!(own, "{path}: {link}");
            }
            let head = site.send("HEAD", path, &[], "").await;
            assert_eq!(
                (head.status, head.body.as_str()),
                (page.status, ""),
                "{path}"
            );
        }
        site.stop().await;
    }
);

db_test!(the_style_sheet_is_kept_for_ever, async |app: &TestApp| {
    let site = app.serve().await;
    let page = site.get("/").await;
    for asset in ["reader", "icon"] {
        let link = page
            .body
            .split('"')
            .find(|part| part.starts_with(&format!("/assets/{asset}-")))
            .unwrap();
        let answer = site.get(link).await;
        answer.assert_status(200);
        let cached = answer.header("cache-control").unwrap();
        assert!(cached.contains("immutable"));
        site.get(&link.replace("/assets/", "/assets/x"))
            .await
            .assert_status(404);
    }
    site.stop().await;
});

db_test!(
    an_error_is_a_page_for_people_and_a_problem_for_programs,
    async |app: &TestApp| {
        let site = app.serve().await;
        let page = site.get("/nothing").await;
        page.assert_status(404);
        assert!(page.body.contains("There is nothing here"));

        let headers = [("accept", "application/json")];
        let problem = site.send("GET", "/nothing", &headers, "").await;
        problem.assert_status(404);
        assert_eq!(
            problem.header("content-type"),
            Some("application/problem+json")
        );
        let problem: serde_json::Value = serde_json::from_str(&problem.body).unwrap();
        assert_eq!(problem["status"], 404);
        let explained = problem["type"].as_str().unwrap();
        let path = explained.strip_prefix("http://127.0.0.1:8080").unwrap();
        site.get(path).await.assert_status(200);

        let wrong = site.send("DELETE", "/", &[], "").await;
        wrong.assert_status(405);
        assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
        site.stop().await;
    }
);

db_test!(
    a_newsletter_shows_its_sender_and_where_to_ask,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let list = site.get("/").await;
        assert!(list.body.contains("href=\"/subscribe/world\""));
        assert!(list.body.contains("At most one mail a day."));
        let page = site
            .get("/subscribe/world?email=ada%40example.org%22%3E")
            .await;
        assert!(page.body.contains("12 Harbour Street"));
        assert!(page.body.contains("mailto:news@world-review.org"));
        assert!(page.body.contains("value=\"ada@example.org&quot;&gt;\""));
        site.stop().await;
    }
);

db_test!(
    a_service_may_live_under_a_path,
    [("server.base_url", "http://127.0.0.1:8080/news")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let page = site.get("/news/subscribe/world").await;
        page.assert_status(200);
        assert!(page.body.contains("action=\"/news/subscribe/world\""));
        assert!(page.body.contains("href=\"/news/assets/reader-"));
        let form = [("email", "ada@example.org")];
        let answer = site.post("/news/subscribe/world", &form).await;
        assert_eq!(
            answer.header("location"),
            Some("/news/subscribe/world/sent")
        );
        site.get("/news/").await.assert_status(200);
        site.get("/subscribe/world").await.assert_status(404);
        site.get("/healthz").await.assert_status(200);
        site.stop().await;
    }
);
