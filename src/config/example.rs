//! The text of `.env.example`.

use std::fmt::Write as _;

use super::setting::{DefaultValue, SETTINGS};

const HEAD: &str = "\
# Every setting of paperround: what it does, its default, an example.
#
# A setting stands in the environment as below, or in paperround.toml: PAPERROUND_SERVER__BIND is
# `bind` under [server]. The environment wins over the file. An empty variable counts as not set.
# Where it says \"secret\", PAPERROUND_..._FILE may name a file that holds the value; prefer that, for
# environments are easily seen by others. Spans are written 30s, 15m, 48h, 7d.
#
# `paperround config show` prints each value in force and where it came from.
";

/// Every setting with its meaning, default and example, as the lines of an environment file.
pub fn env_example() -> String {
    let mut text = HEAD.to_owned();
    for setting in SETTINGS {
        text.push('\n');
        for line in wrapped(setting.help, 98) {
            push(&mut text, format_args!("# {line}"));
        }
        let (default, mark) = match setting.default {
            DefaultValue::Value(value) => (value, "#"),
            DefaultValue::Otherwise(words) => (words, "#"),
            DefaultValue::Required => ("none: this must be set", ""),
        };
        push(&mut text, format_args!("# Default: {default}"));
        if setting.secret {
            push(
                &mut text,
                format_args!(
                    "# Secret: or {}_FILE=/run/secrets/{}",
                    setting.variable(),
                    setting.key.replace('.', "_")
                ),
            );
        }
        push(
            &mut text,
            format_args!("{mark}{}={}", setting.variable(), setting.example),
        );
    }
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes all that is written");
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
