//! What the client asked for: a page or JSON, and in which language.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE};

/// Whether the answer should be JSON: where `Accept` prefers it, or a JSON request leaves the choice to us.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let accept = weighted(text(ACCEPT).unwrap_or("*/*"));
    let weight = |types: &[&str]| {
        accept
            .iter()
            .filter(|(name, _)| types.iter().any(|one| name.eq_ignore_ascii_case(one)))
            .map(|(_, weight)| *weight)
            .max()
            .unwrap_or(0)
    };
    let json = weight(&["application/json", "application/problem+json"]);
    let html = weight(&["text/html", "application/xhtml+xml", "text/*"]);
    if json == html {
        let sent = text(CONTENT_TYPE).unwrap_or_default().trim_start();
        return json == 0 && sent.to_ascii_lowercase().starts_with("application/json");
    }
    json > html
}

/// The languages of `Accept-Language`, the most wanted first, as the client wrote them.
pub(super) fn languages(headers: &HeaderMap) -> Vec<String> {
    let header = headers
        .get(ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut wanted = weighted(header);
    wanted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    wanted
        .into_iter()
        .filter(|(name, weight)| *weight > 0 && *name != "*")
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The items of a list with quality values (RFC 9110, section 12.4.2), in thousandths. At most 20 are read.
fn weighted(header: &str) -> Vec<(&str, u32)> {
    header
        .split(',')
        .take(20)
        .filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?;
            let weight = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(1000, thousandths);
            Some((name, weight))
        })
        .collect()
}

/// `0.8` as 800; what is no quality value counts as unwanted.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 {
        return 0;
    }
    let padded = format!("{whole}{fraction:0<3}");
    padded.parse().map_or(0, |weight: u32| weight.min(1000))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        let check = |accept: &'static str, sent: &'static str, expect: bool| {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            if !sent.is_empty() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(sent));
            }
            assert_eq!(wants_json(&headers), expect, "{accept} / {sent}");
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        check(browser, "application/x-www-form-urlencoded", false);
        check("", "", false);
        check("*/*", "application/x-www-form-urlencoded", false);
        check("*/*", "application/json", true);
        check("application/json", "", true);
        check("application/json, text/html;q=0.5", "", true);
        check(
            "text/html, application/json;q=0.5",
            "application/json",
            false,
        );
        check("application/problem+json", "", true);
    }

    #[test]
    fn languages_come_in_the_order_of_their_weight() {
        let mut headers = HeaderMap::new();
        let value = "fr;q=0.5, de-CH, en;q=0.8, *;q=0.1, xx;q=0, yy;q=many";
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(value));
        assert_eq!(languages(&headers), ["de-CH", "en", "fr"]);
    }
}
