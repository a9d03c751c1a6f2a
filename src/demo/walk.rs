//! The main job as a reader and an editor see it, over real HTTP and real SMTP, one line for each step.

use std::time::Duration;

use mail_parser::{MessageParser, MimeHeaders as _};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, header};

use super::receiver::{Mailbox, Received};
use super::site::Site;
use crate::app::App;
use crate::{issues, newsletters};

/// A digest comes after a poll of the feed, a release and an issue: seconds here.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks at the issues.
const LOOK: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(10);

const LEAVES: &str = "ada@example.com";
const STAYS: &str = "ben@example.com";

/// What a step found wrong, in a sentence.
type Fault = String;

/// The parts that are walked through.
pub(super) struct Walk<'a> {
    pub(super) service: String,
    pub(super) site: &'a Site,
    pub(super) mailbox: &'a Mailbox,
    app: &'a App,
    client: Client,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        service: String,
        site: &'a Site,
        mailbox: &'a Mailbox,
        app: &'a App,
    ) -> reqwest::Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(ANSWER)
            .build()?;
        Ok(Self {
            service,
            site,
            mailbox,
            app,
            client,
        })
    }

    /// Walks all steps, telling each to `say`; whether every step held. Stops at the first that does not.
    pub(super) async fn all(&self, say: &mut impl FnMut(&str, Result<(), &str>)) -> bool {
        let mut told = |step: &str, result: Result<(), Fault>| {
            let held = result.is_ok();
            say(step, result.as_ref().copied().map_err(String::as_str));
            held
        };
        let form = self.site_shows_form().await;
        if !told("the site shows a sign-up form", form) {
            return false;
        }
        for reader in [LEAVES, STAYS] {
            if !told(
                &format!("{reader} signs up by the form"),
                self.sign_up(reader).await,
            ) {
                return false;
            }
            if !told(
                &format!("{reader} confirms by link and button"),
                self.confirm(reader).await,
            ) {
                return false;
            }
            if !told(
                &format!("{reader} is welcomed by mail"),
                self.welcomed(reader).await,
            ) {
                return false;
            }
        }
        let title = self.site.published.publish().unwrap_or_default();
        if !told(&format!("the site publishes \"{title}\""), published(title)) {
            return false;
        }
        for reader in [LEAVES, STAYS] {
            let digest = self.digest(reader, title).await.map(drop);
            if !told(&format!("the digest arrives at {reader}"), digest) {
                return false;
            }
        }
        let left = self.one_click(LEAVES, title).await;
        if !told(&format!("{LEAVES} leaves by one click (RFC 8058)"), left) {
            return false;
        }
        let title = self.site.published.publish().unwrap_or_default();
        if !told(&format!("the site publishes \"{title}\""), published(title)) {
            return false;
        }
        let digest = self.digest(STAYS, title).await.map(drop);
        if !told(&format!("the next digest arrives at {STAYS}"), digest) {
            return false;
        }
        told(
            &format!("the next digest does not reach {LEAVES}"),
            self.stays_out(LEAVES, title).await,
        )
    }

    async fn site_shows_form(&self) -> Result<(), Fault> {
        let (status, page) = self.get(&format!("{}/", self.site.url())).await?;
        expect_status(status, StatusCode::OK)?;
        let action = format!("action=\"{}/subscribe/world\"", self.service);
        page.contains(&action)
            .then_some(())
            .ok_or_else(|| "the front page has no form that posts to the service".to_owned())
    }

    async fn sign_up(&self, reader: &str) -> Result<(), Fault> {
        let address = format!("{}/subscribe/world", self.service);
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("email", reader)
            .append_pair("website", "")
            .finish();
        let (status, page, location) = self.post(&address, body).await?;
        expect_status(status, StatusCode::SEE_OTHER)
            .map_err(|fault| format!("{fault}: {}", first_line(&page)))?;
        let location = location.ok_or("the answer leads nowhere")?;
        let next = url::Url::parse(&address)
            .and_then(|base| base.join(&location))
            .map_err(|_| "the answer leads to something that is no address")?;
        if next.as_str().contains("ada") || next.as_str().contains("ben") {
            return Err("the address stands in the link of the answer".to_owned());
        }
        let (status, _) = self.get(next.as_str()).await?;
        expect_status(status, StatusCode::OK)
    }

    async fn confirm(&self, reader: &str) -> Result<(), Fault> {
        let begin = format!("{}/confirm/", self.service);
        let mail = self
            .mail_with(reader, &begin)
            .await
            .ok_or("no mail with a confirm link came")?;
        let link = link_in(&mail, &begin).ok_or("the mail has no confirm link")?;
        let (status, page) = self.get(&link).await?;
        expect_status(status, StatusCode::OK)?;
        if !page.contains("method=\"post\"") {
            return Err("the page behind the link has no button".to_owned());
        }
        let (status, ..) = self.post(&link, String::new()).await?;
        expect_status(status, StatusCode::OK)
    }

    async fn welcomed(&self, reader: &str) -> Result<(), Fault> {
        let begin = format!("{}/unsubscribe/", self.service);
        let welcome = self.mail_with(reader, &begin).await;
        welcome
            .map(drop)
            .ok_or_else(|| "no welcome mail came".to_owned())
    }

    /// The digest with `title`, looked at: both parts, the headers of a list.
    async fn digest(&self, reader: &str, title: &str) -> Result<Received, Fault> {
        let received = self
            .mailbox
            .wait_for(PATIENCE, |mail| {
                mail.recipient == reader && is_digest(mail) && text_of(mail).contains(title)
            })
            .await
            .ok_or("no digest with the article came")?;
        let message = MessageParser::default()
            .parse(&received.raw)
            .ok_or("the digest cannot be read")?;
        let html = message.html_part(0).ok_or("the digest has no HTML part")?;
        if html.is_content_type("text", "plain") {
            return Err("the digest has no HTML part of its own".to_owned());
        }
        Ok(received)
    }

    async fn one_click(&self, reader: &str, title: &str) -> Result<(), Fault> {
        let digest = self.digest(reader, title).await?;
        let message = MessageParser::default()
            .parse(&digest.raw)
            .ok_or("the digest cannot be read")?;
        let raw = |name: &str| {
            message
                .header_raw(name)
                .map(|value| value.split_whitespace().collect::<String>())
        };
        if raw("List-Unsubscribe-Post").as_deref() != Some("List-Unsubscribe=One-Click") {
            return Err("the digest does not offer one-click".to_owned());
        }
        let list = raw("List-Unsubscribe").ok_or("the digest has no List-Unsubscribe")?;
        let link = list
            .split(['<', '>'])
            .nth(1)
            .ok_or("List-Unsubscribe has no link")?;
        let (status, _, location) = self
            .post(link, "List-Unsubscribe=One-Click".to_owned())
            .await?;
        if location.is_some() {
            return Err("the answer to one-click leads elsewhere".to_owned());
        }
        expect_status(status, StatusCode::OK)
    }

    /// Looked at only when every issue has come to its end.
    async fn stays_out(&self, reader: &str, title: &str) -> Result<(), Fault> {
        let ended = async {
            loop {
                match unfinished_issues(self.app).await {
                    Ok(0) => return Ok(()),
                    Ok(_) => tokio::time::sleep(LOOK).await,
                    Err(error) => return Err(format!("the issues cannot be read: {error}")),
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .map_err(|_| "the issue does not come to its end".to_owned())??;
        let mails = self.mailbox.all();
        let reached = mails
            .iter()
            .any(|mail| mail.recipient == reader && text_of(mail).contains(title));
        if reached {
            Err("it came all the same".to_owned())
        } else {
            Ok(())
        }
    }

    async fn mail_with(&self, reader: &str, words: &str) -> Option<Received> {
        self.mailbox
            .wait_for(PATIENCE, |mail| {
                mail.recipient == reader && text_of(mail).contains(words)
            })
            .await
    }

    async fn get(&self, address: &str) -> Result<(StatusCode, String), Fault> {
        let answer = self.client.get(address).send().await.map_err(no_answer)?;
        let status = answer.status();
        Ok((status, answer.text().await.map_err(no_answer)?))
    }

    async fn post(
        &self,
        address: &str,
        body: String,
    ) -> Result<(StatusCode, String, Option<String>), Fault> {
        let answer = self
            .client
            .post(address)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .map_err(no_answer)?;
        let status = answer.status();
        let location = answer.headers().get(header::LOCATION);
        let location = location
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok((status, answer.text().await.map_err(no_answer)?, location))
    }
}

/// How many issues are still on their way.
async fn unfinished_issues(app: &App) -> sqlx::Result<usize> {
    let mut open = 0;
    for newsletter in newsletters::store::all(&app.db).await? {
        let issues = issues::store::issues::of_newsletter(&app.db, newsletter.id, None, 10).await?;
        open += issues.iter().filter(|issue| issue.state.is_open()).count();
    }
    Ok(open)
}

fn published(title: &str) -> Result<(), Fault> {
    if title.is_empty() {
        Err("all sample articles are published already".to_owned())
    } else {
        Ok(())
    }
}

fn no_answer(error: reqwest::Error) -> Fault {
    format!("no answer: {}", error.without_url())
}

fn expect_status(status: StatusCode, wanted: StatusCode) -> Result<(), Fault> {
    if status == wanted {
        Ok(())
    } else {
        Err(format!("answered {status} instead of {wanted}"))
    }
}

fn first_line(page: &str) -> &str {
    page.lines().next().unwrap_or("")
}

/// The text part, links whole.
fn text_of(mail: &Received) -> String {
    MessageParser::default()
        .parse(&mail.raw)
        .and_then(|message| message.body_text(0).map(std::borrow::Cow::into_owned))
        .unwrap_or_default()
}

fn is_digest(mail: &Received) -> bool {
    MessageParser::default()
        .parse(&mail.raw)
        .is_some_and(|message| message.header_raw("List-Id").is_some())
}

fn link_in(mail: &Received, begin: &str) -> Option<String> {
    text_of(mail)
        .split_whitespace()
        .find(|word| word.starts_with(begin))
        .map(str::to_owned)
}
