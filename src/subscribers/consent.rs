//! The record of what people agreed to and withdrew: append-only, and chained for each address.
//!
//! Each event's hash covers the one before it and a salted commitment to its personal fields. So nobody can change or
//! drop an event unnoticed, and yet erasing the personal fields and the salt leaves the chain whole.

use aws_lc_rs::digest;
use serde_json::Value;

use super::email_address::EmailKey;
use super::evidence::{Channel, Evidence};
use super::store;
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{ConsentEventId, NewsletterId, SubscriberId, WordingId, random_bytes};
use crate::text_enum;
use crate::token::sha256;

text_enum! {
    /// What happened to a person's consent.
    pub enum ConsentKind {
        /// Somebody asked with this address.
        Requested = "requested",
        /// The address's owner agreed.
        Confirmed = "confirmed",
        /// The owner changed topics, rhythm or address.
        Changed = "changed",
        /// The owner left.
        Withdrawn = "withdrawn",
        /// An operator stated that the owner had agreed elsewhere.
        Imported = "imported",
        /// The owner's data was erased.
        Erased = "erased",
    }
}

/// An event to record.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    /// Whose consent, as a subscriber.
    pub subscriber: SubscriberId,
    /// Whose consent, as an address.
    pub email_key: &'a EmailKey,
    /// To which newsletter.
    pub newsletter: NewsletterId,
    /// What happened.
    pub kind: ConsentKind,
    /// Where it came from and what was shown.
    pub evidence: &'a Evidence,
    /// What was chosen, and whatever else proves it: an object.
    pub detail: Value,
}

/// A recorded event, as it is shown and exported.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, serde::Serialize)]
pub struct ConsentEvent {
    /// Its id; events of one address are recorded in this order.
    pub id: ConsentEventId,
    /// Keyed hash of the address.
    #[serde(skip)]
    pub email_hash: Vec<u8>,
    /// To which newsletter.
    pub newsletter_id: Option<NewsletterId>,
    /// What happened.
    pub kind: ConsentKind,
    /// When.
    pub at: Timestamp,
    /// By which door.
    pub channel: Channel,
    /// The words that were shown.
    pub wording_id: Option<WordingId>,
    /// The page.
    pub page_url: Option<String>,
    /// The client's address; cut after a time.
    pub ip: Option<String>,
    /// The client's name for itself; cut after a time.
    pub user_agent: Option<String>,
    /// What was chosen, and whatever else proves it.
    #[sqlx(json)]
    pub detail: Value,
    /// For the commitment; erased with the personal fields.
    #[serde(skip)]
    pub salt: Vec<u8>,
    /// Salted hash of the personal fields.
    #[serde(skip)]
    pub commitment: Vec<u8>,
    /// The event before, if there was one.
    #[serde(skip)]
    pub previous_hash: Option<Vec<u8>>,
    /// What the next event covers.
    #[serde(skip)]
    pub hash: Vec<u8>,
}

/// Adds `event` to the end of its address's chain; see [`record_all`].
pub async fn record(
    tx: &mut Tx<'_>,
    app: &App,
    event: NewEvent<'_>,
    now: Timestamp,
) -> sqlx::Result<()> {
    record_all(tx, app, &[event], now).await
}

/// Adds each event to the end of its address's chain; each is of another person.
///
/// Locks the subscribers' rows on PostgreSQL until the transaction ends, after whatever the caller has locked: two
/// events of one person cannot follow the same one.
pub async fn record_all(
    tx: &mut Tx<'_>,
    app: &App,
    events: &[NewEvent<'_>],
    now: Timestamp,
) -> sqlx::Result<()> {
    store::lock_subscribers(tx, events.iter().map(|event| event.subscriber)).await?;
    // A chain goes on across a new pepper.
    let known: Vec<Vec<_>> = events
        .iter()
        .map(|event| app.keys.consent_hashes(event.email_key.as_str()))
        .collect();
    let hashes = known.iter().flatten().map(|known| known.hash);
    let last = store::last_consent_hashes(tx, hashes).await?;
    let mut rows = Vec::with_capacity(events.len());
    for (event, known) in events.iter().zip(&known) {
        let wording_id = match &event.evidence.wording {
            Some(wording) => Some(store::wording_id(tx, app.ids.next(), wording, now).await?),
            None => None,
        };
        let last = known.iter().find_map(|known| last.get(&known.hash[..]));
        let row = chained(app, event, wording_id, last.cloned(), now);
        rows.push((event.subscriber, row));
    }
    store::insert_consent_events(tx, &rows).await
}

/// The event as it stands in the chain, after the one with the hash `previous_hash`.
fn chained(
    app: &App,
    event: &NewEvent<'_>,
    wording_id: Option<WordingId>,
    previous_hash: Option<Vec<u8>>,
    now: Timestamp,
) -> ConsentEvent {
    let email_hash = app.keys.consent_hash(event.email_key.as_str()).hash;
    let mut row = ConsentEvent {
        id: app.ids.next(),
        email_hash: email_hash.to_vec(),
        newsletter_id: Some(event.newsletter),
        kind: event.kind,
        at: now,
        channel: event.evidence.channel,
        wording_id,
        page_url: event.evidence.page_url.clone(),
        ip: event.evidence.ip.map(|ip| ip.to_string()),
        user_agent: event.evidence.user_agent.clone(),
        detail: event.detail.clone(),
        salt: random_bytes::<16>(&*app.entropy).to_vec(),
        commitment: Vec::new(),
        previous_hash,
        hash: Vec::new(),
    };
    row.commitment = commitment(&row).to_vec();
    row.hash = chained_hash(&row).to_vec();
    row
}

/// The events of one address in the order of their chain; those that hang on nothing stand last.
pub fn in_chain_order(mut events: Vec<ConsentEvent>) -> Vec<ConsentEvent> {
    let mut chain: Vec<ConsentEvent> = Vec::with_capacity(events.len());
    while let Some(next) = events
        .iter()
        .position(|event| event.previous_hash == chain.last().map(|last| last.hash.clone()))
    {
        chain.push(events.remove(next));
    }
    chain.extend(events);
    chain
}

/// The first event of `chain` (one address's, in order) that does not fit; `None` when all do.
///
/// An event whose salt was erased is checked without its personal fields.
pub fn first_broken(chain: &[ConsentEvent]) -> Option<ConsentEventId> {
    let mut previous: Option<&[u8]> = None;
    for event in chain {
        let erased = event.salt.is_empty();
        let fits = event.previous_hash.as_deref() == previous
            && (erased || event.commitment == commitment(event))
            && event.hash == chained_hash(event);
        if !fits {
            return Some(event.id);
        }
        previous = Some(&event.hash);
    }
    None
}

/// SHA-256 of the salt and the personal fields.
fn commitment(event: &ConsentEvent) -> [u8; 32] {
    let fields = (
        &event.page_url,
        &event.ip,
        &event.user_agent,
        canonical(&event.detail),
    );
    let text = serde_json::to_vec(&fields).expect("texts and JSON can be written");
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&event.salt);
    context.update(&text);
    let digest = context.finish();
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// SHA-256 of the event before and of every field that is not personal.
fn chained_hash(event: &ConsentEvent) -> [u8; 32] {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let fields = (
        event.previous_hash.as_deref().map(hex),
        event.id,
        hex(&event.email_hash),
        event.newsletter_id,
        event.kind,
        event.at.as_micros(),
        event.channel,
        event.wording_id,
        hex(&event.commitment),
    );
    sha256(&serde_json::to_vec(&fields).expect("texts and numbers can be written"))
}

/// The value with the keys of its objects in order: PostgreSQL gives them back in an order of its own.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            let sorted = sorted
                .into_iter()
                .map(|(name, value)| (name.clone(), canonical(value)));
            Value::Array(vec![Value::Array(
                sorted
                    .map(|(name, value)| Value::Array(vec![name.into(), value]))
                    .collect(),
            )])
        }
        Value::Array(values) => Value::Array(values.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::NewsletterId;

    fn chain() -> Vec<ConsentEvent> {
        let mut chain: Vec<ConsentEvent> = Vec::new();
        for number in 0..3_u8 {
            let mut event = ConsentEvent {
                id: ConsentEventId(uuid::Uuid::from_u128(number.into())),
                email_hash: vec![7; 32],
                newsletter_id: Some(NewsletterId(uuid::Uuid::nil())),
                kind: ConsentKind::Confirmed,
                at: Timestamp::from_micros(number.into()),
                channel: Channel::Page,
                wording_id: None,
                page_url: None,
                ip: Some("192.0.2.1".to_owned()),
                user_agent: None,
                detail: json!({"topics": [], "cadence": "daily"}),
                salt: vec![number; 16],
                commitment: Vec::new(),
                previous_hash: chain.last().map(|event| event.hash.clone()),
                hash: Vec::new(),
            };
            event.commitment = commitment(&event).to_vec();
            event.hash = chained_hash(&event).to_vec();
            chain.push(event);
        }
        chain
    }

    #[test]
    fn a_changed_or_missing_event_is_found() {
        assert_eq!(first_broken(&chain()), None);
        let mut changed = chain();
        changed[1].ip = Some("192.0.2.2".to_owned());
        assert_eq!(first_broken(&changed), Some(changed[1].id));
        let mut moved = chain();
        moved[2].at = Timestamp::from_micros(99);
        assert_eq!(first_broken(&moved), Some(moved[2].id));
        let mut missing = chain();
        missing.remove(1);
        assert_eq!(first_broken(&missing), Some(missing[1].id));
    }

    #[test]
    fn whichever_field_is_changed_it_is_found() {
        let changes: [fn(&mut ConsentEvent); 9] = [
            |event| event.id = ConsentEventId(uuid::Uuid::from_u128(9)),
            |event| event.email_hash = vec![8; 32],
            |event| event.newsletter_id = None,
            |event| event.kind = ConsentKind::Withdrawn,
            |event| event.channel = Channel::Console,
            |event| event.wording_id = Some(WordingId(uuid::Uuid::nil())),
            |event| event.page_url = Some("https://example.org/".to_owned()),
            |event| event.user_agent = Some("Lynx".to_owned()),
            |event| event.detail = json!({"topics": [], "cadence": "weekly"}),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = chain();
            change(&mut other[1]);
            let found = first_broken(&other);
            assert_eq!(found, Some(other[1].id), "change {number}");
        }
    }

    #[test]
    fn erasing_the_personal_fields_leaves_the_chain_whole() {
        let mut erased = chain();
        erased[1].ip = None;
        erased[1].detail = json!({});
        erased[1].salt.clear();
        assert_eq!(first_broken(&erased), None);
    }

    #[test]
    fn a_chain_is_found_again_whatever_the_clock_said() {
        let mut shuffled = chain();
        shuffled.rotate_left(1);
        assert_eq!(in_chain_order(shuffled), chain());
        let mut missing = chain();
        missing.remove(0);
        assert_eq!(in_chain_order(missing).len(), 2);
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let mut reordered = chain();
        reordered[0].detail = json!({"cadence": "daily", "topics": []});
        assert_eq!(first_broken(&reordered), None);
    }

    #[test]
    fn an_erased_event_is_still_held_to_its_place_in_the_chain() {
        let changes: [fn(&mut ConsentEvent); 3] = [
            |event| event.at = Timestamp::from_micros(99),
            |event| event.kind = ConsentKind::Withdrawn,
            |event| event.previous_hash = None,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut erased = chain();
            erased[1].salt.clear();
            change(&mut erased[1]);
            let found = first_broken(&erased);
            assert_eq!(found, Some(erased[1].id), "change {number}");
        }
    }
}
