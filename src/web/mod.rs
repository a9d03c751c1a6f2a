//! HTTP: pages, forms and the API, without rules.
