//! Somebody who has everything but the past: files, servers started on copies of them, and the current keyring.
//!
//! Shares no code with the program: it knows the format from its documentation, finds wrapped keys by carving files
//! for the ids that headers name, and tries every master that it has on everything that it finds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tasuki_contract::event::v1::Header;
use uuid::Uuid;

/// Nonce, key, tag.
const WRAPPED_BYTES: usize = 12 + 32 + 16;
/// How far behind its id a wrapped key ends, bytes: it is the next column of the row, wherever the row was copied to.
const NEAR: usize = WRAPPED_BYTES + 20;
/// A page of PostgreSQL, bytes.
const PAGE_BYTES: usize = 8_192;

/// What the attacker holds.
#[derive(Default)]
pub struct Loot {
    /// Every file of these directories, however deep, and these files.
    pub places: Vec<PathBuf>,
    /// Servers: the log's database of each, and that of its keys.
    pub servers: Vec<(String, String)>,
    /// The directory with the current keyring.
    pub secrets: PathBuf,
}

/// What it reads.
#[derive(Default)]
pub struct Haul {
    /// What opened, by stream.
    pub opened: BTreeMap<Uuid, Vec<Vec<u8>>>,
    /// How many sealed parts there are, by stream.
    pub sealed: BTreeMap<Uuid, usize>,
    /// Classes that the headers name, by stream.
    pub classes: BTreeMap<Uuid, BTreeSet<i32>>,
    /// Files that hold something personal in plain.
    pub plain: Vec<PathBuf>,
    /// Wrapped keys that were found outside the tables of running servers.
    pub carved: usize,
}

impl Haul {
    /// Whether a text is in anything that opened of these streams.
    pub fn reads(&self, streams: &[Uuid], text: &str) -> bool {
        let opened = streams.iter().filter_map(|stream| self.opened.get(stream)).flatten();
        opened.into_iter().any(|bytes| holds(bytes, text.as_bytes()))
    }
}

impl Loot {
    /// Tries everything on everything. `mark` begins each text that must never lie anywhere in plain.
    pub async fn read(&self, mark: &str) -> Haul {
        let masters = masters(&self.secrets);
        assert!(!masters.is_empty(), "the attacker has the current keyring");
        let mut events: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut wrapped: HashMap<Uuid, BTreeSet<Vec<u8>>> = HashMap::new();
        for (log, keys) in &self.servers {
            for row in rows(log, "SELECT header, parts FROM log.events").await {
                events.insert(row.get(0), row.get(1));
            }
            for row in rows(keys, "SELECT key_id, wrapped FROM key_store.data_keys").await {
                wrapped.entry(row.get(0)).or_default().insert(row.get(1));
            }
        }
        let mut haul = Haul::default();
        let mut wanted: HashSet<[u8; 16]> = HashSet::new();
        for header in events.keys() {
            let header = Header::decode(header.as_slice()).unwrap();
            wanted.extend(header.parts.iter().map(|part| *Uuid::try_parse(&part.key_id).unwrap().as_bytes()));
        }
        let mut seen = HashSet::new();
        for file in self.places.iter().flat_map(|place| files(place)) {
            // Files come and go below a server that runs.
            let Ok(bytes) = std::fs::read(&file) else { continue };
            for piece in new_pieces(&bytes, &mut seen) {
                if holds(piece, mark.as_bytes()) {
                    haul.plain.push(file.clone());
                }
                for (id, near) in carve(piece, &wanted) {
                    haul.carved += 1;
                    wrapped.entry(id).or_default().extend(near.windows(WRAPPED_BYTES).map(<[u8]>::to_vec));
                }
            }
        }
        let mut data_keys: HashMap<Uuid, LessSafeKey> = HashMap::new();
        for (id, candidates) in &wrapped {
            let tried = candidates.iter().flat_map(|bytes| masters.iter().map(move |master| (bytes, master)));
            let found = tried.filter_map(|(bytes, master)| open(master, id.as_bytes(), bytes)).next();
            if let Some(key) = found {
                data_keys.insert(*id, key_of(&key));
            }
        }
        for (header_bytes, parts) in &events {
            let header = Header::decode(header_bytes.as_slice()).unwrap();
            let stream = Uuid::try_parse(&header.stream_id).unwrap();
            haul.classes.entry(stream).or_default().extend(header.classes.iter().copied());
            let mut rest = parts.as_slice();
            for info in &header.parts {
                let (length, tail) = rest.split_first_chunk::<4>().unwrap();
                let (part, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
                rest = tail;
                *haul.sealed.entry(stream).or_default() += 1;
                let key = data_keys.get(&Uuid::try_parse(&info.key_id).unwrap());
                if let Some(plain) = key.and_then(|key| open(key, header_bytes, part)) {
                    haul.opened.entry(stream).or_default().push(plain);
                }
            }
        }
        haul
    }
}

/// Every line `master…=` of every file beside the keyring.
fn masters(directory: &Path) -> Vec<LessSafeKey> {
    let mut all = Vec::new();
    for file in files(directory) {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        for line in text.lines().filter(|line| line.starts_with("master")) {
            let hex = line.split_once('=').unwrap().1.as_bytes();
            let digit = |at: usize| (hex[at] as char).to_digit(16).unwrap() as u8;
            let bytes: Vec<u8> = (0..32).map(|i| digit(2 * i) << 4 | digit(2 * i + 1)).collect();
            all.push(key_of(&bytes));
        }
    }
    all
}

fn key_of(bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).unwrap())
}

fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_at_checked(12)?;
    let mut buffer = rest.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    key.open_in_place(nonce, Aad::from(aad), &mut buffer).ok().map(|plain| plain.to_vec())
}

async fn rows(url: &str, sql: &str) -> Vec<tokio_postgres::Row> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query(sql, &[]).await.unwrap()
}

/// Every file below a place, or the file that it is.
pub fn files(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else { return vec![place.to_owned()] };
    entries.flatten().flat_map(|entry| files(&entry.path())).collect()
}

/// The pieces of a file that were in no file before, each a page and what lies across its end. Copies of a cluster are
/// mostly alike, and mostly empty.
fn new_pieces<'b>(bytes: &'b [u8], seen: &mut HashSet<Vec<u8>>) -> Vec<&'b [u8]> {
    let pages = (0..bytes.len()).step_by(PAGE_BYTES);
    let piece = |at: usize| &bytes[at..(at + PAGE_BYTES + 2 * NEAR).min(bytes.len())];
    let mut is_new = |piece: &&[u8]| {
        let digest = ring::digest::digest(&ring::digest::SHA256, piece);
        seen.insert(digest.as_ref().to_vec())
    };
    pages.map(piece).filter(|piece| is_new(piece)).collect()
}

/// Where a byte stands from a place on. The standard library looks for it much faster than a loop in a test does.
fn next(bytes: &[u8], from: usize, byte: u8) -> Option<usize> {
    let mut rest = bytes.get(from..)?;
    let end = from + rest.skip_until(byte).ok()?;
    (end > from && bytes[end - 1] == byte).then(|| end - 1)
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = next(bytes, from, text[0]) {
        if bytes[at..].starts_with(text) {
            return true;
        }
        from = at + 1;
    }
    false
}

/// Each place where one of the ids lies, with what stands behind it.
fn carve<'b>(bytes: &'b [u8], wanted: &HashSet<[u8; 16]>) -> Vec<(Uuid, &'b [u8])> {
    // Ids of one time begin alike; the third byte is the rarest that they share.
    let thirds: BTreeSet<u8> = wanted.iter().map(|id| id[2]).collect();
    let mut found = Vec::new();
    for third in thirds {
        let mut from = 2;
        while let Some(place) = next(bytes, from, third) {
            from = place + 1;
            let at = place - 2;
            let id = bytes.get(at..at + 16).and_then(|id| <[u8; 16]>::try_from(id).ok());
            if let Some(id) = id.filter(|id| wanted.contains(id)) {
                let behind = at + 16..(at + 16 + NEAR).min(bytes.len());
                found.push((Uuid::from_bytes(id), &bytes[behind]));
            }
        }
    }
    found
}
