//! Which NATS credentials were handed out, so that they can be taken back: ids and public keys, one line each.
//!
//! A file beside the secrets, only ever appended to. A line either notes a user of a post, or revokes all of a post's
//! that were noted before it. What has ended by itself is left out of the server's configuration.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Error;

const FILE: &str = "nats-issued.jsonl";

/// The file.
pub struct Issued(PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Noted { post: Uuid, user: String, until_s: u64 },
    Revoked { post: Uuid, at_s: u64 },
}

impl Issued {
    /// That of a directory of secrets; there need not be one yet.
    pub fn in_secrets(directory: &Path) -> Self {
        Self(directory.join(FILE))
    }

    /// Notes credentials that are about to be handed out.
    pub fn note(&self, post: Uuid, user: &str, until: SystemTime) -> Result<(), Error> {
        self.append(&Line::Noted { post, user: user.to_owned(), until_s: seconds(until) })
    }

    /// Takes back all that were handed out for the post.
    pub fn revoke(&self, post: Uuid, at: SystemTime) -> Result<(), Error> {
        self.append(&Line::Revoked { post, at_s: seconds(at) })
    }

    /// Users that were revoked and have not ended by themselves, each with the instant of its revocation.
    ///
    /// Errors: a file that cannot be read or understood, which would else give back what was revoked.
    pub fn revoked(&self) -> Result<Vec<(String, SystemTime)>, Error> {
        let text = match std::fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("{} cannot be read: {error}", self.0.display()).into()),
        };
        let now_s = seconds(SystemTime::now());
        let mut living: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
        let mut revoked = Vec::new();
        for line in text.lines() {
            let line: Line = serde_json::from_str(line)
                .map_err(|_| format!("{} holds a line that is none of its own", self.0.display()))?;
            match line {
                Line::Noted { post, user, until_s } if until_s > now_s => {
                    living.entry(post).or_default().push(user)
                }
                Line::Noted { .. } => {}
                Line::Revoked { post, at_s } => {
                    let at = UNIX_EPOCH + Duration::from_secs(at_s);
                    revoked
                        .extend(living.remove(&post).unwrap_or_default().into_iter().map(|user| (user, at)));
                }
            }
        }
        Ok(revoked)
    }

    fn append(&self, line: &Line) -> Result<(), Error> {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&self.0)?;
        // In one write, so that two at a time do not mix.
        file.write_all(format!("{}\n", serde_json::to_string(line)?).as_bytes())?;
        Ok(file.sync_all()?)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_for_a_post_can_be_taken_back_and_nothing_else_is() {
        let directory = std::env::temp_dir().join(format!("tasuki-issued-{}", Uuid::now_v7()));
        std::fs::create_dir_all(&directory).unwrap();
        let issued = Issued::in_secrets(&directory);
        let (desk, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let now = SystemTime::now();
        let later = now + Duration::from_secs(60);
        assert!(issued.revoked().unwrap().is_empty());
        for (post, user, until) in
            [(desk, "UA", later), (other, "UB", later), (desk, "UC", later), (desk, "UD", now)]
        {
            issued.note(post, user, until).unwrap();
        }
        assert!(issued.revoked().unwrap().is_empty());
        issued.revoke(desk, now).unwrap();
        issued.note(desk, "UE", later).unwrap();
        let users =
            |issued: &Issued| issued.revoked().unwrap().into_iter().map(|(user, _)| user).collect::<Vec<_>>();
        assert_eq!(users(&issued), ["UA", "UC"], "UD has ended, UE came later");
        std::fs::write(directory.join(FILE), "x\n").unwrap();
        assert!(issued.revoked().is_err());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
