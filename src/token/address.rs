//! Names of a delivery inside the mail itself, by which bounces, complaints and mailed goodbyes find their way back.
//!
//! They are lower-case base32, so that a relay that folds case does no harm, and carry 80 bits of code, so that
//! nobody can speak for a delivery whose mail they did not see.

use super::{KeyRing, Purpose, base32, from_base32};
use crate::id::{DeliveryId, IssueId, SubscriptionId};

impl KeyRing {
    /// The local part of the envelope sender: `b`, the separator, `{delivery}.{code}`. 45 characters with a
    /// separator of one (RFC 5321, section 4.5.3.1.1 allows 64).
    pub fn envelope_local_part(&self, delivery: DeliveryId, separator: &str) -> String {
        format!("b{separator}{}", self.named(Purpose::Bounce, delivery))
    }

    /// The delivery that an envelope sender names, with whatever separator it was made.
    pub fn read_envelope_local_part(&self, local_part: &str) -> Option<DeliveryId> {
        let rest = local_part.strip_prefix(['b', 'B'])?;
        let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        self.read_named(Purpose::Bounce, rest)
    }

    /// The left part of a Message-ID: `{issue}.{delivery}.{code}`, or `n.{delivery}.{code}` for a notice.
    /// The same for every attempt of one delivery.
    pub fn message_id(&self, issue: Option<IssueId>, delivery: DeliveryId) -> String {
        let first = issue.map_or_else(|| "n".to_owned(), |issue| base32(issue.0.as_bytes()));
        format!("{first}.{}", self.named(Purpose::MessageId, delivery))
    }

    /// The delivery that the left part of a Message-ID names.
    pub fn read_message_id(&self, left: &str) -> Option<DeliveryId> {
        let (_, rest) = left.split_once('.')?;
        self.read_named(Purpose::MessageId, rest)
    }

    /// The value of `X-Delivery`: `{delivery}.{code}`, 43 characters.
    pub fn delivery_header(&self, delivery: DeliveryId) -> String {
        self.named(Purpose::Delivery, delivery)
    }

    /// The delivery that an `X-Delivery` header names.
    pub fn read_delivery_header(&self, value: &str) -> Option<DeliveryId> {
        self.read_named(Purpose::Delivery, value.trim())
    }

    /// The value of `CFBL-Feedback-ID` (RFC 9477): `{issue}:{delivery}:{code}`.
    pub fn feedback_id(&self, issue: IssueId, delivery: DeliveryId) -> String {
        let named = self.named(Purpose::Feedback, delivery).replace('.', ":");
        format!("{}:{named}", base32(issue.0.as_bytes()))
    }

    /// The delivery that a `CFBL-Feedback-ID` names. White space is dropped first, as RFC 9477 says.
    pub fn read_feedback_id(&self, value: &str) -> Option<DeliveryId> {
        let value: String = value.split_whitespace().collect();
        let (_, rest) = value.split_once(':')?;
        self.read_named(Purpose::Feedback, &rest.replace(':', "."))
    }

    /// The local part to which a mail ends a subscription: `u`, the separator, `{subscription}.{code}`.
    pub fn unsubscribe_local_part(&self, subscription: SubscriptionId, separator: &str) -> String {
        let id = subscription.0.as_bytes();
        let code = self.mac(Purpose::UnsubscribeMail, &[id]);
        format!("u{separator}{}.{}", base32(id), base32(&code[..10]))
    }

    /// The subscription that such a local part names.
    pub fn read_unsubscribe_local_part(&self, local_part: &str) -> Option<SubscriptionId> {
        let rest = local_part.strip_prefix(['u', 'U'])?;
        let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        self.read_code(Purpose::UnsubscribeMail, rest)
            .map(|id| SubscriptionId(uuid::Uuid::from_bytes(id)))
    }

    fn named(&self, purpose: Purpose, delivery: DeliveryId) -> String {
        let id = delivery.0.as_bytes();
        let code = self.mac(purpose, &[id]);
        format!("{}.{}", base32(id), base32(&code[..10]))
    }

    fn read_named(&self, purpose: Purpose, text: &str) -> Option<DeliveryId> {
        self.read_code(purpose, text)
            .map(|id| DeliveryId(uuid::Uuid::from_bytes(id)))
    }

    fn read_code(&self, purpose: Purpose, text: &str) -> Option<[u8; 16]> {
        let (id, code) = text.split_once('.')?;
        let id = from_base32::<16>(id)?;
        let code = from_base32::<10>(code)?;
        self.verify(purpose, &[&id], &code).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SeededEntropy;

    #[test]
    fn each_name_reads_back_even_in_capitals_and_only_for_its_own_use() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let delivery = DeliveryId(uuid::Uuid::from_u128(u128::MAX / 3));
        let issue = IssueId(uuid::Uuid::from_u128(7));

        for separator in ["+", "-", ""] {
            let local = ring.envelope_local_part(delivery, separator);
            assert!(local.len() <= 64);
            assert_eq!(ring.read_envelope_local_part(&local), Some(delivery));
            let folded = local.to_ascii_uppercase();
            assert_eq!(ring.read_envelope_local_part(&folded), Some(delivery));
        }
        for issue in [Some(issue), None] {
            let left = ring.message_id(issue, delivery);
            assert_eq!(ring.read_message_id(&left), Some(delivery));
            assert_eq!(ring.read_delivery_header(&left), None);
        }
        let header = ring.delivery_header(delivery);
        assert_eq!(header.len(), 43);
        assert_eq!(ring.read_delivery_header(&header), Some(delivery));
        assert_eq!(ring.read_envelope_local_part(&format!("b+{header}")), None);

        let feedback = ring.feedback_id(issue, delivery);
        assert_eq!(
            ring.read_feedback_id(&format!(" {feedback}\r\n")),
            Some(delivery)
        );
    }

    #[test]
    fn a_name_is_read_from_a_header_that_was_folded() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let delivery = DeliveryId(uuid::Uuid::from_u128(5));
        let feedback = ring.feedback_id(IssueId(uuid::Uuid::from_u128(7)), delivery);
        let folded = feedback.replace(':', ":\r\n ");
        assert_eq!(ring.read_feedback_id(&folded), Some(delivery));
        let header = format!(" {}\r\n", ring.delivery_header(delivery));
        assert_eq!(ring.read_delivery_header(&header), Some(delivery));
    }

    #[test]
    fn the_code_of_each_place_is_good_for_no_other() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let delivery = DeliveryId(uuid::Uuid::from_u128(5));
        let feedback = ring.feedback_id(IssueId(uuid::Uuid::from_u128(7)), delivery);
        let (_, feedback) = feedback.split_once(':').unwrap();
        let names = [
            ring.envelope_local_part(delivery, "")[1..].to_owned(),
            ring.message_id(None, delivery)[2..].to_owned(),
            ring.delivery_header(delivery),
            feedback.replace(':', "."),
        ];
        for (own, name) in names.iter().enumerate() {
            let read = [
                ring.read_envelope_local_part(&format!("b{name}")),
                ring.read_message_id(&format!("n.{name}")),
                ring.read_delivery_header(name),
                ring.read_feedback_id(&format!("x:{}", name.replace('.', ":"))),
            ];
            for (place, read) in read.into_iter().enumerate() {
                assert_eq!(read.is_some(), place == own, "{own} at {place}");
            }
        }
    }

    #[test]
    fn a_mailed_goodbye_names_its_subscription_and_nothing_else_does() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let subscription = SubscriptionId(uuid::Uuid::from_u128(99));
        let local = ring.unsubscribe_local_part(subscription, "+");
        assert_eq!(local.len(), 45);
        assert_eq!(ring.read_unsubscribe_local_part(&local), Some(subscription));
        assert_eq!(
            ring.read_envelope_local_part(&local.replacen('u', "b", 1)),
            None
        );
        let other = KeyRing::generate(&SeededEntropy::new(2));
        assert_eq!(other.read_unsubscribe_local_part(&local), None);
    }

    #[test]
    fn a_mailed_goodbye_is_read_whatever_a_relay_made_of_its_letters() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let subscription = SubscriptionId(uuid::Uuid::from_u128(u128::MAX / 3));
        for separator in ["+", "-", ""] {
            let local = ring.unsubscribe_local_part(subscription, separator);
            for local in [local.to_ascii_uppercase(), local] {
                let read = ring.read_unsubscribe_local_part(&local);
                assert_eq!(read, Some(subscription), "{local}");
            }
        }
    }
}
