//! Feeds and articles: fetch, parse, identify, sanitise, release.
