//! One reader's copy of an issue: the variant's bytes with the reader's slots filled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::store;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::id::VariantId;
use crate::mail::Encoded;

/// Variants kept in memory. An issue has few; beyond it they are read again.
const KEPT: usize = 64;

/// A variant as it goes out.
#[derive(Debug)]
pub struct Original {
    /// The bytes with their slots.
    pub encoded: Encoded,
    /// When sending was allowed: the `Date` of every copy.
    pub released_at: Timestamp,
    /// The newsletter's address: the envelope sender where nothing else is configured.
    pub from_address: String,
}

/// The variants of the issues at work. Cheap to clone; all clones share them.
#[derive(Clone, Debug, Default)]
pub struct Originals(Arc<Mutex<HashMap<VariantId, Arc<Original>>>>);

/// Why a variant cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OriginalError {
    /// It is not there, or not readable, or its issue was never released.
    #[error("its rendered message is {0}")]
    Unusable(&'static str),
    /// The database answered an error: try again.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

impl Originals {
    /// The variant, from memory or from the database. A frozen variant never changes.
    pub async fn get(&self, db: &Db, id: VariantId) -> Result<Arc<Original>, OriginalError> {
        if let Some(original) = self.kept().get(&id) {
            return Ok(original.clone());
        }
        let (message, released_at, from_address) = store::prepared::message(db, id)
            .await?
            .ok_or(OriginalError::Unusable("gone"))?;
        let original = Arc::new(Original {
            encoded: Encoded::from_bytes(&message)
                .map_err(|_| OriginalError::Unusable("damaged"))?,
            released_at: released_at.ok_or(OriginalError::Unusable("not released"))?,
            from_address,
        });
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(id, original.clone());
        Ok(original)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<VariantId, Arc<Original>>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}
