//! What is wrong with the settings, in words for the person who writes them.

use std::fmt;

use figment::Figment;
use figment::error::{Actual, Kind};
use serde::de::DeserializeOwned;

use super::layers::{DEFAULT, ENVIRONMENT};
use super::setting::{DefaultValue, Setting, variable};

/// Everything that is wrong with the settings.
#[derive(Debug)]
pub struct ConfigError(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, as it is named where it was written; `None` where a whole source is unreadable.
    pub key: Option<String>,
    /// Where the value came from.
    pub source: String,
    /// What is wrong, as the rest of a sentence that begins with the key.
    pub what: String,
    /// What could be written instead.
    pub write: Option<String>,
}

impl Problem {
    pub(super) fn new(key: &str, source: String, what: String) -> Self {
        Self {
            key: Some(key.to_owned()),
            source,
            what,
            write: None,
        }
    }

    pub(super) fn of_source(source: String, what: String) -> Self {
        Self {
            key: None,
            source,
            what,
            write: None,
        }
    }

    /// A problem with the value that `key` has in `figment`.
    pub(super) fn of_value(figment: &Figment, key: &str, what: &str) -> Self {
        let source = source_of(figment, key);
        Self {
            key: Some(key.to_owned()),
            source,
            what: what.to_owned(),
            write: example(key),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key} ({}) {}", self.source, self.what)?,
            None => write!(f, "{} {}", self.source, self.what)?,
        }
        if let Some(write) = &self.write {
            write!(f, "\n    write, for example: {write}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "The settings have {count} {}:",
            if count == 1 { "error" } else { "errors" }
        )?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Reads the group or setting `path`; a failure goes to `problems`.
pub(super) fn extract<T: DeserializeOwned>(
    figment: &Figment,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    // A group in which nothing has a default is empty, not missing.
    let result = if figment.contains(path) {
        figment.extract_inner_lossy(path)
    } else {
        Figment::new().extract_lossy::<T>()
    };
    match result {
        Ok(value) => Some(value),
        Err(errors) => {
            problems.extend(errors.into_iter().map(|error| {
                let inner = error.path.first().filter(|first| *first != path);
                let mut key =
                    inner.map_or_else(|| path.to_owned(), |inner| format!("{path}.{inner}"));
                let what = match &error.kind {
                    Kind::MissingField(field) => {
                        key = format!("{path}.{field}");
                        "is required and not set".to_owned()
                    }
                    Kind::Message(what) => what.clone(),
                    Kind::UnknownVariant(_, known) => {
                        format!("must be one of: {}", known.join(", "))
                    }
                    Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
                        format!(
                            "must be {}, and is {}",
                            expected_words(expected),
                            shape(actual)
                        )
                    }
                    Kind::UnknownField(field, known) => {
                        format!(
                            "has {field}, which it may not; it may have {}",
                            known.join(", ")
                        )
                    }
                    Kind::InvalidLength(..)
                    | Kind::DuplicateField(..)
                    | Kind::ISizeOutOfRange(..)
                    | Kind::USizeOutOfRange(..)
                    | Kind::Unsupported(..)
                    | Kind::UnsupportedKey(..) => "cannot be read".to_owned(),
                };
                Problem::of_value(figment, &key, &what)
            }));
            None
        }
    }
}

/// Where the value of `key` comes from: `default`, `file ./paperround.toml`, a variable's name.
pub(super) fn source_of(figment: &Figment, key: &str) -> String {
    match figment.find_metadata(key) {
        Some(metadata) if metadata.name == ENVIRONMENT => variable(key),
        Some(metadata) => metadata.name.to_string(),
        None => match Setting::find(key).map(|setting| setting.default) {
            Some(DefaultValue::Required) => "not set".to_owned(),
            Some(DefaultValue::Value(_) | DefaultValue::Otherwise(_)) | None => DEFAULT.to_owned(),
        },
    }
}

/// The name of `known` that is nearest to `name`, if one is near.
pub(super) fn suggestion(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let last = |text: &str| text.rsplit(['.']).next().unwrap_or_default().to_owned();
    known
        .map(|known| {
            let mut score = strsim::jaro_winkler(name, &known);
            // The right word in the wrong group.
            if last(name) == last(&known) && known.contains('.') {
                score = score.max(0.9);
            }
            (score, known)
        })
        .filter(|(score, _)| *score > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

fn example(key: &str) -> Option<String> {
    let setting = Setting::find(key)?;
    let (group, name) = key
        .split_once('.')
        .map_or((None, key), |(group, name)| (Some(group), name));
    let group = group
        .map(|group| format!(" under [{group}]"))
        .unwrap_or_default();
    let quote = if setting.example.contains('"') {
        '\''
    } else {
        '"'
    };
    Some(format!(
        "{name} = {quote}{}{quote}{group}, or {}={}",
        setting.example,
        setting.variable(),
        setting.example
    ))
}

fn expected_words(expected: &str) -> String {
    match expected {
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "a text in quotes".to_owned(),
        "u16" | "u32" | "u64" | "usize" => "a whole number".to_owned(),
        other => other.to_owned(),
    }
}

/// What kind of value `actual` is; never the value, which may be a secret.
fn shape(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number of another kind",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "another text",
        Actual::Seq => "a list",
        Actual::Map => "a group",
        Actual::Unit
        | Actual::Option
        | Actual::NewtypeStruct
        | Actual::Enum
        | Actual::UnitVariant
        | Actual::NewtypeVariant
        | Actual::TupleVariant
        | Actual::StructVariant
        | Actual::Other(_) => "something else",
    }
}
