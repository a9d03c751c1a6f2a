use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use paperround::deliveries::{Reason, State};
use paperround::worker::signing::{Signer, SigningMailroom};

use super::{Press, leases};
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

/// Writes down what it signs. What it says to some it is told.
#[derive(Default)]
struct Seal {
    signed: Mutex<Vec<Vec<u8>>>,
    answers: Vec<(String, Answer)>,
}

/// Signs the second mail that it is asked for only after another has arrived.
struct Patient {
    asked: AtomicUsize,
    arrived: Mutex<mpsc::Receiver<()>>,
}

impl Signer for Patient {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 1 {
            let arrived = self.arrived.lock().unwrap();
            arrived
                .recv_timeout(Duration::from_secs(20))
                .map_err(|_| "the mail before this one did not leave".to_owned())?;
        }
        Ok(fields(message))
    }
}

/// What a signer may do wrong.
#[derive(Clone, Copy)]
enum Answer {
    Refuse(&'static str),
    Panic(&'static str),
    Say(&'static [u8]),
}

fn fields(message: &[u8]) -> Vec<u8> {
    let digest = digest(&SHA256, message);
    format!("X-Seal: {}\r\n", HEXLOWER.encode(digest.as_ref())).into_bytes()
}

fn is_to(message: &[u8], reader: &str) -> bool {
    let field = format!("To: {reader}\r\n");
    memchr::memmem::find(message, field.as_bytes()).is_some()
}

impl Signer for Seal {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let told = self.answers.iter().find(|(to, _)| is_to(message, to));
        match told.map(|(_, answer)| *answer) {
            Some(Answer::Refuse(why)) => Err(why.to_owned()),
            Some(Answer::Panic(why)) => std::panic::panic_any(why),
            Some(Answer::Say(bytes)) => Ok(bytes.to_vec()),
            None => {
                self.signed.lock().unwrap().push(message.to_vec());
                Ok(fields(message))
            }
        }
    }
}

fn mailroom(press: &Press, seal: Seal, threads: usize) -> (Arc<Seal>, Arc<SigningMailroom>) {
    let seal = Arc::new(seal);
    let signer: Arc<dyn Signer> = seal.clone();
    let mailroom = SigningMailroom::start(press.desk.clone(), &signer, threads);
    (seal, Arc::new(mailroom.unwrap()))
}

db_test!(
    every_mail_leaves_with_its_signature_on_top_and_over_its_last_byte,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(40).await;
        press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let (_, mailroom) = mailroom(&press, Seal::default(), 2);
        let sender = press.sender_signed(&server, mailroom).await;
        sender.run_until_idle().await;
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 40);
        for mail in accepted {
            let end = memchr::memmem::find(&mail.raw, b"\r\n").unwrap() + 2;
            let (top, message) = mail.raw.split_at(end);
            assert_eq!(top, fields(message), "{}", mail.recipient);
        }
    }
);

db_test!(
    mails_are_signed_in_the_order_in_which_they_are_sent,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(30).await;
        press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let (seal, mailroom) = mailroom(&press, Seal::default(), 1);
        let sender = press.sender_signed(&server, mailroom).await;
        sender.run_until_idle().await;
        let mut sent: Vec<_> = server.accepted().into_iter().map(|mail| mail.raw).collect();
        for raw in &mut sent {
            *raw = raw.split_off(fields(b"").len());
        }
        assert_eq!(*seal.signed.lock().unwrap(), sent, "over one connection");
    }
);

db_test!(
    a_mail_that_cannot_be_signed_is_held_and_others_go_on,
    async |app: &TestApp| {
        let cases = [
            (Answer::Refuse("no key"), "no key"),
            (Answer::Panic("on purpose"), "on purpose"),
            (Answer::Say(b""), "no header field"),
            (Answer::Say(b"X-Seal: unfinished"), "no header field"),
            (
                Answer::Say(b"X-Seal: x\r\n\r\nText.\r\n"),
                "ended the header",
            ),
            (Answer::Say(b"X-Seal: x\ny\r\n"), "broke the message"),
        ];
        let press = Press::new(app).await;
        let readers = press.readers(cases.len() + 1).await;
        let edition = press.edition(&readers, "resend").await;
        let told = readers.iter().zip(cases);
        let seal = Seal {
            answers: told
                .map(|(reader, (answer, _))| (reader.email.clone(), answer))
                .collect(),
            ..Seal::default()
        };
        let server = SmtpServer::start().await;
        let (_, mailroom) = mailroom(&press, seal, 1);
        let sender = press.sender_signed(&server, mailroom).await;
        sender.run_until_idle().await;
        for (id, (_, why)) in edition.deliveries.iter().zip(cases) {
            let held = press.delivery(*id).await;
            assert_eq!(
                (held.state, held.reason),
                (State::Held, Some(Reason::Unrenderable))
            );
            let said = held.reply_text.unwrap();
            assert!(said.contains(why), "{said}");
        }
        assert_eq!(server.accepted().len(), 1);
    }
);

db_test!(
    the_second_copy_of_a_mail_in_doubt_has_the_same_signature,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        server.script().once(Step::Dot, Act::close().accepted());
        let (seal, mailroom) = mailroom(&press, Seal::default(), 1);
        let sender = press.sender_signed(&server, mailroom).await;
        sender.run_until_idle().await;
        press.time.advance(leases().grace);
        sender.run_until_idle().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
        let copies = server.accepted();
        assert_eq!((copies.len(), seal.signed.lock().unwrap().len()), (2, 2));
        assert_eq!(copies[0].raw, copies[1].raw);
    }
);

db_test!(
    a_mail_that_is_marked_does_not_wait_for_a_slow_signature_of_the_next,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let (bell, arrived) = mpsc::channel();
        let bell = Mutex::new(bell);
        server.ledger().on_accept(move |_| {
            let _over = bell.lock().unwrap().send(());
        });
        let signer: Arc<dyn Signer> = Arc::new(Patient {
            asked: AtomicUsize::new(0),
            arrived: Mutex::new(arrived),
        });
        let mailroom = SigningMailroom::start(press.desk.clone(), &signer, 1).unwrap();
        let sender = press.sender_signed(&server, Arc::new(mailroom)).await;
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), 2);
        for id in &edition.deliveries {
            assert_eq!(press.state(*id).await, State::Sent);
        }
    }
);

db_test!(
    a_signer_has_a_thread_though_none_was_asked_for,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let (_, mailroom) = mailroom(&press, Seal::default(), 0);
        let sender = press.sender_signed(&server, mailroom).await;
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), 1);
    }
);
