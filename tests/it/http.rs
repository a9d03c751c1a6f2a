//! The accept loop and what clients may not do to it: slow, many, forged.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::http::Answer;
use crate::support::{TestApp, db_test};

/// Waits until the service has closed this connection.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    let ended = tokio::time::timeout(Duration::from_secs(20), read).await;
    // A reset closes as well.
    let _ = ended.expect("it is closed in time");
    rest
}

db_test!(probes_answer, async |app: &TestApp| {
    let site = app.serve().await;
    assert_eq!(site.get("/healthz").await.body, "ok\n");
    assert_eq!(site.get("/readyz").await.assert_status(200).body, "ok\n");
    site.stop().await;
});

db_test!(
    slow_heads_are_cut_off_while_others_are_served,
    [("server.header_timeout", "300ms")],
    async |app: &TestApp| {
        let site = app.serve().await;
        let mut slow = site.connect().await;
        slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            .await
            .unwrap();
        let mut silent = site.connect().await;
        site.get("/healthz").await.assert_status(200);
        closed(&mut slow).await;
        closed(&mut silent).await;
        site.get("/healthz").await.assert_status(200);
        site.stop().await;
    }
);

db_test!(
    idle_connections_without_end_do_not_keep_others_out,
    [
        ("server.max_connections", "64"),
        ("server.header_timeout", "60s")
    ],
    async |app: &TestApp| {
        let site = app.serve().await;
        let mut idle = Vec::new();
        for _ in 0..300 {
            let mut stream = site.connect().await;
            stream.write_all(b"GET /heal").await.unwrap();
            idle.push(stream);
        }
        for _ in 0..5 {
            site.get("/healthz").await.assert_status(200);
        }
        closed(&mut idle[0]).await;
        site.stop().await;
    }
);

db_test!(
    a_connection_serves_several_requests,
    async |app: &TestApp| {
        let site = app.serve().await;
        let two = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answers = site.raw(two.as_bytes()).await;
        let text = String::from_utf8(answers).unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
        site.stop().await;
    }
);

db_test!(no_header_changes_a_link, async |app: &TestApp| {
    app.newsletter("world").await;
    let site = app.serve().await;
    let honest: Vec<Answer> = vec![site.get("/subscribe/world").await, site.get("/").await];
    for (path, honest) in ["/subscribe/world", "/"].iter().zip(&honest) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n\
             X-Forwarded-Proto: gopher\r\nForwarded: host=evil.example;proto=gopher\r\n\
             X-Original-URL: /evil\r\nConnection: close\r\n\r\n"
        );
        let answer = crate::support::http::parse(&site.raw(request.as_bytes()).await);
        assert_eq!(answer.body, honest.body);
    }
    let body = "email=ada%40example.org";
    let request = format!(
        "POST /subscribe/world HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = crate::support::http::parse(&site.raw(request.as_bytes()).await);
    assert_eq!(answer.header("location"), Some("/subscribe/world/sent"));
    site.stop().await;
});

db_test!(
    behind_a_proxy_each_client_has_its_own_limit,
    [
        ("server.trusted_proxies", "127.0.0.0/8"),
        ("signup.client_limits", "1/1h")
    ],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let post = async |forwarded: &str, email: &str| {
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("x-forwarded-for", forwarded),
            ];
            let body = format!("email={email}%40example.org");
            site.send("POST", "/subscribe/world", &headers, &body)
                .await
                .status
        };
        assert_eq!(post("203.0.113.9", "a").await, 303);
        assert_eq!(post("203.0.113.9", "b").await, 429);
        assert_eq!(
            post("198.51.100.7, 203.0.113.9", "c").await,
            429,
            "what is left of it is forged"
        );
        assert_eq!(post("203.0.113.9, 198.51.100.7", "d").await, 303);
        site.stop().await;
    }
);

db_test!(
    requests_that_are_no_http_are_refused,
    async |app: &TestApp| {
        let site = app.serve().await;
        for request in [
        "GET\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}hello tls\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(500)),
        "POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_owned(),
    ] {
        let mut stream = site.connect().await;
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = closed(&mut stream).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
        site.get("/healthz").await.assert_status(200);
        site.stop().await;
    }
);

db_test!(stopping_closes_idle_connections, async |app: &TestApp| {
    let site = app.serve().await;
    let mut idle = site.connect().await;
    site.get("/healthz").await.assert_status(200);
    site.stop().await;
    closed(&mut idle).await;
});
