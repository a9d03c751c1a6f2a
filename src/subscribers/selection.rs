//! What a person chose in the form.

use serde::{Deserialize, Serialize};

use crate::newsletters::{Cadence, Slug};

/// Topics and rhythm, as stored with a sign-up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The topics' slugs, each once; none means everything.
    pub topics: Vec<Slug>,
    /// The rhythm; `None` leaves it to the newsletter.
    pub cadence: Option<Cadence>,
}
