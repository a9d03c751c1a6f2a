use super::super::samples;
use super::*;

fn templates() -> Templates {
    Templates::load(None, Arc::new(Texts::load().unwrap())).unwrap()
}

fn all(templates: &Templates) -> Vec<(MailKind, Rendered)> {
    let render = |kind: MailKind| match kind {
        MailKind::Confirmation => templates.render(kind, &samples::confirmation(), "en"),
        MailKind::Welcome => templates.render(kind, &samples::welcome(), "en"),
        MailKind::ManageLink => templates.render(kind, &samples::manage_link(), "en"),
        MailKind::Digest => templates.render(kind, &samples::digest(5, 3, 7), "en"),
    };
    MailKind::ALL
        .map(|kind| (kind, render(kind).unwrap()))
        .into()
}

#[test]
fn the_mails_look_as_they_were_last_approved() {
    for (kind, mail) in all(&templates()) {
        let name = kind.folder();
        let text = format!("Subject: {}\n\n{}", mail.subject, mail.text);
        insta::assert_snapshot!(format!("{name}.txt"), text);
        insta::assert_snapshot!(format!("{name}.html"), mail.html);
    }
}

#[test]
fn every_mail_says_who_sends_it_and_where_they_are_in_both_parts() {
    for (kind, mail) in all(&templates()) {
        for part in [&mail.text, &mail.html] {
            assert!(
                part.contains("12 Harbour Street, Wellington 6011"),
                "{kind:?}"
            );
            assert!(part.contains("The Meridian Foundation"), "{kind:?}");
        }
    }
}

#[test]
fn the_way_out_stands_near_the_top_and_at_the_end_of_a_digest() {
    let mail = templates()
        .render(MailKind::Digest, &samples::digest(12, 30, 0), "en")
        .unwrap();
    let link = "https://news.meridian.example/unsubscribe/TOKEN";
    for part in [&mail.text, &mail.html] {
        let first = part.find(link).unwrap();
        let first_story = part.find("story-0").unwrap();
        assert!(first < first_story);
        assert!(part.rfind(link).unwrap() > part.rfind("short-29").unwrap());
    }
}

#[test]
fn a_confirmation_offers_no_way_to_unsubscribe_from_what_was_not_joined() {
    let mail = templates()
        .render(MailKind::Confirmation, &samples::confirmation(), "en")
        .unwrap();
    for part in [&mail.text, &mail.html] {
        assert!(!part.to_lowercase().contains("unsubscribe"));
        assert!(!part.contains("<img"));
        assert!(part.contains("/confirm/TOKEN"));
        assert!(part.contains("/confirm/TOKEN/not-me"));
    }
}

#[test]
fn text_and_html_name_the_same_articles_in_the_same_order() {
    let mail = templates()
        .render(MailKind::Digest, &samples::digest(7, 9, 3), "en")
        .unwrap();
    let order = |part: &str| {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (index, kind) in (0..7)
            .map(|i| (i, "story"))
            .chain((0..9).map(|i| (i, "short")))
        {
            let at = part.find(&format!("{kind}-{index}")).unwrap();
            found.push((at, index + if kind == "short" { 100 } else { 0 }));
        }
        found.sort_unstable();
        found
            .into_iter()
            .map(|(_, index)| index)
            .collect::<Vec<_>>()
    };
    assert_eq!(order(&mail.text), order(&mail.html));
    assert!(mail.text.contains("and 3 more on the site"));
    assert!(mail.html.contains("and 3 more on the site"));
}

#[test]
fn every_html_template_escapes_and_no_text_template_does() {
    let templates = templates();
    let hostile = "<script>alert('&')</script>";
    let mut digest = samples::digest(2, 2, 0);
    digest.newsletter.name = hostile.to_owned();
    digest.intro = vec![hostile.to_owned()];
    digest.cards[0].title = hostile.to_owned();
    digest.cards[1].summary = hostile.to_owned();
    digest.headlines[0].topic = Some(hostile.to_owned());
    let mut confirmation = samples::confirmation();
    confirmation.newsletter.name = hostile.to_owned();
    confirmation.topics = vec![hostile.to_owned()];
    let mut welcome = samples::welcome();
    welcome.newsletter.name = hostile.to_owned();
    let mut manage = samples::manage_link();
    manage.newsletter.name = hostile.to_owned();

    let mails = [
        templates
            .render(MailKind::Digest, &digest.with_totals(), "en")
            .unwrap(),
        templates
            .render(MailKind::Confirmation, &confirmation, "en")
            .unwrap(),
        templates.render(MailKind::Welcome, &welcome, "en").unwrap(),
        templates
            .render(MailKind::ManageLink, &manage, "en")
            .unwrap(),
    ];
    for mail in mails {
        assert!(!mail.html.contains("<script"), "{}", mail.html);
        assert!(mail.html.contains("&lt;script"));
        assert!(mail.text.contains("<script>"));
        assert!(mail.subject.contains("<script>"));
        assert!(!mail.subject.contains("&lt;"));
    }
}

#[test]
fn a_link_that_runs_something_is_never_rendered() {
    let mut digest = samples::digest(1, 0, 0);
    digest.cards[0].url = "javascript:alert(1)".to_owned();
    let error = templates()
        .render(MailKind::Digest, &digest, "en")
        .unwrap_err();
    assert!(matches!(error, RenderError::Link { .. }));
}

#[test]
fn what_matters_is_inlined_and_what_improves_is_kept() {
    let mail = &all(&templates())[3].1;
    assert!(mail.html.contains("@media (prefers-color-scheme: dark)"));
    assert!(mail.html.contains("[data-ogsc]"));
    assert!(mail.html.contains("<!--[if mso]>"));
    assert!(!mail.html.contains(".sheet { background-color: #fffdf9"));
    let style_bytes: usize = mail
        .html
        .split("<style")
        .skip(1)
        .map(|s| s.find("</style").unwrap())
        .sum();
    assert!(style_bytes < 8_000, "{style_bytes}");
}

#[test]
fn the_operators_folder_replaces_single_templates() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("welcome")).unwrap();
    std::fs::write(
        folder.path().join("welcome/subject.txt"),
        "Hello from {{ newsletter.name }}",
    )
    .unwrap();
    let texts = Arc::new(Texts::load().unwrap());
    let templates = Templates::load(Some(folder.path()), texts.clone()).unwrap();
    let mail = templates
        .render(MailKind::Welcome, &samples::welcome(), "en")
        .unwrap();
    assert_eq!(mail.subject, "Hello from The Meridian");
    assert!(mail.text.contains("Thank you for confirming"));

    std::fs::write(folder.path().join("welcome/body.txt"), "{{ nonsense(").unwrap();
    let error = Templates::load(Some(folder.path()), texts).unwrap_err();
    assert!(error.to_string().contains("welcome/body.txt"), "{error}");
}

#[test]
fn an_unknown_value_fails_the_rendering() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("welcome")).unwrap();
    std::fs::write(
        folder.path().join("welcome/subject.txt"),
        "{{ newsletter.nam }}",
    )
    .unwrap();
    let templates = Templates::load(Some(folder.path()), Arc::new(Texts::load().unwrap())).unwrap();
    assert!(
        templates
            .render(MailKind::Welcome, &samples::welcome(), "en")
            .is_err()
    );
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let mut digest = samples::digest(1, 0, 0);
    digest.intro = vec!["x".repeat(OUTPUT_BYTES)];
    assert!(templates().render(MailKind::Digest, &digest, "en").is_err());
    assert_eq!(deepest("<a><b><br><img></b></a><i></i>"), 2);
    let deep = "<div>".repeat(OPEN_ELEMENTS + 1);
    assert!(matches!(
        inlined("digest", &deep),
        Err(RenderError::TooDeep(_))
    ));
}

#[test]
fn the_operators_folder_may_hold_parts_to_include_and_files_that_are_no_templates() {
    let folder = tempfile::tempdir().unwrap();
    for (name, source) in [
        (
            "welcome/subject.txt",
            "{% include \"parts/hello.txt\" %}, reader",
        ),
        ("parts/hello.txt", "Hello"),
        ("parts/notes.md", "{{ nonsense("),
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, source).unwrap();
    }
    let templates = Templates::load(Some(folder.path()), Arc::new(Texts::load().unwrap())).unwrap();
    let mail = templates
        .render(MailKind::Welcome, &samples::welcome(), "en")
        .unwrap();
    assert_eq!(mail.subject, "Hello, reader");
}

#[test]
fn links_and_pictures_are_absolute_and_of_a_kind_that_mails_may_have() {
    for (attributes, forbidden) in [
        ("href=\"https://a.example/\"", None),
        ("href=\"http://a.example/\"", None),
        ("href=\"mailto:ada@example.org\"", None),
        ("src=\"https://a.example/x.png\"", None),
        ("href=\"/about\"", Some("/about")),
        ("src=\"logo.png\"", Some("logo.png")),
        (
            "href=\"https://a.example/\" src=\"data:image/gif\"",
            Some("data:image/gif"),
        ),
    ] {
        let html = format!("<p><a {attributes}>x</a></p>");
        assert_eq!(forbidden_link(&html), forbidden, "{attributes}");
    }
}
