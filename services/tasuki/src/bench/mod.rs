//! `tasuki bench NAME`: measurements on real parts, each against something measured in the same run.
//!
//! Every figure is a line `figure NAME VALUE`; everything else that is printed begins with `#`. Nothing here passes or
//! fails by time: a number means something only beside its yardstick, measured in turn with it on the same machine.
//! Servers are private and gone at the end, the program runs as a process of its own, and so does the load
//! (`load`): this executable again, with a hidden subcommand.

mod closed_loop;
mod cpu;
mod delivery;
mod idle;
mod lag;
mod load;
mod open_loop;
mod paging;
mod pgbench;
mod policy;
mod process;
mod reads;
mod rebuild;
mod referrals;
mod request;
mod stats;
mod world;

use std::io::Write as _;

use clap::{Args, Subcommand};

use crate::Error;
use crate::up::interrupted;

/// Arguments of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Clone, Debug, Subcommand)]
enum Bench {
    /// Referrals a second that open a case, against pgbench on the same PostgreSQL.
    Referrals(referrals::ReferralsArgs),
    /// From an acknowledged command to its subscriber, against the command itself.
    Delivery(delivery::DeliveryArgs),
    /// Pages of a timeline, against commands in the same seconds.
    Reads(reads::ReadsArgs),
    /// The views made anew from the log, against COPY of the same rows.
    Rebuild(rebuild::RebuildArgs),
    /// What the policy costs for one item of a timeline.
    Policy(policy::PolicyArgs),
    /// Memory of the program when it has nothing to do.
    Idle,
    /// Makes load as it is told on standard input.
    #[command(hide = true)]
    Load,
}

/// Runs a measurement until it is done or interrupted.
pub async fn run(args: BenchArgs) -> Result<(), Error> {
    let measured = async {
        match args.bench {
            Bench::Referrals(args) => referrals::run(args).await,
            Bench::Delivery(args) => delivery::run(args).await,
            Bench::Reads(args) => reads::run(args).await,
            Bench::Rebuild(args) => rebuild::run(args).await,
            Bench::Policy(args) => policy::run(args).await,
            Bench::Idle => idle::run().await,
            Bench::Load => load::run().await,
        }
    };
    tokio::select! {
        result = measured => result,
        () = interrupted() => Err("interrupted".into()),
    }
}

/// Prints a figure.
fn figure(name: &str, value: f64) -> Result<(), Error> {
    let decimals = if value.abs() >= 100.0 { 0 } else { 3 };
    line(&format!("figure {name} {value:.decimals$}"))
}

/// Prints a remark.
fn remark(text: impl AsRef<str>) -> Result<(), Error> {
    line(&format!("# {}", text.as_ref()))
}

/// At once, so that whoever reads a pipe sees how far it is.
fn line(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
