//! Signing: the last that happens to a mail's bytes before a line takes it.
//!
//! A signature costs more than all else that sending costs, and would hold up every connection of the thread it is made
//! on. So it has threads of its own, which take mails in the order in which they were asked for: that of their claims.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::deliveries::Claimed;
use crate::deliveries::mailroom::{Decision, Mail, MailError, Mailroom};
use crate::smtp::wire::Wire;

/// Signs mails.
pub trait Signer: Send + Sync {
    /// The header fields that go on top of `message` (RFC 6376, section 3.5: above everything that is signed), each with
    /// its CRLF. `message` is what the reader's server will see, dot-stuffing undone.
    ///
    /// The same fields for the same bytes, or the second copy of a mail in doubt would not be equal to the first.
    ///
    /// # Errors
    ///
    /// Why this message cannot be signed, in words for an operator. It is held.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// A mailroom whose mails are signed.
pub struct SigningMailroom {
    unsigned: Arc<dyn Mailroom>,
    desk: mpsc::Sender<Job>,
}

/// A mail that waits for its signature.
struct Job {
    wire: Wire,
    answer: oneshot::Sender<Result<Wire, MailError>>,
}

impl SigningMailroom {
    /// Starts so many threads. They end with this mailroom.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub fn start(
        unsigned: Arc<dyn Mailroom>,
        signer: &Arc<dyn Signer>,
        threads: usize,
    ) -> std::io::Result<Self> {
        let (desk, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 1..=threads.max(1) {
            let (signer, jobs) = (signer.clone(), jobs.clone());
            thread::Builder::new()
                .name(format!("signer-{number}"))
                .spawn(move || work(&*signer, &jobs))?;
        }
        Ok(Self { unsigned, desk })
    }

    async fn sign(&self, wire: Wire) -> Result<Wire, MailError> {
        let (answer, signed) = oneshot::channel();
        let job = Job { wire, answer };
        let gone = || MailError::Retry("no thread signs any more".to_owned());
        self.desk.send(job).map_err(|_| gone())?;
        signed.await.map_err(|_| gone())?
    }
}

impl Mailroom for SigningMailroom {
    fn decide<'a>(
        &'a self,
        tx: &'a mut Tx<'_>,
        notice: &'a Claimed,
        now: Timestamp,
    ) -> BoxFuture<'a, sqlx::Result<Decision>> {
        self.unsigned.decide(tx, notice, now)
    }

    fn mail<'a>(&'a self, claimed: &'a Claimed) -> BoxFuture<'a, Result<Mail, MailError>> {
        Box::pin(async {
            let mail = self.unsigned.mail(claimed).await?;
            let wire = self.sign(mail.wire).await?;
            Ok(Mail { wire, ..mail })
        })
    }
}

/// One thread: signs until nobody asks any more.
fn work(signer: &dyn Signer, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // held while it waits, so that threads take turns in the order of the jobs
        let next = jobs
            .lock()
            .expect("no holder of this lock can panic")
            .recv();
        let Ok(Job { wire, answer }) = next else {
            return;
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| signed(signer, &wire)))
            .unwrap_or_else(|panic| Err(of_panic(&*panic)))
            .map_err(MailError::Fail);
        // whoever asked may have been stopped meanwhile
        let _gone = answer.send(outcome);
    }
}

/// The message with its signature on top.
fn signed(signer: &dyn Signer, wire: &Wire) -> Result<Wire, String> {
    let mut bytes = signer.sign(&wire.unstuffed())?;
    if bytes.is_empty() || bytes.starts_with(b"\r\n") || !bytes.ends_with(b"\r\n") {
        return Err("the signer gave no header field".to_owned());
    }
    if memchr::memmem::find(&bytes, b"\r\n\r\n").is_some() {
        return Err("the signer ended the header".to_owned());
    }
    bytes.extend_from_slice(wire.as_bytes());
    Wire::parse(bytes).map_err(|error| format!("the signer broke the message: {error}"))
}

fn of_panic(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    format!("the signer failed: {}", words.unwrap_or("it panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(&'static [u8]);

    impl Signer for Says {
        fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, String> {
            Ok(self.0.to_vec())
        }
    }

    /// Says what it was given, in place of a signature.
    struct Repeats;

    impl Signer for Repeats {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
            Ok(format!("X-Seal: {}\r\n", data_encoding::BASE64.encode(message)).into_bytes())
        }
    }

    #[test]
    fn what_is_signed_is_what_the_readers_server_will_see() {
        let wire = Wire::parse("From: news@example.org\r\n\r\n..net\r\n").unwrap();
        let sealed = signed(&Repeats, &wire).unwrap();
        let seal = data_encoding::BASE64.encode(b"From: news@example.org\r\n\r\n.net\r\n");
        let fields = format!("X-Seal: {seal}\r\n").into_bytes();
        assert_eq!(sealed.as_bytes(), [&fields, wire.as_bytes()].concat());
    }

    #[test]
    fn an_empty_line_does_not_stand_above_the_header() {
        let wire = Wire::parse("From: news@example.org\r\n\r\nNews.\r\n").unwrap();
        let wrong: [&'static [u8]; 2] = [b"\r\n", b"\r\nX-Seal: x\r\n"];
        for fields in wrong {
            let why = signed(&Says(fields), &wire).unwrap_err();
            assert!(why.contains("no header field"), "{why}");
        }
        signed(&Says(b"X-Seal: x\r\n"), &wire).unwrap();
    }
}
