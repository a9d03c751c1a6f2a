//! The API: who may, what is done once, and what it says when it refuses.

use paperround::accounts::{Scope, tokens};
use serde_json::{Value, json};

use crate::support::{Program, TestApp, db_test};

async fn token(app: &TestApp, scopes: &[Scope]) -> String {
    let made = tokens::create(app, "test", scopes.to_vec(), None, tokens::LIFETIME).await;
    made.expect("it can be made").1
}

struct Answer {
    status: u16,
    replayed: bool,
    body: Value,
}

async fn post(address: &str, token: Option<&str>, key: Option<&str>, body: &Value) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client
        .post(address)
        .header("content-type", "application/json")
        .body(body.to_string());
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let answer = request.send().await.expect("the service answers");
    Answer {
        status: answer.status().as_u16(),
        replayed: answer.headers().contains_key("idempotency-replayed"),
        body: serde_json::from_slice(&answer.bytes().await.unwrap()).expect("JSON"),
    }
}

fn article(id: &str) -> Value {
    json!({"external_id": id, "url": format!("https://example.org/{id}"), "title": format!("Title {id}")})
}

db_test!(
    articles_are_posted_once_and_all_or_none,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let address = format!("http://{}/api/v1/articles", site.address);
        let token = token(app, &[Scope::ArticlesWrite]).await;
        let body = json!({"newsletter": "world", "articles": [article("a"), article("b")]});
        for outcome in ["created", "unchanged"] {
            let answer = post(&address, Some(&token), None, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.body["articles"][1]["outcome"], outcome);
        }
        let wrong = json!({"newsletter": "world", "articles": [article("c"), {"external_id": "d", "url": "javascript:1", "title": "x"}]});
        let answer = post(&address, Some(&token), None, &wrong).await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.body["errors"][0]["pointer"], "/articles/1/url");
        let answer = post(
            &address,
            Some(&token),
            None,
            &json!({"newsletter": "world", "articles": [article("c")]}),
        )
        .await;
        assert_eq!(
            answer.body["articles"][0]["outcome"], "created",
            "nothing of the refused batch was taken"
        );
        site.stop().await;
    }
);

db_test!(
    a_token_does_what_its_scopes_say_and_no_more,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let address = format!("http://{}/api/v1/newsletters/world/issues", site.address);
        let body = json!({});
        assert_eq!(post(&address, None, None, &body).await.status, 401);
        assert_eq!(
            post(&address, Some("pr_nonsense"), None, &body)
                .await
                .status,
            401
        );
        let articles = token(app, &[Scope::ArticlesWrite]).await;
        let answer = post(&address, Some(&articles), None, &body).await;
        assert_eq!(answer.status, 403);
        assert!(
            answer.body.to_string().contains("issues:write"),
            "{}",
            answer.body
        );
        let issues = token(app, &[Scope::IssuesWrite]).await;
        assert_eq!(
            post(&address, Some(&issues), None, &body).await.status,
            200,
            "there is nothing new"
        );
        let send = json!({"send": true});
        assert_eq!(
            post(&address, Some(&issues), Some("k"), &send).await.status,
            403
        );
        let list = Program::of(app)
            .run(&["token", "list", "--json"])
            .expect(0)
            .json();
        let prefix = list
            .as_array()
            .unwrap()
            .iter()
            .find(|token| token["scopes"] == json!(["issues:write"]))
            .unwrap();
        Program::of(app)
            .run(&["token", "revoke", prefix["prefix"].as_str().unwrap()])
            .expect(0);
        assert_eq!(
            post(&address, Some(&issues), None, &body).await.status,
            401,
            "it is revoked"
        );
        site.stop().await;
    }
);

db_test!(a_repeated_send_sends_once, async |app: &TestApp| {
    app.newsletter("world").await;
    let site = app.serve().await;
    let path = app.folder().join("readers.csv");
    std::fs::write(&path, "email\nada@example.org\n").unwrap();
    Program::of(app)
        .run(&["import", &path.display().to_string()])
        .expect(0);
    let all = [Scope::ArticlesWrite, Scope::IssuesWrite, Scope::IssuesSend];
    let token = token(app, &all).await;
    let articles = format!("http://{}/api/v1/articles", site.address);
    post(
        &articles,
        Some(&token),
        None,
        &json!({"newsletter": "world", "articles": [article("a")]}),
    )
    .await;
    let address = format!("http://{}/api/v1/newsletters/world/issues", site.address);
    let send = json!({"send": true});
    assert_eq!(
        post(&address, Some(&token), None, &send).await.status,
        400,
        "a key is needed"
    );
    let first = post(&address, Some(&token), Some("monday"), &send).await;
    assert_eq!(
        (first.status, first.replayed),
        (202, false),
        "{}",
        first.body
    );
    let again = post(&address, Some(&token), Some("monday"), &send).await;
    assert_eq!(
        (again.status, again.replayed, &again.body),
        (202, true, &first.body)
    );
    let other = post(
        &address,
        Some(&token),
        Some("monday"),
        &json!({"send": true, "subject": "x"}),
    )
    .await;
    assert_eq!(other.status, 422);
    let issues = Program::of(app)
        .run(&["issue", "list", "--json"])
        .expect(0)
        .json();
    assert_eq!(issues["issues"].as_array().unwrap().len(), 1);
    site.stop().await;
});

db_test!(
    a_key_that_was_used_for_one_newsletter_is_no_other_newsletters_answer,
    async |app: &TestApp| {
        let site = app.serve().await;
        let token = token(app, &[Scope::IssuesWrite]).await;
        for (slug, status) in [("world", 200), ("asia", 422)] {
            app.newsletter(slug).await;
            let address = format!("http://{}/api/v1/newsletters/{slug}/issues", site.address);
            let answer = post(&address, Some(&token), Some("monday"), &json!({})).await;
            assert_eq!((answer.status, answer.replayed), (status, false), "{slug}");
        }
        site.stop().await;
    }
);

db_test!(
    without_a_postal_address_nothing_is_sent_and_everybody_says_why,
    async |app: &TestApp| {
        let mut newsletter = app.newsletter("world").await;
        let site = app.serve().await;
        app.reader(&site, "world", "ada@example.org").await;
        let token = token(
            app,
            &[Scope::ArticlesWrite, Scope::IssuesWrite, Scope::IssuesSend],
        )
        .await;
        let articles = format!("http://{}/api/v1/articles", site.address);
        let body = json!({"newsletter": "world", "articles": [article("a")]});
        post(&articles, Some(&token), None, &body).await;
        newsletter.postal_address = None;
        paperround::newsletters::add::edit(app, newsletter)
            .await
            .unwrap();
        let before = app.rows().await;

        let refused = Program::of(app)
            .run(&["send", "world", "--yes", "--no-wait"])
            .expect(4);
        let advice = "paperround newsletter edit world --postal-address";
        assert!(refused.err.contains("no postal address"), "{}", refused.err);
        assert!(refused.err.contains(advice), "{}", refused.err);

        let address = format!("http://{}/api/v1/newsletters/world/issues", site.address);
        for body in [json!({}), json!({"send": true})] {
            let answer = post(&address, Some(&token), Some("k"), &body).await;
            assert_eq!(answer.status, 409, "{}", answer.body);
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains("no postal address"), "{detail}");
        }
        assert_eq!(app.rows().await, before);
        let issues = Program::of(app).run(&["issue", "list", "--json"]).expect(0);
        assert!(issues.json()["issues"].as_array().unwrap().is_empty());
        site.stop().await;
    }
);

db_test!(
    a_body_that_cannot_be_read_is_refused_with_a_problem,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let token = token(app, &[Scope::ArticlesWrite]).await;
        let authorization = format!("Bearer {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let huge = format!("{{\"newsletter\": \"{}\"}}", "x".repeat(6 << 20));
        for (body, status, kind) in [("{", 422, "invalid"), (huge.as_str(), 413, "too-large")] {
            let answer = site.send("POST", "/api/v1/articles", &headers, body).await;
            answer.assert_status(status);
            let content_type = answer.header("content-type");
            assert_eq!(content_type, Some("application/problem+json"));
            let problem: Value = serde_json::from_str(&answer.body).unwrap();
            assert!(
                problem["type"].as_str().unwrap().ends_with(kind),
                "{problem}"
            );
            assert!(
                problem["title"].as_str().unwrap().contains(' '),
                "{problem}"
            );
        }
        site.stop().await;
    }
);

#[test]
fn the_description_in_the_manual_is_the_one_that_is_served() {
    let served = serde_json::to_string_pretty(&paperround::web::api::description()).unwrap() + "\n";
    let path = "docs/openapi.json";
    if std::fs::read_to_string(path).unwrap_or_default() != served {
        let made = std::path::Path::new("target").join("openapi.json");
        std::fs::write(&made, served).unwrap();
        panic!("{path} is outdated: copy {} over it", made.display());
    }
}
