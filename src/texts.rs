//! Texts that people see, by Fluent: one file per language in `locales/`.
