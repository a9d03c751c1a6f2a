use mail_parser::{HeaderValue, MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::id::SeededEntropy;
use crate::mail::Slots;
use crate::token::KeyRing;

const ID: &str = "aaaa.bbbb.cccc@mail.example";
const X_DELIVERY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbb";

fn marks() -> SlotMarks {
    KeyRing::generate(&SeededEntropy::new(1)).slot_marks()
}

fn mailbox(name: &str) -> Mailbox {
    Mailbox {
        name: name.to_owned(),
        address: "news@meridian.example".to_owned(),
    }
}

fn slots<'a>(recipient: &'a str, token: &'a str) -> Slots<'a> {
    Slots {
        recipient,
        date: Timestamp::UNIX_EPOCH,
        message_id: ID,
        delivery: X_DELIVERY,
        unsubscribe: Some(token),
        preferences: Some(token),
    }
}

/// A digest-like mail around these words.
fn content(subject: &str, words: &str, link: &str) -> Rendered {
    let marks = marks();
    let out = format!("https://news.example/unsubscribe/{}", marks.unsubscribe);
    let change = format!("https://news.example/preferences/{}", marks.preferences);
    Rendered {
        subject: subject.to_owned(),
        text: format!("{words}\n{link}\n{out}\n{change}\n"),
        html: format!(
            "<p><a href=\"{link}\">{words}</a> <a href=\"{out}\">x</a> <a href=\"{change}\">y</a></p>\n"
        ),
    }
}

fn encode(name: &str, content: &Rendered) -> Result<Encoded, EncodeError> {
    let url = format!("https://news.example/unsubscribe/{}", marks().unsubscribe);
    let message = Message {
        from: &mailbox(name),
        reply_to: Some("editor@meridian.example"),
        content,
        automatic: true,
        feedback_id: Some("i-41:n-meridian:k-digest:abcdefgh"),
        list: Some(ListHeaders {
            name,
            id: "meridian.lists.example",
            unsubscribe_url: &url,
            help_url: Some("https://news.example/"),
            archive_url: None,
        }),
        boundary: Uuid::from_u128(41),
    };
    message.encode(&marks())
}

/// What a strict reader of the bytes finds wrong.
fn assert_wire(bytes: &[u8]) {
    assert!(bytes.is_ascii() && bytes.ends_with(b"--\r\n"));
    let text = std::str::from_utf8(bytes).unwrap();
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "bare CR or LF");
        assert!(line.len() <= 998 && !line.starts_with('.'));
    }
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(body.split("\r\n").all(|line| line.len() <= 76));
}

const EXPECTED: [&str; 16] = [
    "From",
    "Reply-To",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Post",
    "Precedence",
    "Auto-Submitted",
    "Feedback-ID",
    "X-Delivery",
    "MIME-Version",
    "Content-Type",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn hostile_mails_parse_back_to_what_was_meant(
        name in ".{0,60}",
        subject in "(\\PC|[\r\n\t\u{2028}\u{202e}\u{0}]){0,200}",
        words in "(\\PC|[\r\n.=\t\u{5d0}-\u{5ea}]|From |\r\n\\.\r\n|--=_pr){0,400}",
        path in "[a-zA-Z0-9%/_.~-]{0,1500}",
        seed in 0u64..1000,
    ) {
        let link = format!("https://meridian.example/{path}");
        let content = content(&subject, &words, &link);
        let encoded = encode(&name, &content).unwrap();
        prop_assert_eq!(&encoded, &encode(&name, &content).unwrap(), "the same bytes again");

        let entropy = SeededEntropy::new(seed);
        let token = KeyRing::generate(&entropy).slot_marks().preferences;
        let bytes = encoded.splice(&slots("ada@example.org", &token)).unwrap();
        assert_wire(&bytes);

        let parsed = MessageParser::default().parse(&bytes).unwrap();
        for header in EXPECTED {
            let count = parsed.headers().iter().filter(|h| h.name().eq_ignore_ascii_case(header)).count();
            prop_assert_eq!(count, 1, "{}", header);
        }
        prop_assert_eq!(parsed.headers().len(), EXPECTED.len() + 2);
        prop_assert!(parsed.header("Bcc").is_none());
        prop_assert_eq!(parsed.to().unwrap().first().unwrap().address().unwrap(), "ada@example.org");
        prop_assert_eq!(parsed.from().unwrap().first().unwrap().address().unwrap(), "news@meridian.example");
        prop_assert_eq!(parsed.message_id().unwrap(), ID);

        prop_assert_eq!(parsed.parts.len(), 3);
        prop_assert!(parsed.parts[0].is_content_type("multipart", "alternative"));
        let (PartType::Text(text), PartType::Html(html)) = (&parsed.parts[1].body, &parsed.parts[2].body) else {
            panic!("text first, HTML second");
        };
        let unified = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let with_tokens = |text: &str| {
            unified(text).replace(&marks().unsubscribe, &token).replace(&marks().preferences, &token)
        };
        prop_assert_eq!(unified(text).trim_end().to_owned(), with_tokens(&content.text).trim_end().to_owned());
        prop_assert_eq!(unified(html).trim_end().to_owned(), with_tokens(&content.html).trim_end().to_owned());
        prop_assert!(text.contains(&link) && html.contains(&link));
    }
}

#[test]
fn subjects_and_names_survive_their_encoding() {
    for text in [
        "Plain",
        "Grüße aus Köln · 世界のニュース",
        "עברית בסדר",
        "a \"quoted\" \\ name, with; specials",
    ] {
        let encoded = encode(text, &content(text, "x", "https://a.example/")).unwrap();
        let bytes = encoded
            .splice(&slots("ada@example.org", &"t".repeat(74)))
            .unwrap();
        let parsed = MessageParser::default().parse(&bytes).unwrap();
        assert_eq!(parsed.subject().unwrap(), text);
        assert_eq!(
            parsed.from().unwrap().first().unwrap().name().unwrap(),
            text
        );
    }
}

#[test]
fn one_click_stands_in_the_headers_with_the_readers_token() {
    let encoded = encode("The Meridian", &content("s", "x", "https://a.example/")).unwrap();
    let token = format!("v1.k1.{}", "t".repeat(68));
    let bytes = encoded.splice(&slots("ada@example.org", &token)).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(&format!(
        "List-Unsubscribe: <https://news.example/unsubscribe/{token}>\r\n"
    )));
    assert!(text.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
    assert!(text.contains("List-Id: \"The Meridian\" <meridian.lists.example>\r\n"));
    assert!(text.contains("Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"));
    assert!(!text.contains(&marks().unsubscribe));
}

#[test]
fn a_splice_of_extreme_values_equals_a_full_encode_of_the_same_message() {
    let longest = format!("{}@{}.example", "l".repeat(64), "d".repeat(180));
    let token = "-".repeat(74);
    let template = content("s", "See ./..", "https://a.example/");
    let spliced = encode("n", &template)
        .unwrap()
        .splice(&slots(&longest, &token))
        .unwrap();

    // The full encode knows the tokens from the start: no mark of ours is left in its text.
    let full = Rendered {
        text: template
            .text
            .replace(&marks().unsubscribe, &token)
            .replace(&marks().preferences, &token),
        html: template
            .html
            .replace(&marks().unsubscribe, &token)
            .replace(&marks().preferences, &token),
        subject: template.subject.clone(),
    };
    let url = format!("https://news.example/unsubscribe/{token}");
    let message = Message {
        from: &mailbox("n"),
        reply_to: Some("editor@meridian.example"),
        content: &full,
        automatic: true,
        feedback_id: Some("i-41:n-meridian:k-digest:abcdefgh"),
        list: Some(ListHeaders {
            name: "n",
            id: "meridian.lists.example",
            unsubscribe_url: &url,
            help_url: Some("https://news.example/"),
            archive_url: None,
        }),
        boundary: Uuid::from_u128(41),
    };
    let no_marks = SlotMarks {
        unsubscribe: "\u{0}".repeat(74),
        preferences: "\u{1}".repeat(74),
    };
    let encoded = message.encode(&no_marks).unwrap();
    let values = Slots {
        unsubscribe: None,
        preferences: None,
        ..slots(&longest, &token)
    };
    let whole = encoded.splice(&values).unwrap();

    let parse = |bytes: &[u8]| {
        let parsed = MessageParser::default().parse(bytes).unwrap().into_owned();
        let headers: Vec<(String, HeaderValue<'_>)> = parsed
            .headers()
            .iter()
            .map(|h| (h.name().to_owned(), h.value().clone().into_owned()))
            .collect();
        (
            headers,
            parsed.body_text(0).unwrap().into_owned(),
            parsed.body_html(0).unwrap().into_owned(),
        )
    };
    assert_eq!(parse(&spliced), parse(&whole));
    let heads = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .split("\r\n\r\n")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(heads(&spliced), heads(&whole));
    assert_wire(&spliced);
}

#[test]
fn values_that_would_break_their_line_are_refused() {
    let encoded = encode("n", &content("s", "x", "https://a.example/")).unwrap();
    let token = "t".repeat(74);
    let good = slots("ada@example.org", &token);
    assert!(encoded.splice(&good).is_ok());
    for recipient in ["", "a", "a@b\r\nBcc: c@d", "a @b", "é@example.org", "a@b\0"] {
        assert!(
            encoded.splice(&Slots { recipient, ..good }).is_err(),
            "{recipient:?}"
        );
    }
    for message_id in ["x", "a@b>\r\n", "a@b>", &format!("{}@b", "a".repeat(120))] {
        assert!(encoded.splice(&Slots { message_id, ..good }).is_err());
    }
    for delivery in ["", "x y", "\r\n"] {
        assert!(encoded.splice(&Slots { delivery, ..good }).is_err());
    }
    for bad in [
        &token[1..],
        &format!(".{}", &token[1..]),
        &format!("={}", &token[1..]),
    ] {
        assert!(
            encoded
                .splice(&Slots {
                    unsubscribe: Some(bad),
                    ..good
                })
                .is_err()
        );
        assert!(
            encoded
                .splice(&Slots {
                    preferences: Some(bad),
                    ..good
                })
                .is_err()
        );
    }
    assert!(
        encoded
            .splice(&Slots {
                unsubscribe: None,
                ..good
            })
            .is_err()
    );
}

#[test]
fn bulk_mail_without_a_way_out_in_both_parts_is_refused() {
    for part in ["text", "HTML"] {
        let mut content = content("s", "x", "https://a.example/");
        match part {
            "text" => content.text.clear(),
            _ => content.html.clear(),
        }
        assert_eq!(encode("n", &content), Err(EncodeError::NoWayOut(part)));
    }
}

#[test]
fn a_notice_has_no_list_headers() {
    let content = content("s", "x", "https://a.example/");
    let message = Message {
        from: &mailbox("n"),
        reply_to: None,
        content: &content,
        automatic: true,
        feedback_id: None,
        list: None,
        boundary: Uuid::from_u128(1),
    };
    let encoded = message.encode(&marks()).unwrap();
    let bytes = encoded
        .splice(&slots("ada@example.org", &"t".repeat(74)))
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("List-") && !text.contains("Reply-To") && !text.contains("Precedence"));
    assert!(text.contains("Auto-Submitted: auto-generated\r\n"));
}

#[test]
fn a_stored_message_reads_back_and_a_damaged_one_does_not() {
    let encoded = encode("n", &content("s", "x", "https://a.example/")).unwrap();
    let stored = encoded.to_bytes();
    assert_eq!(Encoded::from_bytes(&stored).unwrap(), encoded);
    for cut in 0..60 {
        assert!(Encoded::from_bytes(&stored[..cut]).is_err());
    }
    let mut odd = stored.clone();
    odd[12] = 99;
    assert!(Encoded::from_bytes(&odd).is_err());
}

#[test]
fn the_last_look_finds_what_must_not_leave() {
    let long = format!("{}\r\n", "x".repeat(999));
    for bad in [
        "",
        "a",
        "a\nb\r\n",
        "a\rb\r\n",
        ".\r\n",
        "é\r\n",
        long.as_str(),
        "\n\r\n",
    ] {
        assert!(check(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(check(b"a\r\n\r\nb\tc\r\n").is_ok());
}

#[test]
fn an_invalid_sender_and_an_oversized_message_are_refused() {
    let content = content("s", &"x".repeat(1_000_001), "https://a.example/");
    assert!(matches!(
        encode("n", &content),
        Err(EncodeError::TooLarge(_))
    ));
    let sender = Mailbox {
        name: String::new(),
        address: "a b@c\r\n".to_owned(),
    };
    let message = Message {
        from: &sender,
        reply_to: None,
        content: &content,
        automatic: true,
        feedback_id: None,
        list: None,
        boundary: Uuid::nil(),
    };
    assert_eq!(message.encode(&marks()), Err(EncodeError::Sender));
}

#[test]
fn the_sizes_of_a_message_are_those_of_a_readers_copy() {
    let words = content("s", "Gr\u{fc}\u{df}e", "https://a.example/");
    let encoded = encode("n", &words).unwrap();
    let (recipient, token) = ("ada@example.org", "t".repeat(74));
    let copy = encoded.splice(&slots(recipient, &token)).unwrap();
    let own = recipient.len() + ID.len();
    assert_eq!(encoded.wire_bytes(), copy.len() - own);
    let copy = String::from_utf8(copy).unwrap();
    let (_, html) = copy.split_once("Content-Type: text/html").unwrap();
    let (_, html) = html.split_once("\r\n\r\n").unwrap();
    let (html, _) = html.split_once("\r\n--").unwrap();
    assert_eq!(encoded.html_bytes(), html.len(), "{html}");
}

#[test]
fn a_message_has_at_most_a_million_octets_with_both_its_parts() {
    for (letters, fits) in [(450_000, true), (520_000, false)] {
        let content = content("s", &"x".repeat(letters), "https://a.example/");
        assert_eq!(encode("n", &content).is_ok(), fits, "{letters}");
    }
}
