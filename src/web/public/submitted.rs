//! A submitted sign-up form: what it asks for, or everything that is wrong with it.

use crate::newsletters::{Cadence, Slug, Topic};
use crate::subscribers::email_address::{AddressError, AddressRules, EmailAddress};
use crate::subscribers::selection::Selection;
use crate::texts::Texts;
use crate::web::error::FieldError;
use crate::web::form::Fields;

use super::signup_form::{Kept, SignupForm};

/// Fields that the page does not show, sent again with it after a fault.
const KEPT: [&str; 3] = ["topic", "cadence", "locale"];

/// One thing to correct: the field, and the key of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: &'static str,
    pub(super) code: &'static str,
}

/// What the person chose, as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Choices {
    pub(super) email: Option<EmailAddress>,
    pub(super) selection: Selection,
    pub(super) is_trapped: bool,
    pub(super) faults: Vec<Fault>,
}

impl Choices {
    /// Reads the fields. `topics` are the newsletter's; without a newsletter they are not looked at.
    pub(super) fn read(fields: &Fields, rules: AddressRules, topics: Option<&[Topic]>) -> Self {
        let mut choices = Self {
            // A person does not see this field.
            is_trapped: fields.all("website").next().is_some(),
            ..Self::default()
        };
        match email(fields, rules) {
            Ok(email) => choices.email = Some(email),
            Err(code) => choices.fault("email", code),
        }
        for text in fields.all("topic") {
            match text.parse::<Slug>() {
                Ok(slug) if is_known(&slug, topics) => {
                    if slug != Slug::all() && !choices.selection.topics.contains(&slug) {
                        choices.selection.topics.push(slug);
                    }
                }
                _ => choices.fault("topic", "field-topic-unknown"),
            }
        }
        match fields.one("cadence").map(|text| text.map(str::parse)) {
            Ok(None) => {}
            Ok(Some(Ok(cadence))) if cadence != Cadence::Off => {
                choices.selection.cadence = Some(cadence);
            }
            _ => choices.fault("cadence", "field-cadence-unknown"),
        }
        choices
    }

    /// Adds a fault, once for each field.
    pub(super) fn fault(&mut self, field: &'static str, code: &'static str) {
        if self.faults.iter().all(|fault| fault.field != field) {
            self.faults.push(Fault { field, code });
        }
    }
}

impl Fault {
    fn words(self, texts: &Texts, locale: &str) -> String {
        texts.get(locale, self.code, &[])
    }

    /// The fault for a program.
    pub(super) fn to_field_error(self, texts: &Texts, locale: &str) -> FieldError {
        FieldError {
            pointer: format!("/{}", self.field),
            code: self.code,
            message: self.words(texts, locale),
        }
    }
}

/// `form` with what was typed and what is wrong with it.
pub(super) fn with_faults(
    mut form: SignupForm,
    fields: &Fields,
    faults: &[Fault],
    texts: &Texts,
    locale: &str,
) -> SignupForm {
    let first = |name| fields.all(name).next().unwrap_or_default();
    first("email").clone_into(&mut form.email);
    first("newsletter").clone_into(&mut form.newsletter);
    // What is wrong and not on the page could not be corrected: it goes.
    let is_sound = |name: &&str| faults.iter().all(|fault| fault.field != *name);
    for name in KEPT.into_iter().filter(is_sound) {
        form.kept.extend(fields.all(name).map(|value| Kept {
            name,
            value: value.to_owned(),
        }));
    }
    for fault in faults {
        form = form.with_fault(fault.field, fault.words(texts, locale));
    }
    form
}

fn email(fields: &Fields, rules: AddressRules) -> Result<EmailAddress, &'static str> {
    let text = fields.one("email").map_err(|_| "field-email-twice")?;
    let text = text.ok_or("field-email-missing")?;
    EmailAddress::parse(text, rules).map_err(text_key)
}

fn is_known(slug: &Slug, topics: Option<&[Topic]>) -> bool {
    topics.is_none_or(|topics| topics.iter().any(|topic| topic.slug == *slug))
}

/// The key of the words for each fault of an address.
fn text_key(error: AddressError) -> &'static str {
    match error {
        AddressError::Empty => "field-email-missing",
        AddressError::ForbiddenCharacter => "address-forbidden-character",
        AddressError::NoAt => "address-no-at",
        AddressError::SeveralAts => "address-several-ats",
        AddressError::NoLocalPart => "address-no-local-part",
        AddressError::LongLocalPart => "address-long-local-part",
        AddressError::MisplacedDot => "address-misplaced-dot",
        AddressError::LocalPartCharacter => "address-local-part-character",
        AddressError::NeedsSmtpUtf8 => "address-needs-smtputf8",
        AddressError::NoDomain => "address-no-domain",
        AddressError::IpAddress => "address-ip-address",
        AddressError::NoDot => "address-no-dot",
        AddressError::BadDomain => "address-bad-domain",
        AddressError::TooLong => "address-too-long",
        AddressError::SpecialUse => "address-special-use",
        AddressError::Role => "address-role",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Choices {
        let fields = Fields::parse(None, body.as_bytes()).unwrap();
        Choices::read(&fields, AddressRules::default(), Some(&[]))
    }

    #[test]
    fn every_field_is_judged_at_once() {
        let choices = read("email=ada%40&topic=nope&topic=no+slug&cadence=hourly");
        let codes: Vec<_> = choices.faults.iter().map(|fault| fault.code).collect();
        assert_eq!(
            codes,
            [
                "address-no-domain",
                "field-topic-unknown",
                "field-cadence-unknown"
            ]
        );
    }

    #[test]
    fn off_is_no_way_to_subscribe() {
        let choices = read("email=ada%40example.org&cadence=off");
        assert_eq!(choices.faults[0].field, "cadence");
        let choices = read("email=ada%40example.org&cadence=weekly");
        assert_eq!(choices.selection.cadence, Some(Cadence::Weekly));
        assert!(choices.faults.is_empty() && !choices.is_trapped);
    }

    #[test]
    fn a_filled_trap_is_no_fault() {
        let choices = read("email=ada%40example.org&website=http%3A%2F%2Fspam");
        assert!(choices.is_trapped && choices.faults.is_empty());
    }

    #[test]
    fn every_fault_of_an_address_has_words() {
        let texts = Texts::load().unwrap();
        for error in [
            AddressError::Empty,
            AddressError::ForbiddenCharacter,
            AddressError::NoAt,
            AddressError::SeveralAts,
            AddressError::NoLocalPart,
            AddressError::LongLocalPart,
            AddressError::MisplacedDot,
            AddressError::LocalPartCharacter,
            AddressError::NeedsSmtpUtf8,
            AddressError::NoDomain,
            AddressError::IpAddress,
            AddressError::NoDot,
            AddressError::BadDomain,
            AddressError::TooLong,
            AddressError::SpecialUse,
            AddressError::Role,
        ] {
            assert!(
                texts.find("en", text_key(error), &[]).is_some(),
                "{error:?}"
            );
            let own = match error {
                AddressError::Empty => "field-email-missing".to_owned(),
                error => error.code().replace('_', "-"),
            };
            assert_eq!(text_key(error), own);
        }
    }

    #[test]
    fn what_the_page_does_not_show_is_sent_again_unless_it_is_what_is_wrong() {
        let texts = Texts::load().unwrap();
        let again = |body: &str| {
            let fields = Fields::parse(None, body.as_bytes()).unwrap();
            let faults = Choices::read(&fields, AddressRules::default(), None).faults;
            with_faults(SignupForm::default(), &fields, &faults, &texts, "en")
        };
        let kept = |form: &SignupForm| -> Vec<String> {
            let kept = form.kept.iter();
            kept.map(|kept| format!("{}={}", kept.name, kept.value))
                .collect()
        };
        let form = again(
            "email=ada%40&newsletter=asia&topic=east&topic=west&cadence=weekly&locale=en&x=y",
        );
        assert_eq!(
            (form.email.as_str(), form.newsletter.as_str()),
            ("ada@", "asia")
        );
        assert_eq!(
            kept(&form),
            ["topic=east", "topic=west", "cadence=weekly", "locale=en"]
        );
        let form = again("email=ada%40&topic=east&cadence=hourly");
        assert_eq!(kept(&form), ["topic=east"]);
        let form = again("email=ada%40&topic=no+slug&cadence=weekly");
        assert_eq!(kept(&form), ["cadence=weekly"]);
    }
}
