//! The head of the log, to be kept by somebody outside: an auditor who holds it need not trust whoever keeps the log.
//!
//! Who holds the signing key can make the chain anew from any row on and sign it. What was given out before, that one
//! does not get back: the log must contain every head that it ever gave out.

use ring::signature::{ED25519, UnparsedPublicKey};

use crate::anchors::ReadsHead;
use crate::chain::head_message;
use crate::db::Database;
use crate::error::LogError;
use crate::keyring::Signers;
use crate::ledger::anchor_message;

const FIRST_LINE: &str = "tasuki log head 1";

/// A head of the log as it was signed, with the last anchor of the reads on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The last position.
    pub position: u64,
    /// Epoch of the log there.
    pub epoch: u64,
    /// Hash of the chain there. Shape: 32 bytes.
    pub hash: Vec<u8>,
    /// The anchor that the head names.
    pub reads: ReadsHead,
    /// Ed25519 over the five above. Shape: 64 bytes.
    pub signature: Vec<u8>,
    /// The newest anchor, which may be later than the one that the head names.
    pub anchor: ReadsHead,
    /// Ed25519 over the newest anchor; empty before the first.
    pub anchor_signature: Vec<u8>,
    /// The signing key.
    pub key_id: String,
}

/// What became of a head that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The log contains it.
    Whole,
    /// It was not signed with the key at hand.
    Forged,
    /// The log ends before it, or what stands at its position is something else: history up to there was made anew.
    Rewritten,
    /// The same of the reads on record.
    ReadsRewritten,
}

/// The newest signed head; `None` of an empty log.
pub async fn log_head(database: &Database) -> Result<Option<LogHead>, LogError> {
    let client = database.get().await?;
    let sql = "SELECT h.position, h.epoch, h.hash, h.reads_number, h.reads_hash, h.signature, h.key_id, \
                      a.number, a.hash, a.signature \
               FROM (SELECT * FROM log.heads ORDER BY position DESC LIMIT 1) AS h LEFT JOIN LATERAL \
                    (SELECT * FROM log.read_anchors ORDER BY number DESC LIMIT 1) AS a ON true";
    let Some(row) = client.query_opt(sql, &[]).await? else { return Ok(None) };
    Ok(Some(LogHead {
        position: row.get::<_, i64>(0) as u64,
        epoch: row.get::<_, i64>(1) as u64,
        hash: row.get(2),
        reads: ReadsHead { number: row.get::<_, i64>(3) as u64, hash: row.get(4) },
        signature: row.get(5),
        anchor: ReadsHead {
            number: row.get::<_, Option<i64>>(7).unwrap_or(0) as u64,
            hash: row.get::<_, Option<Vec<u8>>>(8).unwrap_or_default(),
        },
        anchor_signature: row.get::<_, Option<Vec<u8>>>(9).unwrap_or_default(),
        key_id: row.get(6),
    }))
}

impl LogHead {
    /// As lines of text. Shape: `name=value`, hashes and signatures in hex.
    pub fn to_text(&self) -> String {
        format!(
            "{FIRST_LINE}\nposition={}\nepoch={}\nhash={}\nreads_number={}\nreads_hash={}\nsignature={}\n\
             anchor_number={}\nanchor_hash={}\nanchor_signature={}\nkey_id={}\n",
            self.position,
            self.epoch,
            hex(&self.hash),
            self.reads.number,
            hex(&self.reads.hash),
            hex(&self.signature),
            self.anchor.number,
            hex(&self.anchor.hash),
            hex(&self.anchor_signature),
            self.key_id,
        )
    }

    /// Reads what [`to_text`](Self::to_text) writes; `None` of anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        if text.lines().next()?.trim() != FIRST_LINE {
            return None;
        }
        let field =
            |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('=')).map(str::trim);
        let number = |name: &str| field(name)?.parse().ok();
        let bytes = |name: &str| unhex(field(name)?);
        Some(Self {
            position: number("position")?,
            epoch: number("epoch")?,
            hash: bytes("hash")?,
            reads: ReadsHead { number: number("reads_number")?, hash: bytes("reads_hash")? },
            signature: bytes("signature")?,
            anchor: ReadsHead { number: number("anchor_number")?, hash: bytes("anchor_hash")? },
            anchor_signature: bytes("anchor_signature")?,
            key_id: field("key_id")?.to_owned(),
        })
    }

    /// Whether the log still contains this head, which one of the keys of `public_keys` has signed.
    ///
    /// Says nothing of what stands in between: walk the log as well.
    pub async fn kept_by(
        &self,
        database: &Database,
        public_keys: impl Into<Signers>,
    ) -> Result<Kept, LogError> {
        let key = public_keys.into();
        let message = head_message(self.position, self.epoch, &self.hash, &self.reads);
        let anchored = || {
            self.anchor.number == 0
                || key.any_signed(
                    &anchor_message(self.anchor.number, &self.anchor.hash),
                    &self.anchor_signature,
                )
        };
        if !key.any_signed(&message, &self.signature) || !anchored() {
            return Ok(Kept::Forged);
        }
        let client = database.get().await?;
        let sql = "SELECT hash, epoch FROM log.events WHERE position = $1";
        let row = client.query_opt(sql, &[&(self.position as i64)]).await?;
        let same = |row: &tokio_postgres::Row| {
            row.get::<_, &[u8]>(0) == self.hash && row.get::<_, i64>(1) as u64 == self.epoch
        };
        if !row.is_some_and(|row| same(&row)) {
            return Ok(Kept::Rewritten);
        }
        let sql = "SELECT hash FROM log.read_anchors WHERE number = $1";
        for anchor in [&self.reads, &self.anchor].into_iter().filter(|anchor| anchor.number > 0) {
            let row = client.query_opt(sql, &[&(anchor.number as i64)]).await?;
            if row.is_none_or(|row| row.get::<_, &[u8]>(0) != anchor.hash) {
                return Ok(Kept::ReadsRewritten);
            }
        }
        Ok(Kept::Whole)
    }
}

/// Whether the message was signed with the key of `public_key`.
pub fn is_signed(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_its_text_form_and_nothing_else_is_one() {
        let anchor = |number| ReadsHead { number, hash: vec![number as u8; 32] };
        let head = LogHead {
            position: 7,
            epoch: 1,
            hash: vec![1; 32],
            reads: anchor(2),
            signature: vec![3; 64],
            anchor: anchor(4),
            anchor_signature: vec![5; 64],
            key_id: "0123456789abcdef".into(),
        };
        assert_eq!(LogHead::from_text(&head.to_text()).as_ref(), Some(&head));
        let none = LogHead { reads: ReadsHead::default(), ..head.clone() };
        assert_eq!(LogHead::from_text(&none.to_text()), Some(none));
        for text in
            ["", "tasuki log head 1\n", &head.to_text().replace("hash=01", "hash=0x"), &head.to_text()[1..]]
        {
            assert_eq!(LogHead::from_text(text), None);
        }
    }
}
