//! What the sender asks of the other rooms: what a notice becomes, and the bytes of a mail.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use lettre::Address;

use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::deliveries::mailroom::{Decision, Mail, MailError, Mailroom};
use crate::deliveries::{Claimed, Kind};
use crate::issues::copy::{OriginalError, Originals};
use crate::mail::{Encoded, Slots};
use crate::newsletters;
use crate::smtp::wire::Wire;
use crate::subscribers::email_address::{AddressRules, EmailAddress};
use crate::subscribers::notice::{self, NoticeKind};
use crate::subscribers::notice_mail::{self, About, NoticeMailError};
use crate::token::{Purpose, ReaderToken};

/// The service's mailroom.
pub struct ServiceMailroom {
    app: Arc<App>,
    originals: Originals,
}

impl ServiceMailroom {
    /// For `app`.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            app,
            originals: Originals::default(),
        }
    }

    async fn make(&self, claimed: &Claimed) -> Result<Mail, MailError> {
        let recipient = EmailAddress::parse(&claimed.recipient, AddressRules::STORED)
            .map_err(|error| MailError::Fail(error.to_string()))?;
        let (bytes, from) = match (claimed.variant_id, notice_kind(claimed.kind)) {
            (Some(variant), _) => {
                let original = self
                    .originals
                    .get(&self.app.db, variant)
                    .await
                    .map_err(of_original)?;
                let date = original.released_at;
                let bytes = self.copy(claimed, &recipient, &original.encoded, date)?;
                (bytes, original.from_address.clone())
            }
            (None, Some(kind)) => {
                let about = About {
                    delivery: claimed.id,
                    kind,
                    newsletter: claimed.newsletter_id,
                    signup: claimed.signup_id,
                    subscription: claimed.subscription_id,
                    queued_at: claimed.created_at,
                };
                let encoded = notice_mail::encode(&self.app, about)
                    .await
                    .map_err(of_notice)?;
                let bytes = self.copy(claimed, &recipient, &encoded, claimed.created_at)?;
                (bytes, self.newsletter_address(claimed).await?)
            }
            (None, None) => {
                return Err(MailError::Fail(format!(
                    "nothing makes mails of kind {}",
                    claimed.kind
                )));
            }
        };
        Ok(Mail {
            sender: self.envelope_sender(claimed, &from)?,
            recipient: address(&recipient.to_wire())?,
            wire: Wire::parse(bytes).map_err(|error| MailError::Fail(error.to_string()))?,
        })
    }

    /// The reader's slots, filled. The same at each attempt.
    fn copy(
        &self,
        claimed: &Claimed,
        recipient: &EmailAddress,
        encoded: &Encoded,
        date: Timestamp,
    ) -> Result<Vec<u8>, MailError> {
        let keys = &self.app.keys;
        let token = |purpose| {
            let about = |subscription| ReaderToken {
                subscription,
                issue: claimed.issue_id,
            };
            claimed
                .subscription_id
                .map(|subscription| keys.reader_token(purpose, about(subscription)))
        };
        let (unsubscribe, preferences) = (token(Purpose::Unsubscribe), token(Purpose::Preferences));
        let left = keys.message_id(claimed.issue_id, claimed.id);
        let slots = Slots {
            recipient: &recipient.to_wire(),
            date,
            message_id: &format!("{left}@{}", self.app.config.id_domain()),
            delivery: &keys.delivery_header(claimed.id),
            unsubscribe: unsubscribe.as_deref(),
            preferences: preferences.as_deref(),
        };
        encoded
            .splice(&slots)
            .map_err(|error| MailError::Fail(error.to_string()))
    }

    /// One fixed address, else one of its own for each delivery, else the newsletter's sender.
    fn envelope_sender(&self, claimed: &Claimed, from: &str) -> Result<Address, MailError> {
        let mail = &self.app.config.mail;
        if let Some(fixed) = &mail.envelope_from {
            return address(fixed);
        }
        let Some(domain) = &mail.bounce_domain else {
            return address(from);
        };
        let separator = mail.separator.as_str();
        let local = self.app.keys.envelope_local_part(claimed.id, separator);
        address(&format!("{local}@{domain}"))
    }

    async fn newsletter_address(&self, claimed: &Claimed) -> Result<String, MailError> {
        let newsletter = newsletters::store::by_id(&self.app.db, claimed.newsletter_id)
            .await
            .map_err(|error| MailError::Retry(error.to_string()))?;
        let newsletter =
            newsletter.ok_or_else(|| MailError::Fail("the newsletter is gone".to_owned()))?;
        Ok(newsletter.from_address)
    }
}

impl Mailroom for ServiceMailroom {
    fn decide<'a>(
        &'a self,
        tx: &'a mut Tx<'_>,
        claimed: &'a Claimed,
        _now: Timestamp,
    ) -> BoxFuture<'a, sqlx::Result<Decision>> {
        Box::pin(async move {
            let Some(kind) = notice_kind(claimed.kind) else {
                return Ok(Decision::Send {
                    kind: claimed.kind,
                    subscription_id: claimed.subscription_id,
                    suppression_keys: Vec::new(),
                });
            };
            let asked = notice::Claimed {
                kind,
                newsletter: claimed.newsletter_id,
                signup: claimed.signup_id,
                subscription: claimed.subscription_id,
                is_first_claim: claimed.attempt == 1,
            };
            match notice::decide(tx, &self.app, asked).await? {
                notice::Decision::Skip(reason) => Ok(Decision::Skip(reason)),
                notice::Decision::Send(kind, subscription_id) => Ok(Decision::Send {
                    kind: delivery_kind(kind),
                    subscription_id,
                    suppression_keys: self.suppression_keys(&claimed.recipient),
                }),
            }
        })
    }

    fn mail<'a>(&'a self, claimed: &'a Claimed) -> BoxFuture<'a, Result<Mail, MailError>> {
        Box::pin(self.make(claimed))
    }
}

impl ServiceMailroom {
    fn suppression_keys(&self, recipient: &str) -> Vec<Vec<u8>> {
        let parsed = EmailAddress::parse(recipient, AddressRules::STORED);
        let hashes = parsed.map(|address| self.app.keys.suppression_keys(address.key().as_str()));
        hashes
            .unwrap_or_default()
            .into_iter()
            .map(|hash| hash.hash.to_vec())
            .collect()
    }
}

fn notice_kind(kind: Kind) -> Option<NoticeKind> {
    match kind {
        Kind::Confirmation => Some(NoticeKind::Confirmation),
        Kind::Welcome => Some(NoticeKind::Welcome),
        Kind::ManageLink => Some(NoticeKind::ManageLink),
        Kind::Digest | Kind::Alert | Kind::Test => None,
    }
}

fn delivery_kind(kind: NoticeKind) -> Kind {
    match kind {
        NoticeKind::Confirmation => Kind::Confirmation,
        NoticeKind::Welcome => Kind::Welcome,
        NoticeKind::ManageLink => Kind::ManageLink,
    }
}

fn address(text: &str) -> Result<Address, MailError> {
    text.parse()
        .map_err(|_| MailError::Fail("an envelope address is not valid".to_owned()))
}

fn of_original(error: OriginalError) -> MailError {
    match error {
        OriginalError::Unusable(_) => MailError::Fail(error.to_string()),
        OriginalError::Db(error) => MailError::Retry(error.to_string()),
    }
}

fn of_notice(error: NoticeMailError) -> MailError {
    match error {
        NoticeMailError::Db(error) => MailError::Retry(error.to_string()),
        NoticeMailError::Gone(_)
        | NoticeMailError::KeyGone
        | NoticeMailError::Render(_)
        | NoticeMailError::Encode(_) => MailError::Fail(error.to_string()),
    }
}
