//! Which user a server runs as. PostgreSQL refuses root, so root hands it to `postgres` or `nobody`.
//!
//! Never changes the identity of this process: only of children, through `uid` and `gid` of their command
//! (the standard library then also clears the supplementary groups).

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, getegid, geteuid};

use crate::Error;

/// A user and its group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    uid: u32,
    gid: u32,
}

impl Identity {
    /// Whoever runs this process.
    pub(crate) fn current() -> Self {
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }

    /// Whoever may run PostgreSQL here: this user, or for root one without rights.
    pub(crate) fn unprivileged() -> Result<Self, Error> {
        if !Self::current().is_root() {
            return Ok(Self::current());
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
            .ok_or(Error::NoUnprivilegedUser)
    }

    /// The owner of something that exists.
    pub(crate) fn owner_of(path: &Path) -> Result<Self, Error> {
        let meta = fs::metadata(path).map_err(Error::io(path.display()))?;
        Ok(Self { uid: meta.uid(), gid: meta.gid() })
    }

    pub(crate) fn is_root(self) -> bool {
        Uid::from_raw(self.uid).is_root()
    }

    /// A command that runs as this user, with an environment that no setting of the caller's shell reaches
    /// (`PGHOST`, `PGDATA`, a locale that is not installed), in a directory that everybody may enter.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C");
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries); // a PostgreSQL built elsewhere
        }
        command.current_dir("/").stdin(Stdio::null());
        if self != Self::current() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Runs a helper program to its end and gives what it printed.
    pub(crate) fn run<A: AsRef<OsStr>>(
        self,
        program: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String, Error> {
        let output = self.command(program).args(args).output().map_err(Error::io(program.display()))?;
        finished(program, output)
    }

    /// Whether this user may enter a directory. Asked of the kernel, by trying: modes, ACLs and mounts count.
    pub(crate) fn reaches(self, dir: &Path) -> bool {
        let mut enter = self.command("/bin/sh");
        enter.args(["-c", "cd -- \"$1\" 2>/dev/null", "sh"]).arg(dir).stderr(Stdio::null());
        enter.status().is_ok_and(|status| status.success())
    }

    /// Creates a directory of mode 0700 for this user; an existing one is an error.
    pub(crate) fn create_dir(self, dir: &Path) -> Result<(), Error> {
        fs::create_dir(dir).map_err(Error::io(dir.display()))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(Error::io(dir.display()))?;
        if self != Self::current() {
            std::os::unix::fs::lchown(dir, Some(self.uid), Some(self.gid))
                .map_err(Error::io(dir.display()))?;
        }
        Ok(())
    }

    /// Writes a file of mode 0600 for this user: a new file under another name, then renamed, so that no
    /// reader sees half of it and root follows no link that the other user may have laid.
    pub(crate) fn write(self, path: &Path, text: &str) -> Result<(), Error> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
        let new = path.with_file_name(name);
        let attempt = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            if self != Self::current() {
                fchown(&file, Some(self.uid), Some(self.gid))?;
            }
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        attempt().inspect_err(|_| drop(fs::remove_file(&new))).map_err(Error::io(path.display()))
    }
}

/// The output of a helper, or its last words.
pub(crate) fn finished(program: &Path, output: std::process::Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = said.trim().lines().rev().take(3).collect::<Vec<_>>();
    Err(Error::Helper {
        program: program.display().to_string(),
        message: message.into_iter().rev().collect::<Vec<_>>().join("; "),
    })
}
