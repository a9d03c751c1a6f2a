//! Ends a mail transfer agent with the process that started it, however that ends. The benches use it too.

use std::io;
use std::process::{Child, Command, Stdio};

/// Ends the process group `$1`, and everything that it has started, when standard input ends.
const GUARD: &str = "read -r _
    kill -TERM -$1
    for _ in $(seq 100); do kill -0 -$1 || exit 0; sleep 0.1; done
    kill -KILL -$1";

/// A process that ends process group `group` when its standard input is closed.
///
/// What the terminal sends to this process's group does not reach it.
///
/// # Errors
///
/// Where it cannot be started.
pub(crate) fn guard(group: u32) -> io::Result<Child> {
    Command::new("setsid")
        .args(["sh", "-c", GUARD, "guard", &group.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
