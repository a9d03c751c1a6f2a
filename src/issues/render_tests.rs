use sqlx::types::Json;

use super::*;
use crate::config::Sources;
use crate::id::{IssueId, NewsletterId, SeededEntropy};
use crate::issues::article::ArticleImage;
use crate::issues::{Decision, IssueState};
use crate::newsletters::{Cadence, Cadences};
use crate::texts::Texts;
use crate::token::KeyRing;

fn renderer() -> Renderer {
    let sources = Sources::default().with("server.base_url", "https://news.example");
    let config = crate::config::Config::load(&sources).unwrap();
    Renderer {
        templates: Arc::new(Templates::load(None, Arc::new(Texts::load().unwrap())).unwrap()),
        marks: KeyRing::generate(&SeededEntropy::new(1)).slot_marks(),
        base_url: config.server.base_url,
        list_domain: "lists.example".to_owned(),
        sender_id: "abcdefgh".to_owned(),
    }
}

fn newsletter() -> Newsletter {
    Newsletter {
        id: NewsletterId(Uuid::from_u128(1)),
        slug: "world".parse().unwrap(),
        name: "World".to_owned(),
        description: "News and analysis.".to_owned(),
        from_name: "World News".to_owned(),
        from_address: "news@world.example".to_owned(),
        reply_to: None,
        postal_address: Some("World News\n1 Main Street\nSpringfield".to_owned()),
        locale: "en".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        default_cadence: Cadence::Daily,
        form_origins: Json(Vec::new()),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn issue(max_cards: i64) -> Issue {
    Issue {
        id: IssueId(Uuid::from_u128(2)),
        newsletter_id: NewsletterId(Uuid::from_u128(1)),
        number: 41,
        kind: IssueKind::Scheduled,
        cadences: Json(Cadences::NONE.with(Cadence::Daily)),
        due_at: Timestamp::from_micros(1_783_400_400_000_000),
        state: IssueState::Preparing,
        state_reason: None,
        paused_at: None,
        pause_reason: None,
        release_when_prepared: true,
        max_cards,
        cutoff_seq: Some(99),
        subject: None,
        intro: None,
        created_at: Timestamp::UNIX_EPOCH,
        frozen_at: None,
        prepared_to: None,
        candidates: 0,
        queued: 0,
        excluded: 0,
        prepared_at: None,
        released_at: None,
        finished_at: None,
    }
}

/// `count` articles whose summaries are made of `letter`.
fn articles(count: i64, letter: &str) -> Vec<IssueArticle> {
    let article = |seq: i64| IssueArticle {
        id: ArticleId(Uuid::from_u128(1000 + u128::from(seq.unsigned_abs()))),
        position: seq,
        decision: Decision::Card,
        reason: None,
        content: ArticleContent {
            seq,
            topics: Vec::new(),
            topic_name: Some("Europe".to_owned()),
            title: format!("Article <number> {seq:03} {}", letter.repeat(60)),
            url: format!("https://world.example/2026/07/article-{seq:03}?from=feed&utm=1"),
            summary: format!("{} ", letter.repeat(7)).repeat(60),
            author: Some("Aroha Ngata".to_owned()),
            published_at: Some(Timestamp::from_micros(1_783_400_000_000_000)),
            image: Some(ArticleImage {
                url: format!("https://world.example/images/{seq}.jpg"),
                width: Some(1200),
                height: Some(800),
                alt: letter.repeat(40),
            }),
        },
    };
    (0..count).map(article).collect()
}

fn render(of: &[IssueArticle], max_cards: i64) -> Variant {
    let ids: Vec<ArticleId> = of.iter().map(|article| article.id).collect();
    renderer()
        .variant(&issue(max_cards), &newsletter(), of, "en", &ids)
        .unwrap()
}

/// The numbers of the articles that a part links to, in order, each once.
fn linked(part: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for rest in part.split("/article-").skip(1) {
        let number = rest[..3].to_owned();
        if found.last() != Some(&number) {
            found.push(number);
        }
    }
    found
}

#[test]
fn fourteen_articles_with_twelve_cards_all_appear_in_both_parts_in_the_same_order() {
    let variant = render(&articles(14, "a"), 12);
    let expected: Vec<String> = (0..14).map(|seq| format!("{seq:03}")).collect();
    assert_eq!(linked(&variant.rendered.html), expected);
    assert_eq!(linked(&variant.rendered.text), expected);
    assert!(!variant.rendered.html.contains("more on the site"));
}

#[test]
fn sixty_articles_stay_within_the_budget_with_the_way_out_in_the_first_part() {
    // Letters of three bytes: nine octets each once encoded.
    for (letter, all) in [("a", true), ("界界界", false)] {
        let variant = render(&articles(60, letter), 12);
        assert!(variant.encoded.html_bytes() <= HTML_BYTES);
        assert!(variant.rendered.html.len() <= HTML_BYTES);
        let html = &variant.rendered.html;
        let way_out = html.find("/unsubscribe/").unwrap();
        assert!(way_out < html.find("/article-").unwrap());
        assert!(way_out < 12_000, "{way_out}");
        assert!(html.contains("1 Main Street") && variant.rendered.text.contains("1 Main Street"));
        assert_eq!(linked(html), linked(&variant.rendered.text));
        let shown = linked(html).len();
        if all {
            assert_eq!(shown, 60);
        } else {
            let counted = format!("and {} more on the site", 60 - shown);
            assert!(shown > 10 && html.contains(&counted), "{shown}");
        }
    }
}

#[test]
fn what_does_not_fit_shrinks_summaries_first_then_cards_then_headlines() {
    let start = Shape {
        cards: 4,
        summary_chars: 280,
        headlines: 10,
    };
    let steps: Vec<(usize, usize, usize)> =
        std::iter::successors(Some(start), |shape| shape.smaller(100_000))
            .map(|shape| (shape.summary_chars, shape.cards, shape.headlines))
            .collect();
    assert_eq!(
        steps[..5],
        [
            (280, 4, 10),
            (140, 4, 10),
            (70, 4, 10),
            (70, 2, 12),
            (70, 1, 13)
        ]
    );
    assert_eq!(steps[5..7], [(70, 0, 14), (70, 0, 13)]);
    assert_eq!(steps.last(), Some(&(70, 0, 0)));
    assert!(steps.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn the_same_issue_gives_the_same_bytes_in_another_process() {
    let of = articles(14, "a");
    let (one, two) = (render(&of, 12), render(&of, 12));
    assert_eq!(one, two);
    assert_ne!(one.key, render(&of, 11).key);
    assert_ne!(one.key, render(&of[1..], 12).key);
}

#[test]
fn a_newsletter_without_postal_address_is_refused() {
    let mut newsletter = newsletter();
    newsletter.postal_address = Some("  ".to_owned());
    let of = articles(1, "a");
    let refused = renderer().variant(&issue(12), &newsletter, &of, "en", &[of[0].id]);
    assert!(matches!(refused, Err(VariantError::NoPostalAddress)));
}

#[test]
fn the_editors_subject_and_words_stand_in_the_mail() {
    let of = articles(3, "a");
    let ids: Vec<ArticleId> = of.iter().map(|article| article.id).collect();
    let mut issue = issue(12);
    issue.kind = IssueKind::Manual;
    issue.subject = Some("Election special".to_owned());
    issue.intro = Some("Dear reader,\n\nit was a long night.\n".to_owned());
    let variant = renderer()
        .variant(&issue, &newsletter(), &of, "en", &ids)
        .unwrap();
    assert_eq!(variant.rendered.subject, "Election special");
    assert!(
        variant
            .rendered
            .text
            .contains("Dear reader,\n\nit was a long night.")
    );
    assert!(variant.rendered.html.contains("it was a long night."));
}

#[test]
fn the_editors_words_have_their_paragraphs_however_their_lines_end() {
    let of = articles(1, "a");
    for between in ["\n\n", "\r\n\r\n"] {
        let mut issue = issue(12);
        issue.intro = Some(["Dear reader,", "it was a long night."].join(between));
        let variant = renderer()
            .variant(&issue, &newsletter(), &of, "en", &[of[0].id])
            .unwrap();
        let text = variant.rendered.text;
        let words = "Dear reader,\n\nit was a long night.";
        assert!(text.contains(words), "{between:?}: {text}");
    }
}

#[test]
fn an_edition_has_the_date_of_its_newsletters_zone() {
    let mut issue = issue(12);
    // late at night on the 7th in UTC, early on the 8th in Berlin
    issue.due_at = Timestamp::from_micros(1_783_467_000_000_000);
    let of = articles(1, "a");
    let variant = renderer()
        .variant(&issue, &newsletter(), &of, "en", &[of[0].id])
        .unwrap();
    let text = variant.rendered.text;
    assert!(text.contains("Wednesday, 8 July 2026"), "{text}");
}

/// The stored copy of the issue with one article, as text.
fn copy_of(issue: &Issue, newsletter: &Newsletter) -> String {
    let of = articles(1, "a");
    let variant = renderer()
        .variant(issue, newsletter, &of, "en", &[of[0].id])
        .unwrap();
    String::from_utf8_lossy(&variant.encoded.to_bytes()).into_owned()
}

#[test]
fn only_an_issue_by_hand_with_an_editors_words_was_written_by_a_person() {
    for (kind, intro, is_automatic) in [
        (IssueKind::Scheduled, None, true),
        (IssueKind::Scheduled, Some("Dear reader"), true),
        (IssueKind::Manual, None, true),
        (IssueKind::Manual, Some("Dear reader"), false),
        (IssueKind::Correction, Some("Dear reader"), false),
    ] {
        let mut issue = issue(12);
        issue.kind = kind;
        issue.intro = intro.map(str::to_owned);
        let copy = copy_of(&issue, &newsletter());
        let says = copy.contains("\r\nAuto-Submitted: auto-generated\r\n");
        assert_eq!(says, is_automatic, "{kind}, {intro:?}");
    }
}

#[test]
fn a_copy_says_whose_it_is_and_where_answers_go() {
    let mut newsletter = newsletter();
    newsletter.reply_to = Some("editor@world.example".to_owned());
    let copy = copy_of(&issue(12), &newsletter);
    for header in [
        "Reply-To: editor@world.example\r\n",
        "List-Id: \"World\" <world.lists.example>\r\n",
        "Feedback-ID: i-41:n-world:k-digest:abcdefgh\r\n",
    ] {
        assert!(copy.contains(header), "{header:?} in {copy}");
    }
}

#[test]
fn an_article_has_the_date_of_its_newsletters_zone() {
    let mut of = articles(1, "a");
    // late at night on the 7th in UTC, early on the 8th in Berlin
    of[0].content.published_at = Some(Timestamp::from_micros(1_783_467_000_000_000));
    for max_cards in [1, 0] {
        let html = render(&of, max_cards).rendered.html;
        assert!(html.contains("8 July"), "{max_cards} cards: {html}");
    }
}

#[test]
fn a_summary_has_its_whole_length_where_there_is_room() {
    let html = render(&articles(1, "a"), 1).rendered.html;
    // as many words as 280 characters hold
    let summary = format!("{}…", ["aaaaaaa"; 34].join(" "));
    assert!(html.contains(&summary), "{html}");
}

#[test]
fn a_mail_has_what_belongs_to_its_articles_and_to_its_sender() {
    let of = articles(3, "a");
    let html = render(&of, 2).rendered.html;
    let alt = format!("alt=\"{}\"", "a".repeat(40));
    // a leading picture, a small one, and a headline without one; two cards have an author
    for (part, times) in [
        ("https://world.example/images/0.jpg", 1),
        ("https://world.example/images/1.jpg", 1),
        ("https://world.example/images/2.jpg", 0),
        ("height=\"357\"", 1),
        ("height=\"90\"", 1),
        (alt.as_str(), 2),
        ("Aroha Ngata", 2),
        ("Europe", 3),
    ] {
        assert_eq!(html.matches(part).count(), times, "{part} in {html}");
    }
    let text = render(&of, 2).rendered.text;
    for line in ["World News", "1 Main Street", "Springfield"] {
        assert!(html.contains(line) && text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_mail_says_by_name_who_sends_it() {
    let copy = copy_of(&issue(12), &newsletter());
    let from = copy.lines().find(|line| line.contains("From: "));
    let from = from.expect("it has a sender");
    assert!(from.contains("World News"), "{from}");
    assert!(from.contains("<news@world.example>"), "{from}");
    let rendered = render(&articles(1, "a"), 1).rendered;
    for part in [&rendered.html, &rendered.text] {
        assert!(part.contains("Sent by World News"), "{part}");
    }
}
