//! Paths as they may stand in a log: without tokens.

/// What stands in place of a segment that is, or looks like, a token.
const REDACTED: &str = "…";

/// Words of ours are shorter than any token.
const LONGEST_WORD: usize = 36;

/// `path` with the segment after `confirm`, `unsubscribe` and `preferences` taken out, and with it every segment
/// that is too long to be a word of ours: a token that a mail program put in the wrong place is a token still.
pub(super) fn redacted_path(path: &str) -> String {
    let mut after_door = false;
    let segments = path.split('/').map(|segment| {
        let hide = !segment.is_empty() && (after_door || segment.len() > LONGEST_WORD);
        after_door = matches!(segment, "confirm" | "unsubscribe" | "preferences");
        if hide { REDACTED } else { segment }
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_written() {
        let check = |path: &str, expect: &str| assert_eq!(redacted_path(path), expect);
        check("/", "/");
        check("/subscribe/world", "/subscribe/world");
        check("/confirm/abc", "/confirm/…");
        check("/news/unsubscribe/v1.k1.abc", "/news/unsubscribe/…");
        check("/unsubscribe/abc/undo", "/unsubscribe/…/undo");
        check("/unsubscribe/", "/unsubscribe/");
        let token = "x".repeat(43);
        check(&format!("/{token}"), "/…");
        check(
            "/api/v1/issues/01890000-0000-7000-8000-000000000000",
            "/api/v1/issues/01890000-0000-7000-8000-000000000000",
        );
    }
}
