//! `bench delivery`: from the acknowledgement of a command to its receiver's subscriber, at a fixed rate.
//!
//! The command's own duration, as its caller sees it, is taken for the duration of the commit: it holds the call,
//! the decision and the append, and the append is nearly all of it.

use clap::Args;

use super::cpu::Cpu;
use super::load::Work;
use super::open_loop::{Delivered, WARM_S};
use super::stats::median;
use super::world::World;
use super::{figure, remark};
use crate::Error;

/// The goal of the ratio, to be read beside it.
const GOAL: f64 = 6.0;

/// How fast, how long, how often.
#[derive(Args, Clone, Debug)]
pub(super) struct DeliveryArgs {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long each round sends, seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Commands a second.
    #[arg(long, default_value_t = 500)]
    per_s: u32,
    /// How many posts send, and how many receive; all are subscribed.
    #[arg(long, default_value_t = 16)]
    posts: usize,
}

/// Measures and prints.
pub(super) async fn run(args: DeliveryArgs) -> Result<(), Error> {
    let DeliveryArgs { rounds, seconds, per_s, posts } = args;
    let world = World::start(posts).await?;
    let before = Cpu::now(&world)?;
    let measured: Vec<Delivered> = world.load(Work::Deliver { per_s, seconds, rounds }).await?;
    let commands = measured.iter().map(|round| round.commands).sum::<u64>() + u64::from(WARM_S * per_s);
    remark(format!(
        "processor time of each of {commands} commands: {}",
        Cpu::now(&world)?.since(before, commands)
    ))?;
    let ms = |us: u32| f64::from(us) / 1e3;
    for round in &measured {
        remark(format!(
            "{:.0}/s, {} commands, {} at the receiver before the sender had its answer; p50/p99: \
             command {:.1}/{:.1} ms, delivery {:.1}/{:.1} ms",
            round.per_s,
            round.commands,
            round.ahead,
            ms(round.commit_p50_us),
            ms(round.commit_p99_us),
            ms(round.delivery_p50_us),
            ms(round.delivery_p99_us),
        ))?;
    }
    let of =
        |value: fn(&Delivered) -> u32| median(measured.iter().map(|round| f64::from(value(round)) / 1e3));
    figure("delivery_p50_ms", of(|round| round.delivery_p50_us))?;
    figure("delivery_p99_ms", of(|round| round.delivery_p99_us))?;
    figure("commit_p50_ms", of(|round| round.commit_p50_us))?;
    figure("commit_p99_ms", of(|round| round.commit_p99_us))?;
    let ratio = |round: &Delivered| f64::from(round.delivery_p99_us) / f64::from(round.commit_p99_us.max(1));
    figure("delivery_vs_commit", median(measured.iter().map(ratio)))?;
    remark(format!("goal of delivery_vs_commit: at most {GOAL}"))?;
    figure("delivery_per_s", median(measured.iter().map(|round| round.per_s)))?;
    let lost: u64 = measured.iter().map(|round| round.lost).sum();
    if lost > 0 {
        return Err(format!("{lost} acknowledged commands never reached their subscriber").into());
    }
    world.stop().await
}
