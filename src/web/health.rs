//! Whether this process lives.

/// `GET /healthz`: answers as long as the process does, and asks nobody else.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}
