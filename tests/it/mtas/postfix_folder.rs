//! A folder in which Debian's Postfix runs beside one that the machine may have. The benches use it too.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

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
smtp unix - - n - - smtp
proxymap unix - - n - - proxymap
showq unix n - n - - showq
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

/// As it comes, but for where things are and what may be relayed.
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
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
";

/// Fills `folder`, with `more` settings. Gives the command of the master, which stays in the foreground and listens on
/// `port`; what it says before there is a log goes to its standard output. Only root can do this.
pub(super) fn set_up(folder: &Path, port: u16, more: &str) -> io::Result<Command> {
    let plain = folder.components().as_path().display().to_string();
    let settings = SETTINGS.replace("FOLDER", &plain) + more;
    for name in ["conf", "data", "queue", "queue/pid"] {
        fs::create_dir(folder.join(name))?;
    }
    fs::write(folder.join("conf/main.cf"), settings)?;
    let services = SERVICES.replace("PORT", &port.to_string());
    fs::write(folder.join("conf/master.cf"), services)?;
    let mut chown = Command::new("chown");
    chown.arg("postfix").arg(folder.join("data"));
    for name in QUEUES.split(' ') {
        let queue = folder.join("queue").join(name);
        fs::create_dir(&queue)?;
        chown.arg(queue);
    }
    if !chown.status()?.success() {
        return Err(io::Error::other(
            "Postfix changes between users: run as root",
        ));
    }
    let mut master = Command::new("/usr/lib/postfix/sbin/master");
    master.arg("-s").arg("-c").arg(folder.join("conf"));
    Ok(master)
}
