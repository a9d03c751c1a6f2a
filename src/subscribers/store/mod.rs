//! All SQL about people, by what it is for.

mod consent;
mod endings;
mod exporting;
mod importing;
mod limits;
mod notices;
mod reading;
mod signups;
mod subscriptions;

pub(super) use consent::{
    insert_consent_events, last_consent_hashes, lock_subscribers, wording_id,
};
pub(super) use endings::{active_among, ended_after};
pub(super) use exporting::{export_page, topics_of};
pub(super) use importing::{insert_subscriptions, members, subscribers, suppressed};
pub(super) use limits::{Hits, LimitKey, Window, add_hits, hits, remove_old_hits};
pub(super) use notices::{lift_suppression, membership_state, suppressions};
pub(super) use reading::{consent_of, deliveries_of, interests_of, membership, people_by_key};
pub(super) use signups::{
    NewSignup, insert_signups, mark_confirmed, remove_expired_signups, signup, signup_by_id,
    signup_by_token, signup_to_confirm,
};
pub(super) use subscriptions::{
    NewInterest, NewSubscription, end_interests, end_subscription, insert_subscriber,
    insert_subscription, key_of_subscriber, lock_subscription, newsletter_of_subscription,
    revive_subscription, start_interests, subscriber_by_key,
};
