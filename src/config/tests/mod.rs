use std::time::Duration;

use super::*;

mod list;
mod relays;
mod secrets;

fn sources() -> Sources {
    Sources::default().with("server.base_url", "https://news.example.org")
}

fn with_environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sources {
        environment: environment.collect(),
        ..sources()
    }
}

fn with_file(text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("paperround.toml");
    std::fs::write(&path, text).unwrap();
    (
        dir,
        Sources {
            file: Some(path),
            ..Sources::default()
        },
    )
}

fn refusal(sources: &Sources) -> String {
    Config::load(sources)
        .expect_err("these settings are wrong")
        .to_string()
}

#[test]
fn the_public_address_is_all_that_must_be_set() {
    let config = Config::load(&sources()).unwrap();
    assert_eq!(config.server.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.base_url.as_str(), "https://news.example.org");
    assert!(
        matches!(config.database_target(), DatabaseTarget::Sqlite(path) if path.ends_with("data/paperround.db"))
    );
    assert!(config.smtp.relay().is_none());
    assert_eq!(config.delivery.grace, Duration::from_mins(15));
    assert_eq!(config.delivery.in_doubt, InDoubt::Resend);
    assert_eq!(config.signup.address_limits.len(), 3);
    assert_eq!(config.id_domain(), "news.example.org");

    let message = refusal(&Sources::default());
    assert!(
        message.contains("server.base_url (not set) is required and not set"),
        "{message}"
    );
    assert!(
        message.contains("PAPERROUND_SERVER__BASE_URL=https://news.example.org"),
        "{message}"
    );
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let (_dir, mut sources) = with_file(
        "data_dir = '/srv/a'\n[server]\nbase_url = 'https://a.example.org'\nbind = '[::]:1'\nmax_connections = 7\n",
    );
    sources.environment = vec![("PAPERROUND_SERVER__BIND".to_owned(), "0.0.0.0:2".to_owned())];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.server.bind.to_string(), "0.0.0.0:2");
    assert_eq!(config.server.max_connections, 7);
    assert_eq!(config.data_dir, Path::new("/srv/a"));

    let source = |key: &str| {
        config
            .show()
            .iter()
            .find(|shown| shown.key == key)
            .unwrap()
            .source
            .clone()
    };
    assert_eq!(source("server.bind"), "PAPERROUND_SERVER__BIND");
    assert!(
        source("server.base_url").starts_with("file ")
            && source("server.base_url").ends_with("paperround.toml")
    );
    assert_eq!(source("log.level"), "default");
    assert_eq!(source("smtp.url"), "default");
}

#[test]
fn unknown_settings_are_refused_with_a_suggestion() {
    let (_dir, sources) = with_file(
        "[server]\nbase_url = 'https://a.example.org'\nbnid = '[::]:1'\n[smpt]\nurl = 'x'\n",
    );
    let message = refusal(&sources);
    assert!(message.contains("2 errors"), "{message}");
    assert!(message.contains("server.bnid (file "), "{message}");
    assert!(message.contains("Did you mean server.bind?"), "{message}");
    assert!(message.contains("Did you mean smtp.url?"), "{message}");

    let message = refusal(&with_environment(&[
        ("PAPERROUND_SERVER_BIND", "x"),
        ("PAPERROUND_ZZZZ", "secret-thing"),
    ]));
    assert!(
        message.contains("Did you mean PAPERROUND_SERVER__BIND?"),
        "{message}"
    );
    assert!(
        message.contains("PAPERROUND_ZZZZ (environment) is not a setting."),
        "{message}"
    );
    assert!(!message.contains("secret-thing"), "{message}");
}

/// Variable, value, and what is said about it.
const WRONG: &str = "\
SERVER__BASE_URL = example.org => must be a whole URL
SERVER__BASE_URL = http://example.org => must begin with https://
SERVER__BIND = 8080 => socket address
SERVER__MAX_CONNECTIONS = many => must be a whole number
SERVER__MAX_CONNECTIONS = -1 => must be a whole number
SERVER__TRUSTED_PROXIES = 10.0.0.0/40 => must be networks
DATABASE__URL = mysql://x => must be sqlite:PATH or postgres://
SMTP__URL = mail.example.org:25 => must begin with smtps://
SMTP__URL = smtp://user@host/path => must end after the host and port
SMTP__URL = smtps://user@host?tls=none => must end after the host and port
SMTP__URL = smtps://user@host#tls => must end after the host and port
SMTP__TLS = maybe => must be one of: implicit, starttls, none
SMTP__SMTPUTF8 = perhaps => must be true or false
MAIL__SENDER_ID = a b => must be 5 to 15 letters and digits
MAIL__SEPARATOR = = => must be one of: +, -, none
MAIL__BOUNCE_DOMAIN = https://x => must be a host name
MAIL__ENVELOPE_FROM = x => must be one address
FETCH__ALLOW = a b => must be host names
DELIVERY__IN_DOUBT = drop => must be one of: resend, hold
DELIVERY__GRACE = 15 => must be a time with its unit
DELIVERY__GRACE = 15 years => must be a time with its unit
SIGNUP__CONFIRM_LIFETIME = 1m => must be between 1h and 7d
SIGNUP__CLIENT_LIMITS = 5 => must be limits
LOG__LEVEL = =,= => must be error, warn
LOG__FORMAT = xml => must be one of: auto, text, json";

#[test]
fn every_wrong_value_says_where_it_came_from_and_what_to_write() {
    for line in WRONG.lines() {
        let (assignment, expect) = line.split_once(" => ").unwrap();
        let (name, value) = assignment.split_once(" = ").unwrap();
        let variable = &format!("PAPERROUND_{name}");
        let sources = Sources {
            environment: vec![
                (
                    "PAPERROUND_SERVER__BASE_URL".to_owned(),
                    "https://news.example.org".to_owned(),
                ),
                (variable.clone(), value.to_owned()),
            ],
            ..Sources::default()
        };
        let message = refusal(&sources);
        assert!(message.contains(expect), "{variable}={value}: {message}");
        assert!(message.contains(&format!("({variable})")), "{message}");
        assert!(message.contains("write, for example: "), "{message}");
    }
}

#[test]
fn a_wrong_value_in_each_group_is_reported_at_once() {
    let message = refusal(&with_environment(&[
        ("PAPERROUND_LOG__FORMAT", "xml"),
        ("PAPERROUND_DELIVERY__GRACE", "x"),
    ]));
    assert!(
        message.contains("2 errors")
            && message.contains("log.format")
            && message.contains("delivery.grace"),
        "{message}"
    );
}

#[test]
fn settings_that_contradict_one_another_are_refused() {
    let (url, password) = ("PAPERROUND_SMTP__URL", ("PAPERROUND_SMTP__PASSWORD", "x"));
    for (pairs, expect) in [
        (vec![password], "is given without smtp.url"),
        (
            vec![(url, "smtps://h.example.org"), password],
            "has no user",
        ),
        (
            vec![(url, "smtps://u@h.example.org")],
            "smtp.password is not set",
        ),
        (
            vec![
                (url, "smtps://h.example.org"),
                ("PAPERROUND_SMTP__TLS", "none"),
            ],
            "begins with smtps://",
        ),
        (
            vec![
                (url, "smtp://h.example.org"),
                ("PAPERROUND_SMTP__TLS", "none"),
            ],
            "without TLS beyond this machine",
        ),
        (
            vec![
                (url, "smtp://u@127.0.0.1"),
                password,
                ("PAPERROUND_SMTP__TLS", "none"),
            ],
            "never sent without TLS",
        ),
        (
            vec![("PAPERROUND_DATABASE__URL", "postgres://h/n")],
            "secrets.file (default) is required with PostgreSQL",
        ),
        (
            vec![("PAPERROUND_DELIVERY__HEARTBEAT", "40s")],
            "less than half",
        ),
        (
            vec![("PAPERROUND_DELIVERY__HEARTBEAT", "30s")],
            "less than half",
        ),
        (
            vec![("PAPERROUND_DELIVERY__TRANSMISSION_LEASE", "14m")],
            "must be longer",
        ),
        (
            vec![("PAPERROUND_DELIVERY__TRANSMISSION_LEASE", "10m")],
            "must be longer",
        ),
    ] {
        let message = refusal(&with_environment(&pairs));
        assert!(message.contains(expect), "{pairs:?}: {message}");
    }
    let local = [
        (url, "smtp://127.0.0.1:2525"),
        ("PAPERROUND_SMTP__TLS", "none"),
    ];
    assert_eq!(
        Config::load(&with_environment(&local))
            .unwrap()
            .smtp
            .relay()
            .unwrap()
            .port,
        2525
    );
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let sources = Sources {
        file: Some("/nowhere/paperround.toml".into()),
        ..Sources::default()
    };
    assert!(
        refusal(&sources).contains("file /nowhere/paperround.toml cannot be read: No such file")
    );
}

#[test]
fn lists_are_arrays_or_texts_with_commas() {
    let allow = |sources: &Sources| Config::load(sources).unwrap().fetch.allow;
    let expect = vec![
        FetchAllowance::Host("intranet.example.org".to_owned()),
        FetchAllowance::Network("10.0.0.0/8".parse().unwrap()),
        FetchAllowance::Network("127.0.0.1/32".parse().unwrap()),
        FetchAllowance::Port(8080),
    ];
    assert_eq!(
        allow(&with_environment(&[(
            "PAPERROUND_FETCH__ALLOW",
            "intranet.example.org, 10.0.0.0/8,127.0.0.1,8080"
        )])),
        expect
    );
    let (_dir, sources) = with_file(
        "server.base_url = 'https://a.example.org'\nfetch.allow = ['intranet.example.org', '10.0.0.0/8', '127.0.0.1', 8080]\n",
    );
    assert_eq!(allow(&sources), expect);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let sources = with_environment(&[
        ("PAPERROUND_SMTP__URL", ""),
        ("PAPERROUND_CONFIG", "x.toml"),
        ("HOME", "/root"),
    ]);
    assert!(Config::load(&sources).unwrap().smtp.relay().is_none());
}

#[test]
fn spans_have_units() {
    for (text, millis) in [
        ("30s", 30_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
        ("5 m", 0),
        ("500ms", 500),
        ("1h 5s", 3_605_000),
    ] {
        let parsed = parse_duration(text).map_or(0, |span| span.as_millis());
        assert_eq!(parsed, millis, "{text}");
    }
    for text in [
        "",
        "15",
        "-1s",
        "1.5h",
        "s",
        "1w",
        "99999999999999999999d",
        "40000d",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn what_has_bounds_is_taken_up_to_them_and_no_further() {
    for (key, taken, refused) in [
        ("signup.confirm_lifetime", ["1h", "7d"], ["59m59s", "7d1s"]),
        (
            "mail.sender_id",
            ["abcd5", "abcdefghijklm15"],
            ["abc4", "abcdefghijklmn16"],
        ),
    ] {
        for value in taken {
            let config = Config::load(&sources().with(key, value));
            assert!(config.is_ok(), "{key} = {value}");
        }
        for value in refused {
            let message = refusal(&sources().with(key, value));
            assert!(message.contains("must be "), "{value}: {message}");
        }
    }
}

#[test]
fn mails_and_lists_are_named_under_a_domain_each() {
    let host = "news.example.org";
    for (key, mails, lists) in [
        ("mail.id_domain", "own.example", host),
        ("mail.list_domain", host, "own.example"),
    ] {
        let config = Config::load(&sources().with(key, "own.example")).unwrap();
        let found = (config.id_domain(), config.list_domain());
        assert_eq!(found, (mails, lists), "{key}");
    }
}
