//! A folder in place of a relay: each mail becomes an `.eml` file that any mail program opens.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::envelope::Envelope;
use super::outcome::{Cause, Failure, Outcome, Phase};
use super::reply::Reply;
use super::wire::Wire;
use crate::id::{Entropy, random_bytes};

/// A folder that takes the relay's place. It answers as a relay would, so that nothing else needs to know.
pub struct Outbox {
    folder: PathBuf,
    entropy: Arc<dyn Entropy>,
}

impl Outbox {
    /// The folder, made when it is missing.
    pub fn new(folder: impl Into<PathBuf>, entropy: Arc<dyn Entropy>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, entropy })
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// One place to hand messages to, one after another.
pub struct OutboxLine {
    outbox: Arc<Outbox>,
    addressed: bool,
}

impl OutboxLine {
    /// A line into `outbox`.
    pub fn new(outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            addressed: false,
        }
    }

    /// Accepts the envelope if the folder is there.
    pub async fn envelope(&mut self, _envelope: &Envelope) -> Result<(), Failure> {
        self.addressed = false;
        let folder = tokio::fs::metadata(&self.outbox.folder).await;
        match folder {
            Ok(found) if found.is_dir() => {
                self.addressed = true;
                Ok(())
            }
            Ok(_) => Err(lost(Phase::Connect, "the outbox is no folder".to_owned())),
            Err(error) => Err(lost(Phase::Connect, format!("the outbox folder: {error}"))),
        }
    }

    /// Writes the message to a file of its own, durably, under its Message-ID. A second copy of one message replaces
    /// the first.
    pub async fn transmit(&mut self, wire: &Wire) -> Outcome {
        if !std::mem::take(&mut self.addressed) {
            return Outcome::Failed(lost(Phase::Body, "no envelope was accepted".to_owned()));
        }
        let message = wire.unstuffed();
        let random: [u8; 8] = random_bytes(&*self.outbox.entropy);
        let fallback = data_encoding::HEXLOWER.encode(&random);
        let name = file_name(&message).unwrap_or_else(|| fallback.clone());
        let folder = self.outbox.folder.clone();
        // A dropped caller does not stop it, as a dropped connection does not stop a relay.
        let written =
            tokio::task::spawn_blocking(move || write(&folder, &name, &fallback, &message)).await;
        match written {
            Ok(Ok(file)) => Outcome::Accepted(Reply {
                code: 250,
                enhanced: None,
                lines: vec![format!("written to {file}")],
            }),
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(panicked) => Outcome::Failed(lost(Phase::Dot, panicked.to_string())),
        }
    }
}

fn write(folder: &Path, name: &str, unique: &str, message: &[u8]) -> Result<String, Failure> {
    let before = |error: io::Error| lost(Phase::Body, format!("the outbox: {error}"));
    let after = |error: io::Error| lost(Phase::Dot, format!("the outbox: {error}"));
    let file_name = format!("{name}.eml");
    let temporary = folder.join(format!(".{unique}.tmp"));
    let outcome = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(message)?;
        file.sync_all()?;
        fs::rename(&temporary, folder.join(&file_name))
    })();
    if let Err(error) = outcome {
        // What is no mail must not stay; failing to remove it adds nothing to say.
        let _ = fs::remove_file(&temporary);
        return Err(before(error));
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(after)?;
    Ok(file_name)
}

/// The part of the Message-ID before the `@`, if it can be a file's name.
fn file_name(message: &[u8]) -> Option<String> {
    let headers = message.split(|byte| *byte == b'\n');
    let value = headers
        .take_while(|line| !matches!(*line, b"" | b"\r"))
        .find_map(|line| {
            let (name, value) = line.split_at_checked(b"message-id:".len())?;
            name.eq_ignore_ascii_case(b"message-id:").then_some(value)
        })?;
    let value = std::str::from_utf8(value).ok()?.trim();
    let (local, _) = value.strip_prefix('<')?.split_once('@')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let fits =
        (1..=120).contains(&local.len()) && !local.starts_with('.') && local.bytes().all(plain);
    fits.then(|| local.to_owned())
}

fn lost(phase: Phase, reason: String) -> Failure {
    Failure::new(phase, Cause::Lost(reason))
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Verdict;
    use super::*;
    use crate::id::SeededEntropy;

    fn line(folder: &Path) -> OutboxLine {
        let outbox = Outbox::new(folder, Arc::new(SeededEntropy::new(1))).unwrap();
        OutboxLine::new(Arc::new(outbox))
    }

    fn envelope(wire: &Wire) -> Envelope {
        let (from, to) = ("b@news.example", "ada@example.org");
        Envelope::new(from.parse().unwrap(), to.parse().unwrap(), wire).unwrap()
    }

    #[tokio::test]
    async fn a_mail_becomes_a_file_named_by_its_message_id() {
        let folder = tempfile::tempdir().unwrap();
        let mut line = line(folder.path());
        let wire = Wire::parse("Message-ID: <n.abc.def@news.example>\r\n\r\n..dot\r\n").unwrap();
        for _ in 0..2 {
            line.envelope(&envelope(&wire)).await.unwrap();
            assert_eq!(line.transmit(&wire).await.verdict(), Verdict::Sent);
        }
        let names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["n.abc.def.eml"]);
        let found = fs::read(folder.path().join("n.abc.def.eml")).unwrap();
        assert!(found.ends_with(b"\r\n\r\n.dot\r\n"));
    }

    #[tokio::test]
    async fn without_an_envelope_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let wire = Wire::parse("x: y\r\n").unwrap();
        let outcome = line(folder.path()).transmit(&wire).await;
        assert_eq!(outcome.verdict(), Verdict::NotSent);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_missing_folder_is_a_relay_that_rests() {
        let folder = tempfile::tempdir().unwrap();
        let mut line = line(&folder.path().join("outbox"));
        fs::remove_dir(folder.path().join("outbox")).unwrap();
        let wire = Wire::parse("x: y\r\n").unwrap();
        let failure = line.envelope(&envelope(&wire)).await.unwrap_err();
        assert_eq!(failure.verdict(), Verdict::RelayBackOff(None));
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_taken() {
        for value in ["<../x@y>", "<a/b@y>", "<.x@y>", "<@y>", "x@y", "<a\0@y>"] {
            let message = format!("Message-ID: {value}\r\n\r\n");
            assert_eq!(file_name(message.as_bytes()), None, "{value}");
        }
        assert_eq!(file_name(b"A: b\r\n\r\nMessage-ID: <x@y>\r\n"), None);
    }

    #[tokio::test]
    async fn a_mail_that_could_not_be_written_was_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let mut line = line(folder.path());
        let wire = Wire::parse("Subject: a\r\n\r\nx\r\n").unwrap();
        line.envelope(&envelope(&wire)).await.unwrap();
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(line.transmit(&wire).await.verdict(), Verdict::NotSent);
    }

    #[tokio::test]
    async fn a_mail_whose_file_could_not_be_put_in_its_place_was_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("n.abc.eml")).unwrap();
        let mut line = line(folder.path());
        let wire = Wire::parse("Message-ID: <n.abc@news.example>\r\n\r\nx\r\n").unwrap();
        line.envelope(&envelope(&wire)).await.unwrap();
        assert_eq!(line.transmit(&wire).await.verdict(), Verdict::NotSent);
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing of the mail stays");
    }

    #[tokio::test]
    async fn an_envelope_is_good_for_one_message() {
        let folder = tempfile::tempdir().unwrap();
        let mut line = line(folder.path());
        let wire = Wire::parse("Subject: a\r\n\r\nx\r\n").unwrap();
        line.envelope(&envelope(&wire)).await.unwrap();
        assert_eq!(line.transmit(&wire).await.verdict(), Verdict::Sent);
        assert_eq!(line.transmit(&wire).await.verdict(), Verdict::NotSent);
    }

    #[tokio::test]
    async fn mails_without_a_message_id_do_not_replace_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut line = line(folder.path());
        let wire = Wire::parse("Subject: a\r\n\r\nx\r\n").unwrap();
        for count in 1..=2 {
            line.envelope(&envelope(&wire)).await.unwrap();
            assert_eq!(line.transmit(&wire).await.verdict(), Verdict::Sent);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), count);
        }
    }

    #[tokio::test]
    async fn a_file_in_place_of_the_folder_is_a_relay_that_rests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let mut line = line(&path);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
        let wire = Wire::parse("x: y\r\n").unwrap();
        let failure = line.envelope(&envelope(&wire)).await.unwrap_err();
        assert_eq!(failure.verdict(), Verdict::RelayBackOff(None));
    }

    #[test]
    fn a_name_that_is_too_long_for_a_file_is_not_taken() {
        for (length, is_taken) in [(120, true), (121, false)] {
            let local = "n".repeat(length);
            let message = format!("Message-ID: <{local}@news.example>\r\n\r\n");
            let name = file_name(message.as_bytes());
            assert_eq!(name, is_taken.then_some(local), "{length}");
        }
    }
}
