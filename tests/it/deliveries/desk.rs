//! A mailroom that does what the test says.

use std::sync::Mutex;

use futures_util::future::BoxFuture;
use paperround::clock::Timestamp;
use paperround::db::Tx;
use paperround::deliveries::mailroom::{Decision, Mail, MailError, Mailroom};
use paperround::deliveries::{Claimed, Reason};
use paperround::smtp::wire::Wire;

const LINE: &str = "It is a long story, and it goes on like this.\r\n";

/// Decides and makes mails as the test says.
#[derive(Default)]
pub(crate) struct Desk {
    /// What notices become; as they are, when empty.
    pub(crate) decision: Mutex<Option<Decision>>,
    /// Addresses whose notices become nothing.
    pub(crate) skips: Mutex<Vec<String>>,
    /// Addresses whose mail cannot be made, and those at which the program fails.
    pub(crate) unmakeable: Mutex<Vec<String>>,
    pub(crate) panics: Mutex<Vec<String>>,
    /// So many bytes more in each mail.
    pub(crate) padding: Mutex<usize>,
}

impl Mailroom for Desk {
    fn decide<'a>(
        &'a self,
        _tx: &'a mut Tx<'_>,
        notice: &'a Claimed,
        _now: Timestamp,
    ) -> BoxFuture<'a, sqlx::Result<Decision>> {
        let as_it_is = Decision::Send {
            kind: notice.kind,
            subscription_id: notice.subscription_id,
            suppression_keys: vec![b"key".to_vec()],
        };
        let skips = self.skips.lock().unwrap().contains(&notice.recipient);
        let nothing = skips.then_some(Decision::Skip(Reason::ToldAlready));
        let decision = nothing.or_else(|| self.decision.lock().unwrap().clone());
        Box::pin(async move { Ok(decision.unwrap_or(as_it_is)) })
    }

    fn mail<'a>(&'a self, claimed: &'a Claimed) -> BoxFuture<'a, Result<Mail, MailError>> {
        Box::pin(async move {
            let recipient = &claimed.recipient;
            if self.unmakeable.lock().unwrap().contains(recipient) {
                return Err(MailError::Fail("the template is broken".to_owned()));
            }
            let panics = self.panics.lock().unwrap().contains(recipient);
            assert!(!panics, "on purpose");
            let message = format!(
                "From: news@example.org\r\nTo: {recipient}\r\nMessage-ID: <{}@example.org>\r\n\r\nNews.\r\n{}",
                claimed.id,
                LINE.repeat(*self.padding.lock().unwrap() / LINE.len())
            );
            Ok(Mail {
                sender: "news@example.org".parse().unwrap(),
                recipient: recipient.parse().unwrap(),
                wire: Wire::parse(message).unwrap(),
            })
        })
    }
}
