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
    assert!(
        Config::load(&sources).unwrap().smtp.relays()[0]
            .password
            .is_some()
    );
    let (_dir, sources) = with_file(&relay(&dir.path().join("none")));
    let message = refusal(&sources);
    assert!(message.contains("cannot be read"), "{message}");
}
