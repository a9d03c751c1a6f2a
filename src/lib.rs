//! paperround: newsletter subscriptions and digest mailing.
//!
//! Readers sign up by a form and confirm by a mailed link; feeds are read; what is new is composed into issues by
//! schedule; each reader's mail is handed to an SMTP relay, and its outcome is recorded. One process does everything on a
//! SQLite file. The database is the state: any process can be killed at any moment, and the next look carries on.
//!
//! # Shape
//!
//! Features in the middle, thin edges around them, foundations below.
//!
//! ```text
//!               web        cli        worker       demo      edges: know HTTP, terminals, time; hold no rules
//!                 \         |         /
//!    subscribers  newsletters  feeds  issues  deliveries  suppressions  accounts    features: the nouns
//!                 \         |         /
//!               mail       smtp       db       token  texts  config                 foundations
//! ```
//!
//! An edge calls features; a feature calls foundations, and other features only along the flow of data. What must hold
//! everywhere stands in `ARCHITECTURE.md`.
//!
//! # Rooms, in reading order
//!
//! 1. [`app`] is what everybody is given: settings ([`config`]), data ([`db`]), time ([`clock`]), randomness and ids
//!    ([`id`]), keys ([`token`]), texts ([`texts`]). [`service`] runs web and worker in one process, [`telemetry`] logs.
//! 2. [`db`] is two engines behind one pair of types; [`mail`] makes the bytes of a mail, [`smtp`] hands them to a relay.
//! 3. [`newsletters`] and their schedules, [`feeds`] and their articles, [`subscribers`] and what they agreed to.
//! 4. [`issues`]: what is due to whom, and the mails that come of it. [`deliveries`]: the queue, from waiting to a
//!    recorded outcome.
//! 5. What keeps promises over accidents: [`suppressions`], [`instance`], [`backup`], [`files`]. [`accounts`] are those of
//!    programs that use the API.
//! 6. The front doors, [`web`], [`cli`] and [`worker`], and [`demo`], which shows it all on a laptop.
//!
//! # The main job in ten steps
//!
//! 1. The form: [`subscribers::signup::sign_up`] writes the sign-up and a queued notice in one transaction.
//! 2. The sender claims notices before digests: [`deliveries::claim::notices`].
//! 3. The button in the mail: [`subscribers::confirm::confirm`] writes consent, subscription and interests.
//! 4. Feeds whose next poll has come: [`feeds::refresh::refresh`].
//! 5. Articles whose cool-off is over get their numbers: [`feeds::release::release_due`].
//! 6. Schedules whose slot has come make one issue: [`issues::compose::create_due`].
//! 7. Readers are walked in chunks: [`issues::prepare`]; what each is due says [`issues::due::due`].
//! 8. Envelope, mark, message, outcome: [`deliveries::send`].
//! 9. Leaving, in one transaction: [`subscribers::unsubscribe::unsubscribe`].
//! 10. "Why did this reader (not) get this?": [`subscribers::explain::explain`].

#![recursion_limit = "256"]

pub mod app;
pub mod clock;
pub mod config;
pub mod files;
pub mod id;
pub mod service;
pub mod telemetry;
pub mod texts;
pub mod token;

pub mod db;
pub mod mail;
pub mod smtp;

pub mod accounts;
pub mod backup;
pub mod deliveries;
pub mod feeds;
pub mod instance;
pub mod issues;
pub mod newsletters;
pub mod subscribers;
pub mod suppressions;

pub mod cli;
pub mod demo;
pub mod web;
pub mod worker;
