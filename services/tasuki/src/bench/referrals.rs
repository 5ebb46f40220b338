//! `bench referrals`: referrals that open a case, against rows that pgbench inserts.
//!
//! A referral is a gRPC call of a process of its own: token checked, policy applied, decided, two events sealed and
//! chained, keys and request written, committed; relay, projector and everything else run beside it. A row of pgbench
//! is the same sealed bytes in a plain table on the same PostgreSQL. Each round measures all of it in turn.

use std::time::Duration;

use clap::Args;

use super::closed_loop::Measured;
use super::cpu::Cpu;
use super::lag::Observer;
use super::load::Work;
use super::pgbench::{Pgbench, test_fsync};
use super::stats::median;
use super::world::World;
use super::{figure, remark};
use crate::Error;

/// The level that is compared with pgbench and with the echo.
const COMPARED: usize = 128;
/// The goal of the ratio, to be read beside it.
const GOAL: f64 = 0.5;
/// One opens the case, one is the referral.
const EVENTS_PER_REFERRAL: u64 = 2;
/// Relay and projector have this long after a load.
const PAUSE: Duration = Duration::from_secs(5);
/// After this they are not expected to arrive at all.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);

/// How long, how often.
#[derive(Args, Clone, Debug)]
pub(super) struct ReferralsArgs {
    /// How often everything is measured in turn.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long each level is measured, seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Numbers of callers, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,32,128,512")]
    callers: Vec<usize>,
    /// How many posts send, and how many receive.
    #[arg(long, default_value_t = 16)]
    posts: usize,
    /// Leave out what the disk can do; it takes half a minute.
    #[arg(long)]
    no_fsync_test: bool,
}

/// What one round measured.
struct Round {
    levels: Vec<Measured>,
    lag_s: f64,
    echo_per_s: f64,
    pgbench_per_s: f64,
}

/// Measures and prints.
pub(super) async fn run(args: ReferralsArgs) -> Result<(), Error> {
    let world = World::start(args.posts).await?;
    if !args.no_fsync_test {
        for said in test_fsync(&world.stack.postgres).await? {
            remark(format!("pg_test_fsync: {said}"))?;
        }
    }
    let observer = Observer::new(&world).await?;
    let row = sample(&world, &observer).await?;
    let pgbench = Pgbench::prepare(&world.stack.postgres, &row).await?;
    let mut rounds = Vec::new();
    for n in 1..=args.rounds {
        remark(format!("round {n} of {}", args.rounds))?;
        rounds.push(round(&args, &world, &observer, &pgbench).await?);
    }
    print(&args, &rounds)?;
    drop(observer);
    world.stop().await
}

async fn round(
    args: &ReferralsArgs,
    world: &World,
    observer: &Observer,
    pgbench: &Pgbench<'_>,
) -> Result<Round, Error> {
    let seconds = f64::from(args.seconds);
    let (before, (first, _)) = (Cpu::now(world)?, observer.reader.head().await?);
    let mut levels = Vec::new();
    for &callers in &args.callers {
        let measured: Measured = world.load(Work::Submit { callers, seconds }).await?;
        remark(format!("{callers} callers: {}", words(&measured)))?;
        levels.push(measured);
    }
    let lag_s = observer.after(PAUSE, SETTLE_LIMIT).await?;
    let referrals = (observer.reader.head().await?.0 - first) / EVENTS_PER_REFERRAL;
    remark(format!(
        "processor time of each of {referrals} referrals: {}",
        Cpu::now(world)?.since(before, referrals)
    ))?;
    let echo: Measured = world.load(Work::Echo { callers: COMPARED, seconds }).await?;
    remark(format!("echo, {COMPARED} callers: {}", words(&echo)))?;
    let before = Cpu::now(world)?;
    let pgbench_per_s = pgbench.run(args.seconds).await?;
    let rows = (pgbench_per_s * seconds) as u64;
    remark(format!(
        "pgbench: {pgbench_per_s:.0}/s; processor time of each row: {}",
        Cpu::now(world)?.since(before, rows)
    ))?;
    Ok(Round { levels, lag_s, echo_per_s: echo.per_s(), pgbench_per_s })
}

/// What one referral adds to the log: headers and sealed parts of all its events, end to end.
async fn sample(world: &World, observer: &Observer) -> Result<Vec<u8>, Error> {
    let (before, _) = observer.reader.head().await?;
    let _: Measured = world.load(Work::Submit { callers: 1, seconds: 0.5 }).await?;
    let rows = observer.reader.after(before, 16).await?;
    let first = rows.first().map(|row| row.header.stream_id.clone()).ok_or("no referral reached the log")?;
    let events: Vec<_> = rows.iter().filter(|row| row.header.stream_id == first).collect();
    let bytes: Vec<u8> =
        events.iter().flat_map(|row| [&row.header_bytes[..], &row.parts[..]]).flatten().copied().collect();
    remark(format!(
        "a referral is {} events, {} bytes of headers and sealed parts",
        events.len(),
        bytes.len()
    ))?;
    Ok(bytes)
}

fn print(args: &ReferralsArgs, rounds: &[Round]) -> Result<(), Error> {
    for (level, callers) in args.callers.iter().enumerate() {
        let of = |value: fn(&Measured) -> f64| median(rounds.iter().map(|round| value(&round.levels[level])));
        figure(&format!("referrals_per_s_{callers}"), of(Measured::per_s))?;
        figure(&format!("referrals_p50_ms_{callers}"), of(|m| f64::from(m.p50_us) / 1e3))?;
        figure(&format!("referrals_p99_ms_{callers}"), of(|m| f64::from(m.p99_us) / 1e3))?;
    }
    figure("pgbench_per_s", median(rounds.iter().map(|round| round.pgbench_per_s)))?;
    figure("grpc_echo_per_s", median(rounds.iter().map(|round| round.echo_per_s)))?;
    if let Some(level) = args.callers.iter().position(|callers| *callers == COMPARED) {
        let ratio = |round: &Round| round.levels[level].per_s() / round.pgbench_per_s.max(1e-9);
        figure("referrals_vs_pgbench", median(rounds.iter().map(ratio)))?;
        remark(format!("goal of referrals_vs_pgbench: at least {GOAL}"))?;
    }
    // The worst counts here: a lag that shows once is a lag.
    figure("lag_s_after_5s", rounds.iter().map(|round| round.lag_s).fold(0.0, f64::max))
}

fn words(measured: &Measured) -> String {
    let ms = |us: u32| f64::from(us) / 1e3;
    let (p50, p99) = (ms(measured.p50_us), ms(measured.p99_us));
    format!("{:.0}/s, p50 {p50:.1} ms, p99 {p99:.1} ms", measured.per_s())
}
