//! What the server accepted, written before it answered: the judge of every claim about sending.

use std::sync::{Arc, Mutex};

/// One accepted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) message_id: String,
    pub(crate) sender: String,
    pub(crate) recipient: String,
    /// SHA-256 of `raw`, hex.
    pub(crate) hash: String,
    /// The message, dot-stuffing undone.
    pub(crate) raw: Vec<u8>,
}

type Hook = Arc<dyn Fn(&Accepted) + Send + Sync>;

/// The list of accepted messages, shared by all dialogues.
#[derive(Default)]
pub(crate) struct Ledger {
    accepted: Mutex<Vec<Accepted>>,
    violations: Mutex<Vec<String>>,
    hook: Mutex<Option<Hook>>,
}

impl Ledger {
    /// Calls `hook` for each message, after it was written down and before the server answers.
    pub(crate) fn on_accept(&self, hook: impl Fn(&Accepted) + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    pub(crate) fn accepted(&self) -> Vec<Accepted> {
        self.accepted.lock().unwrap().clone()
    }

    /// How many messages were accepted.
    pub(crate) fn count(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// Rules of the protocol that the client broke.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    pub(super) fn violation(&self, what: String) {
        self.violations.lock().unwrap().push(what);
    }

    pub(super) fn accept(&self, sender: &str, recipient: &str, raw: Vec<u8>) {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &raw);
        let entry = Accepted {
            message_id: message_id(&raw),
            sender: sender.to_owned(),
            recipient: recipient.to_owned(),
            hash: data_encoding::HEXLOWER.encode(digest.as_ref()),
            raw,
        };
        self.accepted.lock().unwrap().push(entry.clone());
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(&entry);
        }
    }
}

fn message_id(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw)
        .lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix("Message-ID: ").map(str::to_owned))
        .unwrap_or_default()
}
