use secrecy::ExposeSecret as _;

use super::*;

const TWO: &str = r#"
[server]
base_url = "https://news.example.org"
[smtp]
rate = 20
[[smtp.relays]]
name = "own"
url = "smtps://ada:pw@smtp.example.org"
rate = 14.5
burst = 3
max_connections = 5
[[smtp.relays]]
url = "smtp://127.0.0.1:2525"
tls = "none"
"#;

#[test]
fn several_relays_stand_in_their_order_and_take_what_they_do_not_say_from_above() {
    let (_dir, sources) = with_file(TWO);
    let relays = Config::load(&sources).unwrap().smtp.relays();
    let shown: Vec<_> = relays
        .iter()
        .map(|relay| (relay.name.as_str(), relay.port, relay.rate, relay.burst))
        .collect();
    assert_eq!(
        shown,
        [
            ("own", 465, Some(14.5), 3),
            ("127.0.0.1", 2525, Some(20.0), 1)
        ]
    );
    assert_eq!(relays[0].max_connections, 5);
    assert_eq!(relays[1].max_connections, 20);
}

#[test]
fn in_the_environment_they_are_json() {
    let json = r#"[{"name":"a","url":"smtps://u@a.example","password":"x"},{"url":"smtps://b.example","rate":2}]"#;
    let config = Config::load(&with_environment(&[("PAPERROUND_SMTP__RELAYS", json)])).unwrap();
    let names: Vec<_> = config
        .smtp
        .relays()
        .into_iter()
        .map(|relay| relay.name)
        .collect();
    assert_eq!(names, ["a", "b.example"]);
    assert!(!format!("{:?}", config.show()).contains("\"x\""));

    let broken = refusal(&with_environment(&[(
        "PAPERROUND_SMTP__RELAYS",
        r#"[{"password":"hunter2"#,
    )]));
    assert!(
        broken.contains("smtp.relays") && broken.contains("JSON list"),
        "{broken}"
    );
    assert!(!broken.contains("hunter2"), "{broken}");
}

#[test]
fn the_short_form_is_one_relay_with_its_pace() {
    let sources = sources()
        .with("smtp.url", "smtps://relay.example.org")
        .with("smtp.rate", "0.5")
        .with("smtp.burst", "7");
    let relays = Config::load(&sources).unwrap().smtp.relays();
    assert_eq!(relays.len(), 1);
    assert_eq!((relays[0].rate, relays[0].burst), (Some(0.5), 7));
}

#[test]
fn relays_that_cannot_be_meant_are_refused() {
    let with = |line: &str| {
        let (_dir, sources) = with_file(&format!("{TWO}{line}\n"));
        refusal(&sources)
    };
    let twice = with("[[smtp.relays]]\nurl = \"smtps://own.example\"\nname = \"own\"");
    assert!(twice.contains("two relays own"), "{twice}");
    let clear = with("[[smtp.relays]]\nurl = \"smtp://far.example\"\ntls = \"none\"");
    assert!(
        clear.contains("far.example would be used without TLS"),
        "{clear}"
    );
    let unknown = with("[[smtp.relays]]\nurl = \"smtps://far.example\"\nspeed = 3");
    assert!(unknown.contains("speed"), "{unknown}");
    let zero = with("[[smtp.relays]]\nurl = \"smtps://far.example\"\nrate = 0");
    assert!(zero.contains("above 0"), "{zero}");
    let (_dir, sources) = with_file(TWO);
    let both = refusal(&sources.with("smtp.url", "smtps://x.example"));
    assert!(both.contains("beside smtp.url"), "{both}");
}

#[test]
fn a_relays_password_may_stand_in_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "secret\n").unwrap();
    let relay = |path: &Path| {
        format!(
            "[server]\nbase_url = \"https://news.example.org\"\n[[smtp.relays]]\n\
             url = \"smtps://ada@a.example\"\npassword_file = \"{}\"\n",
            path.display()
        )
    };
    let (_dir, sources) = with_file(&relay(&path));
    let relays = Config::load(&sources).unwrap().smtp.relays();
    let password = relays[0].password.as_ref().unwrap();
    assert_eq!(password.expose_secret(), "secret");
    let (_dir, sources) = with_file(&relay(&dir.path().join("none")));
    let message = refusal(&sources);
    assert!(message.contains("cannot be read"), "{message}");
    let twice = relay(&path) + "password = \"another\"\n";
    let (_dir, sources) = with_file(&twice);
    let message = refusal(&sources);
    assert!(message.contains("is given twice"), "{message}");
}

#[test]
fn what_a_relay_says_is_its_own_and_all_else_is_as_above() {
    let (_dir, sources) = with_file(
        r#"
[server]
base_url = "https://news.example.org"
[smtp]
ca_file = "/etc/ours.pem"
max_connections = 0
burst = 9
[[smtp.relays]]
url = "smtps://a.example"
[[smtp.relays]]
url = "smtps://b.example"
ca_file = "/etc/own.pem"
max_connections = 4
burst = 2
"#,
    );
    let relays = Config::load(&sources).unwrap().smtp.relays();
    let shown: Vec<_> = relays
        .iter()
        .map(|relay| {
            let ca_file = relay.ca_file.as_deref().and_then(Path::to_str);
            (ca_file, relay.max_connections, relay.burst)
        })
        .collect();
    assert_eq!(
        shown,
        [(Some("/etc/ours.pem"), 1, 9), (Some("/etc/own.pem"), 4, 2)],
        "and there is one connection at least"
    );
}

#[test]
fn each_protection_has_its_port_and_on_this_machine_none_is_needed() {
    for (url, tls, port) in [
        ("smtps://h.example", None, 465),
        ("smtp://h.example", None, 587),
        ("smtp://h.example", Some("implicit"), 465),
        ("smtp://h.example:2525", Some("starttls"), 2525),
        ("smtp://127.0.0.1", Some("none"), 25),
        ("smtp://[::1]", Some("none"), 25),
        ("smtp://localhost", Some("none"), 25),
    ] {
        let mut sources = sources().with("smtp.url", url);
        if let Some(tls) = tls {
            sources = sources.with("smtp.tls", tls);
        }
        let config = Config::load(&sources);
        let relay = config.map(|config| config.smtp.relay().unwrap());
        let found = relay.map(|relay| relay.port).ok();
        assert_eq!(found, Some(port), "{url} {tls:?}");
    }
}

#[test]
fn percent_signs_in_a_url_stand_for_what_they_mean() {
    let url = "smtps://ada%40example.org:p%2Fw%25@h.example";
    let config = Config::load(&sources().with("smtp.url", url)).unwrap();
    let relay = config.smtp.relay().unwrap();
    assert_eq!(relay.user.as_deref(), Some("ada@example.org"));
    assert_eq!(relay.password.unwrap().expose_secret(), "p/w%");
    for user in ["ada%4", "ada%zz", "ada%+5", "%ff"] {
        let url = format!("smtps://{user}:pw@h.example");
        let message = refusal(&sources().with("smtp.url", url));
        assert!(message.contains("write %25"), "{user}: {message}");
    }
}

#[test]
fn a_private_network_needs_no_tls_and_a_password_does() {
    let private = |url: &str| {
        sources()
            .with("smtp.tls", "none")
            .with("smtp.insecure", "true")
            .with("smtp.url", url)
    };
    let config = Config::load(&private("smtp://h.example")).unwrap();
    assert_eq!(config.smtp.relay().unwrap().tls, RelayTls::None);
    let message = refusal(&private("smtp://ada:pw@h.example"));
    assert!(message.contains("never sent without TLS"), "{message}");
}

#[test]
fn an_empty_password_is_none() {
    let (_dir, sources) = with_file(
        "[server]\nbase_url = 'https://news.example.org'\n\
         [smtp]\nurl = 'smtps://ada@h.example'\npassword = ''\n",
    );
    let message = refusal(&sources);
    assert!(message.contains("has an empty password"), "{message}");
}

#[test]
fn a_password_of_its_own_stands_above_one_in_the_url() {
    let url = "smtps://ada:old@h.example";
    let short = sources().with("smtp.url", url).with("smtp.password", "new");
    let (_dir, several) = with_file(&format!(
        "[server]\nbase_url = 'https://news.example.org'\n\
         [[smtp.relays]]\nurl = '{url}'\npassword = 'new'\n"
    ));
    for sources in [short, several] {
        let relay = Config::load(&sources).unwrap().smtp.relay().unwrap();
        assert_eq!(relay.password.unwrap().expose_secret(), "new");
    }
}

#[test]
fn each_relay_has_its_own_password_file_whatever_those_before_it_have() {
    let dir = tempfile::tempdir().unwrap();
    let relay = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("secret of {name}\n")).unwrap();
        format!(
            "[[smtp.relays]]\nurl = 'smtps://ada@{name}.example'\npassword_file = '{}'\n",
            path.display()
        )
    };
    let (_dir, sources) = with_file(&format!(
        "[server]\nbase_url = 'https://news.example.org'\n\
         [[smtp.relays]]\nurl = 'smtps://open.example'\n{}{}",
        relay("b"),
        relay("c")
    ));
    let relays = Config::load(&sources).unwrap().smtp.relays();
    let password = |relay: &RelayConfig| Some(relay.password.as_ref()?.expose_secret().to_owned());
    let found: Vec<_> = relays.iter().map(password).collect();
    let of = |name: &str| Some(format!("secret of {name}"));
    assert_eq!(found, [None, of("b"), of("c")]);
}

#[test]
fn two_relays_on_one_host_must_be_told_apart() {
    let (_dir, sources) = with_file(
        "[server]\nbase_url = 'https://news.example.org'\n\
         [[smtp.relays]]\nurl = 'smtps://h.example'\n\
         [[smtp.relays]]\nurl = 'smtps://h.example:2465'\n",
    );
    let message = refusal(&sources);
    assert!(message.contains("two relays h.example"), "{message}");
}
