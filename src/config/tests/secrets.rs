use secrecy::ExposeSecret as _;

use super::*;

#[test]
fn secrets_are_text_and_are_never_shown() {
    let sources = with_environment(&[
        ("PAPERROUND_SMTP__URL", "smtps://user@smtp.example.org"),
        ("PAPERROUND_SMTP__PASSWORD", "00123"),
    ]);
    let config = Config::load(&sources).unwrap();
    assert_eq!(
        config
            .smtp
            .relay()
            .unwrap()
            .password
            .unwrap()
            .expose_secret(),
        "00123"
    );
    for password in ["true", "[a,b]", " spaces ", "1e5", "{x=1}", "\"quoted\""] {
        let sources = with_environment(&[
            ("PAPERROUND_SMTP__URL", "smtps://user@smtp.example.org"),
            ("PAPERROUND_SMTP__PASSWORD", password),
        ]);
        let config = Config::load(&sources).unwrap();
        assert_eq!(
            config
                .smtp
                .relay()
                .unwrap()
                .password
                .unwrap()
                .expose_secret(),
            password
        );
        let shown = format!("{config:?}");
        assert!(password == "true" || !shown.contains(password), "{shown}");
    }
    let sources = with_environment(&[
        (
            "PAPERROUND_SMTP__URL",
            "smtps://user:hunter2@smtp.example.org",
        ),
        ("PAPERROUND_DATABASE__URL", "postgres://pr:hunter2@db/pr"),
        ("PAPERROUND_SECRETS__FILE", "/etc/keys"),
    ]);
    let config = Config::load(&sources).unwrap();
    assert_eq!(
        config
            .smtp
            .relay()
            .unwrap()
            .password
            .unwrap()
            .expose_secret(),
        "hunter2"
    );
    let shown = format!("{config:?} {:?}", config.show());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(
        shown.contains("smtps://user:********@smtp.example.org"),
        "{shown}"
    );
}

#[test]
fn a_wrong_secret_is_not_repeated() {
    let (_dir, sources) = with_file("[smtp]\npassword = 'hunter2\nurl = 'smtp://x'\n");
    let message = refusal(&sources);
    assert!(message.contains("is not TOML, line 2"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");

    let (_dir, sources) = with_file(
        "[server]\nbase_url = 'https://a.example.org'\n[smtp]\nurl='smtps://u@h'\npassword = 4711\n",
    );
    let message = refusal(&sources);
    assert!(
        message.contains("smtp.password (file ") && message.contains("must be a text in quotes"),
        "{message}"
    );
    assert!(!message.contains("4711"), "{message}");
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "hunter2\n").unwrap();
    let name = path.to_str().unwrap();
    let sources = with_environment(&[
        ("PAPERROUND_SMTP__URL", "smtp://user@smtp.example.org"),
        ("PAPERROUND_SMTP__PASSWORD_FILE", name),
    ]);
    let config = Config::load(&sources).unwrap();
    let relay = config.smtp.relay().unwrap();
    assert_eq!(relay.password.unwrap().expose_secret(), "hunter2");
    assert_eq!(
        (relay.host.as_str(), relay.port, relay.tls),
        ("smtp.example.org", 587, RelayTls::StartTls)
    );
    let shown = config
        .show()
        .iter()
        .find(|shown| shown.key == "smtp.password")
        .unwrap();
    assert_eq!(shown.value, "********");
    assert_eq!(
        shown.source,
        format!("file {name} named by PAPERROUND_SMTP__PASSWORD_FILE")
    );

    let message = refusal(&with_environment(&[(
        "PAPERROUND_SMTP__PASSWORD_FILE",
        "/nowhere/password",
    )]));
    assert!(message.contains("PAPERROUND_SMTP__PASSWORD_FILE (environment) names the file /nowhere/password, which cannot be read: No such file"), "{message}");
    let message = refusal(&with_environment(&[
        ("PAPERROUND_SMTP__PASSWORD_FILE", name),
        ("PAPERROUND_SMTP__PASSWORD", "x"),
    ]));
    assert!(message.contains("is given twice"), "{message}");
    let (_dir, sources) = with_file(&format!(
        "[server]\nbase_url = 'https://a.example.org'\n[smtp]\nurl = 'smtps://u@h'\npassword_file = '{name}'\n"
    ));
    assert_eq!(
        Config::load(&sources)
            .unwrap()
            .smtp
            .password
            .unwrap()
            .expose_secret(),
        "hunter2"
    );
}

#[test]
fn a_password_in_the_query_of_the_databases_address_is_not_shown() {
    let sources = sources()
        .with("database.url", "postgres://db/pr?user=pr&password=hunter2")
        .with("secrets.file", "/etc/keys");
    let config = Config::load(&sources).unwrap();
    let shown = format!("{config:?} {:?}", config.show());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_environment_wins_over_the_file_whichever_of_them_names_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password").display().to_string();
    for (content, line, variable) in [
        ("old", format!("password_file = '{path}'"), ("", "new")),
        ("new", "password = 'old'".to_owned(), ("_FILE", &*path)),
    ] {
        std::fs::write(&path, content).unwrap();
        let (_dir, mut sources) = with_file(&format!(
            "[server]\nbase_url = 'https://a.example.org'\n[smtp]\nurl = 'smtps://u@h'\n{line}\n"
        ));
        let (suffix, value) = variable;
        let name = format!("PAPERROUND_SMTP__PASSWORD{suffix}");
        sources.environment = vec![(name, value.to_owned())];
        let relay = Config::load(&sources).unwrap().smtp.relay().unwrap();
        assert_eq!(relay.password.unwrap().expose_secret(), "new", "{line}");
    }
}
