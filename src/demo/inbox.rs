//! The inbox page: received mails as HTML, as text and as source.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use mail_parser::{Message, MessageParser};

use super::pages;
use super::receiver::{Mailbox, Received};

/// A mail is foreign content even here: it gets no script and no frame.
const MAIL_POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox allow-popups allow-top-navigation-by-user-activation; default-src 'none'; style-src 'unsafe-inline'; img-src https: http:",
);

pub(super) fn router(mailbox: Mailbox) -> Router {
    Router::new()
        .route("/inbox", get(list))
        .route("/inbox/{number}", get(show))
        .route("/inbox/{number}/html", get(html))
        .route("/inbox/{number}/text", get(text))
        .route("/inbox/{number}/source", get(source))
        .with_state(mailbox)
}

async fn list(State(mailbox): State<Mailbox>) -> Html<String> {
    Html(pages::render(
        "inbox.html",
        &pages::InboxPage {
            mails: rows(&mailbox),
            shown: None,
        },
    ))
}

async fn show(State(mailbox): State<Mailbox>, Path(number): Path<usize>) -> Response {
    let Some(mail) = mailbox.get(number) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    Html(pages::render(
        "inbox.html",
        &pages::InboxPage {
            mails: rows(&mailbox),
            shown: Some(row(&mail)),
        },
    ))
    .into_response()
}

fn rows(mailbox: &Mailbox) -> Vec<pages::MailRow> {
    let mut rows: Vec<_> = mailbox.all().iter().map(row).collect();
    rows.reverse();
    rows
}

fn row(mail: &Received) -> pages::MailRow {
    let parsed = parse(mail);
    let from = parsed.as_ref().and_then(|message| message.from()?.first());
    pages::MailRow {
        number: mail.number,
        recipient: mail.recipient.clone(),
        from: from
            .and_then(|from| from.name().or(from.address()))
            .unwrap_or("")
            .to_owned(),
        subject: parsed
            .as_ref()
            .and_then(Message::subject)
            .unwrap_or("")
            .to_owned(),
        bytes: mail.raw.len(),
    }
}

fn parse(mail: &Received) -> Option<Message<'_>> {
    MessageParser::default().parse(&mail.raw)
}

async fn html(State(mailbox): State<Mailbox>, Path(number): Path<usize>) -> Response {
    let mail = mailbox.get(number);
    match mail
        .as_ref()
        .and_then(parse)
        .and_then(|message| message.body_html(0).map(std::borrow::Cow::into_owned))
    {
        Some(body) => {
            ([(header::CONTENT_SECURITY_POLICY, MAIL_POLICY)], Html(body)).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn text(State(mailbox): State<Mailbox>, Path(number): Path<usize>) -> Response {
    let mail = mailbox.get(number);
    match mail
        .as_ref()
        .and_then(parse)
        .and_then(|message| message.body_text(0).map(std::borrow::Cow::into_owned))
    {
        Some(body) => body.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn source(State(mailbox): State<Mailbox>, Path(number): Path<usize>) -> Response {
    match mailbox.get(number) {
        Some(mail) => (
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            mail.raw,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
