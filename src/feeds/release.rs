//! Releasing articles: each gets the newsletter's next number, and is news from then on.

use std::time::Duration;

use super::{ArticleState, store};
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{ArticleId, NewsletterId};

/// How far ahead an article may be dated and still be released by itself.
const FARTHEST: Duration = Duration::from_hours(24);
/// Articles that one transaction releases.
const CHUNK: i64 = 200;

/// How a new article begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) state: ArticleState,
    pub(crate) release_at: Option<Timestamp>,
    pub(crate) held_reason: Option<&'static str>,
}

impl Beginning {
    /// No news: it was there when the feed was first read.
    pub(crate) const KNOWN: Self = Self {
        state: ArticleState::Known,
        release_at: None,
        held_reason: None,
    };

    /// News: released after `cool_off`, or when it is dated if that is later; held when it is dated more than a day ahead.
    pub(crate) fn of_news(
        now: Timestamp,
        cool_off: Duration,
        published_at: Option<Timestamp>,
    ) -> Self {
        let dated = published_at.unwrap_or(now);
        if dated > now + FARTHEST {
            return Self {
                state: ArticleState::Held,
                release_at: None,
                held_reason: Some("dated more than a day ahead"),
            };
        }
        Self {
            state: ArticleState::Waiting,
            release_at: Some(dated.max(now + cool_off)),
            held_reason: None,
        }
    }
}

/// Releases every article whose time has come, and says how many. May run twice, and in several processes at once.
pub async fn release_due(db: &Db, now: Timestamp) -> sqlx::Result<usize> {
    let mut released = 0;
    for newsletter_id in store::newsletters_to_release(db, now).await? {
        loop {
            let chunk = db
                .write(move |tx| {
                    Box::pin(async move { release_chunk(tx, newsletter_id, now).await })
                })
                .await?;
            released += chunk;
            if chunk == 0 {
                break;
            }
        }
    }
    Ok(released)
}

/// Releases one article at once, whether it waits, is held or was no news; `false` when it is released already, or withdrawn.
pub async fn release_now(
    db: &Db,
    newsletter_id: NewsletterId,
    id: ArticleId,
    now: Timestamp,
) -> sqlx::Result<bool> {
    db.write(move |tx| {
        Box::pin(async move {
            let seq = store::take_seqs(tx, newsletter_id, 1).await?;
            store::release_one(tx, id, seq, now).await
        })
    })
    .await
}

/// Releases a chunk in the order of release times, and says how many.
pub(crate) async fn release_chunk(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
    now: Timestamp,
) -> sqlx::Result<usize> {
    // The lock comes before the look: two that release at once take turns, and the second finds what is left.
    store::lock_newsletter(tx, newsletter_id).await?;
    let due = store::due_to_release(tx, newsletter_id, now, CHUNK).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let count = i64::try_from(due.len()).unwrap_or(CHUNK);
    let mut seq = store::take_seqs(tx, newsletter_id, count).await? - count;
    for id in &due {
        seq += 1;
        store::release_one(tx, *id, seq, now).await?;
    }
    Ok(due.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_ahead_delay_a_release_by_a_day_at_most() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let minutes = |count| Duration::from_mins(count);
        let check = |published_at, expect| {
            let beginning = Beginning::of_news(now, minutes(10), published_at);
            assert_eq!((beginning.state, beginning.release_at), expect);
        };
        check(None, (ArticleState::Waiting, Some(now + minutes(10))));
        check(
            Some(Timestamp::UNIX_EPOCH),
            (ArticleState::Waiting, Some(now + minutes(10))),
        );
        check(
            Some(now + minutes(60)),
            (ArticleState::Waiting, Some(now + minutes(60))),
        );
        check(
            Some(now + minutes(24 * 60)),
            (ArticleState::Waiting, Some(now + minutes(24 * 60))),
        );
        check(Some(now + minutes(24 * 60 + 1)), (ArticleState::Held, None));
    }
}
