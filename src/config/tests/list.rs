use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

use super::*;

#[test]
fn env_example_lists_every_setting() {
    let stored = include_str!("../../../.env.example");
    assert_eq!(
        stored,
        env_example(),
        "run `paperround config example > .env.example`"
    );
}

#[test]
fn every_example_is_a_value_that_works() {
    for setting in SETTINGS {
        let mut sources = sources().with(setting.key, setting.example);
        match setting.key {
            "smtp.password" => sources = sources.with("smtp.url", "smtps://u@h.example.org"),
            "smtp.url" => sources = sources.with("smtp.password", "x"),
            "database.url" => sources = sources.with("secrets.file", "/x"),
            _ => {}
        }
        Config::load(&sources).unwrap_or_else(|error| panic!("{}: {error}", setting.key));
    }
}

#[test]
fn the_list_of_settings_and_the_structs_agree() {
    fn add<T: for<'de> Deserialize<'de>>(group: &str, keys: &mut Vec<String>) {
        keys.extend(
            fields_of::<T>()
                .iter()
                .map(|field| format!("{group}.{field}")),
        );
    }
    let mut keys = vec!["data_dir".to_owned()];
    add::<ServerConfig>("server", &mut keys);
    add::<DatabaseConfig>("database", &mut keys);
    add::<SmtpConfig>("smtp", &mut keys);
    add::<MailConfig>("mail", &mut keys);
    add::<FetchConfig>("fetch", &mut keys);
    add::<DeliveryConfig>("delivery", &mut keys);
    add::<SignupConfig>("signup", &mut keys);
    add::<SecretsConfig>("secrets", &mut keys);
    add::<LogConfig>("log", &mut keys);
    keys.sort();
    let mut listed: Vec<_> = SETTINGS
        .iter()
        .map(|setting| setting.key.to_owned())
        .collect();
    listed.sort();
    assert_eq!(listed, keys);
}

/// The names that a struct's `Deserialize` asks for.
fn fields_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Ask<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = serde::de::value::Error;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("not asked"))
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(Self::Error::custom("only asked"))
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields: &'static [&'static str] = &[];
    T::deserialize(Ask(&mut fields))
        .err()
        .expect("it never answers");
    fields
}
