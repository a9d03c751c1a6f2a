use super::{ADA, browse};

const WRONG: &str = "ada@localhost";
const WHY: &str = "The part after the @ sign is incomplete: it must be a name such as example.org.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_address_is_shown_again_with_its_fault() {
    browse(async |app, _, browser| {
        browser.scripts(false).await;
        browser.open("/subscribe/world").await;
        let field = browser.find("textbox", "Email address").await;
        field.send_keys(WRONG).await.unwrap();
        browser.press("Subscribe").await;
        // first of all a reader is told that something is wrong
        browser
            .find("alert", "One thing needs your attention")
            .await;
        assert_eq!(
            browser.title().await,
            "Error: Subscribe to World Review – World Review"
        );
        let (role, name) = browser.focus().await;
        assert_eq!(
            (&*role, &*name),
            ("alert", "One thing needs your attention")
        );

        let field = browser.find("textbox", "Email address").await;
        assert_eq!(field.prop("value").await.unwrap().unwrap(), WRONG);
        assert_eq!(field.attr("aria-invalid").await.unwrap().unwrap(), "true");
        let description = browser.description(&field).await;
        assert!(description.contains(WHY), "{description}");

        browser.find("link", WHY).await.click().await.unwrap();
        let (role, name) = browser.focus().await;
        assert_eq!((&*role, &*name), ("textbox", "Email address"));
        assert!(app.rows_of("signup").await.is_empty());

        field.clear().await.unwrap();
        field.send_keys(ADA).await.unwrap();
        browser.press("Subscribe").await;
        browser.arrives_at("Check your inbox").await;
        assert_eq!(app.rows_of("signup").await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_cut_says_what_to_do() {
    browse(async |app, site, browser| {
        browser.scripts(false).await;
        let leave = app.reader(site, "world", "bob@example.org").await;
        browser.open("/confirm/cut").await;
        browser.arrives_at("This link no longer works").await;
        browser.open(&leave[..leave.len() - 5]).await;
        browser.arrives_at("This link is not complete").await;
        browser.open("/nothing").await;
        browser.arrives_at("There is nothing here").await;
        browser
            .find("link", "To the newsletters")
            .await
            .click()
            .await
            .unwrap();
        browser.arrives_at("Newsletters").await;

        // where only one newsletter is, the form stands on the page of the dead link
        browser.open("/confirm/cut").await;
        let field = browser.find("textbox", "Email address").await;
        field.send_keys(ADA).await.unwrap();
        browser.press("Subscribe").await;
        browser.arrives_at("Check your inbox").await;
    })
    .await;
}
