//! How often one may ask: whose asking counts together, and when it is right to come back.

use std::time::Duration;

use crate::support::http::{Answer, Site};
use crate::support::{TestApp, db_test};

/// The sign-up of a reader by a proxy, which says from where.
async fn sign_up(site: &Site, from: &str) -> Answer {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-forwarded-for", from),
    ];
    let body = "email=ada%40example.org";
    site.send("POST", "/subscribe/world", &headers, body).await
}

db_test!(
    clients_of_one_network_count_together_and_all_count_for_the_instance,
    [
        ("server.trusted_proxies", "127.0.0.0/8"),
        ("signup.network_limits", "2/1h"),
        ("signup.instance_limits", "3/1h")
    ],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        for (from, status) in [
            ("203.0.113.1", 303),
            ("203.0.113.2", 303),
            ("203.0.113.3", 429),
            ("198.51.100.1", 303),
            ("192.0.2.1", 503),
        ] {
            assert_eq!(sign_up(&site, from).await.status, status, "{from}");
        }
        site.stop().await;
    }
);

db_test!(
    a_client_who_comes_back_when_it_was_told_to_is_taken,
    [("signup.client_limits", "1/1h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        sign_up(&site, "").await.assert_status(303);
        let refused = sign_up(&site, "").await;
        refused.assert_status(429);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        app.time.advance(Duration::from_secs(wait - 1));
        sign_up(&site, "").await.assert_status(429);
        app.time.advance(Duration::from_secs(1));
        sign_up(&site, "").await.assert_status(303);
        site.stop().await;
    }
);

db_test!(
    of_limits_that_are_used_up_the_one_that_lasts_longest_says_when_to_come_back,
    [("signup.client_limits", "1/10m, 1/5h, 1/1h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        sign_up(&site, "").await.assert_status(303);
        let refused = sign_up(&site, "").await;
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        // five hours and what a tenth of them may add
        assert!((5 * 3600..=11 * 1800).contains(&wait), "{wait}");
        site.stop().await;
    }
);

db_test!(
    wrong_links_are_no_sign_ups,
    [
        ("signup.wrong_token_limits", "1/1h"),
        ("signup.client_limits", "1/1h")
    ],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let wrong = format!("/confirm/{}", "A".repeat(43));
        site.post(&wrong, &[]).await.assert_status(404);
        site.post(&wrong, &[]).await.assert_status(429);
        sign_up(&site, "").await.assert_status(303);
        site.stop().await;
    }
);

db_test!(
    neighbours_in_one_network_do_not_use_up_each_others_limits,
    [
        ("server.trusted_proxies", "127.0.0.0/8"),
        ("signup.client_limits", "1/1h"),
        ("signup.wrong_token_limits", "1/1h")
    ],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let wrong = format!("/confirm/{}", "A".repeat(43));
        for (from, taken, pressed) in [
            ("203.0.113.1", 303, 404),
            ("203.0.113.2", 303, 404),
            ("203.0.113.1", 429, 429),
        ] {
            assert_eq!(sign_up(&site, from).await.status, taken, "{from}");
            let headers = [("x-forwarded-for", from)];
            let answer = site.send("POST", &wrong, &headers, "").await;
            assert_eq!(answer.status, pressed, "{from}");
        }
        site.stop().await;
    }
);

db_test!(
    each_sign_up_counts_once_also_where_two_limits_have_the_same_time,
    [("signup.client_limits", "4/1h, 2/1h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        for status in [303, 303, 429] {
            sign_up(&site, "").await.assert_status(status);
        }
        site.stop().await;
    }
);

db_test!(
    a_client_waits_until_the_oldest_of_its_sign_ups_is_long_past,
    [("signup.client_limits", "2/1h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        sign_up(&site, "").await.assert_status(303);
        app.time.advance(Duration::from_mins(30));
        sign_up(&site, "").await.assert_status(303);
        let refused = sign_up(&site, "").await;
        refused.assert_status(429);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        // half an hour and what a tenth of an hour may add
        assert!((30 * 60..=36 * 60).contains(&wait), "{wait}");
        app.time.advance(Duration::from_secs(wait));
        sign_up(&site, "").await.assert_status(303);
        site.stop().await;
    }
);
