//! The first run on a laptop: a sample site, an SMTP receiver and an inbox page.
