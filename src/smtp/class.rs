//! Whom a refusal is about: the address, the sender, the message. Pure.

use super::outcome::Phase;
use super::reply::{EnhancedCode, Reply};

/// What a refusal says, by its enhanced code (RFC 3463 and the IANA registry), else by the code inside its text, the
/// basic code, and at last its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The mailbox is not there, and will not be.
    Hard,
    /// The mailbox or its system cannot take it at present.
    Soft,
    /// The sender's reputation or rights; says nothing about the reader.
    Policy,
    /// The message itself.
    Content,
    /// The relay, or how we speak to it.
    Relay,
}

/// The class of a reply that is no yes.
pub fn classify(phase: Phase, reply: &Reply) -> Class {
    match phase {
        Phase::Rcpt | Phase::Data | Phase::Body | Phase::Dot => {}
        Phase::Connect
        | Phase::Tls
        | Phase::Greeting
        | Phase::Ehlo
        | Phase::StartTls
        | Phase::Auth
        | Phase::Mail
        | Phase::Rset => return Class::Relay,
    }
    let text = reply.text().to_ascii_lowercase();
    let code = telling(reply, &text);
    let class = code
        .and_then(|code| by_enhanced_code(code, reply.code, phase, &text))
        .unwrap_or_else(|| by_words(reply.code, &text));
    // "not now" is never the end of an address
    let is_transient = reply.is_transient() || code.is_some_and(|code| code.class == 4);
    if class == Class::Hard && is_transient {
        return Class::Soft;
    }
    class
}

/// The enhanced code that says something: x.0.0 does not, and one inside the text may.
fn telling(reply: &Reply, text: &str) -> Option<EnhancedCode> {
    let tells = |code: &EnhancedCode| (code.subject, code.detail) != (0, 0);
    reply.enhanced.filter(tells).or_else(|| {
        text.split(|c: char| c.is_whitespace() || "()[]<>,;:#".contains(c))
            .filter_map(EnhancedCode::at_start_of)
            .find(tells)
    })
}

fn by_enhanced_code(code: EnhancedCode, basic: u16, phase: Phase, text: &str) -> Option<Class> {
    Some(match (code.subject, code.detail) {
        // Gmail throttles with the code of a disabled mailbox
        (2, 1) if basic == 550 && text.contains("rate") => Class::Soft,
        (1, 1..=4 | 6 | 10) | (2, 1 | 4) | (7, 17 | 18) => Class::Hard,
        (7, 13) if basic == 525 => Class::Hard,
        // too large: for the mailbox before the message was heard, for anybody after it
        (3, 4) if matches!(phase, Phase::Body | Phase::Dot) => Class::Content,
        (2 | 4, _) | (3, 1 | 4) | (5, 3) => Class::Soft,
        (1, 7 | 8) | (7, 27) | (3 | 5, _) => Class::Relay,
        (6, _) => Class::Content,
        // greylisting and rates, under policy's number
        (7, 1) if matches!(basic, 421 | 450 | 451) => Class::Soft,
        (7, _) => Class::Policy,
        _ => return None,
    })
}

fn by_words(basic: u16, text: &str) -> Class {
    const UNKNOWN: [&str; 6] = [
        "user unknown",
        "no such user",
        "does not exist",
        "unknown recipient",
        "invalid recipient",
        "account disabled",
    ];
    const UNWANTED: [&str; 4] = ["blocked", "spam", "block list", "blacklist"];
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match basic {
        556 => Class::Hard,
        500..=599 if says(&UNKNOWN) => Class::Hard,
        500..=599 if says(&UNWANTED) => Class::Policy,
        _ => Class::Soft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(phase: Phase, line: &str) -> Class {
        let (code, text) = line.split_once(' ').unwrap();
        let reply = Reply {
            code: code.parse().unwrap(),
            enhanced: EnhancedCode::at_start_of(text),
            lines: vec![text.to_owned()],
        };
        classify(phase, &reply)
    }

    #[test]
    fn a_refusal_is_about_whom_its_code_names() {
        for (line, expected) in [
            ("550 5.1.1 no mailbox here", Class::Hard),
            ("550 5.1.2 no such host", Class::Hard),
            ("550 5.1.3 bad syntax", Class::Hard),
            ("550 5.1.4 ambiguous", Class::Hard),
            ("550 5.1.6 moved", Class::Hard),
            ("556 5.1.10 null MX", Class::Hard),
            ("550 5.1.10 nothing is taken here", Class::Hard),
            ("550 5.2.1 disabled", Class::Hard),
            ("550 5.2.1 receiving mail at a rate that", Class::Soft),
            ("525 5.7.13 disabled", Class::Hard),
            ("550 5.7.13 not for you", Class::Policy),
            ("550 5.7.17 changed owner", Class::Hard),
            ("550 5.7.18 changed owner", Class::Hard),
            ("550 5.2.4 list is gone", Class::Hard),
            ("452 4.3.1 system full", Class::Soft),
            ("550 5.1.7 odd sender", Class::Relay),
            ("552 5.2.2 full", Class::Soft),
            ("452 4.2.2 full", Class::Soft),
            ("550 5.4.4 no route", Class::Soft),
            ("550 5.7.27 no SPF", Class::Relay),
            ("550 5.1.8 bad sender", Class::Relay),
            ("550 5.3.5 misconfigured", Class::Relay),
            ("550 5.5.2 syntax", Class::Relay),
            ("550 5.5.3 too many", Class::Soft),
            ("550 5.6.0 odd MIME", Class::Content),
            ("550 5.7.1 not you", Class::Policy),
            ("550 5.7.26 unauthenticated", Class::Policy),
            ("451 4.7.1 greylisted", Class::Soft),
            ("450 4.7.1 greylisted", Class::Soft),
            ("421 4.7.1 slow down", Class::Soft),
            ("421 4.7.28 too much", Class::Policy),
            ("450 4.1.1 not yet known", Class::Soft),
            ("550 4.1.1 not yet known", Class::Soft),
        ] {
            assert_eq!(class(Phase::Rcpt, line), expected, "{line}");
        }
    }

    #[test]
    fn where_the_code_is_silent_the_text_speaks() {
        for (line, expected) in [
            ("550 5.0.0 said: 550 5.1.1 unknown", Class::Hard),
            ("550 rejected (#5.1.1)", Class::Hard),
            ("550 #5.2.1 rejected", Class::Hard),
            ("550 No such user here", Class::Hard),
            ("550 User unknown", Class::Hard),
            ("550 mailbox does not exist", Class::Hard),
            ("550 Unknown recipient", Class::Hard),
            ("550 Invalid recipient", Class::Hard),
            ("550 account disabled", Class::Hard),
            ("556 no mail", Class::Hard),
            ("554 rejected as SPAM", Class::Policy),
            ("554 you are blocked", Class::Policy),
            ("554 you are on a block list", Class::Policy),
            ("554 blacklisted", Class::Policy),
            ("550 no", Class::Soft),
            ("450 user unknown", Class::Soft),
            ("450 blocked for now", Class::Soft),
        ] {
            assert_eq!(class(Phase::Rcpt, line), expected, "{line}");
        }
    }

    #[test]
    fn a_number_with_another_sense_does_not_end_an_address() {
        for line in ["550 5.1.0 rejected", "550 5.1.5 odd", "550 5.1.9 odd"] {
            assert_eq!(class(Phase::Rcpt, line), Class::Soft, "{line}");
        }
    }

    #[test]
    fn a_rate_under_the_number_of_a_disabled_mailbox_is_told_with_550_alone() {
        let line = "554 5.2.1 disabled, write to a separate address";
        assert_eq!(class(Phase::Rcpt, line), Class::Hard);
    }

    #[test]
    fn a_code_inside_the_text_is_found_behind_each_mark() {
        for mark in "()[]<>,;:#".chars() {
            let line = format!("550 rejected{mark}5.1.1");
            assert_eq!(class(Phase::Rcpt, &line), Class::Hard, "{line}");
        }
    }

    #[test]
    fn an_unknown_address_stays_one_where_the_reply_speaks_of_spam_too() {
        let line = "550 no such user behind this spam filter";
        assert_eq!(class(Phase::Rcpt, line), Class::Hard);
    }

    #[test]
    fn too_large_is_about_the_mailbox_or_the_message() {
        let line = "552 5.3.4 too large";
        assert_eq!(class(Phase::Rcpt, line), Class::Soft);
        assert_eq!(class(Phase::Data, line), Class::Soft);
        assert_eq!(class(Phase::Body, line), Class::Content);
        assert_eq!(class(Phase::Dot, line), Class::Content);
        assert_eq!(class(Phase::Mail, "550 5.1.1 sender"), Class::Relay);
    }

    #[test]
    fn from_the_recipient_on_the_code_says_whom_a_refusal_is_about() {
        for (phase, expected) in [
            (Phase::Mail, Class::Relay),
            (Phase::Rcpt, Class::Content),
            (Phase::Data, Class::Content),
            (Phase::Body, Class::Content),
            (Phase::Dot, Class::Content),
            (Phase::Rset, Class::Relay),
        ] {
            assert_eq!(class(phase, "554 5.6.0 odd MIME"), expected, "{phase}");
        }
    }

    #[test]
    fn where_a_code_names_nobody_the_basic_code_and_the_words_do() {
        for (line, expected) in [
            ("550 5.0.0 user unknown", Class::Hard),
            ("550 5.1.0 user unknown", Class::Hard),
            ("556 5.1.0 no mail", Class::Hard),
            ("554 5.1.0 blocked", Class::Policy),
        ] {
            assert_eq!(class(Phase::Rcpt, line), expected, "{line}");
        }
    }

    #[test]
    fn what_a_reader_or_policy_is_refused_for_may_be_said_behind_the_message_too() {
        for phase in [Phase::Rcpt, Phase::Data, Phase::Body, Phase::Dot] {
            for (line, expected) in [
                ("550 5.1.1 unknown", Class::Hard),
                ("552 5.2.2 full", Class::Soft),
                ("550 5.7.1 not you", Class::Policy),
            ] {
                assert_eq!(class(phase, line), expected, "{phase}: {line}");
            }
        }
    }

    #[test]
    fn of_several_codes_the_replys_own_counts_and_then_the_first_in_its_text() {
        for (line, expected) in [
            ("550 5.7.1 said: 550 5.1.1 unknown", Class::Policy),
            ("550 5.1.1 unknown, see 5.7.1", Class::Hard),
            ("550 said: 5.1.1 unknown, not 5.7.1", Class::Hard),
            ("550 5.0.0 said: 5.7.1 not you, 5.1.1", Class::Policy),
        ] {
            assert_eq!(class(Phase::Rcpt, line), expected, "{line}");
        }
    }
}
