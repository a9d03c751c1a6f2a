//! A database that was put back or copied: paused, and nobody who left is mailed.

use std::path::Path;
use std::time::Duration;

use paperround::deliveries::operate;
use paperround::feeds::publish::{self, PostedArticle};
use paperround::newsletters::store;
use paperround::worker;

use crate::support::http::Site;
use crate::support::smtp_server::SmtpServer;
use crate::support::{Engine, Program, Stopped, TestApp};

/// One file with everything: made beside a running service, refused when damaged, put in place without a mail.
mod archive;
/// A database in which SQLite itself finds faults.
mod damaged;
/// On another machine, with settings of its own.
mod elsewhere;
/// The epoch: which database is not the one that was here last.
mod guard;
/// The suppression journal: what a restored database must not forget.
mod journal;
/// What an operator is told of a restored database before it sends.
mod overview;
/// What cannot be used is refused at the start, in words.
mod refused;

const DATABASE: &str = "paperround.db";

/// A service with a newsletter and a relay that takes every mail.
struct Scene {
    app: TestApp,
    relay: SmtpServer,
}

impl Scene {
    async fn new(engine: Engine, readers: &[&str]) -> Self {
        let relay = SmtpServer::start().await;
        let url = format!("smtp://127.0.0.1:{}", relay.port());
        let settings = [
            ("smtp.url", url.as_str()),
            ("smtp.tls", "none"),
            ("signup.client_limits", "100/1h"),
        ];
        let app = TestApp::start_with(engine, &settings).await;
        app.newsletter("world").await;
        let site = app.serve().await;
        for reader in readers {
            app.reader(&site, "world", reader).await;
        }
        site.stop().await;
        Self { app, relay }
    }

    /// A worker starts, does everything that can be done now, and ends.
    async fn work(&self) {
        let worker = worker::prepare(self.app.app.clone()).await.unwrap();
        let idle = tokio::time::timeout(Duration::from_mins(1), worker.run_until_idle());
        idle.await.expect("it comes to an end").unwrap();
    }

    /// An article, and the day after it: an issue is due.
    async fn article(&self, name: &str) {
        let newsletter = store::by_slug(&self.app.db, "world").await.unwrap();
        let article = PostedArticle {
            external_id: name.to_owned(),
            url: format!("https://example.org/{name}"),
            title: format!("About {name}"),
            ..Default::default()
        };
        publish::publish(&self.app, newsletter.unwrap().id, vec![article])
            .await
            .unwrap();
        self.app.time.advance(Duration::from_hours(24));
    }

    async fn leave(&self, path: &str) {
        let site = self.app.serve().await;
        site.post(path, &[]).await.assert_status(200);
        site.stop().await;
    }

    async fn link(&self, email: &str) -> String {
        let subscription = self.app.subscription(email).await;
        format!("/unsubscribe/{}", self.app.unsubscribe_token(subscription))
    }

    async fn site(&self) -> Site {
        self.app.serve().await
    }

    async fn is_paused(&self) -> bool {
        operate::sending_is_paused(&self.app.db).await.unwrap()
    }

    /// To whom mails went, in order of address.
    fn mailed(&self) -> Vec<String> {
        let mut mailed: Vec<_> = self
            .relay
            .accepted()
            .into_iter()
            .map(|accepted| accepted.recipient)
            .collect();
        mailed.sort();
        mailed
    }

    /// Ends the service, lets `act` exchange its data, starts it again.
    async fn restart(self, act: impl FnOnce(&Stopped)) -> Self {
        let stopped = self.app.stop().await;
        act(&stopped);
        Self {
            app: stopped.start().await,
            relay: self.relay,
        }
    }

    /// Keeps a copy of the closed database under this name.
    async fn keep(self, name: &str) -> Self {
        self.restart(|data| {
            std::fs::copy(data.folder().join(DATABASE), data.folder().join(name)).unwrap();
        })
        .await
    }

    /// Puts the copy of this name in place by hand.
    async fn put_back(self, name: &str) -> Self {
        self.restart(|data| put_back(data.folder(), name)).await
    }

    fn program(&self) -> Program {
        Program::of(&self.app)
    }
}

fn put_back(folder: &Path, name: &str) {
    std::fs::copy(folder.join(name), folder.join(DATABASE)).unwrap();
}
