//! Standard input, output and error: data, words, questions.

use std::io::{self, IsTerminal as _, Write as _};

use super::exit::{Refused, UsageError};

/// The three streams, and how they are to be used.
pub(super) struct Terminal {
    /// Data is JSON.
    pub(super) json: bool,
    pub(super) quiet: bool,
    interactive: bool,
}

impl Terminal {
    /// `no_input`: nothing is asked, terminal or not.
    pub(super) fn new(json: bool, quiet: bool, no_input: bool) -> Self {
        let interactive = !no_input && io::stdin().is_terminal() && io::stderr().is_terminal();
        Self {
            json,
            quiet,
            interactive,
        }
    }

    /// Data: a line, or several, on standard output.
    ///
    /// A reader that went away (`| head`) ends the program in peace.
    pub(super) fn data(&self, text: &str) -> anyhow::Result<()> {
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        self.bytes(format!("{text}{newline}").as_bytes())
    }

    /// Data as it is.
    #[expect(clippy::unused_self, reason = "all data goes through the terminal")]
    pub(super) fn bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            result => Ok(result?),
        }
    }

    /// Data as JSON: one value, indented.
    pub(super) fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        self.data(&serde_json::to_string_pretty(value)?)
    }

    /// Words for a person, on standard error; nothing where they asked for quiet.
    pub(super) fn say(&self, words: &str) {
        if !self.quiet {
            warn(words);
        }
    }

    /// What went wrong, with all its causes, on standard error.
    #[expect(clippy::unused_self, reason = "all words go through the terminal")]
    pub(super) fn error(&self, error: &anyhow::Error) {
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        warn(&format!("error: {}", causes.join(": ")));
    }

    /// Whether somebody can be asked.
    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// The value of `flag` if it was given, else what a person answers to `question`; `default` where they
    /// only press Enter.
    pub(super) fn value(
        &self,
        given: Option<String>,
        flag: &str,
        question: &str,
        default: Option<&str>,
    ) -> anyhow::Result<String> {
        if let Some(given) = given {
            return Ok(given);
        }
        if !self.interactive {
            return match default {
                Some(default) => Ok(default.to_owned()),
                None => Err(UsageError(format!("{flag} is required")).into()),
            };
        }
        loop {
            let hint = default
                .filter(|text| !text.is_empty())
                .map(|text| format!(" [{text}]"))
                .unwrap_or_default();
            let answer = ask(&format!("{question}{hint}: "))?;
            match (answer.trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => {}
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }

    /// Asks for a yes. `yes` is the flag that answers; without it and without a terminal this is refused.
    pub(super) fn confirm(&self, question: &str, yes: bool) -> anyhow::Result<()> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Refused(format!("{question} Say --yes to do it.")).into());
        }
        let answer = ask(&format!("{question} [y/N] "))?;
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            Ok(())
        } else {
            Err(Refused("nothing was done".to_owned()).into())
        }
    }
}

impl Terminal {
    /// Asks for a severe act's object by name. `yes` is the flag that answers; without it and without a terminal this
    /// is refused.
    pub(super) fn confirm_by_typing(
        &self,
        question: &str,
        name: &str,
        yes: bool,
    ) -> anyhow::Result<()> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Refused(format!("{question} Say --yes to do it.")).into());
        }
        let answer = ask(&format!("{question} Type {name} to do it: "))?;
        if answer.trim() == name {
            Ok(())
        } else {
            Err(Refused("nothing was done".to_owned()).into())
        }
    }
}

fn ask(question: &str) -> anyhow::Result<String> {
    let mut err = io::stderr().lock();
    write!(err, "{question}")?;
    err.flush()?;
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer)? == 0 {
        return Err(Refused("there was no answer".to_owned()).into());
    }
    Ok(answer)
}

/// A closed standard error is no reason to stop.
fn warn(words: &str) {
    let _closed = writeln!(io::stderr().lock(), "{words}");
}
