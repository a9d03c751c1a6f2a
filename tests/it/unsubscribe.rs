//! One-click and the page: leaving always works, at once.

use std::fs;
use std::time::Duration;

use futures_util::FutureExt as _;
use paperround::id::IssueId;
use paperround::subscribers::consent::ConsentKind;
use paperround::subscribers::email_address::{AddressRules, EmailAddress};
use paperround::subscribers::evidence::{Channel, Evidence};
use paperround::subscribers::explain::explain;
use paperround::subscribers::unsubscribe::unsubscribe;
use paperround::token::{Purpose, ReaderToken};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::http::{Site, parse};
use crate::support::{Engine, TestApp, db_test};

const ADA: &str = "ada@example.org";

async fn state(app: &TestApp) -> String {
    let mut rows = app.rows_of("subscription").await;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// The request that Gmail sends, byte for byte.
fn gmail(path: &str, host: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 26\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nUser-Agent: Mozilla/5.0 (compatible; Google-Mail-Unsubscribe)\r\n\
         Accept-Encoding: gzip, deflate, br\r\n\r\nList-Unsubscribe=One-Click"
    )
}

fn multipart(path: &str, host: &str) -> String {
    let body = "--=_b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--=_b--\r\n";
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=\"=_b\"\r\n\r\n{body}",
        body.len()
    )
}

db_test!(
    mail_programs_leave_with_one_request,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        for (number, request) in [gmail, multipart].into_iter().enumerate() {
            let leave = app
                .reader(&site, "world", &format!("reader{number}@example.org"))
                .await;
            let answer = site
                .raw(request(&leave, &site.address.to_string()).as_bytes())
                .await;
            let answer = parse(&answer);
            answer.assert_status(200);
            assert_eq!(
                answer.header("content-type"),
                Some("text/plain; charset=utf-8")
            );
            assert_eq!(answer.header("location"), None);
            assert_eq!(answer.header("set-cookie"), None);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        assert_eq!(
            app.rows_of("subscription").await,
            [
                "subscription reader0@example.org world unsubscribed one_click",
                "subscription reader1@example.org world unsubscribed one_click"
            ]
        );
        site.stop().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_after_one_click_has_left_and_stands_in_the_journal() {
    let app = TestApp::start(Engine::Sqlite).await;
    app.newsletter("world").await;
    let site = app.serve().await;
    let link = app.reader(&site, "world", ADA).await;
    site.stop().await;
    let token = link.rsplit('/').next().unwrap();
    let token = app.keys.read_reader_token(Purpose::Unsubscribe, token);
    let evidence = Evidence::of(Channel::OneClick);
    let leaving = unsubscribe(&app.app, token.unwrap(), evidence);
    assert!(leaving.now_or_never().is_none(), "it had only begun");
    let journal = app.folder().join("suppressions.journal");
    let written = async {
        while fs::read_to_string(&journal).unwrap_or_default().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let written = tokio::time::timeout(Duration::from_secs(10), written);
    written.await.expect("it is written");
    assert!(state(&app).await.ends_with("unsubscribed one_click"));
    app.finish().await;
}

db_test!(
    check_09_whatever_is_posted_by_whomever_leaves_at_once,
    [("signup.client_limits", "100/1h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let huge = "x".repeat(200_000);
        let one_click = "List-Unsubscribe=One-Click";
        let form = "application/x-www-form-urlencoded";
        let multipart = "multipart/form-data; boundary=b";
        let part = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
        let bodies = [
            ("", ""),
            (form, one_click),
            (multipart, part),
            ("text/plain", "anything"),
            ("application/json", "{\"broken\": "),
            ("multipart/form-data", "no boundary"),
            ("image/png", "\u{1}\u{2}"),
            (form, huge.as_str()),
            ("not a type at all", "x"),
        ];
        let posts = bodies
            .iter()
            .flat_map(|body| [("", body), ("Java/17", body)]);
        for (number, (agent, (content_type, body))) in posts.enumerate() {
            let email = format!("reader{number}@example.org");
            let leave = app.reader(&site, "world", &email).await;
            let mut headers = vec![
                ("user-agent", agent),
                ("origin", "https://elsewhere.example"),
                ("sec-fetch-site", "cross-site"),
                ("cookie", "a=b"),
            ];
            if !content_type.is_empty() {
                headers.push(("content-type", content_type));
            }
            let answer = site.send("POST", &leave, &headers, body).await;
            answer.assert_status(200);
            assert_eq!(answer.header("set-cookie"), None, "{content_type}");
            assert_eq!(answer.header("location"), None, "{content_type}");
            let row = format!("subscription {email} ");
            let rows = app.rows_of(&row).await;
            assert!(
                rows[0].contains(" unsubscribed "),
                "{content_type}: {rows:?}"
            );
        }
        site.stop().await;
    }
);

db_test!(
    a_body_that_breaks_off_keeps_nobody_here,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        let mut stream = site.connect().await;
        let request =
            format!("POST {leave} HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nList-Uns");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Whether an answer arrives is the client's affair: it is gone.
        let _ = stream.read_to_end(&mut answer).await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while state(app).await.contains(" active ") {
            assert!(tokio::time::Instant::now() < deadline, "still subscribed");
            tokio::task::yield_now().await;
        }
        site.stop().await;
    }
);

db_test!(leaving_again_is_harmless, async |app: &TestApp| {
    app.newsletter("world").await;
    let site = app.serve().await;
    let leave = app.reader(&site, "world", ADA).await;
    let page = site.post(&leave, &[("page", "1")]).await;
    page.assert_status(200);
    assert!(page.body.contains("You are out"));
    assert_eq!(page.header("location"), None);
    let after = app.rows().await;
    assert!(after.contains(&"consent withdrawn page".to_owned()));
    assert!(
        after.contains(&"delivery welcome ada@example.org skipped unsubscribed".to_owned()),
        "what waits is not sent: {after:?}"
    );
    for _ in 0..3 {
        let again = site.post(&leave, &[("page", "1")]).await;
        again.assert_status(200);
        let again = site.raw(gmail(&leave, "x").as_bytes()).await;
        parse(&again).assert_status(200);
        let receipt = site.get(&leave).await;
        assert!(receipt.assert_status(200).body.contains("You are out"));
    }
    assert_eq!(app.rows().await, after);
    site.stop().await;
});

db_test!(
    check_08_looking_changes_nothing_and_the_post_works_then,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        let before = app.rows().await;
        for _ in 0..5 {
            let page = site.get(&leave).await;
            page.assert_status(200);
            assert!(page.body.contains("a***@example.org") && !page.body.contains(ADA));
            assert!(page.body.contains("<button>Unsubscribe</button>"));
            assert!(!page.body.contains("<script"));
            let head = site.send("HEAD", &leave, &[], "").await;
            head.assert_status(200);
        }
        assert_eq!(app.rows().await, before);
        site.post(&leave, &[]).await.assert_status(200);
        assert_eq!(
            app.rows_of("subscription").await,
            ["subscription ada@example.org world unsubscribed one_click"]
        );
        site.stop().await;
    }
);

db_test!(only_the_named_subscription_ends, async |app: &TestApp| {
    app.newsletter("world").await;
    app.newsletter("asia").await;
    let site = app.serve().await;
    let leave_world = app.reader(&site, "world", ADA).await;
    app.reader(&site, "asia", ADA).await;
    app.reader(&site, "world", "bob@example.org").await;
    site.post(&leave_world, &[]).await.assert_status(200);
    assert_eq!(
        app.rows_of("subscription").await,
        [
            "subscription ada@example.org asia active -",
            "subscription ada@example.org world unsubscribed one_click",
            "subscription bob@example.org world active -"
        ]
    );
    site.stop().await;
});

db_test!(
    every_token_of_another_make_gives_the_same_answer,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        let token = leave.rsplit('/').next().unwrap();
        let before = app.rows().await;
        let mut forged = token.to_owned();
        forged.replace_range(10..11, if &token[10..11] == "A" { "B" } else { "A" });
        let wrong = [
            "x".to_owned(),
            forged,
            token[..73].to_owned(),
            format!("{token}A"),
            token.to_uppercase(),
            token.replace("v1.", "v2."),
            app.confirm_token(ADA).await,
        ];
        let mut bodies = Vec::new();
        for token in wrong {
            for method in ["GET", "POST"] {
                let path = format!("/unsubscribe/{token}");
                let answer = site.send(method, &path, &[], "").await;
                answer.assert_status(404);
                bodies.push(answer.body);
            }
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1);
        assert_eq!(app.rows().await, before);
        site.stop().await;
    }
);

db_test!(
    a_subscription_that_nobody_knows_is_out_already,
    async |app: &TestApp| {
        let site = app.serve().await;
        let nobody = paperround::id::SubscriptionId(uuid::Uuid::from_u128(7));
        let leave = format!("/unsubscribe/{}", app.unsubscribe_token(nobody));
        site.post(&leave, &[]).await.assert_status(200);
        let page = site.post(&leave, &[("page", "1")]).await;
        assert!(page.assert_status(200).body.contains("You are out"));
        site.get(&leave).await.assert_status(200);
        assert!(app.rows().await.is_empty());
        site.stop().await;
    }
);

db_test!(
    a_hundred_goodbyes_at_once_leave_one_event,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        let goodbyes = (0..100).map(|_| site.post(&leave, &[]));
        for answer in futures_util::future::join_all(goodbyes).await {
            answer.assert_status(200);
        }
        assert_eq!(app.rows_of("consent withdrawn").await.len(), 1);
        site.stop().await;
    }
);

db_test!(
    what_cannot_be_stored_is_never_called_done,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        close_database(app).await;
        let answer = parse(&site.raw(gmail(&leave, "x").as_bytes()).await);
        answer.assert_status(503);
        assert!(answer.header("retry-after").is_some());
        drop::<Site>(site);
    }
);

/// The database goes away beneath the running service.
async fn close_database(app: &TestApp) {
    use paperround::write_db;
    app.db
        .write::<(), sqlx::Error, _>(|tx| {
            Box::pin(async move {
                // The event can no longer be stored, as on a full disk.
                let sql = tx.pick(
                    "ALTER TABLE consent_events RENAME TO gone",
                    "ALTER TABLE consent_events RENAME TO gone",
                );
                write_db!(tx, |conn| sqlx::query(sql).execute(conn).await.map(drop))
            })
        })
        .await
        .unwrap();
}

db_test!(
    a_goodbye_is_recorded_with_the_issue_by_whose_mail_it_came,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        let issue = IssueId(uuid::Uuid::from_u128(7));
        let about = ReaderToken {
            subscription: app.subscription(ADA).await,
            issue: Some(issue),
        };
        let token = app.keys.reader_token(Purpose::Unsubscribe, about);
        app.time.advance(Duration::from_secs(1));
        let path = format!("/unsubscribe/{token}");
        site.post(&path, &[]).await.assert_status(200);
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        let explained = explain(&app.db, &ada).await.unwrap().remove(0);
        let goodbye = explained.consent.last().unwrap();
        assert_eq!(goodbye.kind, ConsentKind::Withdrawn);
        assert_eq!(goodbye.detail["issue"], issue.to_string());
        site.stop().await;
    }
);

db_test!(
    a_receipt_leads_back_to_its_newsletter_however_often_it_is_asked_for,
    async |app: &TestApp| {
        for slug in ["world", "asia"] {
            app.newsletter(slug).await;
        }
        let site = app.serve().await;
        let leave = app.reader(&site, "asia", ADA).await;
        for again in 0..2 {
            for page in [
                site.post(&leave, &[("page", "1")]).await,
                site.get(&leave).await,
            ] {
                let body = &page.assert_status(200).body;
                let way = body.contains("href=\"/subscribe/asia\"");
                assert!(way && body.contains("You are out"), "{again}: {body}");
            }
        }
        site.stop().await;
    }
);

db_test!(
    each_link_is_about_its_own_subscription_on_every_page_and_in_the_record,
    [("signup.client_limits", "100/1h")],
    async |app: &TestApp| {
        let site = app.serve().await;
        let readers = [ADA, "bob@example.org"];
        for slug in ["world", "asia"] {
            app.newsletter(slug).await;
            for email in readers {
                app.reader(&site, slug, email).await;
            }
        }
        let explained = async |email: &str| {
            let email = EmailAddress::parse(email, AddressRules::default()).unwrap();
            explain(&app.db, &email).await.unwrap()
        };
        for email in readers {
            for one in explained(email).await {
                let token = app.unsubscribe_token(one.person.subscription_id);
                let link = format!("/unsubscribe/{token}");
                let slug = one.person.newsletter;
                let way = format!("href=\"/subscribe/{slug}\"");
                let masked = format!("{}***@example.org", &email[..1]);
                let page = site.get(&link).await;
                let body = &page.assert_status(200).body;
                let is_own = body.contains(&masked) && body.contains(&way);
                assert!(is_own, "{email} {slug}: {body}");
                for again in 0..2 {
                    let page = site.post(&link, &[("page", "1")]).await;
                    let body = &page.assert_status(200).body;
                    assert!(body.contains(&way), "{email} {slug} {again}: {body}");
                }
            }
        }
        for email in readers {
            let one = explained(email).await.remove(0);
            let record = one.consent.iter();
            let kinds: Vec<_> = record.map(|event| event.kind.as_str()).collect();
            let expected = ["confirmed", "confirmed", "withdrawn", "withdrawn"];
            assert_eq!(kinds, expected, "{email}");
            assert!(one.consent_is_whole, "{email}: {:?}", one.consent);
        }
        site.stop().await;
    }
);
