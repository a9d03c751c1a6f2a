//! Making, checking, listing and revoking API tokens. Only a hash is stored; the token is shown once.

use std::time::Duration;

use sqlx::types::Json;

use super::{Scope, store};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::id::{ApiTokenId, NewsletterId};
use crate::token::{ApiToken, api_token_hash};

/// How long a token lives when nothing else is said.
pub const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// A token as it is stored.
#[derive(Clone, Debug, serde::Serialize, sqlx::FromRow)]
pub struct StoredToken {
    /// Its id.
    pub id: ApiTokenId,
    /// What the operator calls it.
    pub label: String,
    /// Its first characters, to know it by.
    pub prefix: String,
    /// What it may do.
    #[serde(serialize_with = "scopes")]
    pub scopes: Json<Vec<Scope>>,
    /// The one newsletter it is good for; all, when empty.
    pub newsletter_id: Option<NewsletterId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// When it was used last, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

fn scopes<S: serde::Serializer>(
    scopes: &Json<Vec<Scope>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(scopes.0.iter())
}

impl StoredToken {
    /// Whether it may do `scope` for `newsletter`.
    pub fn may(&self, scope: Scope, newsletter: NewsletterId) -> bool {
        self.scopes.0.contains(&scope) && self.newsletter_id.is_none_or(|own| own == newsletter)
    }

    /// Whether its time has come to an end.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

/// Makes a token. The text is given here and never again.
pub async fn create(
    app: &App,
    label: &str,
    scopes: Vec<Scope>,
    newsletter_id: Option<NewsletterId>,
    lifetime: Duration,
) -> sqlx::Result<(StoredToken, String)> {
    let token = ApiToken::generate(&*app.entropy);
    let (text, hash, now) = (token.text(), token.hash(), app.clock.now());
    let stored = StoredToken {
        id: app.ids.next(),
        label: label.to_owned(),
        // `pr_` and the index characters: enough to tell tokens apart, nothing to guess from
        prefix: text.chars().take(11).collect(),
        scopes: Json(scopes),
        newsletter_id,
        created_at: now,
        expires_at: now + lifetime,
        last_used_at: None,
        revoked_at: None,
    };
    let row = stored.clone();
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move { store::insert(tx, &row, &hash).await })
        })
        .await?;
    Ok((stored, text))
}

/// The token that `text` is, if it is one and works now.
pub async fn verify(app: &App, text: &str) -> sqlx::Result<Option<StoredToken>> {
    let Some(hash) = api_token_hash(text) else {
        return Ok(None);
    };
    let now = app.clock.now();
    let found = store::by_hash(&app.db, &hash).await?;
    let found = found.filter(|token| token.revoked_at.is_none() && !token.is_over(now));
    if let Some(token) = &found {
        // once an hour is enough to see what is still in use
        let is_known = token
            .last_used_at
            .is_some_and(|at| now.since(at) < Duration::from_hours(1));
        if !is_known {
            let id = token.id;
            app.db
                .write::<_, sqlx::Error, _>(move |tx| {
                    Box::pin(async move { store::touch(tx, id, now).await })
                })
                .await?;
        }
    }
    Ok(found)
}

/// All tokens, newest first.
pub async fn all(db: &Db) -> sqlx::Result<Vec<StoredToken>> {
    store::all(db).await
}

/// Ends the token with this prefix; `false` when there is none, or it was ended before.
pub async fn revoke(app: &App, prefix: &str) -> sqlx::Result<bool> {
    let (prefix, now) = (prefix.to_owned(), app.clock.now());
    app.db
        .write(move |tx| Box::pin(async move { store::revoke(tx, &prefix, now).await }))
        .await
}
