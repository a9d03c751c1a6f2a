//! Debian's OpenSMTPD: it takes mail for a relay that it does not try. It offers no pipelining.

use std::fmt::Write as _;

use super::running::{Place, Running, succeed};
use super::{Mta, Setup};

pub(super) const OPENSMTPD: Mta = Mta {
    name: "OpenSMTPD",
    start: |setup| Box::pin(start(setup)),
    queue,
    log: |running| running.place.read("words"),
    violations: &["result=\"500", "Pipelining"],
};

async fn start(setup: Setup) -> Running {
    let place = Place::with_root_of("opensmtpd");
    let mut settings = format!(
        "listen on 127.0.0.1 port {} hostname mta.example.org\n\
         action hold relay host smtp://127.0.0.1:9\n",
        place.port
    );
    if let Some(bytes) = setup.size_limit {
        writeln!(settings, "smtp max-message-size {bytes}").unwrap();
    }
    if let Some(mails) = setup.per_connection {
        writeln!(settings, "smtp limit max-mails {mails}").unwrap();
    }
    if let Some(refused) = setup.refused {
        writeln!(settings, "match from any for rcpt-to {refused:?} reject").unwrap();
    }
    settings.push_str("match from any for domain example.org action hold\n");
    std::fs::write(place.path("root/etc/smtpd.conf"), settings).unwrap();
    let mut daemon = place.program("/usr/sbin/smtpd");
    daemon.arg("-d");
    let running = place.start(daemon).await;
    succeed(
        running
            .place
            .program("/usr/sbin/smtpctl")
            .args(["pause", "mta"]),
    );
    running
}

fn queue(running: &Running) -> Vec<String> {
    let mut smtpctl = running.place.program("/usr/sbin/smtpctl");
    let said = succeed(smtpctl.args(["show", "queue"]));
    // one line for each recipient of a mail; the seventh field is who gets it
    let recipients = said.lines().map(|line| {
        let mut fields = line.split('|');
        fields.nth(6).unwrap().to_owned()
    });
    recipients.collect()
}
