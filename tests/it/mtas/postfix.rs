//! Debian's Postfix: its master with the services that take mail and queue it, all of it on hold.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use super::postfix_folder::set_up;
use super::running::{Place, Running, succeed};
use super::{Mta, Setup};

pub(super) const POSTFIX: Mta = Mta {
    name: "Postfix",
    start: |setup| Box::pin(start(setup)),
    queue,
    log: |running| running.place.read("log"),
    violations: &["improper command pipelining", "bare <LF>", "non-SMTP"],
};

/// Nothing goes on from here. Loopback is among the networks that are trusted, which the checks would let off.
const SETTINGS: &str = "
relay_transport = smtp:[127.0.0.1]:9
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_restrictions = check_client_access static:HOLD
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_forbid_unauth_pipelining = yes
smtpd_forbid_bare_newline = reject
smtpd_forbid_bare_newline_exclusions =
";

async fn start(setup: Setup) -> Running {
    let place = Place::new();
    let mut settings = SETTINGS.to_owned();
    if let Some(refused) = setup.refused {
        let map = format!("inline:{{{{{refused} = 550 5.1.1 not here}}}}");
        writeln!(
            settings,
            "smtpd_recipient_restrictions = check_recipient_access {map}"
        )
        .unwrap();
    }
    if let Some(bytes) = setup.size_limit {
        writeln!(settings, "message_size_limit = {bytes}").unwrap();
    }
    let master = set_up(&place.path(""), place.port, &settings).unwrap();
    place.start(master).await
}

fn queue(running: &Running) -> Vec<String> {
    let mut postqueue = Command::new("/usr/sbin/postqueue");
    postqueue.arg("-c").arg(running.place.path("conf"));
    let said = succeed(postqueue.arg("-j"));
    let mails = said.lines().map(|line| {
        let mail: Value = serde_json::from_str(line).unwrap();
        let recipients = mail["recipients"].as_array().unwrap();
        assert_eq!(recipients.len(), 1, "one recipient for each mail");
        recipients[0]["address"].as_str().unwrap().to_owned()
    });
    mails.collect()
}
