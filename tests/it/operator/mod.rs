//! The command line as the place where an operator looks and decides.

use std::time::Duration;

use paperround::deliveries::State;

use crate::deliveries::{Edition, Press};
use crate::support::smtp_server::SmtpServer;

/// Articles that are held, released, dismissed.
mod articles;
/// What is decided about held and failed mails, and what is refused.
mod deciding;
/// Feeds that are paused, and rules that route their articles to topics.
mod feeds;
/// Mails one by one: in doubt, held, sent again.
mod listing;
/// What issues are called.
mod references;

/// More than any grace.
const GRACE: Duration = Duration::from_hours(1);

/// Sends until nothing is to do, waits out the grace, and so on, until nothing is in doubt any more.
async fn send_and_wait_out_doubts(press: &Press, server: &SmtpServer) {
    let sender = press.sender_with(server, 1).await;
    for _ in 0..3 {
        sender.run_until_idle().await;
        press.time.advance(GRACE);
    }
    sender.run_until_idle().await;
}

/// How the mails of an edition stand, in order.
async fn states(press: &Press, edition: &Edition) -> Vec<State> {
    let mut states = Vec::new();
    for id in &edition.deliveries {
        states.push(press.state(*id).await);
    }
    states
}
