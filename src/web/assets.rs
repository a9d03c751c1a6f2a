//! Files that pages load: inside the program, named after their content, kept by browsers for ever.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use data_encoding::HEXLOWER;

/// One file and the name that its content gives it.
pub(super) struct Asset {
    stem: &'static str,
    ending: &'static str,
    content_type: &'static str,
    content: &'static str,
    hash: String,
}

/// The one style sheet of reader pages.
pub(super) static READER_CSS: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/reader.css");
    Asset::new("reader", "css", "text/css; charset=utf-8", content)
});

/// The small picture in the browser's tab.
pub(super) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", content)
});

impl Asset {
    fn new(
        stem: &'static str,
        ending: &'static str,
        content_type: &'static str,
        content: &'static str,
    ) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes());
        Self {
            stem,
            ending,
            content_type,
            content,
            hash: HEXLOWER.encode(&digest.as_ref()[..8]),
        }
    }

    /// The path below the base URL; another content has another path.
    pub(super) fn path(&self) -> String {
        format!("/assets/{}-{}.{}", self.stem, self.hash, self.ending)
    }
}

/// Serves each asset under its path.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for asset in [&*READER_CSS, &*ICON] {
        let answer = || async {
            let headers = [
                (CONTENT_TYPE, asset.content_type),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, asset.content).into_response()
        };
        router = router.route(&asset.path(), get(answer));
    }
    router
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_stays_small_and_loads_nothing() {
        assert!(READER_CSS.content.len() < 6 * 1024);
        assert!(!READER_CSS.content.contains("url("));
        assert!(!READER_CSS.content.contains("@import"));
    }

    #[test]
    fn an_asset_is_named_after_its_content() {
        let named = |content| Asset::new("a", "css", "text/css", content).path();
        assert_ne!(named("x"), named("y"));
        assert_eq!(named("x"), named("x"));
    }
}
