//! The response headers that decide when to ask again.

use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName};

use crate::clock::Timestamp;

/// The value of `name`, if it can be kept and sent back as it is: visible ASCII, at most 1,000 bytes.
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= 1000).then(|| value.to_owned())
}

/// `Cache-Control: max-age` (RFC 9111, section 5.2.2.1).
pub(crate) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    directives.split(',').find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("max-age");
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        named.then(|| Duration::from_secs(seconds))
    })
}

/// `Retry-After`, as seconds or as a date (RFC 9110, section 10.2.3). A date that has passed gives zero.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(value)
        .ok()?;
    Some(Timestamp::from(date).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))])
    }

    #[test]
    fn max_age_is_found_among_other_directives() {
        let read = |value| max_age(&with(header::CACHE_CONTROL, value));
        assert_eq!(
            read("public, Max-Age=600, s-maxage=9"),
            Some(Duration::from_mins(10))
        );
        assert_eq!(read("max-age=\"60\""), Some(Duration::from_mins(1)));
        assert_eq!(read("no-cache"), None);
        assert_eq!(read("max-age=-5"), None);
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = Timestamp::from_micros(784_111_700_000_000);
        let read = |value| retry_after(&with(header::RETRY_AFTER, value), now);
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(
            read("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(77))
        );
        assert_eq!(read("Sun, 06 Nov 1993 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
    }
}
