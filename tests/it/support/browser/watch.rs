//! What the browser wrote down about the pages: its console and its requests.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};

use super::Browser;

impl Browser {
    /// What a page did since the last call that it should not: a request to anybody but the site, or any word on the
    /// console, which is where errors and refusals of the content security policy are.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let events = self.events().await;
        let mut faults: Vec<String> = events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .filter(|url| !self.is_of_the_site(url))
            .map(|url| format!("a foreign request: {url}"))
            .collect();
        let error_pages: BTreeSet<&str> = events.iter().filter_map(error_page).collect();
        for entry in self.log("browser").await {
            let message = entry["message"].as_str().unwrap_or_default();
            let is_error_page = entry["source"] == "network"
                && error_pages
                    .iter()
                    .any(|url| message.starts_with(&format!("{url} - ")));
            if !is_error_page {
                faults.push(format!("the console says: {message}"));
            }
        }
        faults
    }

    /// Events of the `DevTools` protocol.
    async fn events(&self) -> Vec<Value> {
        let log = self.log("performance").await;
        log.iter()
            .filter_map(|entry| entry["message"].as_str())
            .filter_map(|text| serde_json::from_str::<Value>(text).ok())
            .map(|mut event| event["message"].take())
            .collect()
    }

    async fn log(&self, name: &str) -> Vec<Value> {
        let body = Some(json!({ "type": name }));
        match self.command(Method::POST, "se/log", body).await {
            Value::Array(entries) => entries,
            other => panic!("no log: {other}"),
        }
    }

    fn is_of_the_site(&self, url: &str) -> bool {
        // the browser's first, empty page is `data:,`
        url.starts_with(&format!("http://{}/", self.site)) || url.starts_with("data:")
    }
}

/// The URL of a page that was answered with a 4xx or 5xx status. The console mentions those; whether the status is
/// right is for the test to say.
fn error_page(event: &Value) -> Option<&str> {
    let parameters = &event["params"];
    let response = &parameters["response"];
    let is_error = event["method"] == "Network.responseReceived"
        && parameters["type"] == "Document"
        && response["status"].as_u64() >= Some(400);
    if is_error {
        response["url"].as_str()
    } else {
        None
    }
}
