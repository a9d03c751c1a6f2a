//! Debian's Postfix: its master with the services that take mail and queue it, all of it on hold.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use super::running::{Place, Running, succeed};
use super::{Mta, Setup};

pub(super) const POSTFIX: Mta = Mta {
    name: "Postfix",
    start: |setup| Box::pin(start(setup)),
    queue,
    log: |running| running.place.read("log"),
    violations: &["improper command pipelining", "bare <LF>", "non-SMTP"],
};

/// Folders of the queue whose owner is Postfix's user.
const QUEUES: &str =
    "active bounce corrupt defer deferred flush hold incoming maildrop private public saved trace";

const SERVICES: &str = "
PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
showq unix n - n - - showq
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

/// Loopback is among the networks that are trusted, which the checks would let off.
const SETTINGS: &str = "
compatibility_level = 3.6
queue_directory = FOLDER/queue
data_directory = FOLDER/data
maillog_file = FOLDER/log
maillog_file_prefixes = FOLDER
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mta.example.org
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
relay_domains = example.org
relay_transport = smtp:[127.0.0.1]:9
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_restrictions = check_client_access static:HOLD
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_forbid_unauth_pipelining = yes
smtpd_forbid_bare_newline = reject
smtpd_forbid_bare_newline_exclusions =
smtpd_client_connection_count_limit = 0
";

async fn start(setup: Setup) -> Running {
    let place = Place::new();
    let folder = place.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let mut settings = SETTINGS.replace("FOLDER", folder);
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
    for name in ["conf", "data", "queue", "queue/pid"] {
        std::fs::create_dir(place.path(name)).unwrap();
    }
    std::fs::write(place.path("conf/main.cf"), settings).unwrap();
    let services = SERVICES.replace("PORT", &place.port.to_string());
    std::fs::write(place.path("conf/master.cf"), services).unwrap();
    let mut chown = Command::new("chown");
    chown.arg("postfix").arg(place.path("data"));
    for name in QUEUES.split(' ') {
        let queue = place.path("queue").join(name);
        std::fs::create_dir(&queue).unwrap();
        chown.arg(queue);
    }
    succeed(&mut chown);
    let mut master = Command::new("/usr/lib/postfix/sbin/master");
    // in the foreground, and what it says before there is a log goes to its standard output
    master.arg("-c").arg(place.path("conf")).arg("-s");
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
