//! Settings as an operator may see them: with their source, without their secrets.

use figment::Figment;
use figment::value::Value;

use super::problem::source_of;
use super::setting::{DefaultValue, SETTINGS, Setting};

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ShownSetting {
    /// Its name.
    pub key: &'static str,
    /// Its value, masked where it is a secret; in parentheses, what applies because it is not set.
    pub value: String,
    /// `default`, `not set`, `file ...`, the name of a variable, or `command line`.
    pub source: String,
}

/// Every setting as it is in `figment`, in the order of the manual.
pub(super) fn show(figment: &Figment) -> Vec<ShownSetting> {
    let shown = SETTINGS.iter().map(|setting| ShownSetting {
        key: setting.key,
        value: figment
            .find_value(setting.key)
            .map_or_else(|_| unset(setting), |value| text(setting, &value)),
        source: source_of(figment, setting.key),
    });
    shown.collect()
}

fn unset(setting: &Setting) -> String {
    match setting.default {
        DefaultValue::Value(text) => text.to_owned(),
        DefaultValue::Otherwise(words) => format!("({words})"),
        DefaultValue::Required => "(required)".to_owned(),
    }
}

fn text(setting: &Setting, value: &Value) -> String {
    let text = plain(value);
    if !setting.secret {
        return text;
    }
    // Of a URL only the password is a secret.
    let Ok(mut url) = url::Url::parse(text.trim()) else {
        return "********".to_owned();
    };
    let whole = setting.key.rsplit('.').next() != Some("url")
        || url.query().is_some_and(|query| query.contains("password"));
    if whole || (url.password().is_some() && url.set_password(Some("********")).is_err()) {
        return "********".to_owned();
    }
    url.to_string()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Char(_, c) => c.to_string(),
        Value::Bool(_, yes) => yes.to_string(),
        Value::Num(_, number) => number
            .to_i128()
            .map(|n| n.to_string())
            .or_else(|| number.to_u128().map(|n| n.to_string()))
            .or_else(|| number.to_f64().map(|n| n.to_string()))
            .unwrap_or_default(),
        Value::Empty(..) => String::new(),
        Value::Dict(..) => "(a group)".to_owned(),
        Value::Array(_, items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
    }
}
