//! What a process did to its files and sockets, in order, as strace wrote it down.
//!
//! strace sees the beginning and the end of each call. A write counts from its beginning, a sync from its end, and what
//! is sent has left at its beginning: so everything is taken at its worst.

use std::collections::HashMap;

/// The calls that are written down. Those that are not understood stop the test.
pub(super) const CALLS: &str = "trace=openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,\
    fallocate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,fdatasync,sync_file_range,sendto,sendmsg,recvfrom";

/// One call that succeeded.
#[derive(Debug)]
pub(super) struct Event {
    /// The number of the line where it began, and of that where it had ended.
    pub(super) began: usize,
    pub(super) ended: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A file was opened that is made when it is not there, and perhaps emptied.
    Made {
        path: String,
        is_emptied: bool,
    },
    /// Bytes at this place of a file, or at its end.
    Written {
        path: String,
        at: Option<usize>,
        bytes: Vec<u8>,
    },
    Cut {
        path: String,
        length: usize,
    },
    Synced {
        path: String,
    },
    Renamed {
        from: String,
        to: String,
    },
    Removed {
        path: String,
    },
    Sent {
        socket: String,
        bytes: Vec<u8>,
    },
    Received {
        socket: String,
        bytes: Vec<u8>,
    },
}

/// Reads a record, in the order in which the calls ended.
pub(super) fn read(text: &str) -> Vec<Event> {
    let mut open = HashMap::<&str, (usize, &str)>::new();
    let mut events = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (number, begun));
            continue;
        }
        let resumed = call
            .strip_prefix("<... ")
            .and_then(|rest| rest.split_once(" resumed>"));
        let (began, whole) = match resumed {
            Some((_, rest)) => {
                let (began, opening) = open.remove(thread).expect("what is resumed was begun");
                (began, format!("{opening}{rest}"))
            }
            None => (number, call.to_owned()),
        };
        if let Some(what) = understand(&whole) {
            events.push(Event {
                began,
                ended: number,
                what,
            });
        }
    }
    events
}

fn understand(call: &str) -> Option<What> {
    let (name, rest) = call.split_once('(')?;
    if name.contains(' ') {
        // a signal, or an end
        return None;
    }
    // the results of short calls stand in a column
    let (arguments, result) = rest
        .rsplit_once(" = ")
        .and_then(|(arguments, result)| Some((arguments.trim_end().strip_suffix(')')?, result)))
        .unwrap_or_else(|| panic!("{call:.200}"));
    let result: usize = leading_number(result)?;
    let strings = strings(arguments);
    let last = || leading_number(arguments.rsplit(", ").next().unwrap_or_default());
    let on = || target(arguments);
    let bytes = || {
        let mut bytes = strings.concat();
        bytes.truncate(result);
        assert_eq!(bytes.len(), result, "all bytes are written down: {name}");
        bytes
    };
    let text = |at: usize| String::from_utf8(strings[at].clone()).expect("paths are UTF-8");
    Some(match name {
        "openat" | "open" if arguments.contains("O_CREAT") || arguments.contains("O_TRUNC") => {
            What::Made {
                path: text(0),
                is_emptied: arguments.contains("O_TRUNC"),
            }
        }
        "openat" | "open" => return None,
        "pwrite64" => What::Written {
            path: on(),
            at: last(),
            bytes: bytes(),
        },
        "write" | "writev" | "sendto" if on().starts_with("TCP:") => What::Sent {
            socket: on(),
            bytes: bytes(),
        },
        "write" => What::Written {
            path: on(),
            at: None,
            bytes: bytes(),
        },
        "recvfrom" => What::Received {
            socket: on(),
            bytes: bytes(),
        },
        "ftruncate" => What::Cut {
            path: on(),
            length: last()?,
        },
        "fsync" | "fdatasync" => What::Synced { path: on() },
        "rename" | "renameat" | "renameat2" => What::Renamed {
            from: text(0),
            to: text(1),
        },
        "unlink" | "unlinkat" => What::Removed { path: text(0) },
        // signals and wake-ups within the process
        "sendto" | "writev" | "sendmsg" if !on().starts_with('/') => return None,
        _ => panic!("the rig does not understand {call:.200}"),
    })
}

fn leading_number(text: &str) -> Option<usize> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

/// What the first descriptor stands for: a path, or `TCP:[from->to]`.
fn target(arguments: &str) -> String {
    let Some((_, rest)) = arguments.split_once('<') else {
        return String::new();
    };
    let end = if rest.starts_with("TCP") { "]>" } else { ">" };
    let name = rest.split(end).next().unwrap_or_default();
    String::from_utf8(decode(name)).expect("paths are UTF-8")
}

/// The quoted texts.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    arguments
        .split('"')
        .skip(1)
        .step_by(2)
        .map(decode)
        .collect()
}

/// Undoes `\x41`.
fn decode(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    let digits: String = text.split("\\x").collect();
    data_encoding::HEXLOWER
        .decode(digits.as_bytes())
        .unwrap_or_else(|error| panic!("{error}: {text:.200}"))
}
