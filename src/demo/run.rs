//! Starting the demo's parts and putting them together.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use data_encoding::HEXLOWER;
use tokio::net::TcpListener;

use super::receiver::Receiver;
use super::site::Site;
use super::walk::Walk;
use crate::app::{App, World};
use crate::clock::SystemClock;
use crate::config::{Config, Sources};
use crate::feeds::{self, add::FeedOptions};
use crate::id::{SystemEntropy, random_bytes};
use crate::newsletters::add::{self, NewNewsletter, NewSchedule};
use crate::newsletters::{Cadence, Newsletter};
use crate::service::{Roles, Service};

/// How often the demo's feed is read.
const POLL: Duration = Duration::from_secs(2);

/// The ports of the demo when nothing else is said.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Of the service; 0 takes any free one.
    pub service: u16,
    /// Of the sample site and the inbox; 0 takes any free one.
    pub site: u16,
}

/// Everything that the demo runs. It ends, and its data goes, when this is dropped.
pub struct Demo {
    /// The service's base URL.
    pub service_url: String,
    /// The sample site.
    pub site: Site,
    receiver: Receiver,
    app: Arc<App>,
    service: Service,
    _folder: Folder,
}

/// A folder that goes when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // a folder that stays behind in the system's temporary folder hurts nobody
        let _kept = std::fs::remove_dir_all(&self.0);
    }
}

impl Demo {
    /// Starts all parts and makes the newsletter `world` with the site's feed.
    pub async fn start(ports: Ports) -> anyhow::Result<Self> {
        let receiver = Receiver::start()
            .await
            .context("cannot start the SMTP receiver")?;
        let port = free_port(ports.service).await?;
        let service_url = format!("http://127.0.0.1:{port}");
        let site = Site::start(
            Arc::new(SystemClock),
            ports.site,
            &service_url,
            receiver.mailbox.clone(),
        )
        .await
        .with_context(|| {
            format!(
                "cannot start the sample site on port {}: try --site-port 0",
                ports.site
            )
        })?;
        let folder = Folder(temporary_folder());
        let config = Config::load(
            &Sources::default()
                .with("data_dir", folder.0.display().to_string())
                .with("server.base_url", &service_url)
                .with("server.bind", format!("127.0.0.1:{port}"))
                .with("smtp.url", format!("smtp://{}", receiver.address))
                .with("smtp.tls", "none")
                .with(
                    "fetch.allow",
                    format!("127.0.0.0/8, {}", site.address.port()),
                )
                .with("signup.allow_special_use", "true"),
        )?;
        let app = Arc::new(App::open(config, World::system()).await?);
        let newsletter = make_newsletter(&app).await?;
        let options = FeedOptions {
            poll_interval: POLL,
            cool_off: Duration::ZERO,
        };
        feeds::add::add(&app, &app.fetcher, newsletter.id, &site.feed_url(), options)
            .await
            .context("cannot add the sample site's feed")?;
        let service = Service::start(app.clone(), Roles::All).await?;
        Ok(Self {
            service_url,
            site,
            receiver,
            app,
            service,
            _folder: folder,
        })
    }

    /// Walks the main job, telling each step to `say`; whether every step held.
    pub async fn walk(&self, say: &mut impl FnMut(&str, Result<(), &str>)) -> anyhow::Result<bool> {
        let walk = Walk::new(
            self.service_url.clone(),
            &self.site,
            &self.receiver.mailbox,
            &self.app,
        )?;
        Ok(walk.all(say).await)
    }

    /// Ends all parts in order.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.service.stop().await?;
        self.app.db.close().await;
        Ok(())
    }
}

async fn make_newsletter(app: &App) -> anyhow::Result<Newsletter> {
    let zone = "UTC".parse().ok().context("UTC is a time zone")?;
    let time = "07:00".parse().ok().context("07:00 is a time")?;
    let new = NewNewsletter {
        slug: "world".parse()?,
        name: "The Daily Meridian".to_owned(),
        description: "New articles as they come.".to_owned(),
        from_name: "The Daily Meridian".to_owned(),
        from_address: "news@meridian.example".to_owned(),
        reply_to: None,
        postal_address: Some("1 Longitude Lane\nGreenwich".to_owned()),
        locale: "en".to_owned(),
        schedule: NewSchedule {
            min_interval: Duration::ZERO,
            ..NewSchedule::usual(Cadence::Immediate, time, zone)
        },
        form_origins: Vec::new(),
    };
    Ok(add::newsletter(app, new).await?)
}

/// `wanted`, or any free one. The port is free again a moment before the service takes it.
async fn free_port(wanted: u16) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .await
        .with_context(|| format!("port {wanted} is taken: try --port 0"))?;
    let port = listener.local_addr()?.port();
    ensure!(port != 0, "the system gave no port");
    Ok(port)
}

fn temporary_folder() -> PathBuf {
    let name = HEXLOWER.encode(&random_bytes::<8>(&SystemEntropy));
    std::env::temp_dir().join(format!("paperround-demo-{name}"))
}
