//! The pages as readers meet them. The browser is Debian's Chromium; see `support::browser`.
//!
//! Pictures of all pages are left in `target/tmp/browser`.

use crate::support::browser::Browser;
use crate::support::http::Site;
use crate::support::{Engine, TestApp};

/// Pages that refuse: they say why, and keep what was typed.
mod errors;
/// Subscribing, confirming and leaving, with scripts off and on.
mod flows;
/// The same with nothing but a keyboard.
mod keyboard;
/// Each page at each width, light and dark: nothing sticks out, and axe-core finds nothing.
mod looks;
/// That the browser is set up as these tests believe.
mod setup;

const ADA: &str = "ada@example.org";

/// Runs `body` with a browser that looks at a service with the newsletter `world`.
///
/// Which engine stores is nothing that a page could show: the flows' own tests run on both.
async fn browse(body: impl AsyncFnOnce(&TestApp, &Site, &Browser)) {
    let story = async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let browser = Browser::start(site.address).await;
        body(app, &site, &browser).await;
        browser.finish().await;
        site.stop().await;
    };
    let generous = [
        ("signup.client_limits", "100/1h"),
        ("signup.network_limits", "100/1h"),
    ];
    crate::support::run(Engine::Sqlite, &generous, story).await;
}
