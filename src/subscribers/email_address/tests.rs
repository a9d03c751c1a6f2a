use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<EmailAddress, AddressError> {
    EmailAddress::parse(text, AddressRules::default())
}

fn check_refused(text: &str, expect: AddressError) {
    assert_eq!(parse(text), Err(expect), "{text:?}");
}

#[test]
fn an_ordinary_address_is_kept_as_typed_and_known_in_lower_case() {
    let address = parse("  Ada.Lovelace+News@Example.ORG\u{A0}").expect("it is ordinary");
    assert_eq!(address.as_str(), "Ada.Lovelace+News@Example.ORG");
    assert_eq!(address.key().as_str(), "ada.lovelace+news@example.org");
    assert_eq!(address.to_wire(), "Ada.Lovelace+News@example.org");
    assert_eq!(address.domain(), "example.org");
    assert_eq!(
        address,
        parse("ada.lovelace+news@example.org").expect("the same in lower case")
    );
}

#[test]
fn tags_and_dots_make_addresses_of_their_own() {
    assert_ne!(parse("ada+news@gmail.com"), parse("ada@gmail.com"));
    assert_ne!(parse("a.da@gmail.com"), parse("ada@gmail.com"));
}

#[test]
fn line_breaks_and_smtp_commands_are_refused() {
    for text in [
        "a@example.org\r\nRCPT TO:<x@example.org>",
        "a@b\r\nRCPT TO:<x>[127.0.0.1]",
        "a\n@example.org",
        "a@exam\rple.org",
        "a\0@example.org",
        "a@evil stuff [1.2.3.4]",
        "a b@example.org",
        "a\u{202E}b@example.org",
        "a\u{200B}b@example.org",
        "a@exam\u{AD}ple.org",
        "a\u{2028}b@example.org",
        "ada\u{FF20}example.org",
    ] {
        check_refused(text, AddressError::ForbiddenCharacter);
    }
    // At the end a line break is white space that came with the clipboard.
    assert!(parse("a@example.org\r\n").is_ok());
}

#[test]
fn quotes_comments_and_display_names_are_refused() {
    check_refused("\"ada\"@example.org", AddressError::LocalPartCharacter);
    check_refused("\"a@b\"@example.org", AddressError::SeveralAts);
    check_refused("ada(me)@example.org", AddressError::LocalPartCharacter);
    check_refused("<ada@example.org>", AddressError::LocalPartCharacter);
    check_refused("a,b@example.org", AddressError::LocalPartCharacter);
    check_refused("a\\b@example.org", AddressError::LocalPartCharacter);
}

#[test]
fn addresses_of_machines_are_refused() {
    check_refused("a@[127.0.0.1]", AddressError::IpAddress);
    check_refused("a@[IPv6:::1]", AddressError::IpAddress);
    check_refused("a@127.0.0.1", AddressError::IpAddress);
    check_refused("a@localhost", AddressError::NoDot);
    for name in [
        "a@x.test",
        "a@x.INVALID",
        "a@x.localhost",
        "a@example.example",
        "a@x.local",
        "a@x.onion",
    ] {
        check_refused(name, AddressError::SpecialUse);
        let demo = AddressRules {
            allow_special_use: true,
            ..AddressRules::default()
        };
        assert!(EmailAddress::parse(name, demo).is_ok());
    }
}

#[test]
fn each_missing_part_has_its_own_message() {
    check_refused("", AddressError::Empty);
    check_refused(" \t ", AddressError::Empty);
    check_refused("ada", AddressError::NoAt);
    check_refused("ada@", AddressError::NoDomain);
    check_refused("@example.org", AddressError::NoLocalPart);
    check_refused("a@b@example.org", AddressError::SeveralAts);
    check_refused("a..b@example.org", AddressError::MisplacedDot);
    check_refused(".a@example.org", AddressError::MisplacedDot);
    check_refused("a.@example.org", AddressError::MisplacedDot);
    for text in [
        "a@-x.org",
        "a@x-.org",
        "a@x..org",
        "a@.org",
        "a@x.org.",
        "a@x_y.org",
        "a@xn--a.org",
        "a@x.org:25",
    ] {
        check_refused(text, AddressError::BadDomain);
    }
}

#[test]
fn lengths_are_bounded() {
    let local = "a".repeat(64);
    assert!(parse(&format!("{local}@example.org")).is_ok());
    check_refused(
        &format!("{local}a@example.org"),
        AddressError::LongLocalPart,
    );
    check_refused(
        &format!("a@{}.org", "b".repeat(64)),
        AddressError::BadDomain,
    );
    let label = "b".repeat(63);
    check_refused(
        &format!("{local}@{label}.{label}.{label}.org"),
        AddressError::TooLong,
    );
    check_refused(&"a".repeat(300), AddressError::NoAt);
    check_refused(
        &format!("{}@example.org", "a".repeat(300)),
        AddressError::LongLocalPart,
    );
    check_refused(
        &format!("{}@example.org", "a".repeat(100_000)),
        AddressError::TooLong,
    );
}

#[test]
fn international_domains_become_a_labels() {
    let address = parse("ada@Bücher.example.org").expect("UTS #46 maps it");
    assert_eq!(address.domain(), "xn--bcher-kva.example.org");
    assert_eq!(address.as_str(), "ada@Bücher.example.org");
    assert_eq!(address.to_wire(), "ada@xn--bcher-kva.example.org");
    assert_eq!(
        parse("ada@xn--bcher-kva.example.org").as_ref(),
        Ok(&address)
    );
    // Non-transitional: sharp s is a letter of its own.
    assert_eq!(
        parse("a@straße.de").expect("valid").domain(),
        "xn--strae-oqa.de"
    );
    // Composed and decomposed are the same name.
    assert_eq!(
        parse("ada@bu\u{308}cher.example.org").as_ref(),
        Ok(&address)
    );
}

#[test]
fn letters_beyond_ascii_need_a_relay_that_carries_them() {
    check_refused("josé@example.org", AddressError::NeedsSmtpUtf8);
    let rules = AddressRules {
        smtputf8: true,
        ..AddressRules::default()
    };
    let address =
        EmailAddress::parse("JOSE\u{301}@example.org", rules).expect("the relay carries it");
    assert_eq!(address.key().as_str(), "josé@example.org");
    assert!(address.needs_smtputf8());
}

#[test]
fn functions_are_refused_and_shared_mailboxes_are_not() {
    check_refused("Postmaster@example.org", AddressError::Role);
    check_refused("no-reply@example.org", AddressError::Role);
    for local in ["info", "sales", "support", "rooted"] {
        assert!(parse(&format!("{local}@example.org")).is_ok());
    }
}

#[test]
fn each_mailbox_of_staff_and_machines_is_a_function() {
    for local in [
        "abuse",
        "postmaster",
        "hostmaster",
        "webmaster",
        "noc",
        "security",
        "mailer-daemon",
        "noreply",
        "no-reply",
        "root",
    ] {
        check_refused(&format!("{local}@example.org"), AddressError::Role);
        let rules = AddressRules {
            allow_roles: true,
            ..AddressRules::default()
        };
        assert!(EmailAddress::parse(&format!("{local}@example.org"), rules).is_ok());
    }
}

#[test]
fn no_character_that_nobody_sees_or_that_turns_a_line_is_in_an_address() {
    let rules = AddressRules {
        smtputf8: true,
        ..AddressRules::default()
    };
    for c in [
        '\u{7F}',
        '\u{AD}',
        '\u{34F}',
        '\u{61C}',
        '\u{115F}',
        '\u{1160}',
        '\u{17B4}',
        '\u{17B5}',
        '\u{180B}',
        '\u{180F}',
        '\u{200B}',
        '\u{200F}',
        '\u{2028}',
        '\u{202E}',
        '\u{2060}',
        '\u{206F}',
        '\u{3164}',
        '\u{E000}',
        '\u{F8FF}',
        '\u{FE00}',
        '\u{FE0F}',
        '\u{FEFF}',
        '\u{FF20}',
        '\u{FE6B}',
        '\u{FFA0}',
        '\u{FFF0}',
        '\u{FFFF}',
        '\u{E0000}',
        '\u{10FFFF}',
    ] {
        let read = EmailAddress::parse(&format!("a{c}b@example.org"), rules);
        assert_eq!(read, Err(AddressError::ForbiddenCharacter), "{c:?}");
    }
}

#[test]
fn each_sign_that_common_mailboxes_have_is_taken_and_no_other() {
    for c in ('!'..='~').filter(|c| *c != '@') {
        let text = format!("o{c}brien@example.org");
        if c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c) {
            assert!(parse(&text).is_ok(), "{text}");
        } else {
            check_refused(&text, AddressError::LocalPartCharacter);
        }
    }
}

#[test]
fn an_address_of_254_octets_is_taken_and_no_longer_one() {
    let of = |last: usize| {
        let (local, label) = ("a".repeat(64), "b".repeat(63));
        format!("{local}@{label}.{label}.{}", "b".repeat(last))
    };
    assert_eq!(of(61).len(), 254);
    assert!(parse(&of(61)).is_ok());
    check_refused(&of(62), AddressError::TooLong);
}

#[test]
fn nothing_that_is_printed_shows_the_owner() {
    let address = parse("ada.lovelace@example.org").expect("ordinary");
    for text in [
        format!("{address}"),
        format!("{address:?}"),
        format!("{:?}", address.key()),
    ] {
        assert!(text.contains("a***@example.org"), "{text}");
        assert!(!text.contains("lovelace"), "{text}");
    }
}

#[test]
fn each_message_is_a_sentence_and_each_code_is_its_own() {
    let all = [
        AddressError::Empty,
        AddressError::ForbiddenCharacter,
        AddressError::NoAt,
        AddressError::SeveralAts,
        AddressError::NoLocalPart,
        AddressError::LongLocalPart,
        AddressError::MisplacedDot,
        AddressError::LocalPartCharacter,
        AddressError::NeedsSmtpUtf8,
        AddressError::NoDomain,
        AddressError::IpAddress,
        AddressError::NoDot,
        AddressError::BadDomain,
        AddressError::TooLong,
        AddressError::SpecialUse,
        AddressError::Role,
    ];
    let codes: std::collections::BTreeSet<_> = all.iter().map(|error| error.code()).collect();
    assert_eq!(codes.len(), all.len());
    for error in all {
        assert!(error.to_string().ends_with('.'), "{error}");
    }
}

proptest! {
    #[test]
    fn nothing_accepted_can_break_out_of_a_line(text in "\\PC{0,30}|[a-z@.\\r\\n<> \"\\[\\]]{0,30}|\\PC{1,5}@\\PC{1,5}\\.[a-z]{2}") {
        let rules = AddressRules::STORED;
        if let Ok(address) = EmailAddress::parse(&text, rules) {
            let wire = address.to_wire();
            prop_assert!(wire.len() <= 254);
            prop_assert!(!wire.chars().any(|c| c.is_control() || c.is_whitespace() || "<>\"()[],;:\\".contains(c)));
            prop_assert_eq!(wire.matches('@').count(), 1);
            prop_assert!(address.domain().is_ascii());
            prop_assert!(lettre::Address::new(address.local_part(), address.domain()).is_ok() || address.needs_smtputf8());
        }
    }

    #[test]
    fn parsing_again_changes_nothing(local in "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", domain in "[a-zA-Zäöüß]{1,10}\\.[a-zA-Z]{2,6}") {
        let rules = AddressRules::STORED;
        let Ok(once) = EmailAddress::parse(&format!("{local}@{domain}"), rules) else { return Ok(()) };
        for text in [once.as_str().to_owned(), once.to_wire(), once.key().as_str().to_owned()] {
            let again = EmailAddress::parse(&text, rules);
            prop_assert_eq!(again.as_ref(), Ok(&once));
        }
    }
}
