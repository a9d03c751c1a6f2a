//! P1c: how well a relay's allowance is used, and that it is kept to, over restarts.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::options::Options;
use crate::program;
use crate::receiver::Receiver;
use crate::report::{Report, Target};
use crate::stage::{Engine, Issue, Stage, Upto};

/// Messages a second.
const RATES: [u32; 2] = [14, 200];
/// How many may go at once after a quiet time.
const BURST: u32 = 20;
/// How long it sends, and in how many lives.
const SPAN: Duration = Duration::from_secs(21);
const LIVES: u32 = 3;
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    for rate in RATES {
        println!("P1c: {SPAN:?} at {rate} messages a second, in {LIVES} lives");
        let readers = u64::from(rate) * SPAN.as_secs() * 2;
        let issue = Issue::make(Engine::Sqlite, readers, Upto::Prepared).await?;
        let (mut runs, mut values) = (Vec::new(), Vec::new());
        for _ in 0..options.runs {
            let (used, most) = once(&issue.stage, rate).await?;
            println!("  {used:.3} of the allowance, at most {most} in a second");
            ensure!(
                most <= rate + BURST,
                "{most} messages in a second, {rate} and {BURST} are allowed"
            );
            values.push(used);
            runs.push(json!({ "used": used, "most_in_a_second": most }));
        }
        let what = format!("of an allowance of {rate} a second");
        let id = format!("P1c-{rate}");
        Report::new(&id, &what, "x", Target::AtLeast(0.98), &values, runs).publish(&values)?;
    }
    Ok(())
}

/// The part of the allowance that was used, and the most messages in any second.
async fn once(stage: &Stage, rate: u32) -> anyhow::Result<(f64, u32)> {
    let stage = stage.copy().await?;
    let receiver = Receiver::start()?;
    let mut settings = program::relay(receiver.port, 20);
    settings.push(("smtp.rate", rate.to_string()));
    settings.push(("smtp.burst", BURST.to_string()));
    let mut began_at = None;
    for _ in 0..LIVES {
        let mut service = program::start(&stage, &["serve", "--only", "worker"], &settings)?;
        let deadline = Instant::now() + PATIENCE;
        while began_at.is_none() {
            service.check_alive()?;
            ensure!(Instant::now() < deadline, "no mail arrives");
            sleep(Duration::from_millis(1)).await;
            if receiver.counts().0 > 0 {
                began_at = Some(Instant::now());
            }
        }
        sleep(SPAN / LIVES).await;
        service.terminate()?;
    }
    let mut times = receiver.times();
    times.sort();
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        anyhow::bail!("no mail arrived");
    };
    // what may go at once at the beginning is not part of the pace
    let paced = u32::try_from(times.len())?.saturating_sub(BURST);
    let used = f64::from(paced) / ((*last - *first).as_secs_f64() * f64::from(rate));
    let most = times.iter().enumerate().map(|(at, time)| {
        let end = *time + Duration::from_secs(1);
        times[at..].partition_point(|later| *later < end)
    });
    Ok((used, u32::try_from(most.max().unwrap_or_default())?))
}
