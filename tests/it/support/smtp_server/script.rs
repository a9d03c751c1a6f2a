//! What the server does instead of answering well, step by step.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// A moment in a dialogue at which the script is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Banner,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// Within the message, after so many of its bytes.
    Body(usize),
    Dot,
    Rset,
    Quit,
}

/// What happens after the bytes of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The dialogue goes on.
    Continue,
    /// The server closes.
    Close,
    /// The server resets the connection.
    Reset,
    /// The server neither reads nor writes any more.
    Stall,
}

/// One act in place of the good answer.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) delay: Duration,
    pub(crate) bytes: Vec<u8>,
    pub(crate) after: After,
    /// At the dot: whether the message is accepted. By default when the bytes begin with a 2.
    pub(crate) accepts: bool,
    /// What is done when the bytes are out.
    pub(super) call: Option<Call>,
}

/// Something outside the dialogue, such as the end of the client.
#[derive(Clone)]
pub(super) struct Call(pub(super) Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

impl Act {
    /// These bytes, as they are.
    pub(crate) fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            delay: Duration::ZERO,
            accepts: bytes.first() == Some(&b'2'),
            bytes,
            after: After::Continue,
            call: None,
        }
    }

    /// One complete reply, CRLF added.
    pub(crate) fn reply(line: &str) -> Self {
        Self::bytes(format!("{line}\r\n"))
    }

    /// Nothing, and the end.
    pub(crate) fn close() -> Self {
        Self::bytes("").then(After::Close)
    }

    /// Nothing, for ever.
    pub(crate) fn stall() -> Self {
        Self::bytes("").then(After::Stall)
    }

    pub(crate) fn then(mut self, after: After) -> Self {
        self.after = after;
        self
    }

    pub(crate) fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Calls this when its bytes are out.
    pub(crate) fn calling(mut self, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.call = Some(Call(Arc::new(call)));
        self
    }

    /// At the dot: the message is accepted, whatever is answered.
    pub(crate) fn accepted(mut self) -> Self {
        self.accepts = true;
        self
    }
}

/// Acts by step, and by recipient where one is named.
#[derive(Default)]
pub(crate) struct Script {
    once: HashMap<(Step, Option<String>), VecDeque<Act>>,
    always: HashMap<(Step, Option<String>), Act>,
    pace: Option<(StdRng, Range<u64>)>,
}

impl Script {
    /// At the next `step` that nothing else is planned for.
    pub(crate) fn once(&mut self, step: Step, act: Act) {
        self.once.entry((step, None)).or_default().push_back(act);
    }

    /// At every `step` from now on.
    pub(crate) fn always(&mut self, step: Step, act: Act) {
        self.always.insert((step, None), act);
    }

    /// At the next `step` for this recipient.
    pub(crate) fn once_for(&mut self, recipient: &str, step: Step, act: Act) {
        let key = (step, Some(recipient.to_owned()));
        self.once.entry(key).or_default().push_back(act);
    }

    /// At every `step` for this recipient.
    pub(crate) fn always_for(&mut self, recipient: &str, step: Step, act: Act) {
        self.always.insert((step, Some(recipient.to_owned())), act);
    }

    /// Takes a random time over each message from now on, in milliseconds.
    pub(crate) fn pace(&mut self, seed: u64, millis: Range<u64>) {
        self.pace = Some((StdRng::seed_from_u64(seed), millis));
    }

    /// How long it takes over the next message, beside what is planned.
    pub(super) fn pause(&mut self) -> Duration {
        let millis = self
            .pace
            .as_mut()
            .map(|(random, millis)| random.random_range(millis.clone()));
        Duration::from_millis(millis.unwrap_or(0))
    }

    /// Good answers again.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn take(&mut self, step: Step, recipient: Option<&str>) -> Option<Act> {
        let keys = [recipient.map(str::to_owned), None];
        for name in keys.iter().skip(usize::from(recipient.is_none())) {
            let key = (step, name.clone());
            if let Some(act) = self.once.get_mut(&key).and_then(VecDeque::pop_front) {
                return Some(act);
            }
            if let Some(act) = self.always.get(&key) {
                return Some(act.clone());
            }
        }
        None
    }

    /// The act within the message, with the number of bytes after which it happens.
    pub(super) fn take_body(&mut self, recipient: &str) -> Option<(usize, Act)> {
        let steps: Vec<Step> = self
            .once
            .keys()
            .chain(self.always.keys())
            .map(|key| key.0)
            .collect();
        steps.into_iter().find_map(|step| match step {
            Step::Body(at) => self.take(step, Some(recipient)).map(|act| (at, act)),
            _ => None,
        })
    }
}
