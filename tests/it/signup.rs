//! The form: the same answer for everybody, and what becomes of its mail.

use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::deliveries::Reason;
use paperround::id::{NewsletterId, SignupId};
use paperround::read_db;
use paperround::subscribers::expire::remove_outdated;
use paperround::subscribers::notice::{self, Claimed, Decision, NoticeKind};
use paperround::write_db;

use crate::support::http::{Answer, Site};
use crate::support::{TestApp, db_test};

const GENEROUS: [(&str, &str); 2] = [
    ("signup.client_limits", "10000/1h"),
    ("signup.network_limits", "10000/1h"),
];

const SUPPRESS: &str =
    "INSERT INTO suppressions (key, scope, reason, at) VALUES ($1, 'all', $2, $3)";
const NEWEST: &str =
    "SELECT id, newsletter_id FROM signups WHERE email_key = $1 ORDER BY requested_at DESC LIMIT 1";

/// As a bounce or a spam report does.
pub(crate) async fn suppress(app: &TestApp, email: &str, reason: &'static str, at: Timestamp) {
    let key = app.keys.suppression_key(email).hash;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SUPPRESS)
                    .bind(&key[..])
                    .bind(reason)
                    .bind(at)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await
        .unwrap();
}

/// What the mail of this address's newest sign-up becomes when it is claimed for the first time.
pub(crate) async fn claim(app: &TestApp, email: &str) -> Decision {
    claim_as(app, email, NoticeKind::Confirmation).await
}

/// The same for a mail of this kind.
pub(crate) async fn claim_as(app: &TestApp, email: &str, kind: NoticeKind) -> Decision {
    let (signup, newsletter): (SignupId, NewsletterId) =
        read_db!(&app.db, |conn| sqlx::query_as(NEWEST)
            .bind(email)
            .fetch_one(conn)
            .await)
        .unwrap();
    let work = app.app.clone();
    let claimed = Claimed {
        kind,
        newsletter,
        signup: Some(signup),
        subscription: None,
        is_first_claim: true,
    };
    app.db
        .write(move |tx| Box::pin(async move { notice::decide(tx, &work, claimed).await }))
        .await
        .unwrap()
}

async fn sign_up(site: &Site, email: &str) -> Answer {
    site.post("/subscribe/world", &[("email", email)]).await
}

db_test!(
    a_form_is_answered_with_one_fixed_page_and_queues_one_mail,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let answer = sign_up(&site, " Ada@Example.ORG ").await;
        answer.assert_status(303);
        assert_eq!(answer.header("location"), Some("/subscribe/world/sent"));
        assert_eq!(answer.header("set-cookie"), None);
        let page = site.get("/subscribe/world/sent").await;
        page.assert_status(200);
        assert!(
            page.body.contains("Check your inbox") && page.body.contains("news@world-review.org")
        );
        assert!(!page.body.to_lowercase().contains("ada@"));
        assert_eq!(app.rows_of("signup").await, ["signup ada@example.org open"]);
        assert_eq!(
            app.rows_of("delivery").await,
            ["delivery confirmation Ada@Example.ORG pending -"]
        );
        assert!(app.rows_of("subscriber").await.is_empty());
        site.stop().await;
    }
);

db_test!(a_script_gets_json, async |app: &TestApp| {
    app.newsletter("world").await;
    let site = app.serve().await;
    let body = r#"{"email": "ada@example.org", "cadence": "weekly"}"#;
    let answer = site.post_json("/subscribe", body).await;
    answer.assert_status(202);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.body.contains("\"status\":\"check_inbox\""));

    let answer = site.post_json("/subscribe", r#"{"email": "ada@"}"#).await;
    answer.assert_status(422);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], 422);
    assert_eq!(problem["errors"][0]["pointer"], "/email");
    assert_eq!(problem["errors"][0]["code"], "address-no-domain");
    site.stop().await;
});

db_test!(
    the_answer_is_the_same_whatever_the_state_of_the_address,
    GENEROUS,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        sign_up(&site, "pending@example.org").await;
        app.reader(&site, "world", "active@example.org").await;
        let leave = app.reader(&site, "world", "former@example.org").await;
        site.post(&leave, &[("page", "1")]).await.assert_status(200);
        suppress(app, "bounced@example.org", "hard_bounce", app.now()).await;
        suppress(app, "annoyed@example.org", "complaint", app.now()).await;

        for accept in ["text/html", "application/json"] {
            let mut answers = Vec::new();
            for state in [
                "unknown", "pending", "active", "former", "bounced", "annoyed",
            ] {
                let body = format!("email={state}%40example.org");
                let headers = [
                    ("content-type", "application/x-www-form-urlencoded"),
                    ("accept", accept),
                ];
                let answer = site.send("POST", "/subscribe/world", &headers, &body).await;
                answers.push((answer.status, answer.steady_headers(), answer.body));
            }
            // A trap that was filled looks no different either.
            let body = "email=robot%40example.org&website=x";
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("accept", accept),
            ];
            let answer = site.send("POST", "/subscribe/world", &headers, body).await;
            answers.push((answer.status, answer.steady_headers(), answer.body));
            answers.dedup();
            assert_eq!(answers.len(), 1, "{answers:?}");
        }
        let robots: Vec<_> = app.rows_of("signup robot").await;
        assert!(robots.is_empty(), "{robots:?}");
        site.stop().await;
    }
);

db_test!(
    what_the_mail_becomes_is_decided_when_it_is_claimed,
    GENEROUS,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let confirmation = Decision::Send(NoticeKind::Confirmation, None);

        sign_up(&site, "new@example.org").await;
        assert_eq!(claim(app, "new@example.org").await, confirmation);

        let leave = app.reader(&site, "world", "former@example.org").await;
        site.post(&leave, &[]).await.assert_status(200);
        app.time.advance(Duration::from_millis(1));
        sign_up(&site, "former@example.org").await;
        assert_eq!(claim(app, "former@example.org").await, confirmation);

        app.reader(&site, "world", "active@example.org").await;
        app.time.advance(Duration::from_millis(1));
        sign_up(&site, "active@example.org").await;
        let subscription = app.subscription("active@example.org").await;
        assert_eq!(
            claim(app, "active@example.org").await,
            Decision::Send(NoticeKind::ManageLink, Some(subscription))
        );
        app.time.advance(Duration::from_hours(25));
        sign_up(&site, "active@example.org").await;
        assert_eq!(
            claim(app, "active@example.org").await,
            Decision::Skip(Reason::ToldAlready),
            "said once in seven days"
        );

        for (reason, at, expect) in [
            ("complaint", app.now(), Decision::Skip(Reason::Suppressed)),
            ("operator", app.now(), Decision::Skip(Reason::Suppressed)),
            ("request", app.now(), Decision::Skip(Reason::Suppressed)),
            ("erased", app.now(), confirmation),
            ("hard_bounce", app.now(), Decision::Skip(Reason::Suppressed)),
            (
                "hard_bounce",
                app.now() - Duration::from_hours(31 * 24),
                confirmation,
            ),
        ] {
            let email = format!("{reason}{}@example.org", at.as_micros());
            suppress(app, &email, reason, at).await;
            sign_up(&site, &email).await;
            assert_eq!(claim(app, &email).await, expect, "{reason}");
        }

        sign_up(&site, "late@example.org").await;
        app.time.advance(Duration::from_hours(49));
        assert_eq!(
            claim(app, "late@example.org").await,
            Decision::Skip(Reason::Expired)
        );
        site.stop().await;
    }
);

db_test!(
    one_mailbox_gets_one_confirmation_in_ten_minutes_and_two_in_a_day,
    GENEROUS,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let mut sent = 0;
        for number in 0..30 {
            let email = format!("a.da+{number}@gmail.com");
            sign_up(&site, &email).await.assert_status(303);
            if claim(app, &email).await != Decision::Skip(Reason::AddressLimit) {
                sent += 1;
            }
            app.time.advance(Duration::from_mins(15));
        }
        assert_eq!(sent, 2);
        site.stop().await;
    }
);

db_test!(
    one_client_may_sign_up_five_times_an_hour_and_cannot_claim_to_be_another,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        // hits are counted by tenths of an hour: at the end of one
        let tenth = 360_000_000;
        let passed = app.now().as_micros().rem_euclid(tenth);
        let rest = u64::try_from((2 * tenth - passed - 1_000_000) % tenth).unwrap();
        app.time.advance(Duration::from_micros(rest));
        for number in 0..5 {
            sign_up(&site, &format!("reader{number}@example.org"))
                .await
                .assert_status(303);
        }
        for forged in ["203.0.113.9", "127.0.0.1, 203.0.113.9", "garbage"] {
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("x-forwarded-for", forged),
                ("forwarded", "for=203.0.113.10"),
            ];
            let body = "email=reader6%40example.org";
            let answer = site.send("POST", "/subscribe/world", &headers, body).await;
            answer.assert_status(429);
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((60..=4000).contains(&wait), "{wait}");
        }
        assert_eq!(app.rows_of("signup").await.len(), 5);
        let robot = [("email", "robot@example.org"), ("website", "x")];
        let caught = site.post("/subscribe/world", &robot).await;
        caught.assert_status(429);
        app.time.advance(Duration::from_mins(59));
        let early = sign_up(&site, "reader6@example.org").await;
        early.assert_status(429);
        app.time.advance(Duration::from_hours(1));
        sign_up(&site, "reader6@example.org")
            .await
            .assert_status(303);
        site.stop().await;
    }
);

db_test!(
    a_hit_is_not_removed_while_a_limit_still_counts_it,
    [("signup.client_limits", "1/60d")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        sign_up(&site, "ada@example.org").await.assert_status(303);
        for days in [2, 29, 28] {
            app.time.advance(Duration::from_hours(24 * days));
            remove_outdated(app).await.unwrap();
            let again = sign_up(&site, "ada@example.org").await;
            again.assert_status(429);
        }
        site.stop().await;
    }
);

db_test!(
    forms_that_cannot_be_taken_say_why_and_change_nothing,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let long = format!("{}@example.org", "a".repeat(300));
        let words = [
            ("", "Please type your email address."),
            ("ada", "An email address has an @ sign"),
            ("a@b@example.org", "only one @ sign"),
            (
                "ada@example.org\r\nBcc: x@example.org",
                "no spaces, line breaks",
            ),
            ("\"a b\"@example.org", "no spaces"),
            ("\"ab\"@example.org", "a character before the @ sign"),
            ("ada@[127.0.0.1]", "must be a name"),
            ("ada@127.0.0.1", "must be a name"),
            ("ada@localhost", "incomplete"),
            ("ada@example.test", "kept for tests"),
            ("a..b@example.org", "A dot stands at the wrong place"),
            ("postmaster@example.org", "a function, not to a reader"),
            (&long, "too long"),
            ("ada\0@example.org", "invisible characters"),
        ];
        for (email, expect) in words {
            let answer = sign_up(&site, email).await;
            answer.assert_status(422);
            assert_eq!(
                answer.body.matches(expect).count(),
                2,
                "{email:?}: {}",
                answer.body
            );
            assert!(answer.body.contains("<title>Error: "), "{email:?}");
        }
        let form = [("email", "a@example.org"), ("email", "b@example.org")];
        let twice = site.post("/subscribe/world", &form).await;
        assert!(
            twice
                .assert_status(422)
                .body
                .contains("one email address only")
        );
        let form = [
            ("email", "a@example.org"),
            ("cadence", "hourly"),
            ("topic", "nope"),
        ];
        let odd = site.post("/subscribe/world", &form).await;
        odd.assert_status(422);
        assert!(
            odd.body.contains("value=\"a@example.org\""),
            "what was typed is kept"
        );

        let huge = format!("email={}", "a".repeat(20_000));
        let form = "application/x-www-form-urlencoded";
        let refused = [
            ("application/json", "{\"email\":", 400, "malformed"),
            ("application/json", "[]", 400, "malformed"),
            ("multipart/form-data", "x", 400, "malformed"),
            ("image/png", "x", 415, "unsupported-type"),
            (form, huge.as_str(), 413, "too-large"),
        ];
        for (content_type, body, status, kind) in refused {
            for accept in ["text/html", "application/json"] {
                let headers = [("content-type", content_type), ("accept", accept)];
                let answer = site.send("POST", "/subscribe/world", &headers, body).await;
                answer.assert_status(status);
                assert_explained(&answer, accept, kind);
            }
        }
        assert_eq!(app.rows().await, Vec::<String>::new());
        site.stop().await;
    }
);

db_test!(
    an_international_domain_is_one_address_in_both_its_forms,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        sign_up(&site, "ada@bücher.de").await.assert_status(303);
        sign_up(&site, "ada@XN--bcher-kva.de")
            .await
            .assert_status(303);
        assert_eq!(
            app.rows_of("signup").await,
            ["signup ada@xn--bcher-kva.de open"; 2]
        );
        site.stop().await;
    }
);

db_test!(
    where_there_are_several_newsletters_one_must_be_named,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let form = [("email", "ada@example.org")];
        site.post("/subscribe", &form).await.assert_status(303);
        app.newsletter("asia").await;
        let answer = site.post("/subscribe", &form).await;
        answer.assert_status(422);
        assert!(answer.body.contains("Please choose a newsletter."));
        assert!(answer.body.contains("value=\"asia\""));
        let form = [("email", "ada@example.org"), ("newsletter", "nope")];
        site.post("/subscribe", &form).await.assert_status(422);
        let form = [("email", "ada@example.org"), ("newsletter", "asia")];
        let answer = site.post("/subscribe", &form).await;
        assert_eq!(answer.header("location"), Some("/subscribe/asia/sent"));
        site.post("/subscribe/nope", &form).await.assert_status(404);
        site.stop().await;
    }
);

/// A refusal says what was wrong in words, as a page or as a problem that a program can read.
fn assert_explained(answer: &Answer, accept: &str, kind: &str) {
    if accept == "text/html" {
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let (_, heading) = answer.body.split_once("<h1>").expect("a heading");
        let (heading, rest) = heading.split_once("</h1>").expect("its end");
        assert!(heading.contains(' ') && rest.contains("<p"), "{heading}");
        return;
    }
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], answer.status);
    assert!(
        problem["type"].as_str().unwrap().ends_with(kind),
        "{problem}"
    );
    assert!(
        problem["title"].as_str().unwrap().contains(' '),
        "{problem}"
    );
}
