//! Who a message is from and for, as the relay hears it.

use lettre::Address;
use lettre::transport::smtp::commands::{Mail, Rcpt};
use lettre::transport::smtp::extension::MailParameter;

use super::capabilities::Capabilities;
use super::wire::Wire;

/// The envelope of one message: one sender, one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    sender: Address,
    recipient: Address,
    size_bytes: u64,
}

/// An address that cannot stand in a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} address has a space, a bracket or a control character in it")]
pub struct EnvelopeError(&'static str);

impl Envelope {
    /// The envelope for `wire`. Addresses come from the one address parser; this is only the last look at them.
    pub fn new(sender: Address, recipient: Address, wire: &Wire) -> Result<Self, EnvelopeError> {
        let fits = |address: &Address| {
            let text: &str = address.as_ref();
            !text
                .chars()
                .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>'))
        };
        if !fits(&sender) {
            return Err(EnvelopeError("sender's"));
        }
        if !fits(&recipient) {
            return Err(EnvelopeError("recipient's"));
        }
        Ok(Self {
            sender,
            recipient,
            size_bytes: wire.len_bytes(),
        })
    }

    /// The one recipient.
    pub fn recipient(&self) -> &Address {
        &self.recipient
    }

    /// Size of the message as it goes on the wire.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether an address needs SMTPUTF8 (RFC 6531): a local part, or a domain, that is not ASCII.
    pub fn needs_smtputf8(&self) -> bool {
        [&self.sender, &self.recipient].iter().any(|address| {
            let text: &str = address.as_ref();
            !text.is_ascii()
        })
    }

    pub(crate) fn mail_command(&self, relay: &Capabilities) -> String {
        let mut parameters = Vec::new();
        if relay.size.is_some() {
            let size = usize::try_from(self.size_bytes).unwrap_or(usize::MAX);
            parameters.push(MailParameter::Size(size));
        }
        if self.needs_smtputf8() {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        Mail::new(Some(self.sender.clone()), parameters).to_string()
    }

    pub(crate) fn rcpt_command(&self) -> String {
        Rcpt::new(self.recipient.clone(), Vec::new()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_name_one_sender_one_recipient_and_the_size() {
        let wire = Wire::parse("x\r\n").unwrap();
        let envelope = Envelope::new(
            "b+1@bounce.example".parse().unwrap(),
            "ada@example.org".parse().unwrap(),
            &wire,
        )
        .unwrap();
        let plain = Capabilities::default();
        assert_eq!(
            envelope.mail_command(&plain),
            "MAIL FROM:<b+1@bounce.example>\r\n"
        );
        let sized = Capabilities {
            size: Some(0),
            ..Capabilities::default()
        };
        assert_eq!(
            envelope.mail_command(&sized),
            "MAIL FROM:<b+1@bounce.example> SIZE=3\r\n"
        );
        assert_eq!(envelope.rcpt_command(), "RCPT TO:<ada@example.org>\r\n");
    }

    #[test]
    fn any_part_of_either_address_may_need_smtputf8() {
        let wire = Wire::parse("x\r\n").unwrap();
        for (sender, recipient, expected) in [
            ("b@news.example", "ada@example.org", false),
            ("b\u{fc}cher@news.example", "ada@example.org", true),
            ("b@news.example", "jos\u{e9}@example.org", true),
            ("b@news.example", "ada@b\u{fc}cher.example", true),
        ] {
            let (from, to) = (sender.parse().unwrap(), recipient.parse().unwrap());
            let envelope = Envelope::new(from, to, &wire).unwrap();
            assert_eq!(
                envelope.needs_smtputf8(),
                expected,
                "{sender} to {recipient}"
            );
        }
    }

    #[test]
    fn an_address_that_could_end_its_command_is_refused() {
        let wire = Wire::parse("x\r\n").unwrap();
        let good = "ada@example.org";
        for text in ["a b", "a\tb", "a<b", "a>b"] {
            let odd = format!("\"{text}\"@example.org");
            let odd = odd.as_str();
            for (sender, recipient, whose) in [(odd, good, "sender's"), (good, odd, "recipient's")]
            {
                let (from, to) = (sender.parse().unwrap(), recipient.parse().unwrap());
                let refusal = Envelope::new(from, to, &wire);
                assert_eq!(refusal, Err(EnvelopeError(whose)), "{text:?}");
            }
        }
    }
}
