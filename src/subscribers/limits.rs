//! Counters that survive a restart and hold over several machines.
//!
//! A limit is "so many in so long". Hits are counted in buckets of a tenth of the time, so that a window slides and
//! nobody gets twice the limit at its edge. What is counted is stored under a keyed hash only.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::email_address::EmailKey;
use super::network::Network;
use super::store::{self, Hits, LimitKey, Window};
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::{Limit, SignupConfig};
use crate::db::Tx;
use crate::token::KeyRing;

/// One kind of thing that is counted, and how much of it there may be.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// What the limit is for: `signup_client`. Part of the key.
    pub name: &'static str,
    /// Whom it is for: a network, an address, or nobody in particular.
    pub subject: &'a str,
    /// All of these hold.
    pub limits: &'a [Limit],
}

/// A window is this many buckets wide.
const BUCKETS: u32 = 10;

/// A limit that is used up.
#[derive(Debug, Clone, Copy)]
pub struct UsedUp {
    /// Which one.
    pub name: &'static str,
    /// How long until it lets something pass again.
    pub wait: Duration,
}

/// Counts one hit for each of `all`, unless limits are used up: then nothing is counted, and the one that lasts longest
/// is named.
pub async fn count(
    tx: &mut Tx<'_>,
    keys: &KeyRing,
    all: &[Counted<'_>],
    now: Timestamp,
) -> sqlx::Result<Result<(), UsedUp>> {
    let mut counted = count_each(tx, keys, [all], now).await?;
    Ok(counted.pop().unwrap_or(Ok(())))
}

/// The same for several, one after another: what one of them uses up stands in the way of the next.
pub(super) async fn count_each<'a>(
    tx: &mut Tx<'_>,
    keys: &KeyRing,
    each: impl IntoIterator<Item = &'a [Counted<'a>]>,
    now: Timestamp,
) -> sqlx::Result<Vec<Result<(), UsedUp>>> {
    let windows_of = |all: &'a [Counted<'a>]| -> Vec<Window<'a>> {
        let windows = all.iter().flat_map(|counted| counted.windows(keys, now));
        windows.collect()
    };
    let each: Vec<_> = each.into_iter().map(windows_of).collect();
    let mut hits = store::hits(tx, each.iter().flatten()).await?;
    let counted = each
        .iter()
        .map(|windows| count_one(windows, &mut hits, now));
    let counted = counted.collect();
    store::add_hits(tx, each.iter().flatten(), &hits).await?;
    Ok(counted)
}

/// Counts one hit in each of `windows`, unless some of them allow no more.
fn count_one(
    windows: &[Window<'_>],
    hits: &mut HashMap<LimitKey, Hits>,
    now: Timestamp,
) -> Result<(), UsedUp> {
    let used_up = windows.iter().filter_map(|window| {
        let found = hits.get(&window.key).copied().unwrap_or_default();
        let oldest = found.oldest.unwrap_or(now);
        (found.count() >= i64::from(window.limit.most)).then(|| UsedUp {
            name: window.name,
            wait: (oldest + window.limit.per + bucket(window.limit)).since(now),
        })
    });
    if let Some(used_up) = used_up.max_by_key(|used_up| used_up.wait) {
        return Err(used_up);
    }
    let keys: HashSet<LimitKey> = windows.iter().map(|window| window.key).collect();
    for key in keys {
        hits.entry(key).or_default().added += 1;
    }
    Ok(())
}

/// Counts a confirmation link that does not exist against `client`'s network; `Err` with the time to wait once it
/// tried too many.
pub async fn wrong_token(app: &Arc<App>, client: IpAddr) -> sqlx::Result<Result<(), Duration>> {
    let work = app.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let counted = Counted {
                    name: "wrong_token",
                    subject: &Network::of(client).to_string(),
                    limits: &work.config.signup.wrong_token_limits,
                };
                let counted = count(tx, &work.keys, &[counted], work.clock.now()).await?;
                Ok(counted.map_err(|used_up| used_up.wait))
            })
        })
        .await
}

impl Counted<'_> {
    fn windows<'a>(&'a self, keys: &KeyRing, now: Timestamp) -> impl Iterator<Item = Window<'a>> {
        self.limits.iter().map(move |limit| {
            let per = limit.per.as_millis();
            Window {
                name: self.name,
                limit,
                key: keys.limit_key(&format!("{}\n{per}\n{}", self.name, self.subject)),
                // A bucket counts until its youngest hit is old enough.
                since: now - limit.per - bucket(limit),
                bucket: bucket_start(limit, now),
            }
        })
    }
}

/// The mailbox that `key` most likely reaches, for limits only: tags are cut, and where a provider ignores dots they
/// go too. Never an identity: a tagged address is a consent of its own.
pub fn mailbox_of(key: &EmailKey) -> String {
    let (local, domain) = key.as_str().rsplit_once('@').unwrap_or((key.as_str(), ""));
    let local = local.split('+').next().unwrap_or(local);
    match domain {
        "gmail.com" | "googlemail.com" => format!("{}@gmail.com", local.replace('.', "")),
        _ => format!("{local}@{domain}"),
    }
}

/// How far back the beginning of a bucket that still counts may lie, for the longest of all limits.
pub(super) fn longest(config: &SignupConfig) -> Duration {
    let all = [
        &config.address_limits,
        &config.client_limits,
        &config.network_limits,
        &config.instance_limits,
        &config.wrong_token_limits,
    ];
    // a window slides by buckets, so that it reaches back by one more
    let reaches = |limit: &Limit| limit.per + bucket(limit);
    let reaches = all.into_iter().flatten().map(reaches);
    reaches.max().unwrap_or_default()
}

fn bucket(limit: &Limit) -> Duration {
    (limit.per / BUCKETS).max(Duration::from_secs(1))
}

fn bucket_start(limit: &Limit, now: Timestamp) -> Timestamp {
    let width = i64::try_from(bucket(limit).as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().div_euclid(width) * width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variations_of_one_mailbox_count_together() {
        let check = |key: &str, expect: &str| {
            assert_eq!(mailbox_of(&EmailKey::from_stored(key.to_owned())), expect);
        };
        check("ada@example.org", "ada@example.org");
        check("ada+news@example.org", "ada@example.org");
        check("a.d.a+x@googlemail.com", "ada@gmail.com");
        check("a.da@example.org", "a.da@example.org");
    }

    #[test]
    fn hits_are_kept_for_as_long_as_any_limit_counts_them() {
        for long in 0..5 {
            let limits = |number| {
                let hours = if number == long { 10 } else { 1 };
                vec![Limit {
                    most: 1,
                    per: Duration::from_hours(hours),
                }]
            };
            let config = SignupConfig {
                confirm_lifetime: Duration::from_hours(1),
                allow_special_use: false,
                address_limits: limits(0),
                client_limits: limits(1),
                network_limits: limits(2),
                instance_limits: limits(3),
                wrong_token_limits: limits(4),
            };
            assert_eq!(longest(&config), Duration::from_hours(11), "limit {long}");
        }
    }
}
