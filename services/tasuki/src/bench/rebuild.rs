//! `bench rebuild`: all views from the log, against COPY of the rows that they consist of.
//!
//! The log is made by the program, case by case; then the program ends, so that nothing else uses the machine. COPY
//! gets the rows from memory and ends with the same keys and indexes.

use std::time::{Duration, Instant};

use clap::Args;

use super::closed_loop::Measured;
use super::lag::Observer;
use super::load::Work;
use super::stats::median;
use super::world::World;
use super::{figure, remark};
use crate::Error;

/// Opened, submitted, acknowledged, accepted.
const EVENTS_PER_CASE: u64 = 4;
const CALLERS: usize = 128;
const SETTLE_LIMIT: Duration = Duration::from_secs(1_800);
/// The goal of the ratio, to be read beside it.
const GOAL: f64 = 0.3;

/// How much, how often.
#[derive(Args, Clone, Debug)]
pub(super) struct RebuildArgs {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Events in the log, about.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// How many posts send, and how many receive.
    #[arg(long, default_value_t = 16)]
    posts: usize,
}

struct Round {
    rebuild_s: f64,
    copy_s: f64,
}

/// Measures and prints.
pub(super) async fn run(args: RebuildArgs) -> Result<(), Error> {
    let mut world = World::start(args.posts).await?;
    let cases = args.events.div_ceil(EVENTS_PER_CASE);
    let made: Measured = world.load(Work::Cases { callers: CALLERS, cases }).await?;
    let observer = Observer::new(&world).await?;
    let (events, _) = observer.reader.head().await?;
    remark(format!("{events} events of {cases} cases in {:.0} s", made.seconds))?;
    let rest = observer.settled(SETTLE_LIMIT).await?;
    remark(format!("the live views hold them {:.1} s later", rest.as_secs_f64()))?;

    drop(observer);
    world.program.terminate().await?;
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        let checkpoint = || world.stack.postgres.sql("tasuki", "CHECKPOINT");
        checkpoint().await?;
        let started = Instant::now();
        let rebuilt = tasuki_views::rebuild(&world.database_url).await?;
        let rebuild_s = started.elapsed().as_secs_f64();
        checkpoint().await?;
        let copied = tasuki_views::copy_baseline(&world.database_url).await?;
        let copy_s = (copied.copying + copied.indexing).as_secs_f64();
        remark(format!(
            "rebuild {rebuild_s:.2} s (copying {:.2}, indexing {:.2}, switching {:.2}); COPY of {} rows {copy_s:.2} s \
             (copying {:.2}, indexing {:.2})",
            rebuilt.copying.as_secs_f64(),
            rebuilt.indexing.as_secs_f64(),
            rebuilt.switching.as_secs_f64(),
            copied.rows,
            copied.copying.as_secs_f64(),
            copied.indexing.as_secs_f64(),
        ))?;
        rounds.push(Round { rebuild_s, copy_s });
    }
    figure("rebuild_vs_copy", median(rounds.iter().map(|round| round.copy_s / round.rebuild_s)))?;
    remark(format!("goal of rebuild_vs_copy: at least {GOAL}"))?;
    figure("rebuild_events_per_s", median(rounds.iter().map(|round| events as f64 / round.rebuild_s)))?;
    figure("rebuild_s", median(rounds.iter().map(|round| round.rebuild_s)))?;
    figure("copy_s", median(rounds.iter().map(|round| round.copy_s)))?;
    world.stop().await
}
