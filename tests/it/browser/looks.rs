use serde_json::Value;

use super::{ADA, browse};
use crate::support::browser::{Browser, Taste};

const AXE: &str = include_str!("axe.min.js");

/// What axe-core finds: each rule with the places that break it. `target-size`, the one rule of WCAG 2.2, is off unless named.
const VIOLATIONS: &str = "
    const done = arguments[arguments.length - 1];
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    const options = { runOnly: tags, resultTypes: ['violations'], rules: { 'target-size': { enabled: true } } };
    axe.run(document, options).then(
        found => done(found.violations.map(rule =>
            rule.id + ': ' + rule.nodes.map(node => node.html + ' ' + node.failureSummary).join(' | '))),
        error => done(['axe: ' + error]));";

/// Pixels that stick out of the window on the right.
const OVERHANG: &str = "
    const root = document.scrollingElement;
    return Math.max(root.scrollWidth, document.body.scrollWidth) - root.clientWidth;";

/// Desktop, the smallest phone that is common, and the reflow width of WCAG 1.4.10.
const WIDTHS: [u32; 3] = [1280, 360, 320];

/// Looks at the page that is open in every way, and leaves the browser as it was.
async fn look_at(browser: &Browser, page: &str) {
    let mut faults = Vec::new();
    browser.run(AXE).await;
    for taste in [Taste::ForcedColors, Taste::Dark, Taste::Light] {
        browser.prefer(taste).await;
        for width in WIDTHS {
            browser.resize(width, 740).await;
            let view = format!("{page}-{width}-{}", taste.name());
            let overhang = browser.run(OVERHANG).await;
            if overhang != 0 {
                faults.push(format!("{view}: {overhang} pixels stick out"));
            }
            if width == 320 {
                continue;
            }
            browser.picture(&view).await;
            if taste != Taste::ForcedColors {
                faults.extend(
                    violations(browser)
                        .await
                        .map(|text| format!("{view}: {text}")),
                );
            }
        }
    }
    browser.resize(360, 740).await;
    browser.text_size(200).await;
    let overhang = browser.run(OVERHANG).await;
    if overhang != 0 {
        faults.push(format!("{page}, large text: {overhang} pixels stick out"));
    }
    browser.picture(&format!("{page}-large-text")).await;
    browser.text_size(100).await;
    browser.resize(1280, 740).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

async fn violations(browser: &Browser) -> impl Iterator<Item = String> {
    let Value::Array(found) = browser.run_to_callback(VIOLATIONS).await else {
        panic!("axe answers with a list")
    };
    found.into_iter().map(|text| text.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_axe_knows_is_found() {
    browse(async |_, _, browser| {
        let page = "<!doctype html><html lang=en><title>x</title><main><h1>x</h1><input></main>";
        browser.open_page(page).await;
        browser.run(AXE).await;
        let found: Vec<_> = violations(browser).await.collect();
        assert!(
            found.len() == 1 && found[0].starts_with("\"label: "),
            "{found:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_about_subscribing() {
    browse(async |app, _, browser| {
        browser.open("/subscribe/world").await;
        look_at(browser, "subscribe").await;
        let field = browser.find("textbox", "Email address").await;
        field.send_keys("ada@localhost").await.unwrap();
        browser.press("Subscribe").await;
        browser
            .find("alert", "One thing needs your attention")
            .await;
        look_at(browser, "subscribe-error").await;
        let field = browser.find("textbox", "Email address").await;
        field.clear().await.unwrap();
        field.send_keys(ADA).await.unwrap();
        browser.press("Subscribe").await;
        browser.arrives_at("Check your inbox").await;
        look_at(browser, "check-inbox").await;
        browser
            .open(&format!("/confirm/{}", app.confirm_token(ADA).await))
            .await;
        look_at(browser, "confirm").await;
        browser.press("Yes, send me World Review").await;
        browser.arrives_at("You are in").await;
        look_at(browser, "confirmed").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_about_leaving_and_pages_that_refuse() {
    browse(async |app, site, browser| {
        let leave = app.reader(site, "world", ADA).await;
        let confirm = format!("/confirm/{}", app.confirm_token(ADA).await);
        browser.open(&confirm).await;
        browser.arrives_at("Already confirmed").await;
        look_at(browser, "already-confirmed").await;
        browser.open(&leave).await;
        look_at(browser, "unsubscribe").await;
        browser.press("Unsubscribe").await;
        browser.arrives_at("You are out").await;
        look_at(browser, "unsubscribed").await;
        browser.open("/unsubscribe/cut").await;
        look_at(browser, "leave-link-broken").await;
        browser.open("/confirm/cut").await;
        look_at(browser, "link-gone").await;
        browser.open("/nothing").await;
        look_at(browser, "nothing-here").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_with_several_newsletters() {
    browse(async |app, _, browser| {
        app.newsletter("asia").await;
        browser.open("/").await;
        look_at(browser, "index").await;
        browser.open("/subscribe").await;
        look_at(browser, "choose").await;
        browser.open("/confirm/cut").await;
        look_at(browser, "link-gone-several").await;
    })
    .await;
}
