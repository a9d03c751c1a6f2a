//! The sources of settings, laid over one another.

use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::Sources;
use super::problem::{ConfigError, Problem, suggestion};
use super::setting::{DefaultValue, PREFIX, SETTINGS, Setting};

/// The name of the metadata that says "a variable of the environment"; which one follows from the key.
pub(super) const ENVIRONMENT: &str = "environment";
/// The name of the metadata of defaults.
pub(super) const DEFAULT: &str = "default";

/// Variables with our prefix that are no settings.
const RESERVED: &[&str] = &["PAPERROUND_CONFIG"];

/// Lays all sources over one another. Unknown settings and unreadable files are errors, all of them at once.
pub(super) fn read(sources: &Sources) -> Result<Figment, ConfigError> {
    let mut problems = Vec::new();
    let mut figment = Figment::from(defaults());
    if let Some(path) = &sources.file {
        for layer in file(path, &mut problems) {
            figment = figment.merge(layer);
        }
    }
    for layer in environment(&sources.environment, &mut problems) {
        figment = figment.merge(layer);
    }
    figment = figment.merge(overrides(&sources.overrides, &mut problems));
    if problems.is_empty() {
        Ok(figment)
    } else {
        Err(ConfigError(problems))
    }
}

/// Settings of one source.
struct Layer {
    name: String,
    values: Vec<(String, Value)>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut dict = Dict::new();
        for (key, value) in &self.values {
            insert(&mut dict, key, value.clone());
        }
        Ok(Profile::Default.collect(dict))
    }
}

/// Puts `value` at the path `key` of `dict`, with the groups on the way.
fn insert(dict: &mut Dict, key: &str, value: Value) {
    let Some((group, rest)) = key.split_once('.') else {
        dict.insert(key.to_owned(), value);
        return;
    };
    let entry = dict
        .entry(group.to_owned())
        .or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, inner) = entry {
        insert(inner, rest, value);
    }
}

fn defaults() -> Layer {
    let values = SETTINGS.iter().filter_map(|setting| match setting.default {
        DefaultValue::Value(text) => Some((setting.key.to_owned(), Value::from(text))),
        DefaultValue::Otherwise(_) | DefaultValue::Required => None,
    });
    Layer {
        name: DEFAULT.to_owned(),
        values: values.collect(),
    }
}

fn overrides(pairs: &[(String, String)], problems: &mut Vec<Problem>) -> Layer {
    let mut values = Vec::new();
    for (key, value) in pairs {
        if Setting::find(key).is_some() {
            values.push((key.clone(), Value::from(value.as_str())));
        } else {
            problems.push(unknown(
                key,
                "command line",
                SETTINGS.iter().map(|s| s.key.to_owned()),
            ));
        }
    }
    Layer {
        name: "command line".to_owned(),
        values,
    }
}

fn file(path: &Path, problems: &mut Vec<Problem>) -> Vec<Layer> {
    let source = format!("file {}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::of_source(
                source,
                format!("cannot be read: {error}"),
            ));
            return Vec::new();
        }
    };
    let table: toml::Table = match toml::from_str(text.trim_start_matches('\u{FEFF}')) {
        Ok(table) => table,
        Err(error) => {
            // Not the error's own text: it quotes the line, and a secret may stand there.
            let line = error.span().map_or(1, |span| {
                1 + text[..span.start.min(text.len())].matches('\n').count()
            });
            problems.push(Problem::of_source(
                source,
                format!("is not TOML, line {line}: {}", error.message()),
            ));
            return Vec::new();
        }
    };
    let mut layer = Layer {
        name: source.clone(),
        values: Vec::new(),
    };
    let mut secrets = Vec::new();
    let mut known: Vec<String> = SETTINGS
        .iter()
        .map(|setting| setting.key.to_owned())
        .collect();
    known.extend(
        SETTINGS
            .iter()
            .filter(|setting| setting.secret)
            .map(|setting| format!("{}_file", setting.key)),
    );
    for (key, mut value) in flatten(table) {
        if key == "smtp.relays" {
            read_passwords(&mut value, &source, problems);
        }
        if Setting::find(&key).is_some() {
            match Value::serialize(&value) {
                Ok(value) => layer.values.push((key, value)),
                Err(_) => problems.push(Problem::new(
                    &key,
                    source.clone(),
                    "cannot be read".to_owned(),
                )),
            }
        } else if let Some(setting) = secret_of(&key, "_file") {
            if let Some(path) = value.as_str() {
                secrets.push((setting, PathBuf::from(path), format!("{key} in {source}")));
            } else {
                problems.push(Problem::new(
                    &key,
                    source.clone(),
                    "must be the path of a file".to_owned(),
                ));
            }
        } else {
            problems.push(unknown(&key, &source, known.iter().cloned()));
        }
    }
    with_secrets(layer, secrets, problems)
}

fn environment(variables: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Layer> {
    let mut layer = Layer {
        name: ENVIRONMENT.to_owned(),
        values: Vec::new(),
    };
    let mut secrets = Vec::new();
    let names = || {
        let secret = SETTINGS.iter().filter(|setting| setting.secret);
        SETTINGS
            .iter()
            .map(Setting::variable)
            .chain(secret.map(|setting| format!("{}_FILE", setting.variable())))
    };
    for (name, text) in variables {
        // An empty variable is what a compose file gives where nothing was written.
        if !name.starts_with(PREFIX) || RESERVED.contains(&name.as_str()) || text.is_empty() {
            continue;
        }
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == *name) {
            layer
                .values
                .push((setting.key.to_owned(), Value::from(text.as_str())));
        } else if let Some(setting) = SETTINGS.iter().find(|setting| {
            setting.secret && name.strip_suffix("_FILE") == Some(&setting.variable())
        }) {
            secrets.push((setting, PathBuf::from(text), name.clone()));
        } else {
            problems.push(unknown(name, ENVIRONMENT, names()));
        }
    }
    with_secrets(layer, secrets, problems)
}

/// `layer`, and one layer for each secret that stands in a file of its own.
fn with_secrets(
    layer: Layer,
    secrets: Vec<(&'static Setting, PathBuf, String)>,
    problems: &mut Vec<Problem>,
) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (setting, path, named_by) in secrets {
        if layer.values.iter().any(|(key, _)| key == setting.key) {
            let what = format!("is given twice: by itself and by {named_by}");
            problems.push(Problem::new(setting.key, layer.name.clone(), what));
            continue;
        }
        match std::fs::read_to_string(&path) {
            // An editor's line end at the end of the file belongs to nobody's password.
            Ok(text) => layers.push(Layer {
                name: format!("file {} named by {named_by}", path.display()),
                values: vec![(
                    setting.key.to_owned(),
                    Value::from(text.trim_end_matches(['\r', '\n'])),
                )],
            }),
            Err(error) => {
                let what = format!(
                    "names the file {}, which cannot be read: {error}",
                    path.display()
                );
                problems.push(Problem::new(&named_by, layer.name.clone(), what));
            }
        }
    }
    layers.insert(0, layer);
    layers
}

/// Puts the passwords that stand in files of their own into their relays.
fn read_passwords(relays: &mut toml::Value, source: &str, problems: &mut Vec<Problem>) {
    let tables = relays.as_array_mut().into_iter().flatten();
    for relay in tables.filter_map(toml::Value::as_table_mut) {
        let Some(path) = relay.remove("password_file") else {
            continue;
        };
        let path = path.as_str().unwrap_or_default();
        if relay.contains_key("password") {
            let what = format!("is given twice: by itself and by password_file = {path:?}");
            let key = "smtp.relays.password";
            problems.push(Problem::new(key, source.to_owned(), what));
            continue;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let password = text.trim_end_matches(['\r', '\n']).to_owned();
                relay.insert("password".to_owned(), toml::Value::String(password));
            }
            Err(error) => {
                let what = format!("names the file {path}, which cannot be read: {error}");
                problems.push(Problem::new(
                    "smtp.relays.password_file",
                    source.to_owned(),
                    what,
                ));
            }
        }
    }
}

fn secret_of(key: &str, suffix: &str) -> Option<&'static Setting> {
    let key = key.strip_suffix(suffix)?;
    Setting::find(key).filter(|setting| setting.secret)
}

/// The leaves of a table, by their path with dots.
fn flatten(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut leaves = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => {
                leaves.extend(
                    flatten(inner)
                        .into_iter()
                        .map(|(rest, value)| (format!("{key}.{rest}"), value)),
                );
            }
            toml::Value::Table(_) if is_group(&key) => {}
            value => leaves.push((key, value)),
        }
    }
    leaves
}

fn is_group(key: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .key
            .split_once('.')
            .is_some_and(|(group, _)| group == key)
    })
}

fn unknown(key: &str, source: &str, known: impl Iterator<Item = String>) -> Problem {
    let what = match suggestion(key, known) {
        Some(near) => format!("is not a setting. Did you mean {near}?"),
        None => "is not a setting. `.env.example` and `paperround config show` list all of them."
            .to_owned(),
    };
    Problem::new(key, source.to_owned(), what)
}
