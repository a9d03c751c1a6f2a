//! People: sign-up, confirmation, interests, leaving, import and export.

pub mod address_typos;
pub mod email_address;
