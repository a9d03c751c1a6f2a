//! People: sign-up, confirmation, interests, leaving, import and export.
