//! The promises, and scenes that must occur: a model in which nothing happens would keep every promise.

use stateright::{Model as _, Property};

use super::actions::Cost;
use super::state::{Articles, IssueState, Offence, Reader, Reason, Row, RowState, Said, State};
use super::{Policy, Protocol};

pub(super) const AFTER_GOODBYE: &str = "I1 no mark after the unsubscribe commit";
pub(super) const COPIES: &str = "I2 copies are at most one more than the doubts";
pub(super) const TWO_COPIES: &str = "I2 two copies at most, unless an operator sends again";
pub(super) const DOUBT_FIRST: &str = "I2 no attempt after a copy without a doubt about that copy";
pub(super) const SENT: &str = "I3 what is sent was accepted, or an operator said so";
pub(super) const HOLD: &str = "I4 under hold one copy, unless an operator sends again";
pub(super) const AFTER_CANCEL: &str = "I5 no mark after the cancel commit";
pub(super) const WHILE_PAUSED: &str = "I5 no mark while the issue is paused";
pub(super) const FAILED: &str = "I6 what failed was not accepted, unless a doubt is recorded";
pub(super) const NOT_STUCK: &str = "I7 nothing is stuck";
pub(super) const HAS_LINE: &str = "I8 behind what is marked and unsettled is a connection";
pub(super) const ONE_MARK: &str = "I9 one mark for one attempt";
pub(super) const GIVEN_ONCE: &str = "articles that may have arrived are not put back";
pub(super) const NOT_LOST: &str = "articles of what was given up come again";
pub(super) const ACKNOWLEDGED: &str = "what is acknowledged is sent, however late it is heard";

pub(super) const BOTH_SENT: &str = "both rows are sent, one copy each";
pub(super) const PIPELINED: &str = "one connection carries both rows, pipelined";
pub(super) const SECOND_COPY: &str = "a reader gets two copies";

/// All of them.
pub(super) fn all() -> Vec<Property<Protocol>> {
    let mut properties = vec![
        Property::always(AFTER_GOODBYE, |_, state: &State| {
            without(state, Offence::AfterGoodbye)
        }),
        Property::always(COPIES, |_, state: &State| {
            each(state, |row| row.seen.copies <= 1 + row.seen.doubts)
        }),
        Property::always(TWO_COPIES, |_, state: &State| {
            each(state, |row| row.seen.copies <= 2 + row.seen.sent_again)
        }),
        Property::always(DOUBT_FIRST, |_, state| without(state, Offence::AfterCopy)),
        Property::always(SENT, |_, state: &State| {
            each(state, |row| {
                row.state != RowState::Sent
                    || row.seen.copies > 0
                    || row.seen.operator_said == Some(Said::Sent)
            })
        }),
        Property::always(HOLD, |protocol: &Protocol, state| {
            protocol.policy == Policy::Resend
                || each(state, |row| row.seen.copies <= 1 + row.seen.sent_again)
        }),
        Property::always(AFTER_CANCEL, |_, state: &State| {
            without(state, Offence::AfterCancel)
        }),
        Property::always(WHILE_PAUSED, |_, state: &State| {
            without(state, Offence::WhilePaused)
        }),
        Property::always(FAILED, |_, state: &State| {
            each(state, |row| {
                row.state != RowState::Failed || row.seen.copies == 0 || row.seen.doubts > 0
            })
        }),
        Property::always(NOT_STUCK, is_not_stuck),
        Property::always(HAS_LINE, |_, state: &State| {
            (0..state.rows.len()).all(|row| has_line(state, row))
        }),
        Property::always(ONE_MARK, |_, state| without(state, Offence::SameAttempt)),
        Property::always(GIVEN_ONCE, |_, state: &State| {
            each(state, |row| {
                row.articles == Articles::Given
                    || row.seen.copies == 0
                    || row.seen.operator_said == Some(Said::NotSent)
            })
        }),
        Property::always(NOT_LOST, |_, state: &State| {
            each(state, |row| {
                !gives_up(row) || row.articles != Articles::Given
            })
        }),
        Property::always(ACKNOWLEDGED, |_, state: &State| {
            each(state, |row| {
                !row.seen.is_acknowledged || row.state == RowState::Sent
            })
        }),
    ];
    properties.extend(scenes());
    properties
}

fn scenes() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes(BOTH_SENT, |_, state: &State| {
            each(state, |row| {
                row.state == RowState::Sent && row.seen.copies == 1
            })
        }),
        Property::sometimes(PIPELINED, |_, state: &State| {
            state.workers.iter().any(|worker| {
                worker.life == 0
                    && worker.messages().count() == 2
                    && worker
                        .current
                        .is_some_and(|message| message.stage.may_be_marked())
            })
        }),
        Property::sometimes(SECOND_COPY, |_, state: &State| {
            state.rows.iter().any(|row| row.seen.copies == 2)
        }),
        Property::sometimes("a late acknowledgement ends a doubt", |_, state: &State| {
            state.rows.iter().any(|row| {
                row.state == RowState::Sent
                    && row.seen.is_acknowledged
                    && row.seen.doubts > 0
                    && row.attempt == 1
            })
        }),
        Property::sometimes("a row is held", |_, state: &State| {
            state.rows.iter().any(|row| row.state == RowState::Held)
        }),
        Property::sometimes(
            "a mail arrives after goodbye: its mark was earlier",
            |_, state: &State| {
                state
                    .rows
                    .iter()
                    .any(|row| row.reader == Reader::Gone && row.state == RowState::Sent)
            },
        ),
        Property::sometimes("articles are put back", |_, state: &State| {
            state
                .rows
                .iter()
                .any(|row| row.articles == Articles::PutBack)
        }),
    ]
}

fn each(state: &State, holds: fn(&Row) -> bool) -> bool {
    state.rows.iter().all(holds)
}

fn without(state: &State, offence: Offence) -> bool {
    state
        .rows
        .iter()
        .all(|row| row.seen.offence != Some(offence))
}

/// Skipped or failed through our doing, not the reader's and not the relay's.
fn gives_up(row: &Row) -> bool {
    match row.reason {
        Some(Reason::Cancelled | Reason::NotSent) => row.state == RowState::Skipped,
        Some(Reason::Expired) => row.state == RowState::Failed && row.doubt == 0,
        Some(Reason::Unsubscribed | Reason::Refused) | None => false,
    }
}

/// Where nothing goes on by itself, nothing waits: but for a paused issue, which waits for its operator.
fn is_not_stuck(protocol: &Protocol, state: &State) -> bool {
    if state.rows.iter().all(|row| !row.state.is_open()) {
        return true;
    }
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    let goes_on = actions
        .iter()
        .any(|action| action.cost(state) == Cost::Progress);
    let is_paused = state.issue.is_paused && state.issue.state == IssueState::Sending;
    let only_waits = each(state, |row| {
        matches!(row.state, RowState::Pending | RowState::InDoubt) || !row.state.is_open()
    });
    goes_on || (is_paused && only_waits)
}

/// A marked row belongs to a connection, one that is open or one that died.
fn has_line(state: &State, row: usize) -> bool {
    let now = &state.rows[row];
    now.state != RowState::Transmitting
        || state.is_held_marked(row)
        || now
            .owner
            .is_some_and(|owner| owner.life < state.workers[owner.worker].killed)
}
