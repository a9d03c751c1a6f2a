//! Texts that people see, by Fluent (projectfluent.org): one folder per language in `locales/`.
//!
//! The language is an argument of every call, never a global. A text that a language lacks is taken from its parent
//! (`de-AT`, then `de`) and at last from English; a key that English lacks is a mistake that a test finds.

mod dates;

use std::collections::BTreeMap;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use tera::{Kwargs, State, Tera};
use unic_langid::LanguageIdentifier;

/// The language that has every text.
pub const FALLBACK: &str = "en";

#[derive(rust_embed::RustEmbed)]
#[folder = "locales/"]
struct Files;

/// All texts in all languages. Built once; shared.
pub struct Texts {
    bundles: BTreeMap<String, FluentBundle<FluentResource>>,
}

/// Why the texts cannot be used; always a mistake in a `.ftl` file.
#[derive(Debug, thiserror::Error)]
#[error("locales/{file}: {fault}")]
pub struct TextsError {
    file: String,
    fault: String,
}

impl Texts {
    /// The texts inside the program.
    pub fn load() -> Result<Self, TextsError> {
        let mut bundles = BTreeMap::new();
        for file in Files::iter() {
            let faulty = |fault: String| TextsError {
                file: file.to_string(),
                fault,
            };
            let language = file.split(['/', '.']).next().unwrap_or_default();
            let id: LanguageIdentifier = language
                .parse()
                .map_err(|_| faulty("its folder is not named as a language".to_owned()))?;
            let content = Files::get(&file).map(|file| file.data.into_owned());
            let text = String::from_utf8(content.unwrap_or_default())
                .map_err(|_| faulty("it is not UTF-8".to_owned()))?;
            let resource = FluentResource::try_new(text)
                .map_err(|(_, errors)| faulty(format!("{:?}", errors.first())))?;
            let bundle = bundles
                .entry(language.to_owned())
                .or_insert_with(|| new_bundle(id));
            bundle
                .add_resource(resource)
                .map_err(|errors| faulty(format!("{:?}", errors.first())))?;
        }
        Ok(Self { bundles })
    }

    /// The text `key` in `locale`, with `args` put in.
    ///
    /// An unknown key gives the key itself and an error in the log: a page with a hole beats no page.
    pub fn get(&self, locale: &str, key: &str, args: &[(&str, FluentValue<'_>)]) -> String {
        self.find(locale, key, args).unwrap_or_else(|| {
            tracing::error!(text.key = key, "Text {key} is missing");
            key.to_owned()
        })
    }

    /// The text `key` in `locale`, its parent or English; `None` for an unknown key.
    pub fn find(
        &self,
        locale: &str,
        key: &str,
        args: &[(&str, FluentValue<'_>)],
    ) -> Option<String> {
        let (bundle, message) = self
            .chain(locale)
            .find_map(|bundle| Some((bundle, bundle.get_message(key)?)))?;
        let mut fluent_args = FluentArgs::with_capacity(args.len());
        for (name, value) in args {
            fluent_args.set(*name, isolated(value));
        }
        let mut faults = Vec::new();
        let text = bundle.format_pattern(message.value()?, Some(&fluent_args), &mut faults);
        if let Some(fault) = faults.first() {
            tracing::error!(text.key = key, %fault, "Text {key} cannot be put together");
        }
        Some(text.into_owned())
    }

    /// The languages there are, in order of their names.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.bundles.keys().map(String::as_str)
    }

    /// The language in which `locale` is answered: itself, its parent, or English.
    pub fn language_for(&self, locale: &str) -> &str {
        let names = [locale, parent(locale)];
        let found = names
            .iter()
            .find_map(|name| self.bundles.get_key_value(*name));
        found.map_or(FALLBACK, |(name, _)| name)
    }

    /// Gives templates the function `t(key="...", name=...)`, in the language that the context calls `locale`.
    ///
    /// A missing locale, and a key that does not exist, fail the rendering.
    pub fn register(self: &std::sync::Arc<Self>, tera: &mut Tera) {
        let texts = self.clone();
        tera.register_function("t", move |args: Kwargs, state: &State<'_>| {
            let locale = state.get::<String>("locale")?;
            let locale = locale.ok_or_else(|| tera::Error::message("the context has no locale"))?;
            let key = args.must_get::<&str>("key")?;
            let values: Vec<_> = args
                .iter()
                .filter_map(|(name, value)| Some((name.as_str()?, fluent_value(value))))
                .filter(|(name, _)| *name != "key")
                .collect();
            texts
                .find(&locale, key, &values)
                .ok_or_else(|| tera::Error::message(format!("there is no text {key}")))
        });
    }

    fn chain(&self, locale: &str) -> impl Iterator<Item = &FluentBundle<FluentResource>> {
        let names = [locale, parent(locale), FALLBACK];
        names.into_iter().filter_map(|name| self.bundles.get(name))
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.bundles.keys()).finish()
    }
}

fn new_bundle(id: LanguageIdentifier) -> FluentBundle<FluentResource> {
    let mut bundle = FluentBundle::new_concurrent(vec![id]);
    // `isolated` puts the marks where they are needed: around each value they would stand in links and subjects too.
    bundle.set_use_isolating(false);
    bundle
}

/// `de` for `de-AT`.
fn parent(locale: &str) -> &str {
    locale.split(['-', '_']).next().unwrap_or(locale)
}

fn fluent_value(value: &tera::Value) -> FluentValue<'static> {
    match (value.as_i64(), value.as_f64(), value.as_str()) {
        (Some(number), _, _) => number.into(),
        (None, Some(number), _) => number.into(),
        (None, None, Some(text)) => text.to_owned().into(),
        (None, None, None) => value.to_string().into(),
    }
}

/// The value between U+2068 and U+2069 when it holds right-to-left letters, so that it does not turn its sentence
/// around (Unicode UAX #9, section 2.4.2).
fn isolated<'a>(value: &FluentValue<'a>) -> FluentValue<'a> {
    match value {
        FluentValue::String(text) if text.chars().any(is_right_to_left) => {
            format!("\u{2068}{text}\u{2069}").into()
        }
        other => other.clone(),
    }
}

fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFF}'
        | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    /// The keys that follow `before` in any file under `folder` with this ending.
    fn used_keys(folder: &str, ending: &str, before: &[&str], found: &mut BTreeSet<String>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut open = vec![root];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    open.push(path);
                } else if path.to_string_lossy().ends_with(ending) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    for before in before {
                        for rest in text.split(before).skip(1) {
                            let key = rest.split('"').next().unwrap();
                            found.insert(key.to_owned());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_text_that_a_template_asks_for_exists() {
        let texts = Texts::load().unwrap();
        let mut keys = BTreeSet::new();
        for ending in [".html", ".txt", ".xml"] {
            used_keys("email_templates", ending, &["t(key=\""], &mut keys);
            used_keys("page_templates", ending, &["t(key=\""], &mut keys);
        }
        assert!(keys.len() > 20, "the templates were found");
        for key in keys {
            let has = texts.bundles[FALLBACK].has_message(&key);
            assert!(has, "text {key} is missing in locales/{FALLBACK}");
        }
    }

    #[test]
    fn every_language_has_the_texts_of_english() {
        let mut by_language: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in Files::iter() {
            let language = file.split(['/', '.']).next().unwrap().to_owned();
            let text = String::from_utf8(Files::get(&file).unwrap().data.into_owned()).unwrap();
            let keys = text.lines().filter_map(|line| line.split_once(" ="));
            let keys = keys.map(|(key, _)| key.to_owned());
            let keys = keys.filter(|key| !key.starts_with([' ', '#']));
            by_language.entry(language).or_default().extend(keys);
        }
        for keys in by_language.values() {
            assert_eq!(keys, &by_language[FALLBACK]);
        }
    }

    #[test]
    fn a_locale_falls_back_to_its_parent_and_then_to_english() {
        let texts = Texts::load().unwrap();
        assert_eq!(texts.language_for("en-GB"), "en");
        assert_eq!(texts.language_for("xx"), "en");
        assert_eq!(texts.get("en_US", "direction", &[]), "ltr");
        assert_eq!(texts.get("xx", "direction", &[]), "ltr");
        assert_eq!(texts.get("en", "no-such-text", &[]), "no-such-text");
    }

    #[test]
    fn a_value_of_the_other_direction_is_isolated_and_no_other() {
        let plain = isolated(&"World".into());
        assert_eq!(plain, FluentValue::from("World"));
        let arabic = isolated(&"العالم".into());
        assert_eq!(arabic, FluentValue::from("\u{2068}العالم\u{2069}"));
    }

    #[test]
    fn templates_get_texts_escaped_in_html_and_fail_on_unknown_keys() {
        let mut tera = Tera::default();
        Arc::new(Texts::load().unwrap()).register(&mut tera);
        let asks = [
            ("a.html", "{{ t(key=\"mail-why\", newsletter=name) }}"),
            ("b.txt", "{{ t(key=\"no-such-text\") }}"),
        ];
        tera.add_raw_templates(asks).unwrap();
        let mut context = tera::Context::new();
        context.insert("name", "<b>");
        assert!(tera.render("a.html", &context).is_err(), "no locale");
        context.insert("locale", "en");
        let html = tera.render("a.html", &context).unwrap();
        assert!(html.contains("&lt;b&gt;"), "{html}");
        assert!(tera.render("b.txt", &context).is_err());
    }
}
