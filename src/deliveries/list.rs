//! What people ask about deliveries: one by one.

use super::store::read;
use super::{Kind, Reason, State};
use crate::clock::Timestamp;
use crate::db::Db;
use crate::id::{DeliveryId, IssueId};

/// A delivery, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Summary {
    /// Which.
    pub id: DeliveryId,
    /// Of which issue; `None` for notices.
    pub issue_id: Option<IssueId>,
    /// What it is.
    pub kind: Kind,
    /// How it stands.
    pub state: State,
    /// To whom.
    pub recipient: String,
    /// Times claimed.
    pub attempt: i64,
    /// Replies about this recipient or message.
    pub tries: i64,
    /// Times in doubt.
    pub doubt: i64,
    /// Times its worker died with it.
    pub crashes: i64,
    /// Nothing happens before then.
    pub not_before: Timestamp,
    /// When its last transmission began.
    pub marked_at: Option<Timestamp>,
    /// When it was settled last.
    pub settled_at: Option<Timestamp>,
    /// The last reply's code.
    pub reply_code: Option<i64>,
    /// The last reply's enhanced code.
    pub enhanced_code: Option<String>,
    /// The last reply's text.
    pub reply_text: Option<String>,
    /// The relay of the last transmission.
    pub relay_id: Option<String>,
    /// Why it was skipped, failed or held.
    pub reason: Option<Reason>,
}

impl Summary {
    /// How many copies the reader can have got.
    pub fn copies_at_most(&self) -> i64 {
        copies_at_most(self.state, self.doubt, self.reply_code)
    }
}

/// Which deliveries of an issue are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Only those that stand so.
    pub state: Option<State>,
    /// Only those that were in doubt at least once.
    pub doubted: bool,
    /// Only those behind this one.
    pub after: Option<DeliveryId>,
}

/// Deliveries of an issue, and how many more there are behind them.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of their ids.
    pub deliveries: Vec<Summary>,
    /// How many more match.
    pub more: i64,
}

/// At most `limit` deliveries of `issue`.
pub async fn of_issue(db: &Db, issue: IssueId, filter: Filter, limit: u32) -> sqlx::Result<Page> {
    let limit = i64::from(limit);
    let deliveries = read::of_issue(db, issue, filter, limit).await?;
    let found = i64::try_from(deliveries.len()).unwrap_or(i64::MAX);
    let more = if found < limit {
        0
    } else {
        read::count_of_issue(db, issue, filter).await?.max(found) - found
    };
    Ok(Page { deliveries, more })
}

/// How many copies the reader can have got of a delivery that stands so: one for each doubt, and the one that is on
/// the wire or was acknowledged. What an operator counted as sent has no acknowledgement of its own.
pub fn copies_at_most(state: State, doubt: i64, reply_code: Option<i64>) -> i64 {
    let acknowledged = reply_code.is_some_and(|code| (200..300).contains(&code));
    let last = match state {
        State::Transmitting => true,
        State::Sent => acknowledged || doubt == 0,
        State::Pending
        | State::Claimed
        | State::InDoubt
        | State::Failed
        | State::Skipped
        | State::Held => false,
    };
    doubt + i64::from(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_doubt_may_be_a_copy_and_so_may_the_last_transmission() {
        for (state, doubt, reply, copies) in [
            (State::Pending, 0, None, 0),
            (State::Pending, 1, Some(451), 1),
            (State::Transmitting, 1, None, 2),
            (State::InDoubt, 1, None, 1),
            (State::Held, 2, None, 2),
            (State::Sent, 0, Some(250), 1),
            (State::Sent, 1, Some(250), 2),
            // counted as sent by an operator
            (State::Sent, 1, None, 1),
            (State::Sent, 2, Some(451), 2),
            (State::Failed, 1, Some(550), 1),
            (State::Skipped, 0, None, 0),
        ] {
            assert_eq!(
                copies_at_most(state, doubt, reply),
                copies,
                "{state} {doubt} {reply:?}"
            );
        }
    }
}
