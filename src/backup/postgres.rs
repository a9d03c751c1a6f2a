//! PostgreSQL's own tools, which know its formats.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::BackupError;

/// `pg_dump` of the whole database into the file at `to`.
pub(super) fn dump(url: &SecretString, to: &Path) -> Result<(), BackupError> {
    let arguments = ["--format=custom", "--no-owner", "--no-privileges", "--file"];
    run("pg_dump", url, &arguments, to)
}

/// `pg_restore` of the file at `from` in one transaction: all of it, or nothing.
pub(super) fn restore(url: &SecretString, from: &Path) -> Result<(), BackupError> {
    let arguments = [
        "--clean",
        "--if-exists",
        "--no-owner",
        "--no-privileges",
        "--single-transaction",
    ];
    run("pg_restore", url, &arguments, from)
}

fn run(
    tool: &'static str,
    url: &SecretString,
    arguments: &[&str],
    file: &Path,
) -> Result<(), BackupError> {
    let failed = |words: String| BackupError::Tool { tool, words };
    let mut url: Url = url
        .expose_secret()
        .parse()
        .map_err(|_| failed("database.url is no URL".to_owned()))?;
    let mut command = Command::new(tool);
    // a password on the command line can be seen by every user of the machine
    if let Some(password) = url.password() {
        let password = percent_decoded(password);
        command.env("PGPASSWORD", OsStr::new(&password));
        let _cannot_have_one = url.set_password(None);
    }
    let output = command
        .args(arguments)
        .arg(file)
        .arg(format!("--dbname={url}"))
        .arg("--no-password")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => BackupError::NoTool(tool),
            _ => failed(error.to_string()),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(failed(words.trim().to_owned()))
}

fn percent_decoded(text: &str) -> String {
    // the form encoding of a value differs from a URL's only in the plus sign
    let text = format!("p={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(text.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_was_written() {
        assert_eq!(percent_decoded("a%40b+c%25"), "a@b+c%");
        assert_eq!(percent_decoded("x&y=z"), "x&y=z");
    }

    #[test]
    fn a_tool_hears_the_password_where_nobody_else_sees_it() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let url = SecretString::from("postgres://ada:p%40ss@db.example/news");
        // the shell is the tool: `$0` is the file, the rest stands behind it
        let script = r#"printf '%s\n' "$PGPASSWORD" "$@" > "$0""#;
        run("sh", &url, &["-c", script], &told).unwrap();
        let told = std::fs::read_to_string(&told).unwrap();
        let words: Vec<_> = told.lines().collect();
        let database = "--dbname=postgres://ada@db.example/news";
        assert_eq!(words, ["p@ss", database, "--no-password"]);
    }

    #[test]
    fn a_tool_that_fails_is_named_with_its_words() {
        let url = SecretString::from("postgres://db.example/news");
        let script = "echo no such database >&2; exit 1";
        let failed = run("sh", &url, &["-c", script], Path::new("/nowhere"));
        let words = failed.unwrap_err().to_string();
        assert_eq!(words, "sh failed: no such database");
    }
}
