//! `tasuki keys`: making, checking, rotating and copying the keyring.
//!
//! Two places change in turn, the keyring's file and the store of wrapped keys, and a kill between any two steps leaves
//! everything readable: the file holds a new master before anything is wrapped by it, and loses the old one when
//! nothing is wrapped by that any more. What was begun is brought to its end by the next run.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tasuki_log::key_store::{self, masters};
use tasuki_log::rotate::Rotating;
use tasuki_log::{Database, Keyring, LogError, escrow};

use crate::Error;
use crate::maintain::DatabaseArgs;
use crate::secrets;

/// What to do with the keys.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Make a keyring for a new installation. One that is there already is left as it is.
    Init(DirectoryArgs),
    /// Look whether the keyring opens every key, and whether every sealed part has one.
    Check(DatabaseArgs),
    /// Make a new master key, wrap every key by it, and destroy the old one. May be cut off and run again.
    Rotate(RotateArgs),
    /// Make a new signing key; what the former one signed can still be checked.
    RotateSigning(DatabaseArgs),
    /// Write a copy of the keyring under a passphrase, to be kept elsewhere.
    Escrow(CopyArgs),
    /// Put the keyring back from such a copy, where there is none.
    Restore(CopyArgs),
    /// Look whether such a copy would do, without putting it anywhere.
    Drill(CopyArgs),
}

/// Where the keyring lies.
#[derive(Args, Clone, Debug)]
pub struct DirectoryArgs {
    /// Directory for the keyring; made where it is missing.
    #[arg(long, env = "TASUKI_SECRETS_DIR")]
    secrets_dir: PathBuf,
}

/// How far to rotate.
#[derive(Args, Clone, Debug)]
pub struct RotateArgs {
    /// Only put the new master key into the keyring, beside the present one, so that the keyring can be copied to the
    /// other machines first; the next run without this goes on.
    #[arg(long)]
    begin: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Which copy.
#[derive(Args, Clone, Debug)]
pub struct CopyArgs {
    /// The copy.
    #[arg(long)]
    file: PathBuf,
    /// File whose first line is the passphrase.
    #[arg(long, env = "TASUKI_PASSPHRASE_FILE")]
    passphrase_file: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Runs one of them.
pub async fn run(command: KeysCommand) -> Result<(), Error> {
    match command {
        KeysCommand::Init(args) => {
            let path = secrets::make_keyring(&args.secrets_dir, &Keyring::generate()?)?;
            say(&format!("keys init ok: {}", path.display()))?;
            say("  make a copy of it now: tasuki keys escrow")
        }
        KeysCommand::Check(args) => check(&args).await,
        KeysCommand::Rotate(args) => {
            let (_, keys) = args.database.databases()?;
            rotate(&keys, &args.database.directory()?, if args.begin { Until::Begun } else { Until::Done })
                .await
        }
        KeysCommand::RotateSigning(args) => rotate_signing(&args).await,
        KeysCommand::Escrow(args) => {
            let keyring = Keyring::read(&secrets::keyring_path(&args.database.directory()?))?;
            let copy = escrow::seal(&keyring, &args.passphrase()?)?;
            secrets::write(&args.file, copy.as_bytes())?;
            say(&format!(
                "keys escrow ok: {} holds master versions {:?}",
                args.file.display(),
                keyring.versions()
            ))
        }
        KeysCommand::Restore(args) => {
            let path = secrets::make_keyring(&args.database.directory()?, &args.open()?)?;
            say(&format!("keys restore ok: {}", path.display()))
        }
        KeysCommand::Drill(args) => {
            let (_, keys) = args.database.databases()?;
            opens_all(&keys, &args.open()?).await?;
            say("keys drill ok: the copy opens every key")
        }
    }
}

impl CopyArgs {
    fn passphrase(&self) -> Result<String, Error> {
        let text = std::fs::read_to_string(&self.passphrase_file)?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    fn open(&self) -> Result<Keyring, Error> {
        Ok(escrow::open(&std::fs::read_to_string(&self.file)?, &self.passphrase()?)?)
    }
}

fn say(line: &str) -> Result<(), Error> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// Errors: how many keys do not open, and by what they are wrapped now.
pub(crate) async fn opens_all(keys: &Database, keyring: &Keyring) -> Result<u64, Error> {
    let (open, all) = key_store::opening(keys, keyring).await?;
    if open == all {
        return Ok(all);
    }
    let current = masters(keys).await?.current;
    let held = keyring.versions();
    let text = format!(
        "{open} of {all} keys open: they are wrapped by version {current} of the master key, this keyring holds \
         {held:?} / 鍵 {all} 個のうち {open} 個しか開けません"
    );
    Err(text.into())
}

async fn check(args: &DatabaseArgs) -> Result<(), Error> {
    let (log, keys) = args.databases()?;
    let keyring = Keyring::read(&secrets::keyring_path(&args.directory()?))?;
    let all = opens_all(&keys, &keyring).await?;
    if let Some((position, key)) = key_store::lost(&log, &keys).await? {
        return Err(format!("position {position}: its key {key} is lost / 鍵が失われています").into());
    }
    let masters = masters(&keys).await?;
    say(&format!("keys check ok: keys={all} master={} signing={}", masters.current, keyring.signing_id()))?;
    let unfinished = masters.listed != [masters.current] || keyring.versions() != [masters.current];
    if unfinished {
        say("  a rotation is not finished: run tasuki keys rotate / 鍵の更新が途中です")?;
    }
    Ok(())
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The keyring holds a new master, which wraps nothing yet.
    Begun,
    /// The old master is destroyed: of a rotation that was begun before, or else of a new one.
    Done,
    /// The same of a rotation that begins now, after one that was begun before has come to its end.
    DoneAnew,
}

/// Rotates the master key; goes on where an earlier run was cut off.
pub async fn rotate(keys: &Database, directory: &Path, until: Until) -> Result<(), Error> {
    let mut rotating = Rotating::begin(keys).await?;
    let went_on = finish(&mut rotating, keys, directory, until == Until::Begun).await?;
    let path = secrets::keyring_path(directory);
    let new = Keyring::read(&path)?;
    if until == Until::Begun && new.versions().len() > 1 {
        return begun(&new);
    }
    if until == Until::DoneAnew || !went_on {
        let new = new.with_new_master()?;
        secrets::replace_keyring(directory, &new)?;
        if until == Until::Begun {
            return begun(&new);
        }
        finish(&mut rotating, keys, directory, false).await?;
    }
    let version = Keyring::read(&path)?.newest();
    say(&format!("keys rotate ok: version {version} of the master key wraps every key"))?;
    say(
        "  Destroy every copy of the old keyring, also on other machines: with an old backup it still opens what was",
    )?;
    say("  erased. It opens nothing new. Make a new copy: tasuki keys escrow")?;
    say("  古い鍵束の写しはすべて破棄し、新しい写しを作ってください(tasuki keys escrow)。")
}

/// Brings a rotation that was begun to its end, if there is one.
pub async fn settle(keys: &Database, directory: &Path) -> Result<(), Error> {
    let mut rotating = Rotating::begin(keys).await?;
    finish(&mut rotating, keys, directory, false).await.map(drop)
}

fn begun(keyring: &Keyring) -> Result<(), Error> {
    say(&format!("keys rotate begun: the keyring holds versions {:?}", keyring.versions()))?;
    say("  Copy it to the other machines, then run tasuki keys rotate")
}

/// Brings a rotation that was begun to its end; false where none was.
async fn finish(
    rotating: &mut Rotating,
    keys: &Database,
    directory: &Path,
    only_look: bool,
) -> Result<bool, Error> {
    let path = secrets::keyring_path(directory);
    let (keyring, now) = (Keyring::read(&path)?, masters(keys).await?);
    let newest = keyring.newest();
    if newest < now.current {
        return Err(LogError::MasterMissing { version: now.current }.into());
    }
    // Another installation's keyring would wrap what comes with a master that nobody else holds.
    opens_all(keys, &keyring).await?;
    secrets::destroy_leftovers(directory)?;
    if newest == now.current && now.listed == [newest] && keyring.versions() == [newest] {
        return Ok(false);
    }
    if only_look {
        return Ok(true);
    }
    if newest > now.current {
        rotating.announce(&keyring).await?;
    }
    let mut last = std::time::Instant::now();
    rotating
        .rewrap(&keyring, |done, all| {
            if last.elapsed().as_secs() >= 2 || done == all {
                last = std::time::Instant::now();
                let _ = writeln!(std::io::stderr(), "keys rotate: {done} of {all} keys");
            }
        })
        .await?;
    rotating.retire().await?;
    secrets::replace_keyring(directory, &keyring.keeping(|version| version == newest)?)?;
    Ok(true)
}

async fn rotate_signing(args: &DatabaseArgs) -> Result<(), Error> {
    let ((_, keys), directory) = (args.databases()?, args.directory()?);
    let mut rotating = Rotating::begin(&keys).await?;
    let keyring = Keyring::read(&secrets::keyring_path(&directory))?;
    opens_all(&keys, &keyring).await?;
    let new = keyring.with_new_signing()?;
    // The file first: a kill in between is mended by the next run, and processes that run sign with what they have.
    secrets::replace_keyring(&directory, &new)?;
    rotating.signs(&new).await?;
    say(&format!(
        "keys rotate-signing ok: {} signs; processes sign with it from their next start on",
        new.signing_id()
    ))
}
