use super::*;
use Verdict::{Deferred, InDoubt, IssuePaused, NotSent, Refused, RelayBackOff, RelayHalted, Sent};

const PHASES: [Phase; 12] = [
    Phase::Connect,
    Phase::Tls,
    Phase::Greeting,
    Phase::Ehlo,
    Phase::StartTls,
    Phase::Auth,
    Phase::Mail,
    Phase::Rcpt,
    Phase::Data,
    Phase::Body,
    Phase::Dot,
    Phase::Rset,
];

fn reply(code: u16, text: &str) -> Cause {
    Cause::Reply(Reply {
        code,
        enhanced: EnhancedCode::at_start_of(text),
        lines: vec![text.to_owned()],
    })
}

fn verdict(phase: Phase, cause: Cause) -> Verdict {
    Failure::new(phase, cause).verdict()
}

fn lost() -> Cause {
    Cause::Lost("closed".to_owned())
}

#[test]
fn each_phase_punishes_whom_the_reply_is_about() {
    let opening = [RelayBackOff(None), RelayBackOff(None), RelayBackOff(None)];
    for (phase, expected) in [
        (Phase::Connect, opening),
        (Phase::Tls, opening),
        (Phase::Greeting, opening),
        (Phase::Ehlo, opening),
        (Phase::StartTls, opening),
        (
            Phase::Auth,
            [RelayBackOff(None), RelayHalted, RelayBackOff(None)],
        ),
        (Phase::Mail, [RelayBackOff(None), IssuePaused, NotSent]),
        (Phase::Rcpt, [Deferred, Refused, NotSent]),
        (Phase::Data, [RelayBackOff(None), IssuePaused, NotSent]),
        (Phase::Body, [Deferred, Refused, NotSent]),
        (Phase::Dot, [Deferred, Refused, InDoubt]),
        (Phase::Rset, [NotSent, NotSent, NotSent]),
    ] {
        let found = [
            verdict(phase, reply(451, "later")),
            verdict(phase, reply(550, "never")),
            verdict(phase, lost()),
        ];
        assert_eq!(found, expected, "{phase}");
        assert_eq!(
            verdict(phase, Cause::TimedOut),
            expected[2],
            "{phase}: in time"
        );
        assert_eq!(
            verdict(phase, reply(421, "closing")),
            expected[0],
            "{phase}: 421"
        );
    }
}

#[test]
fn doubt_stands_only_behind_the_dot_and_no_recipient_suffers_before_rcpt() {
    for phase in PHASES {
        for cause in [
            lost(),
            Cause::TimedOut,
            Cause::Protocol("x".to_owned()),
            reply(199, ""),
            reply(250, ""),
            reply(354, ""),
            reply(451, ""),
            reply(550, ""),
            reply(999, ""),
        ] {
            let found = verdict(phase, cause);
            assert!(found != InDoubt || phase == Phase::Dot, "{phase}");
            if PHASES.iter().position(|p| *p == phase) < Some(7) {
                assert!(!matches!(found, Deferred | Refused | Sent), "{phase}");
            }
        }
    }
}

#[test]
fn a_relay_that_cannot_be_trusted_is_halted() {
    for phase in &PHASES[..6] {
        assert_eq!(
            verdict(*phase, Cause::Unfit("expired".to_owned())),
            RelayHalted
        );
    }
}

#[test]
fn a_login_that_fails_for_a_while_rests_half_an_hour() {
    assert_eq!(
        verdict(Phase::Auth, reply(454, "4.7.0 later")),
        RelayBackOff(Some(Duration::from_mins(30)))
    );
}

#[test]
fn too_many_recipients_says_nothing_about_this_one() {
    assert_eq!(verdict(Phase::Rcpt, reply(552, "5.5.3 too many")), Deferred);
    assert_eq!(verdict(Phase::Rcpt, reply(452, "4.5.3 too many")), Deferred);
}

#[test]
fn a_size_refusal_is_about_the_message_and_pauses_the_issue() {
    assert_eq!(verdict(Phase::Body, reply(552, "too big")), IssuePaused);
    assert_eq!(
        verdict(Phase::Body, reply(552, "5.3.4 too big")),
        IssuePaused
    );
    assert_eq!(
        verdict(Phase::Body, reply(554, "5.2.3 longer than allowed")),
        IssuePaused
    );
    assert_eq!(
        verdict(Phase::Body, reply(552, "5.2.2 mailbox full")),
        Refused
    );
    let too_large = Cause::TooLarge {
        size_bytes: 2,
        limit_bytes: 1,
    };
    assert_eq!(verdict(Phase::Mail, too_large), IssuePaused);
}

#[test]
fn a_recipient_who_needs_smtputf8_fails_alone() {
    assert_eq!(verdict(Phase::Mail, Cause::NeedsSmtpUtf8), Refused);
}

#[test]
fn three_digits_that_say_yes_are_a_yes() {
    for (partial, expected) in [
        ("2", InDoubt),
        ("25", InDoubt),
        ("250", Sent),
        ("250 ok", Sent),
        ("250-", Sent),
        ("269 odd", Sent),
        ("550 no", InDoubt),
        ("354", InDoubt),
        ("x250", InDoubt),
    ] {
        let failure = Failure {
            phase: Phase::Dot,
            cause: lost(),
            partial: Some(partial.to_owned()),
        };
        assert_eq!(failure.verdict(), expected, "{partial}");
    }
    let garbled = Failure {
        phase: Phase::Dot,
        cause: Cause::Protocol("codes differ".to_owned()),
        partial: Some("250-ok".to_owned()),
    };
    assert_eq!(garbled.verdict(), InDoubt);
}
