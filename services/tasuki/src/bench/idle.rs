//! `bench idle`: what the program holds in memory when all its roles run and nothing happens.
//!
//! The example region is registered, as in `up`. The two servers are other processes and do not count.

use std::time::{Duration, Instant};

use super::world::World;
use super::{figure, remark};
use crate::Error;

/// It is at rest when its memory has not changed for so long.
const REST: Duration = Duration::from_secs(5);
const REST_LIMIT: Duration = Duration::from_secs(60);
/// A smaller change is none, kB.
const SAME_KB: u64 = 64;
/// The goal, to be read beside the figure.
const GOAL_MB: f64 = 150.0;

/// Measures and prints.
pub(super) async fn run() -> Result<(), Error> {
    let world = World::start(0).await?;
    let pid = world.program.pid().ok_or("the program has ended")?;
    let begun = Instant::now();
    let (mut kb, mut since) = (memory_kb(pid, "VmRSS")?, Instant::now());
    while since.elapsed() < REST && begun.elapsed() < REST_LIMIT {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now_kb = memory_kb(pid, "VmRSS")?;
        if now_kb.abs_diff(kb) > SAME_KB {
            (kb, since) = (now_kb, Instant::now());
        }
    }
    remark(format!(
        "read {:.0} s after it listened; at most {:.1} MB before",
        begun.elapsed().as_secs_f64(),
        mb(memory_kb(pid, "VmHWM")?)
    ))?;
    figure("rss_mb_idle", mb(memory_kb(pid, "VmRSS")?))?;
    remark(format!("goal of rss_mb_idle: less than {GOAL_MB}"))?;
    world.stop().await
}

/// The kernel counts in 1,024 bytes, the figure in a million.
fn mb(kb: u64) -> f64 {
    kb as f64 * 1_024.0 / 1e6
}

fn memory_kb(pid: u32, name: &str) -> Result<u64, Error> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kb = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kb.ok_or_else(|| format!("the kernel does not say {name}").into())
}
