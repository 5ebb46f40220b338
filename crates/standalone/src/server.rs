//! What PostgreSQL and nats-server have in common: a port found and kept, readiness, stop, kill -9, restart.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::Error;
use crate::home::Home;
use crate::keeper::Keeper;
use crate::port;
use crate::proc::{self, Process};

/// Between two looks at a condition of the outside world.
const PAUSE: Duration = Duration::from_millis(15);
/// Starts with another port when somebody was faster.
const PORT_TRIES: usize = 8;
/// Kept logs are turned over at the start when larger, in bytes.
const LOG_MAX: u64 = 16 << 20;
/// How long the keeper of an earlier owner is left to finish.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(3);
/// The keeper kills after the stop limit; then the end is near.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What differs between the two servers.
pub(crate) trait Kind: Send + Sync + 'static {
    const NAME: &'static str;
    /// Asks for an orderly end.
    const STOP_SIGNAL: Signal;
    fn home(&self) -> &Home;
    /// Where the process works: its leftovers are recognised by it.
    fn work_dir(&self) -> std::path::PathBuf;
    /// How long a start may take, crash recovery included.
    fn start_limit(&self) -> Duration;
    fn stop_limit(&self) -> Duration;
    /// Writes the configuration and starts the process under a keeper, which owns a throw-away home or leaves
    /// it to an earlier keeper for now. Blocks for milliseconds.
    fn launch(&self, port: u16, owns: bool) -> Result<Keeper, Error>;
    /// Whether this very process answers on the port.
    fn answers(&self, port: u16, process: Process) -> impl Future<Output = bool> + Send;
    /// Removes what a crash left and a start would stumble over; no process of it lives any more.
    fn tidy(&self) -> Result<(), Error>;
}

/// A server on its port.
pub(crate) struct Server<K: Kind> {
    pub(crate) kind: Arc<K>,
    pub(crate) port: u16,
    keeper: Mutex<Arc<Keeper>>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

impl<K: Kind> Server<K> {
    /// Starts on the port of last time where that is free, else on any free one.
    pub(crate) async fn start(kind: K) -> Result<Self, Error> {
        let kind = Arc::new(kind);
        settle(&*kind).await?;
        let remembered = kind.home().dir.join("port");
        let mut preferred = std::fs::read_to_string(&remembered).ok().and_then(|port| port.parse().ok());
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(port) = port::choose(preferred.take()) else {
                return Err(Error::PortTaken { server: K::NAME, port: 0 });
            };
            match launch_and_wait(&kind, port, true).await {
                Ok(keeper) => {
                    kind.home().identity.write(&remembered, &port.to_string())?;
                    tracing::info!(server = K::NAME, port, "private server started");
                    let keeper = Mutex::new(Arc::new(keeper));
                    return Ok(Self { kind, port, keeper, turn: tokio::sync::Mutex::new(()) });
                }
                Err(Error::PortTaken { .. }) if tries < PORT_TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        let keeper = self.keeper();
        let server = keeper.server().filter(|_| !keeper.is_over());
        server.and_then(|process| process.pid.try_into().ok())
    }

    pub(crate) async fn ended(&self) {
        let over = self.keeper().over();
        over.await;
    }

    pub(crate) async fn stop(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let keeper = self.keeper();
        keeper.ask_to_stop();
        let limit = self.kind.stop_limit() + KILL_LIMIT;
        tokio::time::timeout(limit, keeper.over()).await.map_err(|_| Error::TooSlow {
            server: K::NAME,
            what: "stopped",
            limit,
            log: self.log_tail(),
        })
    }

    /// kill -9 of the server and of all its children, which get no chance to notice each other's end.
    pub(crate) async fn kill(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let keeper = self.keeper();
        if let Some(process) = keeper.server() {
            // Stopped first, so that it forks no more while its children are counted.
            process.signal(Signal::SIGSTOP);
            for child in process.children() {
                child.signal(Signal::SIGKILL);
            }
            process.signal(Signal::SIGKILL);
        }
        let deadline = Instant::now() + KILL_LIMIT;
        while !keeper.is_over() || !proc::working_in(&self.kind.work_dir()).is_empty() {
            if Instant::now() > deadline {
                let log = self.log_tail();
                return Err(Error::TooSlow { server: K::NAME, what: "dead", limit: KILL_LIMIT, log });
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Starts again after `stop`, `kill` or a crash: same port, same data. `between` runs while it is down.
    pub(crate) async fn restart(
        &self,
        between: impl FnOnce(&K) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let old = self.keeper();
        if !old.is_over() {
            return Err(Error::StillRuns(K::NAME));
        }
        settle(&*self.kind).await?;
        between(&self.kind)?;
        let new = Arc::new(launch_and_wait(&self.kind, self.port, false).await?);
        // In this order: there is always one that cleans up.
        new.own();
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = new;
        old.retire();
        Ok(())
    }

    /// Runs `between` while the server is known to be down.
    pub(crate) async fn while_down(
        &self,
        between: impl FnOnce(&K) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        if !self.keeper().is_over() {
            return Err(Error::StillRuns(K::NAME));
        }
        between(&self.kind)
    }

    fn keeper(&self) -> Arc<Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn log_tail(&self) -> String {
        tail(&log_path(self.kind.home()), 0)
    }
}

impl<K: Kind> Drop for Server<K> {
    /// The keeper stops the server and cleans up, without being waited for.
    fn drop(&mut self) {
        self.keeper().release();
    }
}

/// The file that receives what the server says.
pub(crate) fn log_path(home: &Home) -> std::path::PathBuf {
    home.dir.join("server.log")
}

/// Waits for, then ends, what an earlier owner left behind: with our lock on the home, nobody owns it.
async fn settle<K: Kind>(kind: &K) -> Result<(), Error> {
    let dir = kind.work_dir();
    let begun = Instant::now();
    let mut asked = false;
    loop {
        let left = proc::working_in(&dir);
        if left.is_empty() {
            return kind.tidy();
        }
        let waited = begun.elapsed();
        if waited > LEFTOVER_PATIENCE + 2 * KILL_LIMIT {
            let log = tail(&log_path(kind.home()), 0);
            return Err(Error::TooSlow { server: K::NAME, what: "gone", limit: waited, log });
        } else if waited > LEFTOVER_PATIENCE + KILL_LIMIT {
            for process in left {
                process.signal(Signal::SIGKILL);
            }
        } else if waited > LEFTOVER_PATIENCE && !asked {
            asked = true;
            let heads =
                left.iter().filter(|process| !left.iter().any(|other| other.children().contains(process)));
            for process in heads {
                process.signal(K::STOP_SIGNAL);
            }
        }
        sleep(PAUSE).await;
    }
}

async fn launch_and_wait<K: Kind>(kind: &Arc<K>, port: u16, owns: bool) -> Result<Keeper, Error> {
    let log = log_path(kind.home());
    let log_start = std::fs::metadata(&log).map_or(0, |meta| meta.len());
    let log_start = if log_start > LOG_MAX {
        std::fs::rename(&log, log.with_extension("log.1")).map_err(Error::io(log.display()))?;
        0
    } else {
        log_start
    };
    let launching = Arc::clone(kind);
    let keeper = tokio::task::spawn_blocking(move || launching.launch(port, owns))
        .await
        .map_err(|error| Error::io("start a thread")(std::io::Error::other(error)))??;
    let deadline = Instant::now() + kind.start_limit();
    loop {
        if let Some(process) = keeper.server()
            && kind.answers(port, process).await
            && !keeper.is_over()
        {
            return Ok(keeper);
        }
        let log_tail = || tail(&log, log_start);
        if keeper.is_over() {
            let log = log_tail();
            if log.to_lowercase().contains("address already in use") {
                // The home is needed for the next try, so this keeper must not remove it.
                keeper.retire();
                return Err(Error::PortTaken { server: K::NAME, port });
            }
            return Err(Error::Ended { server: K::NAME, log });
        }
        if Instant::now() > deadline {
            let (limit, log) = (kind.start_limit(), log_tail());
            return Err(Error::TooSlow { server: K::NAME, what: "ready", limit, log });
        }
        sleep(PAUSE).await;
    }
}

/// The last lines of a log, from an offset on, in one line.
fn tail(log: &Path, from: u64) -> String {
    const TAIL_MAX: u64 = 4096;
    let read = || {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL_MAX))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.trim().lines().rev().take(6).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
