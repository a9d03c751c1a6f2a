//! Each mutant breaks one rule; the checker must find a story in which that breaks a promise.

use super::Policy;
use super::properties::{
    ACKNOWLEDGED, AFTER_CANCEL, AFTER_GOODBYE, COPIES, DOUBT_FIRST, FAILED, GIVEN_ONCE, HAS_LINE,
    HOLD, NOT_LOST, NOT_STUCK, ONE_MARK, SENT, TWO_COPIES, WHILE_PAUSED,
};

/// One rule that is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The mark asks for a claimed row, not for its own claim: neither attempt, owner nor lease.
    MarkWithoutCompareAndSet,
    /// The mark does not compare the attempt.
    MarkIgnoresTheAttempt,
    /// The mark does not compare the owner.
    MarkIgnoresTheOwner,
    /// The mark does not ask whether its worker is alive.
    MarkIgnoresTheLease,
    /// The subscription is checked when the list is built, not again at claim and mark.
    SubscriptionCheckedWhenListed,
    /// The subscription is checked at the claim, not again at the mark.
    MarkIgnoresTheSubscription,
    /// The mark does not look at the issue.
    MarkIgnoresTheIssue,
    /// The mark looks at the issue's state and not at its pause.
    MarkIgnoresThePause,
    /// A row that the mark finds cancelled is skipped even if it may have arrived.
    MarkSkipsWhatIsDoubtful,
    /// A claim does not count: its attempt is the one before.
    ClaimKeepsTheAttempt,
    /// The body leaves before the mark is durable.
    BodyBeforeMark,
    /// A refusal before the mark finds its row by id.
    RefusalIgnoresTheOwner,
    /// What was not transmitted is given back by id.
    GiveBackIgnoresTheOwner,
    /// A settlement does not compare the attempt.
    SettleIgnoresTheAttempt,
    /// A settlement is answered before its commit, and kept to fill a batch.
    SettleKeptBack,
    /// A 250 counts only while its row is transmitting.
    LateAcknowledgementIgnored,
    /// A reply on a pipelined connection counts for the message behind it, too.
    ReplyCreditedToTheNext,
    /// A lost reply counts as a 250.
    LostReplyTakenForYes,
    /// A lost reply counts as a 5xx.
    LostReplyTakenForNo,
    /// A transmission whose lease is over waits again, without doubt.
    ExpiredTransmissionWaitsAgain,
    /// What a dead worker had claimed is taken back, and what it transmits too.
    TakeBackTakesTransmitting,
    /// Doubt is resent however often it occurred.
    ResendWithoutLimit,
    /// The policy is not looked at.
    HoldTakenForResend,
    /// Articles are put back although they may have arrived.
    PutBackDespiteDoubt,
    /// Articles are not put back.
    NothingIsPutBack,
    /// "Send again" leaves a finished issue finished.
    SendAgainForgetsTheIssue,
    /// "Retry failed" leaves the articles put back, and so does not find out that a later issue gave them.
    RetryIgnoresLaterIssues,
}

impl Mutant {
    /// How many readers its story needs.
    pub(super) fn readers(self) -> usize {
        if self == Self::ReplyCreditedToTheNext {
            2
        } else {
            1
        }
    }

    /// Mutants that break a promise: which, and under which policy.
    pub(super) const DEADLY: &[(Self, Policy, &str)] = &[
        (Self::MarkWithoutCompareAndSet, Policy::Resend, COPIES),
        (Self::MarkIgnoresTheAttempt, Policy::Resend, HAS_LINE),
        (
            Self::SubscriptionCheckedWhenListed,
            Policy::Resend,
            AFTER_GOODBYE,
        ),
        (
            Self::MarkIgnoresTheSubscription,
            Policy::Resend,
            AFTER_GOODBYE,
        ),
        (Self::MarkIgnoresTheIssue, Policy::Resend, AFTER_CANCEL),
        (Self::MarkIgnoresThePause, Policy::Resend, WHILE_PAUSED),
        (Self::MarkSkipsWhatIsDoubtful, Policy::Resend, NOT_LOST),
        (Self::ClaimKeepsTheAttempt, Policy::Resend, ONE_MARK),
        (Self::BodyBeforeMark, Policy::Hold, HOLD),
        (Self::RefusalIgnoresTheOwner, Policy::Resend, FAILED),
        (Self::GiveBackIgnoresTheOwner, Policy::Resend, COPIES),
        (Self::SettleIgnoresTheAttempt, Policy::Resend, DOUBT_FIRST),
        (Self::SettleKeptBack, Policy::Resend, HAS_LINE),
        (
            Self::LateAcknowledgementIgnored,
            Policy::Resend,
            ACKNOWLEDGED,
        ),
        (Self::ReplyCreditedToTheNext, Policy::Resend, SENT),
        (Self::LostReplyTakenForYes, Policy::Resend, SENT),
        (Self::LostReplyTakenForNo, Policy::Resend, FAILED),
        (Self::ExpiredTransmissionWaitsAgain, Policy::Hold, HOLD),
        (Self::TakeBackTakesTransmitting, Policy::Resend, COPIES),
        (Self::ResendWithoutLimit, Policy::Resend, TWO_COPIES),
        (Self::HoldTakenForResend, Policy::Hold, HOLD),
        (Self::PutBackDespiteDoubt, Policy::Resend, GIVEN_ONCE),
        (Self::NothingIsPutBack, Policy::Resend, NOT_LOST),
        (Self::SendAgainForgetsTheIssue, Policy::Resend, NOT_STUCK),
        (Self::RetryIgnoresLaterIssues, Policy::Resend, GIVEN_ONCE),
    ];

    /// Rules that another one covers: attempts are numbered by claim, so that a row in the attempt is the owner's; and
    /// a row that is still claimed in it was not taken back. They save work, and hold if the other one is lost.
    pub(super) const COVERED: &[Self] = &[Self::MarkIgnoresTheOwner, Self::MarkIgnoresTheLease];
}
