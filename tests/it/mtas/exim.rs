//! Debian's Exim: a daemon that queues and delivers nothing.

use std::fmt::Write as _;

use super::running::{Place, Running, succeed};
use super::{Mta, Setup};

pub(super) const EXIM: Mta = Mta {
    name: "Exim",
    start: |setup| Box::pin(start(setup)),
    queue,
    log: |running| {
        let logs = ["main", "reject", "panic"];
        logs.map(|name| running.place.read(&format!("root/var/log/exim4/{name}log")))
            .concat()
    },
    violations: &["synchronization error", "unexpected disconnection"],
};

const PROGRAM: &str = "/usr/sbin/exim4";

// Advertised, PIPE_CONNECT would let clients speak before the greeting, and Exim would no longer look.
const SETTINGS: &str = "
primary_hostname = mta.example.org
local_interfaces = 127.0.0.1
daemon_smtp_ports = PORT
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
keep_environment =
tls_advertise_hosts =
smtp_enforce_sync
pipelining_advertise_hosts = *
pipelining_connect_advertise_hosts =
smtp_accept_max = 100
queue_only
LIMITS
acl_smtp_rcpt = rcpt
begin acl
rcpt:
REFUSED
  accept domains = example.org
";

async fn start(setup: Setup) -> Running {
    let place = Place::with_root_of("exim");
    let refused = setup.refused.map(|refused| {
        format!("  deny condition = ${{if eq{{$local_part@$domain}}{{{refused}}}}}\n       message = 5.1.1 not here")
    });
    let mut limits = String::new();
    if let Some(bytes) = setup.size_limit {
        writeln!(limits, "message_size_limit = {bytes}").unwrap();
    }
    if let Some(mails) = setup.per_connection {
        writeln!(limits, "smtp_accept_max_per_connection = {mails}").unwrap();
    }
    let settings = SETTINGS
        .replace("PORT", &place.port.to_string())
        .replace("LIMITS", &limits)
        .replace("REFUSED", &refused.unwrap_or_default());
    std::fs::write(place.path("root/etc/exim4/exim4.conf"), settings).unwrap();
    let mut daemon = place.program(PROGRAM);
    daemon.arg("-bdf");
    place.start(daemon).await
}

fn queue(running: &Running) -> Vec<String> {
    // unsorted, and those who have it not yet: a line for the mail, one for each recipient, an empty one
    let said = succeed(running.place.program(PROGRAM).arg("-bpru"));
    let mails = said.split("\n\n").filter(|mail| !mail.trim().is_empty());
    let recipients = mails.map(|mail| {
        let lines: Vec<_> = mail.trim().lines().map(str::trim).collect();
        let [_, recipient] = lines[..] else {
            panic!("one recipient for each mail: {mail}");
        };
        recipient.to_owned()
    });
    recipients.collect()
}
