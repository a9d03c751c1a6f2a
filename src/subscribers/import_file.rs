//! Reading a file of readers: whatever a spreadsheet made of it, down to rows and rejects. Pure.

use std::collections::BTreeSet;

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::email_address::{AddressRules, EmailAddress, EmailKey};
use super::selection::Selection;
use crate::newsletters::{Cadence, Slug};

/// A file that was read.
#[derive(Debug, Default)]
pub struct ImportFile {
    /// Rows that can be imported, each address once, in their order.
    pub rows: Vec<ImportRow>,
    /// Rows that cannot.
    pub rejects: Vec<Reject>,
    /// Rows whose address stood above already.
    pub duplicates: usize,
    /// Columns that are not used.
    pub ignored: Vec<String>,
}

/// A reader to import.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// The line in the file, the header being 1.
    pub line: u64,
    /// The address.
    pub email: EmailAddress,
    /// What they chose.
    pub selection: Selection,
}

/// A row that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The line in the file, the header being 1.
    pub line: u64,
    /// The cell that is wrong, as it stands there.
    pub cell: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a file cannot be read at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Nothing is in it.
    #[error("the file is empty: its first line must name the columns, one of them `email`")]
    Empty,
    /// The one column that is needed is missing.
    #[error("no column is called `email`; the first line has: {0}")]
    NoEmail(String),
    /// It is no table.
    #[error("line {0} cannot be read as CSV: {1}")]
    Csv(u64, String),
}

/// Reads a CSV file: UTF-8 (with or without a byte order mark), UTF-16 or Windows-1252; commas, semicolons or tabs.
///
/// `topics` are the newsletter's; a cell may name several, separated by `|`, or by `;` where that does not separate
/// the columns.
pub fn read(
    bytes: &[u8],
    topics: &BTreeSet<Slug>,
    rules: AddressRules,
) -> Result<ImportFile, FileError> {
    let text = decode(bytes);
    let first = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .ok_or(FileError::Empty)?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(first))
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let csv_error = |error: &csv::Error| {
        FileError::Csv(
            error.position().map_or(1, csv::Position::line),
            error.to_string(),
        )
    };
    let header = reader.headers().map_err(|error| csv_error(&error))?.clone();
    let names: Vec<String> = header
        .iter()
        .map(|name| tidy(name).to_lowercase())
        .collect();
    let column = |wanted: &[&str]| {
        names
            .iter()
            .position(|name| wanted.contains(&name.as_str()))
    };
    let email = column(&["email", "e-mail", "email address"]);
    let email = email.ok_or_else(|| FileError::NoEmail(names.join(", ")))?;
    let (topic, cadence) = (column(&["topic", "topics"]), column(&["cadence"]));
    let state = column(&["state"]);

    let used = [Some(email), topic, cadence, state];
    let is_ignored = |(index, _): &(usize, &String)| !used.contains(&Some(*index));
    let ignored = names
        .iter()
        .enumerate()
        .filter(is_ignored)
        .map(|(_, name)| name.clone());
    let mut file = ImportFile {
        ignored: ignored.collect(),
        ..ImportFile::default()
    };
    let mut seen = BTreeSet::<EmailKey>::new();
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(&error))?;
        if record.iter().all(|cell| tidy(cell).is_empty()) {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |index: Option<usize>| {
            index
                .and_then(|index| record.get(index))
                .map(tidy)
                .unwrap_or_default()
        };
        let cells = Cells {
            email: cell(Some(email)),
            topic: cell(topic),
            cadence: cell(cadence),
            state: cell(state),
        };
        let row = row(line, &cells, topics, rules);
        match row {
            Ok(row) if seen.insert(row.email.key().clone()) => file.rows.push(row),
            Ok(_) => file.duplicates += 1,
            Err(reject) => file.rejects.push(reject),
        }
    }
    Ok(file)
}

/// The cells of one line that are used.
struct Cells<'a> {
    email: &'a str,
    topic: &'a str,
    cadence: &'a str,
    state: &'a str,
}

fn row(
    line: u64,
    cells: &Cells<'_>,
    topics: &BTreeSet<Slug>,
    rules: AddressRules,
) -> Result<ImportRow, Reject> {
    let reject = |cell: &str, reason: String| Reject {
        line,
        cell: cell.to_owned(),
        reason,
    };
    let Cells {
        email,
        topic,
        cadence,
        state,
    } = cells;
    // an export has everybody, and those who left stay out
    if !state.is_empty() && *state != "active" {
        return Err(reject(
            state,
            "Only rows whose state is active are imported.".to_owned(),
        ));
    }
    // an export guards cells against spreadsheets by an apostrophe
    let email = EmailAddress::parse(email.trim_start_matches('\''), rules)
        .map_err(|error| reject(email, error.to_string()))?;
    let mut selection = Selection::default();
    for name in topic
        .split(['|', ';'])
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let slug = name.to_lowercase().parse::<Slug>().ok();
        let known = slug.filter(|slug| topics.contains(slug));
        let known =
            known.ok_or_else(|| reject(name, "The newsletter has no such topic.".to_owned()))?;
        if !selection.topics.contains(&known) {
            selection.topics.push(known);
        }
    }
    if !cadence.is_empty() {
        let parsed = cadence
            .to_lowercase()
            .parse::<Cadence>()
            .ok()
            .filter(|cadence| *cadence != Cadence::Off);
        let wrong = || {
            reject(
                cadence,
                "The cadence must be immediate, daily, weekly or monthly.".to_owned(),
            )
        };
        selection.cadence = Some(parsed.ok_or_else(wrong)?);
    }
    Ok(ImportRow {
        line,
        email,
        selection,
    })
}

/// What people paste around an address: no-break spaces, quotes that a spreadsheet left, marks of direction.
fn tidy(cell: &str) -> &str {
    cell.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}' | '\u{200e}' | '\u{200f}')
    })
}

fn decode(bytes: &[u8]) -> String {
    let zeros = |offset: usize| {
        bytes
            .iter()
            .skip(offset)
            .step_by(2)
            .take(200)
            .filter(|byte| **byte == 0)
            .count()
    };
    let encoding = match bytes {
        [0xef, 0xbb, 0xbf, ..] => UTF_8,
        [0xff, 0xfe, ..] => UTF_16LE,
        [0xfe, 0xff, ..] => UTF_16BE,
        // a file of addresses is mostly ASCII: every second byte of it is zero in UTF-16
        _ if zeros(1) > 3 && zeros(0) == 0 => UTF_16LE,
        _ if zeros(0) > 3 && zeros(1) == 0 => UTF_16BE,
        _ if std::str::from_utf8(bytes).is_ok() => UTF_8,
        _ => WINDOWS_1252,
    };
    encoding.decode(bytes).0.into_owned()
}

/// The separator that the first line has most of.
fn delimiter(first: &str) -> u8 {
    let count = |wanted: char| first.chars().filter(|c| *c == wanted).count();
    let candidates = [(count(','), b','), (count(';'), b';'), (count('\t'), b'\t')];
    candidates
        .into_iter()
        .rev()
        .max_by_key(|(count, _)| *count)
        .map_or(b',', |(_, byte)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> ImportFile {
        let topics = ["all", "europe", "asia"]
            .map(|slug| slug.parse().unwrap())
            .into_iter()
            .collect();
        read(bytes, &topics, AddressRules::default()).unwrap()
    }

    fn addresses(file: &ImportFile) -> Vec<&str> {
        file.rows.iter().map(|row| row.email.as_str()).collect()
    }

    #[test]
    fn every_usual_encoding_and_separator_is_read() {
        let expected = ["ada@example.org", "bob@example.org"];
        let utf16 = |text: &str, mark: bool| -> Vec<u8> {
            let units = mark
                .then_some(0xfeff)
                .into_iter()
                .chain(text.encode_utf16());
            units.flat_map(u16::to_le_bytes).collect()
        };
        let text = "email,name\nada@example.org,Ada\nbob@example.org,Bob\n";
        assert_eq!(addresses(&parse(text.as_bytes())), expected);
        assert_eq!(
            addresses(&parse(format!("\u{feff}{text}").as_bytes())),
            expected
        );
        assert_eq!(addresses(&parse(&utf16(text, true))), expected);
        assert_eq!(addresses(&parse(&utf16(text, false))), expected);
        assert_eq!(
            addresses(&parse(text.replace(',', ";").as_bytes())),
            expected
        );
        assert_eq!(
            addresses(&parse(text.replace(',', "\t").as_bytes())),
            expected
        );
        assert_eq!(
            addresses(&parse(
                b"Email;Name\r\nada@example.org;Ad\xe4\r\nbob@example.org;B\r\n"
            )),
            expected
        );
    }

    #[test]
    fn utf_16_is_read_in_either_order_of_its_bytes() {
        for text in [
            "email\nada@example.org\n",
            "\u{feff}email\nada@example.org\n",
        ] {
            for order in [u16::to_be_bytes, u16::to_le_bytes] {
                let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
                assert_eq!(addresses(&parse(&bytes)), ["ada@example.org"]);
            }
        }
    }

    #[test]
    fn topics_are_separated_in_either_way_and_named_in_any_case() {
        let file = parse(
            b"email,topic,cadence\nada@example.org,Europe; asia|europe,Weekly\nbob@example.org\n",
        );
        let chosen = &file.rows[0].selection;
        let topics: Vec<_> = chosen.topics.iter().map(Slug::as_str).collect();
        assert_eq!(topics, ["europe", "asia"]);
        assert_eq!(chosen.cadence, Some(Cadence::Weekly));
        // a line that ends early chooses nothing
        assert_eq!(file.rows[1].selection, Selection::default());
    }

    #[test]
    fn nobody_is_imported_with_a_rhythm_of_no_mails() {
        let file = parse(b"email,cadence\nada@example.org,off\nbob@example.org,\n");
        assert_eq!(addresses(&file), ["bob@example.org"]);
        assert_eq!(file.rejects[0].cell, "off");
    }

    #[test]
    fn a_wrong_row_says_where_and_why_and_keeps_nobody_else_out() {
        let file = parse(
            b"email,topic,cadence\nada@example.org,europe|asia,weekly\nnobody,,\nbob@example.org,mars,\n\
              eve@example.org,,hourly\n\xc2\xa0ADA@example.org ,,\n,,\n",
        );
        assert_eq!(addresses(&file), ["ada@example.org"]);
        assert_eq!(file.rows[0].selection.topics.len(), 2);
        assert_eq!(file.rows[0].selection.cadence, Some(Cadence::Weekly));
        assert_eq!(file.duplicates, 1);
        let rejects: Vec<_> = file
            .rejects
            .iter()
            .map(|reject| (reject.line, reject.cell.as_str()))
            .collect();
        assert_eq!(rejects, [(3, "nobody"), (4, "mars"), (5, "hourly")]);
    }

    #[test]
    fn those_who_left_stay_out_of_an_imported_export() {
        let file = parse(b"email,state,topic,cadence\nada@example.org,active,all,daily\nbob@example.org,unsubscribed,,\neve@example.org,bounced,,\n");
        assert_eq!(addresses(&file), ["ada@example.org"]);
        let states: Vec<_> = file.rejects.iter().map(|reject| &*reject.cell).collect();
        assert_eq!(states, ["unsubscribed", "bounced"]);
    }

    #[test]
    fn a_file_without_the_column_says_what_it_has() {
        let none = BTreeSet::new();
        let error = read(
            b"name,mail\nAda,ada@example.org\n",
            &none,
            AddressRules::default(),
        )
        .unwrap_err();
        assert_eq!(error, FileError::NoEmail("name, mail".to_owned()));
        assert_eq!(
            read(b"\n \n", &none, AddressRules::default()).unwrap_err(),
            FileError::Empty
        );
    }

    #[test]
    fn each_name_of_a_column_is_known_and_the_columns_that_are_not_used_are_named() {
        for (email, topic) in [
            ("email", "topic"),
            ("E-Mail", "Topics"),
            ("Email Address", "TOPIC"),
        ] {
            let text = format!(
                "Name,{topic},Cadence,{email},State,Phone\nAda,asia,weekly,ada@example.org,active,1\n"
            );
            let file = parse(text.as_bytes());
            assert_eq!(addresses(&file), ["ada@example.org"], "{email}");
            let chosen = &file.rows[0].selection;
            assert_eq!(chosen.topics.len(), 1, "{topic}");
            assert_eq!(chosen.cadence, Some(Cadence::Weekly));
            assert_eq!(file.ignored, ["name", "phone"]);
        }
    }

    #[test]
    fn what_is_pasted_around_a_cell_is_dropped() {
        for mark in ['\u{a0}', '\u{feff}', '\u{200b}', '\u{200e}', '\u{200f}'] {
            let text =
                format!("{mark}email{mark},topic\n{mark}ada@example.org{mark},{mark}asia{mark}\n");
            let file = parse(text.as_bytes());
            assert_eq!(addresses(&file), ["ada@example.org"], "{mark:?}");
            assert_eq!(file.rows[0].selection.topics.len(), 1, "{mark:?}");
        }
    }
}
