//! Processor time by process: what a measurement costs, whoever else uses the machine meanwhile.
//!
//! Read from `/proc`: of the program and of nats-server, of PostgreSQL's postmaster with all its children, and of the
//! children of this process that have ended, which are those that made the load.

use super::world::World;
use crate::Error;

/// The unit of `/proc/PID/stat`, fixed in the kernel's interface on every machine that we run on.
const TICKS_PER_S: f64 = 100.0;

/// Processor time so far, seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    program_s: f64,
    postgres_s: f64,
    nats_s: f64,
    load_s: f64,
}

impl Cpu {
    /// As of now.
    pub fn now(world: &World) -> Result<Self, Error> {
        let own = |pid: Option<u32>| pid.and_then(Stat::read).map_or(0.0, |stat| stat.own_s);
        let postmaster = world.stack.postgres.pid().ok_or("PostgreSQL has ended")?;
        let mut postgres_s = Stat::read(postmaster).map_or(0.0, |stat| stat.own_s + stat.ended_children_s);
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let child = pid.and_then(Stat::read).filter(|stat| stat.parent == postmaster);
            postgres_s += child.map_or(0.0, |stat| stat.own_s);
        }
        Ok(Self {
            program_s: own(world.program.pid()),
            postgres_s,
            nats_s: own(world.stack.nats.pid()),
            load_s: Stat::read(std::process::id()).map_or(0.0, |stat| stat.ended_children_s),
        })
    }

    /// What has been used since `earlier`, of each process for one of `count` things, in words.
    pub fn since(self, earlier: Self, count: u64) -> String {
        let us = |now: f64, then: f64| (now - then) * 1e6 / count.max(1) as f64;
        format!(
            "program {:.0} µs, postgresql {:.0} µs, nats-server {:.0} µs, load {:.0} µs",
            us(self.program_s, earlier.program_s),
            us(self.postgres_s, earlier.postgres_s),
            us(self.nats_s, earlier.nats_s),
            us(self.load_s, earlier.load_s),
        )
    }
}

struct Stat {
    parent: u32,
    own_s: f64,
    ended_children_s: f64,
}

impl Stat {
    /// `None` when the process has ended.
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name stands in brackets and may hold anything; the state follows, then the parent.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |n: usize| Some(fields.get(n)?.parse::<f64>().ok()? / TICKS_PER_S);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_s: seconds(11)? + seconds(12)?,
            ended_children_s: seconds(13)? + seconds(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text = "42 (a) b (c) S 7 1 1 0 -1 4194304 10 20 0 0 150 50 30 10 20 0 1 0 100 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.own_s, stat.ended_children_s), (7, 2.0, 0.4));
    }
}
