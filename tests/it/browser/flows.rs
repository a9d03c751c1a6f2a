use super::{ADA, browse};
use crate::support::TestApp;
use crate::support::browser::Browser;

/// From the form to the goodbye, by the labels that a reader sees.
async fn comes_and_goes(app: &TestApp, browser: &Browser) {
    browser.open("/").await;
    let link = browser.find("link", "World Review").await;
    link.click().await.unwrap();
    browser.arrives_at("Subscribe to World Review").await;
    let field = browser.find("textbox", "Email address").await;
    field.send_keys(ADA).await.unwrap();
    browser.press("Subscribe").await;
    browser.arrives_at("Check your inbox").await;
    assert_eq!(browser.path().await, "/subscribe/world/sent");
    assert!(browser.text().await.contains("news@world-review.org"));

    let confirm = format!("/confirm/{}", app.confirm_token(ADA).await);
    browser.open(&confirm).await;
    browser.arrives_at("One last step").await;
    assert!(browser.text().await.contains(ADA));
    assert!(app.rows_of("subscription").await.is_empty());
    browser.press("Yes, send me World Review").await;
    browser.arrives_at("You are in").await;
    let active = ["subscription ada@example.org world active -"];
    assert_eq!(app.rows_of("subscription").await, active);

    // the same press once more, and then the link from the mail
    browser.reload().await;
    browser.arrives_at("Already confirmed").await;
    browser.open(&confirm).await;
    browser.arrives_at("Already confirmed").await;
    assert_eq!(app.rows_of("subscription").await, active);
    assert_eq!(app.rows_of("delivery welcome").await.len(), 1);

    let subscription = app.subscription(ADA).await;
    let leave = format!("/unsubscribe/{}", app.unsubscribe_token(subscription));
    browser.open(&leave).await;
    browser.arrives_at("Unsubscribe from World Review?").await;
    assert_eq!(app.rows_of("subscription").await, active);
    browser.press("Unsubscribe").await;
    browser.arrives_at("You are out").await;
    let ended = ["subscription ada@example.org world unsubscribed page"];
    assert_eq!(app.rows_of("subscription").await, ended);
    browser.open(&leave).await;
    browser.arrives_at("You are out").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_without_scripts_comes_and_goes() {
    browse(async |app, _, browser| {
        browser.scripts(false).await;
        comes_and_goes(app, browser).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_with_scripts_on_a_small_screen_comes_and_goes() {
    browse(async |app, _, browser| {
        browser.resize(360, 740).await;
        comes_and_goes(app, browser).await;
    })
    .await;
}
