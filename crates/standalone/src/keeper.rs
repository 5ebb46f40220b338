//! One server under one keeper (`keeper.sh`), and what is known of it.
//!
//! Dropping a [`Keeper`] closes its life-line: the server is stopped without being waited for. Works in any
//! program, also when its tokio runtime is gone: a thread of its own listens to the keeper.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::watch;

use crate::Error;
use crate::proc::Process;
use crate::user::Identity;

const SCRIPT: &str = include_str!("keeper.sh");
/// One turn of the loop in `keeper.sh`.
const TICK: Duration = Duration::from_millis(50);

/// What to run, and how to end it.
pub(crate) struct Launch<'a> {
    pub(crate) identity: Identity,
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<OsString>,
    /// The server's working directory, by which it is found again after a crash of everything.
    pub(crate) cwd: &'a Path,
    /// Receives what the server writes to its standard streams.
    pub(crate) log: &'a Path,
    pub(crate) stop_signal: Signal,
    /// After that the server is killed.
    pub(crate) stop_limit: Duration,
    /// A throw-away directory: removed by the keeper that owns it when its life-line ends.
    pub(crate) throw_away: Option<PathBuf>,
    /// Whether this keeper owns it from the beginning.
    pub(crate) owns: bool,
}

/// A running server and its keeper.
pub(crate) struct Keeper {
    /// `None` once told to go.
    lifeline: Mutex<Option<ChildStdin>>,
    server: Option<Process>,
    over: watch::Receiver<bool>,
}

impl Keeper {
    /// Starts the keeper and, under it, the server; returns as soon as the server has a process number.
    /// Blocks for some milliseconds.
    pub(crate) fn start(launch: &Launch<'_>) -> Result<Self, Error> {
        let ticks = launch.stop_limit.as_millis() / TICK.as_millis();
        let mut command = launch.identity.command("/bin/sh");
        command
            .args(["-c", SCRIPT, "keeper"])
            .arg(launch.stop_signal.as_str().trim_start_matches("SIG"))
            .arg(ticks.to_string())
            .arg(launch.log)
            .arg(launch.cwd)
            .arg(launch.throw_away.as_deref().unwrap_or(Path::new("")))
            .arg(if launch.owns { "yes" } else { "no" })
            .arg(launch.program)
            .args(&launch.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C at the terminal is for the program, which then stops its servers.
            .process_group(0);
        let what = || format!("start {}", launch.program.display());
        let mut child = command.spawn().map_err(Error::io(what()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut told = BufReader::new(stdout.expect("standard output was piped"));
        let mut line = String::new();
        told.read_line(&mut line).map_err(Error::io(what()))?;
        let pid = line.trim().strip_prefix("started ").and_then(|pid| pid.parse().ok());
        let Some(pid) = pid else {
            drop(child.wait());
            return Err(Error::io(what())(std::io::Error::other("the keeper did not start")));
        };
        let server = Process::find(pid);
        let (sender, over) = watch::channel(false);
        std::thread::Builder::new()
            .name("keeper".into())
            .stack_size(256 * 1024)
            .spawn(move || listen(told, child, server, &sender))
            .map_err(Error::io("start a thread"))?;
        Ok(Self { lifeline: Mutex::new(stdin), server, over })
    }

    /// The server's process, unless it was over at once.
    pub(crate) fn server(&self) -> Option<Process> {
        self.server
    }

    /// Whether the server has ended.
    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Completes when the server has ended, for whatever reason.
    pub(crate) fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut over = self.over.clone();
        async move {
            // An error means that the listening thread is gone, which it is only after the end.
            drop(over.wait_for(|over| *over).await);
        }
    }

    /// Asks for the server's end; the directory stays until the life-line ends.
    pub(crate) fn ask_to_stop(&self) {
        self.tell("stop\n");
    }

    /// Makes this keeper the one that removes a throw-away directory.
    pub(crate) fn own(&self) {
        self.tell("own\n");
    }

    /// Ends the keeper and leaves the directory to another.
    pub(crate) fn retire(&self) {
        self.tell("leave\n");
        self.release();
    }

    /// Closes the life-line.
    pub(crate) fn release(&self) {
        self.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn tell(&self, line: &str) {
        let mut lifeline = self.lifeline.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = lifeline.as_mut() {
            // A keeper that is gone needs no telling; that its server ended shows in `over`.
            drop(pipe.write_all(line.as_bytes()));
        }
    }
}

/// Waits for `exited`, or, if somebody killed the keeper, for the server itself; then reaps the keeper.
fn listen(
    told: BufReader<ChildStdout>,
    mut child: Child,
    server: Option<Process>,
    over: &watch::Sender<bool>,
) {
    let said_so = told.lines().map_while(Result::ok).any(|line| line.starts_with("exited "));
    if !said_so {
        while server.is_some_and(Process::lives) {
            std::thread::sleep(TICK);
        }
    }
    over.send_replace(true);
    drop(child.wait());
}
