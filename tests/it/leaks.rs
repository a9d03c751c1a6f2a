//! What must never stand in a log, however much is logged: addresses, tokens, passwords, keys, subjects.

use std::time::Duration;

use data_encoding::BASE64;
use paperround::accounts::{Scope, tokens};
use reqwest::Client;
use serde_json::json;

use crate::support::service::Service;
use crate::support::smtp_server::{Accepted, Act, Authority, Offers, SmtpServer, Step};
use crate::support::{TestApp, db_test};

const READER: &str = "zebra.crossing@planted.example.org";
const REFUSED: &str = "quagga.crossing@planted.example.org";
const PASSWORD: &str = "Oyster Zweig 1912";
const TITLE: &str = "Narwhals seen off Zanzibar";

/// What the relay took for this reader, once it has a mail that `wanted` likes.
async fn mail(relay: &SmtpServer, wanted: impl Fn(&str) -> bool) -> String {
    let text = |mail: &Accepted| {
        let parsed = mail_parser::MessageParser::default().parse(&mail.raw);
        parsed.unwrap().body_text(0).unwrap().into_owned()
    };
    let found = async {
        loop {
            let accepted = relay.accepted();
            if let Some(text) = accepted.iter().map(text).find(|text| wanted(text)) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), found)
        .await
        .expect("the mail comes")
}

/// The token behind `/kind/` in a mail.
fn token(text: &str, kind: &str) -> String {
    let (_, rest) = text.split_once(&format!("/{kind}/")).expect("a link");
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
    rest[..end.unwrap_or(rest.len())].to_owned()
}

async fn post_form(client: &Client, url: String, body: &str) -> u16 {
    let request = client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.to_owned());
    request.send().await.unwrap().status().as_u16()
}

async fn post_api(client: &Client, url: String, token: &str, body: serde_json::Value) -> u16 {
    let request = client
        .post(&url)
        .bearer_auth(token)
        .header("content-type", "application/json")
        // a key of its own for each kind of request
        .header("idempotency-key", url)
        .body(body.to_string());
    request.send().await.unwrap().status().as_u16()
}

db_test!(
    nothing_secret_stands_in_a_log_at_its_most_talkative,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let made = tokens::create(
            app,
            "test",
            vec![Scope::ArticlesWrite, Scope::IssuesWrite, Scope::IssuesSend],
            None,
            tokens::LIFETIME,
        );
        let api_token = made.await.unwrap().1;
        let authority = Authority::new();
        let relay = SmtpServer::offering(Offers {
            tls: Some(authority.server_for("localhost")),
            implicit_tls: true,
            login: Some(("postmaster".to_owned(), PASSWORD.to_owned())),
            mechanisms: "PLAIN LOGIN".to_owned(),
            ..Offers::default()
        })
        .await;
        let answer = format!("550 5.1.1 <{REFUSED}>: no such user");
        relay
            .script()
            .always_for(REFUSED, Step::Rcpt, Act::reply(&answer));
        let url = format!("smtps://postmaster@localhost:{}", relay.port());
        let settings = [
            ("PAPERROUND_SMTP__URL", url.as_str()),
            ("PAPERROUND_SMTP__PASSWORD", PASSWORD),
            (
                "PAPERROUND_SMTP__CA_FILE",
                authority.pem_file().to_str().unwrap(),
            ),
            ("PAPERROUND_LOG__LEVEL", "trace"),
        ];
        let service = Service::start(app, &settings).await;
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();

        for email in [REFUSED, READER] {
            let form = format!("email={}", email.replace('@', "%40"));
            let status = post_form(&client, service.url("/subscribe/world"), &form).await;
            assert_eq!(status, 303);
        }
        let confirm = token(
            &mail(&relay, |text| text.contains("/confirm/")).await,
            "confirm",
        );
        let link = service.url(&format!("/confirm/{confirm}"));
        client.get(&link).send().await.unwrap();
        assert_eq!(post_form(&client, link, "").await, 200);
        mail(&relay, |text| text.contains("/unsubscribe/")).await;

        let article = json!({"external_id": "a", "url": "https://example.org/a", "title": TITLE});
        let articles = json!({"newsletter": "world", "articles": [article]});
        let url = service.url("/api/v1/articles");
        assert_eq!(post_api(&client, url, &api_token, articles).await, 200);
        let url = service.url("/api/v1/newsletters/world/issues");
        let issue = json!({"send": true});
        assert_eq!(post_api(&client, url, &api_token, issue).await, 202);
        let digest = mail(&relay, |text| text.contains(TITLE)).await;
        let unsubscribe = token(&digest, "unsubscribe");
        let link = service.url(&format!("/unsubscribe/{unsubscribe}"));
        client.get(&link).send().await.unwrap();
        let one_click = "List-Unsubscribe=One-Click";
        assert_eq!(post_form(&client, link, one_click).await, 200);
        assert_eq!(app.rows_of("consent withdrawn").await.len(), 1);

        let log = app.folder().join("serve.log");
        assert!(service.terminate().await.success());
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains("\"level\":\"DEBUG\"") && log.contains(" is sent"));
        let plain = format!("\0postmaster\0{PASSWORD}");
        let mut secrets = vec![
            ("the reader's address", READER.to_owned()),
            ("the refused address", REFUSED.to_owned()),
            ("an address in a form", READER.replace('@', "%40")),
            ("the confirm token", confirm),
            ("the unsubscribe token", unsubscribe),
            ("the API token", api_token),
            ("the relay's password", PASSWORD.to_owned()),
            ("the log-in", BASE64.encode(plain.as_bytes())),
            (
                "the log-in in two steps",
                BASE64.encode(PASSWORD.as_bytes()),
            ),
            ("the subject", TITLE.to_owned()),
        ];
        let keys = std::fs::read_to_string(app.config.secrets_file()).unwrap();
        let keys = keys
            .lines()
            .filter_map(|line| line.strip_prefix("secret = "));
        let keys: Vec<_> = keys
            .map(|key| key.trim_matches(['"', '\'']).to_owned())
            .collect();
        assert!(keys.len() > 1, "the file has keys");
        secrets.extend(keys.into_iter().map(|key| ("a key", key)));
        for (what, secret) in secrets {
            let told = log.lines().find(|line| line.contains(&secret));
            assert_eq!(told, None, "{what} stands in the log");
        }
        let error = log
            .lines()
            .find(|line| line.contains("\"level\":\"ERROR\""));
        assert_eq!(error, None, "nothing went wrong");
    }
);
