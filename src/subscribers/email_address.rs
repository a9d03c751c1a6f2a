//! The one gate for addresses. Whatever a form, a file, a command or another service gives passes
//! [`EmailAddress::parse`] before anything else sees it.
//!
//! What is accepted is narrower than RFC 5322: the WHATWG characters in the local part, a domain
//! name in the domain. Quoted local parts, comments, display names and IP literals are refused;
//! nobody's mailbox needs them, and half the attacks on mail systems do.

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Names that RFC 6761, RFC 6762 and RFC 7686 keep out of the public DNS.
const SPECIAL_USE: &[&str] = &["invalid", "test", "localhost", "example", "local", "onion"];

/// Mailboxes of a domain's staff and machines (RFC 2142), which no reader signs up with.
const ROLES: &[&str] = &[
    "abuse",
    "postmaster",
    "hostmaster",
    "webmaster",
    "noc",
    "security",
    "mailer-daemon",
    "noreply",
    "no-reply",
    "root",
];

/// What an instance accepts beyond the common rules. The default accepts nothing beyond them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Accept `.test`, `.localhost` and their kind: for a demonstration that never leaves the machine.
    pub allow_special_use: bool,
    /// Accept letters beyond ASCII before the `@` (RFC 6531): only with a relay that carries them.
    pub smtputf8: bool,
    /// Accept `postmaster`, `noreply` and their kind.
    pub allow_roles: bool,
}

impl AddressRules {
    /// What an address that is already stored is read with: it passed the rules of its time.
    pub const STORED: Self = Self {
        allow_special_use: true,
        smtputf8: true,
        allow_roles: true,
    };
}

/// An address that mail can be sent to.
///
/// Equal when the [`EmailKey`] is equal, however it was typed. `Debug` and `Display` are masked;
/// the whole address is given by [`as_str`](Self::as_str) and [`to_wire`](Self::to_wire) only.
#[derive(Clone)]
pub struct EmailAddress {
    typed: String,
    key: EmailKey,
}

/// Who an address is: the lower-cased local part, `@`, the domain as A-labels in lower case.
///
/// Tags (`+x`) and dots are kept: they are addresses of their own. `Debug` is masked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct EmailKey(String);

/// Why a text is not an address that is accepted. `Display` is a sentence for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing but white space.
    #[error("Enter an email address.")]
    Empty,
    /// A space, a line break, a control or an invisible character inside.
    #[error("An email address has no spaces, line breaks or invisible characters.")]
    ForbiddenCharacter,
    /// No `@`.
    #[error("An email address has an @ sign, as in name@example.org.")]
    NoAt,
    /// More than one `@`.
    #[error("An email address has only one @ sign, as in name@example.org.")]
    SeveralAts,
    /// Nothing before the `@`.
    #[error("The part before the @ sign is missing.")]
    NoLocalPart,
    /// More than 64 octets before the `@` (RFC 5321, section 4.5.3.1.1).
    #[error("The part before the @ sign is too long: 64 characters at most.")]
    LongLocalPart,
    /// A dot at the start or the end of the local part, or two together.
    #[error("A dot stands at the wrong place before the @ sign.")]
    MisplacedDot,
    /// A character before the `@` that no common mailbox has: quotes, brackets, commas.
    #[error("There is a character before the @ sign that we cannot send to.")]
    LocalPartCharacter,
    /// A character beyond ASCII before the `@`, where that is not accepted.
    #[error(
        "We cannot send to addresses with letters like é or ü before the @ sign. Use your other address, if you have one."
    )]
    NeedsSmtpUtf8,
    /// Nothing behind the `@`.
    #[error("The part after the @ sign is missing, such as example.org.")]
    NoDomain,
    /// An IP address for a domain.
    #[error("The part after the @ sign must be a name such as example.org, not a number.")]
    IpAddress,
    /// A domain without a dot.
    #[error("The part after the @ sign is incomplete: it must be a name such as example.org.")]
    NoDot,
    /// Not a domain name by UTS #46, or longer than DNS allows.
    #[error("The part after the @ sign is not a valid domain name.")]
    BadDomain,
    /// More than 254 octets in all (RFC 5321, section 4.5.3.1.3).
    #[error("This email address is too long: 254 characters at most.")]
    TooLong,
    /// A domain that cannot receive mail from the internet.
    #[error("Mail cannot be sent to this domain: its name is kept for tests and local use.")]
    SpecialUse,
    /// A mailbox of a domain's staff or machines.
    #[error("This address belongs to a function, not to a reader. Use a personal address.")]
    Role,
}

impl AddressError {
    /// A short stable name for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "address_empty",
            Self::ForbiddenCharacter => "address_forbidden_character",
            Self::NoAt => "address_no_at",
            Self::SeveralAts => "address_several_ats",
            Self::NoLocalPart => "address_no_local_part",
            Self::LongLocalPart => "address_long_local_part",
            Self::MisplacedDot => "address_misplaced_dot",
            Self::LocalPartCharacter => "address_local_part_character",
            Self::NeedsSmtpUtf8 => "address_needs_smtputf8",
            Self::NoDomain => "address_no_domain",
            Self::IpAddress => "address_ip_address",
            Self::NoDot => "address_no_dot",
            Self::BadDomain => "address_bad_domain",
            Self::TooLong => "address_too_long",
            Self::SpecialUse => "address_special_use",
            Self::Role => "address_role",
        }
    }
}

impl EmailAddress {
    /// Reads `text` as one address, or says what is wrong with it.
    ///
    /// White space around it is dropped and the rest brought into Unicode's form NFC.
    pub fn parse(text: &str, rules: AddressRules) -> Result<Self, AddressError> {
        let text =
            text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{FEFF}' | '\u{200B}'));
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        // Far beyond any address: normalising must not be an attacker's way to spend our time.
        if text.len() > 1024 {
            return Err(AddressError::TooLong);
        }
        if text.chars().any(is_forbidden) {
            return Err(AddressError::ForbiddenCharacter);
        }
        let typed = nfc(text);
        let (local, domain) = typed.split_once('@').ok_or(AddressError::NoAt)?;
        if domain.contains('@') {
            return Err(AddressError::SeveralAts);
        }
        check_local_part(local, rules)?;
        let domain = ascii_domain(domain)?;
        if local.len() + 1 + domain.len() > 254 {
            return Err(AddressError::TooLong);
        }
        let top_label = domain.rsplit('.').next().unwrap_or_default();
        if !rules.allow_special_use && SPECIAL_USE.contains(&top_label) {
            return Err(AddressError::SpecialUse);
        }
        let local = nfc(&local.to_lowercase());
        if !rules.allow_roles && ROLES.contains(&local.as_str()) {
            return Err(AddressError::Role);
        }
        let key = EmailKey(format!("{local}@{domain}"));
        Ok(Self { typed, key })
    }

    /// The address as its owner typed it, the domain in their script. For pages; never for logs.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// Who this address is.
    pub fn key(&self) -> &EmailKey {
        &self.key
    }

    /// The domain as A-labels in lower case: the form for DNS and SMTP.
    pub fn domain(&self) -> &str {
        self.key.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The part before the `@`, as typed.
    pub fn local_part(&self) -> &str {
        self.typed.split_once('@').map_or("", |(local, _)| local)
    }

    /// The address as it goes on the wire and into headers: the local part as typed, the domain as A-labels.
    pub fn to_wire(&self) -> String {
        format!("{}@{}", self.local_part(), self.domain())
    }

    /// Whether the relay must offer SMTPUTF8 (RFC 6531) to carry it.
    pub fn needs_smtputf8(&self) -> bool {
        !self.local_part().is_ascii()
    }

    /// The address with its owner hidden: `a***@example.org`.
    pub fn masked(&self) -> String {
        crate::telemetry::mask_email(&self.typed)
    }
}

impl EmailKey {
    /// The key of an address that was stored before; not checked again.
    pub fn from_stored(key: String) -> Self {
        Self(key)
    }

    /// The key's text. Never for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for EmailAddress {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for EmailAddress {}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress({})", self.masked())
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for EmailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailKey({})", crate::telemetry::mask_email(&self.0))
    }
}

impl<DB: sqlx::Database> sqlx::Type<DB> for EmailAddress
where
    String: sqlx::Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <String as sqlx::Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <String as sqlx::Type<DB>>::compatible(ty)
    }
}

impl<'q, DB: sqlx::Database> sqlx::Encode<'q, DB> for EmailAddress
where
    String: sqlx::Encode<'q, DB>,
{
    fn encode_by_ref(
        &self,
        buffer: &mut <DB as sqlx::Database>::ArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        self.typed.encode_by_ref(buffer)
    }
}

impl<'r, DB: sqlx::Database> sqlx::Decode<'r, DB> for EmailAddress
where
    String: sqlx::Decode<'r, DB>,
{
    fn decode(
        value: <DB as sqlx::Database>::ValueRef<'r>,
    ) -> Result<Self, sqlx::error::BoxDynError> {
        let text = String::decode(value)?;
        Ok(Self::parse(&text, AddressRules::STORED)?)
    }
}

fn nfc(text: &str) -> String {
    const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
    NFC.normalize(text).into_owned()
}

/// White space, controls, invisible and direction-changing characters, private use, the full-width `@`.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{D7FF}' | '\u{E000}'..='\u{F8FF}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FF20}' | '\u{FE6B}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFF}' | '\u{E0000}'..='\u{10FFFF}')
}

fn check_local_part(local: &str, rules: AddressRules) -> Result<(), AddressError> {
    if local.is_empty() {
        return Err(AddressError::NoLocalPart);
    }
    if local.len() > 64 {
        return Err(AddressError::LongLocalPart);
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err(AddressError::MisplacedDot);
    }
    for c in local.chars() {
        if !c.is_ascii() {
            if !rules.smtputf8 {
                return Err(AddressError::NeedsSmtpUtf8);
            }
        } else if !c.is_ascii_alphanumeric() && !".!#$%&'*+/=?^_`{|}~-".contains(c) {
            return Err(AddressError::LocalPartCharacter);
        }
    }
    Ok(())
}

/// `domain` as A-labels by UTS #46, strict and non-transitional.
fn ascii_domain(domain: &str) -> Result<String, AddressError> {
    if domain.is_empty() {
        return Err(AddressError::NoDomain);
    }
    if domain.starts_with('[') {
        return Err(AddressError::IpAddress);
    }
    let ascii = Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::Check,
            DnsLength::Verify,
        )
        .map_err(|_| AddressError::BadDomain)?;
    let Some((_, top_label)) = ascii.rsplit_once('.') else {
        return Err(AddressError::NoDot);
    };
    if top_label.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddressError::IpAddress);
    }
    Ok(ascii.into_owned())
}

#[cfg(test)]
mod tests;
