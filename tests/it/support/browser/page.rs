//! What a reader does on a page. Elements are found as a screen reader names them: by role and name.

use std::time::Duration;

use axum::http::Method;
use fantoccini::Locator;
use fantoccini::elements::Element;
use serde_json::Value;

use super::Browser;

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can have a role that tests ask for.
const CANDIDATES: Locator<'_> =
    Locator::Css("a, button, input:not([type=hidden]), fieldset, h1, h2, [role]");

impl Browser {
    /// Opens a page of the site.
    pub(crate) async fn open(&self, path: &str) {
        let url = format!("http://{}{path}", self.site);
        self.client.goto(&url).await.expect("the page opens");
    }

    /// Opens a page of the test's own.
    pub(crate) async fn open_page(&self, html: &str) {
        let html = data_encoding::BASE64.encode(html.as_bytes());
        let url = format!("data:text/html;charset=utf-8;base64,{html}");
        self.client.goto(&url).await.expect("the page opens");
    }

    /// The one element of this role and name, once it is there.
    pub(crate) async fn find(&self, role: &str, name: &str) -> Element {
        let mut seen = Vec::new();
        let found = async {
            loop {
                seen = self.elements().await;
                let mut fitting = seen
                    .iter()
                    .filter(|(of_role, of_name, _)| of_role == role && of_name == name);
                if let (Some((_, _, element)), None) = (fitting.next(), fitting.next()) {
                    return element.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| {
            let seen: Vec<_> = seen
                .iter()
                .map(|(role, name, _)| format!("{role} {name}"))
                .collect();
            panic!("there is not one {role} {name:?} in {seen:?}")
        })
    }

    /// Presses the button of this name.
    pub(crate) async fn press(&self, name: &str) {
        let button = self.find("button", name).await;
        button.click().await.expect("it can be pressed");
    }

    /// Waits for the page of this main heading.
    pub(crate) async fn arrives_at(&self, heading: &str) {
        let heading = self.find("heading", heading).await;
        assert_eq!(heading.tag_name().await.unwrap(), "h1");
    }

    /// Loads the page again; one that answered a form is sent its form again.
    pub(crate) async fn reload(&self) {
        self.client.refresh().await.expect("the page loads again");
    }

    /// The title in the browser's tab.
    pub(crate) async fn title(&self) -> String {
        self.client.title().await.expect("a page has a title")
    }

    /// The path of the page.
    pub(crate) async fn path(&self) -> String {
        let url = self.client.current_url().await.expect("a page has a URL");
        url.path().to_owned()
    }

    /// All that can be read on the page.
    pub(crate) async fn text(&self) -> String {
        let body = self.client.find(Locator::Css("body")).await;
        body.expect("a page has a body").text().await.unwrap()
    }

    /// Types into whatever has the focus: text, or [`Key`](fantoccini::key::Key)s.
    pub(crate) async fn keys(&self, text: &str) {
        let focused = self.client.active_element().await.expect("there is focus");
        focused.send_keys(text).await.expect("it takes keys");
    }

    /// Role and name of what has the focus.
    pub(crate) async fn focus(&self) -> (String, String) {
        let focused = self.client.active_element().await.expect("there is focus");
        self.role_and_name(&focused).await.expect("it stays")
    }

    /// What a screen reader says about an element after its name.
    pub(crate) async fn description(&self, element: &Element) -> String {
        let ids = element.attr("aria-describedby").await.unwrap();
        let mut words = Vec::new();
        for id in ids.unwrap_or_default().split_whitespace() {
            let described_by = self.client.find(Locator::Id(id)).await;
            let described_by = described_by.unwrap_or_else(|_| panic!("there is no #{id}"));
            words.push(described_by.text().await.unwrap());
        }
        words.join(" ")
    }

    async fn elements(&self) -> Vec<(String, String, Element)> {
        let mut named = Vec::new();
        let found = self.client.find_all(CANDIDATES).await;
        for element in found.unwrap_or_default() {
            // gone with the page that it was on
            if let Some((role, name)) = self.role_and_name(&element).await {
                named.push((role, name, element));
            }
        }
        named
    }

    async fn role_and_name(&self, element: &Element) -> Option<(String, String)> {
        let role = self.ask(element, "computedrole").await?;
        let name = self.ask(element, "computedlabel").await?;
        Some((role, name))
    }

    async fn ask(&self, element: &Element, what: &str) -> Option<String> {
        let command = super::Raw {
            method: Method::GET,
            path: format!("element/{}/{what}", element.element_id()),
            body: None,
        };
        match self.client.issue_cmd(command).await {
            Ok(Value::String(answer)) => Some(answer),
            _ => None,
        }
    }
}
