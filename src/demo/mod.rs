//! The first run on a laptop: a sample site with a feed, an SMTP receiver, the service, and an inbox page.
//!
//! All of it is on loopback and nothing is kept. The service is the real one: the site is polled over HTTP, the mails
//! go over SMTP.

mod articles;
mod inbox;
mod pages;
mod receiver;
mod run;
mod site;
mod walk;

pub use receiver::{Mailbox, Received, Receiver};
pub use run::{Demo, Ports};
pub use site::Site;
