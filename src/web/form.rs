//! Form fields, from any of the three encodings that forms and scripts use.
//!
//! Everything here is hostile until parsed: fields may be missing, doubled, huge, or not text at all.

use memchr::memmem;

/// More fields than any form of ours has.
const MAX_FIELDS: usize = 100;

/// The fields of a form in the order they were sent. Names may repeat.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

/// Why a body is no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The content type is none of the three.
    #[error("the content type is not one of a form")]
    UnsupportedType,
    /// The body does not have the shape that its content type says.
    #[error("{0}")]
    Malformed(&'static str),
}

/// A field that may stand once was sent with different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the field was sent more than once")]
pub struct SentTwice;

impl Fields {
    /// Reads `application/x-www-form-urlencoded` (also assumed where there is no type), `multipart/form-data`
    /// (RFC 7578; files are left out) or a JSON object of texts and lists of texts.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, FormError> {
        let content_type = content_type.unwrap_or("application/x-www-form-urlencoded");
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let fields = if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            parse_urlencoded(body)
        } else if essence.eq_ignore_ascii_case("multipart/form-data") {
            let boundary = boundary(content_type)
                .ok_or(FormError::Malformed("the multipart boundary is missing"))?;
            parse_multipart(body, &boundary)?
        } else if essence.eq_ignore_ascii_case("application/json") {
            parse_json(body)?
        } else {
            return Err(FormError::UnsupportedType);
        };
        if fields.len() > MAX_FIELDS {
            return Err(FormError::Malformed("there are too many fields"));
        }
        Ok(Self(fields))
    }

    /// Fields that stand in a query string.
    pub fn from_query(query: Option<&str>) -> Self {
        let mut fields = parse_urlencoded(query.unwrap_or_default().as_bytes());
        fields.truncate(MAX_FIELDS);
        Self(fields)
    }

    /// Every value of `name` that is not blank, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, value)| key == name && !value.trim().is_empty())
            .map(|(_, value)| value.trim())
    }

    /// The value of `name`; `None` when it is absent or blank. The same value twice counts as one.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, SentTwice> {
        let mut values = self.all(name);
        let first = values.next();
        if values.any(|other| Some(other) != first) {
            return Err(SentTwice);
        }
        Ok(first)
    }
}

fn parse_urlencoded(body: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(body)
        .take(MAX_FIELDS + 1)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

fn parse_json(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    use serde_json::Value;
    let object: serde_json::Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| FormError::Malformed("the body is not a JSON object"))?;
    let mut fields = Vec::new();
    for (name, value) in object {
        let values = match value {
            Value::Array(values) => values,
            Value::Null => Vec::new(),
            other => vec![other],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(flag) => flag.to_string(),
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(FormError::Malformed(
                        "a field is neither a text nor a list of texts",
                    ));
                }
            };
            fields.push((name.clone(), text));
        }
    }
    Ok(fields)
}

/// The `boundary` parameter (RFC 2046, section 5.1.1): 1 to 70 characters, quoted or not.
fn boundary(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        let fits = (1..=70).contains(&value.len());
        (name.trim().eq_ignore_ascii_case("boundary") && fits).then(|| value.to_owned())
    })
}

fn parse_multipart(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, FormError> {
    let delimiter = format!("--{boundary}");
    // Each delimiter but the first belongs to the line break before it.
    let inner = format!("\r\n{delimiter}");
    let start = memmem::find(body, delimiter.as_bytes())
        .ok_or(FormError::Malformed("the multipart boundary never occurs"))?;
    let mut rest = &body[start + delimiter.len()..];
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") && fields.len() <= MAX_FIELDS {
        let end = memmem::find(rest, inner.as_bytes())
            .ok_or(FormError::Malformed("a multipart part does not end"))?;
        if let Some(field) = parse_part(&rest[..end]) {
            fields.push(field);
        }
        rest = &rest[end + inner.len()..];
    }
    Ok(fields)
}

/// Name and value of one part; `None` for a file and for what has no name.
fn parse_part(part: &[u8]) -> Option<(String, String)> {
    let split = memmem::find(part, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&part[..split]);
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then(|| value.to_owned())
    })?;
    let parameter = |wanted: &str| {
        disposition.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            (name.trim().eq_ignore_ascii_case(wanted))
                .then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    if parameter("filename").is_some() {
        return None;
    }
    let value = String::from_utf8_lossy(&part[split + 4..]).into_owned();
    Some((parameter("name")?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urlencoded(body: &str) -> Fields {
        Fields::parse(None, body.as_bytes()).unwrap()
    }

    #[test]
    fn a_field_may_be_missing_blank_doubled_or_contradicted() {
        let form = urlencoded("a=1&b=+&c=1&c=1&d=1&d=2");
        assert_eq!(form.one("a"), Ok(Some("1")));
        assert_eq!(form.one("b"), Ok(None));
        assert_eq!(form.one("c"), Ok(Some("1")));
        assert_eq!(form.one("d"), Err(SentTwice));
        assert_eq!(form.all("d").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(form.one("e"), Ok(None));
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_the_rest() {
        let form = urlencoded("a=%ff%00&b=%zz&c=d%40e");
        assert_eq!(form.one("a"), Ok(Some("\u{fffd}\0")));
        assert_eq!(form.one("c"), Ok(Some("d@e")));
    }

    #[test]
    fn the_three_encodings_say_the_same() {
        let json = br#"{"email": "ada@example.org", "topic": ["asia", "europe"], "next": null}"#;
        let multipart = b"preamble\r\n--xyz\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\nada@example.org\r\n\
            --xyz\r\ncontent-disposition: form-data; name=topic\r\n\r\nasia\r\n\
            --xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nnot a field\r\n\
            --xyz\r\nContent-Disposition: form-data; name=\"topic\"\r\n\r\neurope\r\n--xyz--\r\n";
        let expect = urlencoded("email=ada%40example.org&topic=asia&topic=europe");
        assert_eq!(
            Fields::parse(Some("application/json; charset=utf-8"), json).unwrap(),
            expect
        );
        let boundary = Some("Multipart/Form-Data; boundary=\"xyz\"");
        assert_eq!(Fields::parse(boundary, multipart).unwrap(), expect);
    }

    #[test]
    fn what_is_no_form_says_why() {
        let fails =
            |content_type, body: &[u8]| Fields::parse(Some(content_type), body).unwrap_err();
        assert_eq!(fails("image/png", b""), FormError::UnsupportedType);
        for (content_type, body) in [
            ("application/json", &b"[1]"[..]),
            ("application/json", b"{\"email\": {}}"),
            ("multipart/form-data", b""),
            ("multipart/form-data; boundary=x", b"nothing"),
            ("multipart/form-data; boundary=x", b"--x\r\nno end"),
        ] {
            assert!(matches!(fails(content_type, body), FormError::Malformed(_)));
        }
        let many = "a=1&".repeat(MAX_FIELDS + 1);
        assert!(Fields::parse(None, many.as_bytes()).is_err());
    }
}
