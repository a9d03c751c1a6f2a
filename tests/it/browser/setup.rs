use super::browse;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_can_be_turned_off() {
    browse(async |_, _, browser| {
        let page = "<!doctype html><title>off</title><script>document.title = 'on'</script>";
        browser.scripts(false).await;
        browser.open_page(page).await;
        assert_eq!(browser.title().await, "off");
        browser.scripts(true).await;
        browser.open_page(page).await;
        assert_eq!(browser.title().await, "on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_must_not_do_is_noticed() {
    browse(async |_, _, browser| {
        browser
            .open_page(
                "<!doctype html><title>x</title>
                <meta http-equiv=\"content-security-policy\" content=\"script-src 'none'\">
                <link rel=stylesheet href=\"http://fonts.example/a.css\">
                <script>document.title = 'run'</script>",
            )
            .await;
        assert_eq!(browser.title().await, "x");
        let faults = browser.faults().await.join("\n");
        for expect in [
            "a foreign request: http://fonts.example/a.css",
            "ERR_NAME_NOT_RESOLVED",
            "Content Security Policy",
        ] {
            assert!(faults.contains(expect), "{expect} is not in {faults}");
        }
        browser.open("/subscribe/world").await;
        assert_eq!(browser.faults().await, Vec::<String>::new());
    })
    .await;
}
