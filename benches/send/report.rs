//! Medians, ratios, the table on the screen and the files in `target/bench`.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What one run gave, in the unit of its report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    /// Who sent: `paperround`, `smtp-source`, `client`.
    pub(crate) who: &'static str,
    /// Messages per second, from the first that was accepted until the last outcome is durable.
    pub(crate) per_second: f64,
    /// From its start to the first message.
    pub(crate) start_seconds: f64,
    /// Processor time of the whole sender, per message.
    pub(crate) cpu_micros: f64,
    pub(crate) peak_rss_bytes: Option<u64>,
}

/// Which way a target is met.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// One row of the table, and its file.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) id: String,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) target: f64,
    pub(crate) met: bool,
    pub(crate) runs: Vec<serde_json::Value>,
    pub(crate) command: String,
}

impl Report {
    /// A row; `values` are those of the runs, of which the median counts.
    pub(crate) fn new(
        id: &str,
        what: &str,
        unit: &'static str,
        target: Target,
        values: &[f64],
        runs: Vec<serde_json::Value>,
    ) -> Self {
        let value = Spread::of(values).median;
        let (limit, met) = match target {
            Target::AtLeast(limit) => (limit, value >= limit),
            Target::AtMost(limit) => (limit, value <= limit),
        };
        let arguments: Vec<_> = std::env::args()
            .skip(1)
            .filter(|argument| argument != "--bench")
            .collect();
        Self {
            id: id.to_owned(),
            what: what.to_owned(),
            unit,
            value,
            target: limit,
            met,
            runs,
            command: format!("cargo bench --bench send -- {}", arguments.join(" ")),
        }
    }

    /// Shows it and writes its file.
    pub(crate) fn publish(&self, values: &[f64]) -> anyhow::Result<()> {
        let verdict = if self.met { "met" } else { "NOT MET" };
        println!(
            "{}: {} {} {}; target {}: {verdict}",
            self.id,
            self.what,
            Spread::of(values).text(),
            self.unit,
            self.target
        );
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.json", self.id));
        fs::write(file, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }
}

/// Median, least and most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self {
            median,
            least: at(0),
            most: at(sorted.len().saturating_sub(1)),
        }
    }

    pub(crate) fn text(self) -> String {
        let places = if self.median >= 100.0 { 0 } else { 2 };
        let Self {
            median,
            least,
            most,
        } = self;
        format!("{median:.places$} ({least:.places$} to {most:.places$})")
    }
}

/// The rates and the processor time of each sender, on the screen.
pub(crate) fn show_runs(runs: &[Run]) {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.who) {
            names.push(run.who);
        }
    }
    for name in names {
        let of = |value: fn(&Run) -> f64| {
            let values: Vec<_> = runs
                .iter()
                .filter(|run| run.who == name)
                .map(value)
                .collect();
            Spread::of(&values).text()
        };
        println!(
            "  {name:<12} {} msgs/s, {} µs of processor time each, first after {} s",
            of(|run| run.per_second),
            of(|run| run.cpu_micros),
            of(|run| run.start_seconds)
        );
    }
}

/// The quotients of `above` and `below`, run by run.
pub(crate) fn ratios(runs: &[Run], above: &str, below: &str) -> Vec<f64> {
    let of = |name: &str| {
        let name = name.to_owned();
        runs.iter()
            .filter(move |run| run.who == name)
            .map(|run| run.per_second)
    };
    of(above).zip(of(below)).map(|(a, b)| a / b).collect()
}

/// The runs as they stand in a report's file.
pub(crate) fn json(runs: &[Run]) -> serde_json::Result<Vec<serde_json::Value>> {
    runs.iter().map(serde_json::to_value).collect()
}

/// The value that `percent` of all values do not exceed.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}
