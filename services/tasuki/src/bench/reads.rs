//! `bench reads`: pages of a timeline at a fixed rate, beside commands in the same seconds.
//!
//! A page is fifty events with their facts: found in the feed, unsealed, reduced to what the reader may read, put on
//! record, answered. The command's own duration, as its caller sees it, is taken for the duration of the commit.

use clap::Args;

use super::cpu::Cpu;
use super::load::Work;
use super::paging::{Paged, WARM_S};
use super::stats::median;
use super::world::World;
use super::{figure, remark};
use crate::Error;

/// The goal of the ratio, to be read beside it.
const GOAL: f64 = 3.0;

/// How fast, how long, how often.
#[derive(Args, Clone, Debug)]
pub(super) struct ReadsArgs {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long each round reads, seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Pages a second.
    #[arg(long, default_value_t = 200)]
    per_s: u32,
    /// Commands a second beside them.
    #[arg(long, default_value_t = 50)]
    commands_per_s: u32,
    /// Cases that are read.
    #[arg(long, default_value_t = 32)]
    cases: usize,
}

/// Measures and prints.
pub(super) async fn run(args: ReadsArgs) -> Result<(), Error> {
    let ReadsArgs { rounds, seconds, per_s, commands_per_s, cases } = args;
    let world = World::start(16).await?;
    let before = Cpu::now(&world)?;
    let measured: Vec<Paged> =
        world.load(Work::Read { per_s, commands_per_s, seconds, rounds, cases }).await?;
    let reads = measured.iter().map(|round| round.reads).sum::<u64>() + u64::from(WARM_S * per_s);
    remark(format!(
        "processor time of each of {reads} pages, commands and preparation included: {}",
        Cpu::now(&world)?.since(before, reads)
    ))?;
    let ms = |us: u32| f64::from(us) / 1e3;
    for round in &measured {
        remark(format!(
            "{:.0} pages/s of {:.1} items and {:.1} KiB; p50/p99: page {:.1}/{:.1} ms, command {:.1}/{:.1} ms",
            round.per_s,
            round.items as f64 / round.reads.max(1) as f64,
            round.bytes as f64 / 1024.0 / round.reads.max(1) as f64,
            ms(round.read_p50_us),
            ms(round.read_p99_us),
            ms(round.commit_p50_us),
            ms(round.commit_p99_us),
        ))?;
    }
    let of = |value: fn(&Paged) -> u32| median(measured.iter().map(|round| f64::from(value(round)) / 1e3));
    figure("read_p50_ms", of(|round| round.read_p50_us))?;
    figure("read_p99_ms", of(|round| round.read_p99_us))?;
    figure("commit_p50_ms", of(|round| round.commit_p50_us))?;
    figure("commit_p99_ms", of(|round| round.commit_p99_us))?;
    let ratio = |round: &Paged| f64::from(round.read_p99_us) / f64::from(round.commit_p99_us.max(1));
    figure("read_vs_commit", median(measured.iter().map(ratio)))?;
    remark(format!("goal of read_vs_commit: at most {GOAL}"))?;
    figure("reads_per_s", median(measured.iter().map(|round| round.per_s)))?;
    world.stop().await
}
