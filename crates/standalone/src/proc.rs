//! Processes as `/proc` shows them. Reads only; a signal goes out only to a process whose birth is known.
//!
//! A process is its number *and* its start time: numbers are used again.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks between boot and birth.
    born: u64,
}

impl Process {
    /// The living process of that number; a zombie does not live.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        Some(Self { pid, born: stat.born })
    }

    pub(crate) fn lives(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Sends a signal if the process still lives; whether it could be sent.
    pub(crate) fn signal(self, signal: Signal) -> bool {
        self.lives() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }

    /// Those who have it as parent.
    pub(crate) fn children(self) -> Vec<Self> {
        all().into_iter().filter(|(_, stat)| stat.parent == self.pid).map(|(process, _)| process).collect()
    }
}

/// The processes whose working directory is `dir`: how a server of a data directory is known again, after
/// everything that had started it is gone. Others' processes are not visible, and not ours to stop.
pub(crate) fn working_in(dir: &Path) -> Vec<Process> {
    let at_home = |process: &Process| {
        fs::read_link(format!("/proc/{}/cwd", process.pid)).is_ok_and(|cwd: PathBuf| cwd == dir)
    };
    all().into_iter().map(|(process, _)| process).filter(at_home).collect()
}

struct Stat {
    parent: i32,
    born: u64,
}

fn all() -> Vec<(Process, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| stat(pid).map(|stat| (Process { pid, born: stat.born }, stat))).collect()
}

/// Fields 3, 4 and 22 of `/proc/PID/stat`; the name before them may contain blanks and brackets.
fn stat(pid: i32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = line.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let born = fields.nth(17)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(Stat { parent, born })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_found_by_parent_and_by_directory_and_ends_with_a_signal() {
        let dir = fs::canonicalize(std::env::temp_dir()).unwrap().join(uuid::Uuid::new_v4().to_string());
        fs::create_dir(&dir).unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).current_dir(&dir).spawn().unwrap();
        let process = Process::find(child.id() as i32).unwrap();
        assert!(Process::find(std::process::id() as i32).unwrap().children().contains(&process));
        assert_eq!(working_in(&dir), vec![process]);
        assert!(process.signal(Signal::SIGKILL));
        child.wait().unwrap();
        assert!(!process.lives());
        assert!(!process.signal(Signal::SIGKILL));
        fs::remove_dir(&dir).unwrap();
    }
}
