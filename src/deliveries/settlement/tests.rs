use uuid::Uuid;

use super::*;
use crate::config::InDoubt;
use crate::deliveries::{Kind, LeaseClock};
use crate::id::{NewsletterId, SubscriptionId};
use crate::smtp::outcome::Phase;
use crate::smtp::reply::EnhancedCode;

const NOW: Timestamp = Timestamp::from_micros(1_783_400_400_000_000);

fn leases() -> Leases {
    Leases {
        worker: Duration::from_mins(1),
        transmission: Duration::from_mins(15),
        grace: Duration::from_mins(15),
        notice_grace: Duration::from_mins(1),
        margin: Duration::from_secs(5),
        in_doubt: InDoubt::Resend,
        clock: LeaseClock::Own,
    }
}

fn digest() -> Claimed {
    Claimed {
        id: Uuid::from_u128(1).into(),
        issue_id: Some(Uuid::from_u128(2).into()),
        subscription_id: Some(SubscriptionId(Uuid::from_u128(3))),
        variant_id: None,
        signup_id: None,
        newsletter_id: NewsletterId(Uuid::from_u128(4)),
        kind: Kind::Digest,
        recipient: "ada@example.org".to_owned(),
        payload: None,
        attempt: 3,
        tries: 0,
        doubt: 0,
        owner: Uuid::from_u128(5).into(),
        created_at: NOW,
        expires_at: NOW + Duration::from_hours(48),
        relay_id: None,
    }
}

fn notice() -> Claimed {
    Claimed {
        issue_id: None,
        kind: Kind::Confirmation,
        ..digest()
    }
}

fn reply(code: u16, text: &str) -> Cause {
    Cause::Reply(Reply {
        code,
        enhanced: EnhancedCode::at_start_of(text),
        lines: vec![text.to_owned()],
    })
}

fn settle(claimed: &Claimed, phase: Phase, cause: Cause) -> Settlement {
    let leases = leases();
    let with = Circumstances {
        now: NOW,
        jitter: 1.0,
        leases: &leases,
    };
    Settlement::of_failure(claimed, &Failure::new(phase, cause), with)
}

fn wait(settlement: &Settlement) -> u64 {
    settlement.not_before.since(NOW).as_secs()
}

#[test]
fn a_4xx_about_the_recipient_is_tried_again_later_and_counted() {
    let settled = settle(&digest(), Phase::Rcpt, reply(451, "4.7.1 greylisted"));
    assert_eq!(settled.state, State::Pending);
    assert!(settled.is_counted);
    assert_eq!(wait(&settled), 60);
    assert_eq!(settled.reply_code, Some(451));
    assert_eq!(settled.enhanced_code.as_deref(), Some("4.7.1"));
    let third = Claimed {
        tries: 2,
        ..digest()
    };
    assert_eq!(
        wait(&settle(&third, Phase::Dot, reply(452, "full"))),
        15 * 60
    );
}

#[test]
fn a_retry_that_would_come_too_late_is_given_up() {
    let late = Claimed {
        expires_at: NOW + Duration::from_secs(30),
        ..digest()
    };
    let settled = settle(&late, Phase::Rcpt, reply(451, "later"));
    assert_eq!(
        (settled.state, settled.reason),
        (State::Failed, Some(Reason::Expired))
    );
    let doubtful = Claimed { doubt: 1, ..late };
    let settled = settle(&doubtful, Phase::Rcpt, reply(451, "later"));
    assert_eq!(
        (settled.state, settled.reason),
        (State::Held, Some(Reason::Doubt))
    );
}

#[test]
fn a_5xx_about_the_recipient_fails_the_row_alone() {
    for phase in [Phase::Rcpt, Phase::Dot] {
        let settled = settle(&digest(), phase, reply(550, "5.1.1 unknown"));
        assert_eq!(
            (settled.state, settled.reason),
            (State::Failed, Some(Reason::Refused))
        );
        assert_eq!(settled.pause, None);
    }
    let settled = settle(&digest(), Phase::Mail, Cause::NeedsSmtpUtf8);
    assert_eq!(
        (settled.state, settled.reason),
        (State::Failed, Some(Reason::Relay))
    );
}

#[test]
fn trouble_with_the_relay_touches_no_row() {
    for (phase, cause) in [
        (Phase::Greeting, reply(421, "busy")),
        (Phase::Connect, Cause::TimedOut),
        (Phase::Auth, reply(535, "wrong")),
        (Phase::Mail, reply(451, "later")),
        (Phase::Data, reply(451, "later")),
    ] {
        let settled = settle(&digest(), phase, cause);
        assert_eq!(settled.state, State::Pending);
        assert!(!settled.is_counted && !settled.is_doubt);
        assert_eq!(wait(&settled), 0);
    }
}

#[test]
fn a_refused_sender_pauses_the_issue_and_lets_a_notice_wait() {
    let settled = settle(&digest(), Phase::Mail, reply(550, "5.7.1 not you"));
    assert_eq!(settled.state, State::Pending);
    let (issue, why) = settled.pause.unwrap();
    assert_eq!(Some(issue), digest().issue_id);
    assert!(why.contains("not you"), "{why}");
    let settled = settle(&notice(), Phase::Mail, reply(550, "5.7.1 not you"));
    assert_eq!(
        (settled.state, settled.pause.clone()),
        (State::Pending, None)
    );
    assert_eq!(wait(&settled), 15 * 60);
}

#[test]
fn a_loss_before_the_dot_is_no_doubt_and_one_behind_it_is() {
    let lost = || Cause::Lost("closed".to_owned());
    let settled = settle(&digest(), Phase::Body, lost());
    assert_eq!((settled.state, settled.is_doubt), (State::Pending, false));
    let settled = settle(&digest(), Phase::Dot, lost());
    assert_eq!((settled.state, settled.is_doubt), (State::InDoubt, true));
    assert_eq!(wait(&settled), 15 * 60);
    assert_eq!(wait(&settle(&notice(), Phase::Dot, lost())), 60);
}

#[test]
fn what_was_lost_without_anybodys_fault_waits_a_minute() {
    for (phase, cause) in [
        (Phase::Mail, Cause::Lost("closed".to_owned())),
        (Phase::Rcpt, Cause::TimedOut),
        (Phase::Data, Cause::Protocol("odd".to_owned())),
        (Phase::Body, Cause::Fenced),
    ] {
        let settled = settle(&digest(), phase, cause);
        assert_eq!((settled.state, settled.is_counted), (State::Pending, false));
        assert_eq!(wait(&settled), 60, "{phase}");
    }
}

/// What the brakes hear of a reply.
fn heard_by_brakes(phase: Phase, code: u16, text: &str) -> Said {
    let settled = settle(&digest(), phase, reply(code, text));
    settled.answer.unwrap().said
}

#[test]
fn a_message_was_transmitted_where_the_reply_came_after_its_end() {
    for (phase, transmitted) in [
        (Phase::Rcpt, false),
        (Phase::Body, false),
        (Phase::Dot, true),
    ] {
        let deferred = heard_by_brakes(phase, 451, "4.7.1 later");
        assert_eq!(deferred, Said::Deferred { transmitted }, "{phase}");
    }
}

#[test]
fn a_refusal_within_the_message_is_none_of_its_recipient() {
    for (phase, is_of_the_message) in [
        (Phase::Rcpt, false),
        (Phase::Body, true),
        (Phase::Dot, true),
    ] {
        match heard_by_brakes(phase, 554, "5.6.0 odd") {
            Said::Refused { transmitted, .. } => {
                assert_eq!(transmitted, is_of_the_message, "{phase}");
            }
            other => panic!("{phase}: {other:?}"),
        }
    }
}

/// What is written where so much of a final reply was heard.
fn settle_half_a_reply(partial: &str) -> Settlement {
    let leases = leases();
    let with = Circumstances {
        now: NOW,
        jitter: 1.0,
        leases: &leases,
    };
    let failure = Failure {
        partial: Some(partial.to_owned()),
        ..Failure::new(Phase::Dot, Cause::TimedOut)
    };
    Settlement::of_failure(&digest(), &failure, with)
}

#[test]
fn half_a_yes_is_one_for_the_brakes_too_and_half_of_any_reply_is_written_down() {
    for (partial, state, said) in [
        ("250 2.0.0 qu", State::Sent, Said::Accepted),
        ("25", State::InDoubt, Said::Lost),
    ] {
        let settled = settle_half_a_reply(partial);
        let is_sent = state == State::Sent;
        let found = (settled.state, settled.is_counted, settled.is_doubt);
        assert_eq!(found, (state, is_sent, !is_sent));
        assert_eq!(settled.answer.unwrap().said, said);
        let text = settled.reply_text.unwrap();
        assert!(text.ends_with(&format!("; heard: {partial}")), "{text}");
    }
}

#[test]
fn refusals_are_in_the_same_words_whatever_ids_addresses_and_links_they_name() {
    let refused = |text: &str| heard_by_brakes(Phase::Dot, 554, text);
    let one = refused("5.6.0 odd, see https://example.org/abc about ada@example.org in x7");
    let other = refused("5.6.0 odd, see https://example.net/xyz about eve@example.com in y8");
    assert_eq!(one, other);
    assert_ne!(one, refused("5.6.0 odd, look about in"));
    assert_ne!(one, refused("5.6.1 odd, see about in"));
}

#[test]
fn the_brakes_know_a_domain_however_its_readers_write_it() {
    for recipient in ["ada@example.org", "eve@Example.ORG"] {
        let claimed = Claimed {
            recipient: recipient.to_owned(),
            ..digest()
        };
        let settled = settle(&claimed, Phase::Rcpt, reply(550, "5.1.1 unknown"));
        assert_eq!(settled.answer.unwrap().domain, "example.org");
    }
}

#[test]
fn every_reply_about_a_recipient_or_a_message_counts_as_a_try() {
    for (phase, code) in [
        (Phase::Rcpt, 451),
        (Phase::Rcpt, 550),
        (Phase::Body, 452),
        (Phase::Body, 554),
        (Phase::Dot, 452),
        (Phase::Dot, 550),
    ] {
        let settled = settle(&digest(), phase, reply(code, "no"));
        assert!(settled.is_counted, "{phase}: {code}");
    }
}

#[test]
fn a_refusal_in_many_words_is_cut_between_letters_of_whatever_alphabet() {
    for (before, bytes) in [("", 200), ("x", 199)] {
        let text = format!("5.6.0 {before}{}", "\u{e9}".repeat(200));
        match heard_by_brakes(Phase::Dot, 554, &text) {
            Said::Refused { reply, .. } => assert_eq!(reply.len(), bytes),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_id_in_front_of_a_refusal_without_an_enhanced_code_is_none_of_its_words() {
    let refused = |text: &str| heard_by_brakes(Phase::Dot, 554, text);
    assert_eq!(
        refused("x7: message rejected"),
        refused("y8: message rejected")
    );
    assert_ne!(refused("message rejected"), refused("message refused"));
}
