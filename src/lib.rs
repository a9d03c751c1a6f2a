//! paperround: newsletter subscriptions and digest mailing.
//!
//! The modules stand in reading order; `ARCHITECTURE.md` draws the map.

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
