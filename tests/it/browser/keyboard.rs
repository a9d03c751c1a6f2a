use fantoccini::key::Key;

use super::{ADA, browse};
use crate::support::browser::Browser;

/// Presses Tab until this has the focus, and fails if there is no ring to see it by.
async fn tab_to(browser: &Browser, role: &str, name: &str) {
    let mut seen = Vec::new();
    for _ in 0..12 {
        browser.keys(&Key::Tab.to_string()).await;
        let focus = browser.focus().await;
        let outline = browser
            .run("const of = getComputedStyle(document.activeElement); return of.outlineStyle + of.outlineWidth")
            .await;
        assert_eq!(outline, "solid3px", "{focus:?} has no ring");
        if focus == (role.to_owned(), name.to_owned()) {
            return;
        }
        seen.push(focus);
    }
    panic!("no Tab leads to {role} {name:?}: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyboard_is_enough() {
    browse(async |app, _, browser| {
        let enter = Key::Enter.to_string();
        browser.scripts(false).await;
        browser.open("/").await;
        tab_to(browser, "link", "World Review").await;
        browser.keys(&enter).await;
        browser.arrives_at("Subscribe to World Review").await;
        tab_to(browser, "textbox", "Email address").await;
        browser.keys("ada@localhost").await;
        browser.keys(&enter).await;
        // the summary has the focus; its link leads to the field
        browser
            .find("alert", "One thing needs your attention")
            .await;
        browser.keys(&Key::Tab.to_string()).await;
        browser.keys(&enter).await;
        assert_eq!(browser.focus().await.0, "textbox");
        browser.keys(&Key::End.to_string()).await;
        for _ in "localhost".chars() {
            browser.keys(&Key::Backspace.to_string()).await;
        }
        browser.keys("example.org").await;
        browser.keys(&enter).await;
        browser.arrives_at("Check your inbox").await;

        browser
            .open(&format!("/confirm/{}", app.confirm_token(ADA).await))
            .await;
        tab_to(browser, "button", "Yes, send me World Review").await;
        browser.keys(&enter).await;
        browser.arrives_at("You are in").await;

        let subscription = app.subscription(ADA).await;
        browser
            .open(&format!(
                "/unsubscribe/{}",
                app.unsubscribe_token(subscription)
            ))
            .await;
        tab_to(browser, "button", "Unsubscribe").await;
        browser.keys(&Key::Space.to_string()).await;
        browser.arrives_at("You are out").await;
    })
    .await;
}
