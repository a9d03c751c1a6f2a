//! What the compiler does not hold: where SQL may stand, how large a file may be, that the documents name what exists.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that may be longer than 500 lines, each with its reason.
const LONG: &[(&str, &str)] = &[];

/// Words that mean different things on the two engines, or nothing on one: see the module docs of `db`.
const ONE_ENGINE: &[&str] = &[
    "now()",
    "current_timestamp",
    "strftime",
    "date_trunc",
    "gen_random_uuid",
    "random()",
    "autoincrement",
    "ilike",
    " like ",
    "lower(",
    "upper(",
    "distinct on",
    "lateral",
    " offset ",
    "greatest(",
    "fetch first",
];

fn files_under(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The lines of a file above its unit tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .enumerate()
        .map(|(number, line)| (number + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn is_sql(line: &str) -> bool {
    ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM "]
        .iter()
        .any(|word| {
            line.contains(&format!("\"{word}"))
                || line.trim_start().starts_with(word) && line.contains(" SET ")
        })
}

fn none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

#[test]
fn sql_stands_only_in_stores_and_in_db() {
    let faults: Vec<_> = files_under("src", "rs")
        .iter()
        .filter(|(path, _)| {
            !path.ends_with("store.rs") && !path.starts_with("src/db") && !in_store_folder(path)
        })
        .flat_map(|(path, text)| {
            code(text)
                .filter(|(_, line)| is_sql(line))
                .map(|(number, line)| format!("{}:{number}: {}", path.display(), line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(
        &faults,
        "SQL stands in `store.rs` files, `store/` folders and `db/`",
    );
}

fn in_store_folder(path: &Path) -> bool {
    path.parent()
        .is_some_and(|folder| folder.ends_with("store"))
}

#[test]
fn statements_for_both_engines_use_what_both_know() {
    let mut faults = Vec::new();
    for (path, text) in files_under("src", "rs") {
        for statement in constants(&text) {
            let one_engine =
                statement.name.ends_with("_POSTGRES") || statement.name.ends_with("_SQLITE");
            let sql = statement.value.to_lowercase();
            let starts = ["select ", "insert ", "update ", "delete ", "with "];
            if one_engine || !starts.iter().any(|word| sql.trim_start().starts_with(word)) {
                continue;
            }
            for word in ONE_ENGINE.iter().filter(|word| sql.contains(**word)) {
                faults.push(format!("{}: {} has {word}", path.display(), statement.name));
            }
            if sql.contains("::") || sql.contains('?') {
                faults.push(format!(
                    "{}: {} has `::` or `?`",
                    path.display(),
                    statement.name
                ));
            }
        }
    }
    none(&faults, "a statement for both engines uses what both know");
}

struct Constant<'a> {
    name: &'a str,
    value: &'a str,
}

/// The text constants of a file.
fn constants(text: &str) -> Vec<Constant<'_>> {
    text.split("const ")
        .skip(1)
        .filter_map(|rest| {
            let (name, rest) = rest.split_once(": &str =")?;
            let rest = rest.trim_start();
            let opening = rest.find('"')?;
            let value = rest.get(opening + 1..)?;
            let end = value.find("\";").or_else(|| value.find("\"#;"))?;
            Some(Constant {
                name: name.trim(),
                value: value.get(..end)?,
            })
        })
        .collect()
}

#[test]
fn no_statement_is_put_together_or_checked_against_one_engine() {
    let faults: Vec<_> = files_under("src", "rs")
        .iter()
        .flat_map(|(path, text)| {
            code(text)
                .filter(|(_, line)| {
                    line.contains("AssertSqlSafe")
                        || line.contains("query!(")
                        || line.contains("query_as!(")
                })
                .map(|(number, line)| format!("{}:{number}: {}", path.display(), line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(&faults, "a statement is a constant");
}

/// A builder joins constants around a list of bound values, and nothing else.
#[test]
fn what_is_pushed_into_a_statement_is_a_constant() {
    let is_constant = |argument: &str| {
        let word: &str = argument
            .split(|next: char| !next.is_alphanumeric() && next != '_')
            .next()
            .unwrap_or_default();
        argument.starts_with('"') || (word.len() > 1 && word == word.to_uppercase())
    };
    let mut builders = 0;
    let mut faults = Vec::new();
    for (path, text) in files_under("src", "rs") {
        if !text.contains("QueryBuilder") {
            continue;
        }
        builders += 1;
        for (number, line) in code(&text) {
            let pushed = line
                .split_once(".push(")
                .filter(|(to, _)| !to.ends_with("ids"));
            let begun = line
                .split_once("QueryBuilder::new(")
                .or_else(|| line.split_once("QueryBuilder::<Sqlite>::new("));
            for (_, argument) in [pushed, begun].into_iter().flatten() {
                if !is_constant(argument) {
                    faults.push(format!("{}:{number}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(builders > 0);
    none(&faults, "what is pushed into a statement is a constant");
}

#[test]
fn an_address_has_one_constructor() {
    let text = fs::read_to_string("src/subscribers/email_address.rs").unwrap();
    let makes = |line: &str| {
        let names_it = line.contains("Self { typed") || line.contains("EmailAddress { typed");
        names_it || line.trim() == "EmailAddress {"
    };
    let made: Vec<usize> = code(&text)
        .filter(|(_, line)| makes(line))
        .map(|(number, _)| number)
        .collect();
    let line_of = |part: &str| text.lines().position(|line| line.contains(part)).unwrap();
    let (parse, next) = (line_of("pub fn parse("), line_of("pub fn as_str("));
    assert!(
        made.len() == 1 && (parse..next).contains(&made[0]),
        "only `EmailAddress::parse` makes one: lines {made:?}"
    );
    let fields = text.split("pub struct EmailAddress {").nth(1).unwrap();
    assert!(!fields.split('}').next().unwrap().contains("pub"));
}

#[test]
fn addresses_pass_the_one_gate() {
    let banned = [
        "validate(email",
        "validate(url",
        "Address::new_dangerous",
        "dangerous_new_pre_encoded",
    ];
    let faults: Vec<_> = files_under("src", "rs")
        .iter()
        .flat_map(|(path, text)| {
            code(text)
                .filter(|(_, line)| banned.iter().any(|word| line.contains(word)))
                .map(|(number, line)| format!("{}:{number}: {}", path.display(), line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(
        &faults,
        "an address passes `EmailAddress::parse`, a header the builder of `mail`",
    );
}

#[test]
fn time_randomness_and_environment_have_one_home() {
    let banned = [
        ("Timestamp::now()", "clock.rs"),
        ("SystemTime::now()", "clock.rs"),
        ("Uuid::new_v4", "id.rs"),
        ("Uuid::now_v7", "id.rs"),
        ("SysRng", "id.rs"),
        ("env::var(", "config"),
    ];
    let faults: Vec<_> = files_under("src", "rs")
        .iter()
        .flat_map(|(path, text)| {
            code(text)
                .filter(|(_, line)| {
                    banned.iter().any(|(word, home)| {
                        line.contains(word) && !path.to_string_lossy().contains(home)
                    })
                })
                .map(|(number, line)| format!("{}:{number}: {}", path.display(), line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(
        &faults,
        "time, randomness and the environment are asked for in one file each",
    );
}

#[test]
fn files_are_small() {
    let mut faults = Vec::new();
    for (path, text) in files_under("src", "rs")
        .into_iter()
        .chain(files_under("tests", "rs"))
    {
        let lines = text.lines().count();
        let listed = LONG.iter().any(|(name, _)| path.ends_with(name));
        if lines > 500 && !listed {
            faults.push(format!("{}: {lines} lines", path.display()));
        }
        if listed && lines <= 500 {
            faults.push(format!("{}: listed as long, but is not", path.display()));
        }
    }
    none(&faults, "a file has one subject, and at most 500 lines");
}

#[test]
fn every_todo_has_a_number() {
    let words = ["TODO", "FIXME", "XXX"];
    let faults: Vec<_> = files_under("src", "rs")
        .iter()
        .flat_map(|(path, text)| {
            text.lines()
                .enumerate()
                .filter(|(_, line)| {
                    words.iter().any(|word| {
                        line.contains(&format!("{word} ")) || line.contains(&format!("{word}:"))
                    })
                })
                .map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(&faults, "write TODO(#7), with the issue's number");
}

/// The rows of the fault table, by their ids.
fn fault_ids() -> Vec<String> {
    let rows = |letter: &str, numbers: std::ops::RangeInclusive<u8>| -> Vec<String> {
        numbers.map(|number| format!("{letter}{number}")).collect()
    };
    [
        rows("K", 1..=11),
        rows("S", 1..=18),
        rows("D", 1..=11),
        rows("C", 4..=5),
        rows("H", 2..=3),
    ]
    .concat()
}

#[test]
fn every_fault_has_its_tests() {
    let table = fs::read_to_string("tests/it/faults/mod.rs").unwrap();
    let mut faults = Vec::new();
    for id in fault_ids() {
        let begins = format!("//! | {id} ");
        let Some(row) = table.lines().find(|line| line.starts_with(&begins)) else {
            faults.push(format!("{id} has no row"));
            continue;
        };
        let tests = row.rsplit(" | ").next().unwrap_or_default();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            faults.push(format!("{id} has no test"));
        }
        let missing = names.into_iter().filter(|name| !is_test(name));
        faults.extend(missing.map(|name| format!("{id}: there is no test {name}")));
    }
    none(
        &faults,
        "each row of the fault table names tests that exist",
    );
}

/// Whether there is a test of this path.
fn is_test(path: &str) -> bool {
    let Some((module, name)) = path.rsplit_once("::") else {
        return false;
    };
    let file = format!("tests/it/{}", module.replace("::", "/"));
    [format!("{file}.rs"), format!("{file}/mod.rs")]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| {
            [
                format!("fn {name}("),
                format!("db_test!({name},"),
                format!("\n    {name},\n"),
            ]
            .iter()
            .any(|found| text.contains(found))
        })
}

#[test]
fn the_changelog_has_an_unreleased_section() {
    let changelog = fs::read_to_string("CHANGELOG.md").unwrap();
    assert!(changelog.contains("## Unreleased"));
}

#[test]
fn the_data_flow_names_files_and_functions_that_exist() {
    let architecture = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let flow = architecture
        .split("## Data flow")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("ARCHITECTURE.md has a section `Data flow`");
    let steps: Vec<&str> = flow
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    assert_eq!(steps.len(), 10, "ten steps");
    for step in steps {
        // each step names at least one `src/file.rs` followed by the function in it
        let names: Vec<&str> = step.split('`').skip(1).step_by(2).collect();
        let mut pairs = 0;
        for pair in names.windows(2) {
            let (file, function) = (pair[0], pair[1]);
            if !file.starts_with("src/") || function.starts_with("src/") {
                continue;
            }
            pairs += 1;
            let text = fs::read_to_string(file)
                .unwrap_or_else(|error| panic!("{file} in `{step}`: {error}"));
            let function = function.trim_end_matches("()");
            assert!(
                text.contains(&format!("fn {function}("))
                    || text.contains(&format!("fn {function}<")),
                "{file} has no function {function}, which ARCHITECTURE.md names in `{step}`"
            );
        }
        assert!(pairs > 0, "`{step}` names no file with its function");
    }
}

#[test]
fn nothing_points_out_of_the_repository() {
    let places = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ];
    let mut faults = Vec::new();
    let texts = files_under("src", "rs").into_iter().chain(
        places
            .iter()
            .map(|name| (PathBuf::from(name), fs::read_to_string(name).unwrap())),
    );
    for (path, text) in texts {
        if text.contains("shared/design") {
            faults.push(path.display().to_string());
        }
    }
    none(&faults, "what readers need stands in this repository");
}
