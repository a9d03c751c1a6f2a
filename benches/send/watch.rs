//! One stick for all senders: from the first message that the receiver accepts to the last.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::postfix::Sink;
use super::process::Process;

/// Between two looks at the receiver's counter.
const LOOK: Duration = Duration::from_millis(2);
/// A sender that brings nothing for so long does not come to its end.
const PATIENCE: Duration = Duration::from_mins(1);

/// When the receiver accepted.
pub(crate) struct Accepted {
    pub(crate) first_at: Instant,
    pub(crate) last_at: Instant,
    /// The sender's processor time before the first.
    pub(crate) cpu_before: Duration,
}

/// Waits until `sink` has accepted `total` messages from `sender`.
pub(crate) async fn accepted(
    sink: &mut Sink,
    sender: &mut Process,
    total: u64,
) -> anyhow::Result<Accepted> {
    let mut first = None;
    let mut seen = 0;
    let mut moved_at = Instant::now();
    loop {
        let count = sink.messages()?;
        let now = Instant::now();
        if count > seen {
            (seen, moved_at) = (count, now);
        }
        if first.is_none() && count > 0 {
            // one that ended already had nothing to do before
            first = Some((now, sender.cpu().unwrap_or_default()));
        }
        if let Some((first_at, cpu_before)) = first
            && count >= total
        {
            ensure!(
                count == total,
                "{count} messages arrived, {total} were to be sent"
            );
            return Ok(Accepted {
                first_at,
                last_at: now,
                cpu_before,
            });
        }
        sender.check_well()?;
        sink.process().check_alive()?;
        ensure!(
            moved_at.elapsed() < PATIENCE,
            "{seen} of {total} messages arrived, then nothing for {PATIENCE:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// A last look: nothing came after what was to come.
pub(crate) async fn nothing_more(sink: &Sink, total: u64) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    let count = sink.messages()?;
    ensure!(
        count == total,
        "{count} messages arrived, {total} were to be sent"
    );
    Ok(())
}
