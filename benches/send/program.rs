//! The real program as a process of its own.

use std::fs::File;

use super::process::Process;
use super::stage::Stage;

/// Starts `paperround` with these arguments on the data of `stage`, with these settings besides.
pub(crate) fn start(
    stage: &Stage,
    arguments: &[&str],
    settings: &[(&'static str, String)],
) -> anyhow::Result<Process> {
    let mut command = Process::command(env!("CARGO_BIN_EXE_paperround"));
    command
        .args(arguments)
        .current_dir(stage.path())
        .env_clear()
        .envs(variables(&stage.settings()))
        .envs(variables(&[("log.level", "warn".to_owned())]))
        .envs(variables(settings))
        .stdout(std::process::Stdio::null())
        .stderr(File::create(stage.path().join("words.log"))?);
    Process::spawn("paperround", command)
}

/// What it said.
pub(crate) fn words(stage: &Stage) -> String {
    std::fs::read_to_string(stage.path().join("words.log")).unwrap_or_default()
}

/// Settings as environment variables.
fn variables(settings: &[(&'static str, String)]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|(key, value)| {
            let name = key.replace('.', "__").to_uppercase();
            (format!("PAPERROUND_{name}"), value.clone())
        })
        .collect()
}

/// The settings for a relay without protection on this machine.
pub(crate) fn relay(port: u16, connections: usize) -> Vec<(&'static str, String)> {
    vec![
        ("smtp.url", format!("smtp://127.0.0.1:{port}")),
        ("smtp.tls", "none".to_owned()),
        ("smtp.max_connections", connections.to_string()),
    ]
}

/// The settings for pages on this port, and for more sign-ups than one client may make otherwise.
pub(crate) fn web(port: u16) -> Vec<(&'static str, String)> {
    let mut settings = no_limits();
    settings.push(("server.bind", format!("127.0.0.1:{port}")));
    settings
}

/// Limits that are looked at and never reached.
pub(crate) fn no_limits() -> Vec<(&'static str, String)> {
    let limits = [
        "signup.client_limits",
        "signup.network_limits",
        "signup.instance_limits",
    ];
    limits.map(|key| (key, "10000000/1h".to_owned())).to_vec()
}
