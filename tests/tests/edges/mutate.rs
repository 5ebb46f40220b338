//! Requests that no client of ours would send: well-formed ones, mutated with an eye to how they are encoded.
//!
//! Knows the wire format of Protocol Buffers and nothing of any message: fields are dropped, doubled by the thousand,
//! renumbered, nested, given lengths that lie and texts that are none; what looks like an id is exchanged for another.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _};

/// The largest request that is made, bytes: most are small, so that there are many.
const BYTES_MAX: usize = 16 * 1024;

/// One field as it is encoded.
#[derive(Clone)]
struct Field {
    number: u64,
    wire: u8,
    /// Without the length.
    payload: Vec<u8>,
}

/// A mutation of the request, a few changes away from it and most often one: more would seldom get beyond the first
/// check. `ids` are ids that stand for something.
pub fn mutated(request: &[u8], ids: &[String], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = request.to_vec();
    loop {
        bytes = match random.random_range(0..6) {
            0 => blind(bytes, random),
            1 | 2 => known(&bytes, ids, random).unwrap_or(bytes),
            _ => structured(&bytes, ids, random, 0),
        };
        bytes.truncate(BYTES_MAX);
        if random.random_ratio(2, 3) {
            return bytes;
        }
    }
}

/// An id of the request exchanged for one that stands for something: what follows is asked of the state.
fn known(bytes: &[u8], ids: &[String], random: &mut StdRng) -> Option<Vec<u8>> {
    let mut fields = fields(bytes)?;
    let at: Vec<usize> = (0..fields.len()).filter(|i| fields[*i].payload.len() == 36).collect();
    let at = *at.choose(random)?;
    fields[at].payload = ids.choose(random)?.clone().into_bytes();
    Some(encoded(&fields))
}

/// Without an eye to anything.
fn blind(mut bytes: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    if bytes.is_empty() {
        return noise(random, 64);
    }
    let at = random.random_range(0..bytes.len());
    match random.random_range(0..6) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, noise(random, 16))),
        4 => drop(bytes.drain(at..)),
        _ => {
            let more = bytes[at..].to_vec();
            bytes.extend(more);
        }
    }
    bytes
}

fn noise(random: &mut StdRng, max: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(1..=max)];
    random.fill_bytes(&mut bytes);
    bytes
}

fn structured(bytes: &[u8], ids: &[String], random: &mut StdRng, depth: u32) -> Vec<u8> {
    let Some(mut fields) = fields(bytes) else { return blind(bytes.to_vec(), random) };
    if fields.is_empty() {
        fields.push(Field { number: random.random_range(1..20), wire: 2, payload: noise(random, 40) });
    }
    let at = random.random_range(0..fields.len());
    // Into a message within, as often as there is one.
    let field = fields[at].clone();
    if field.wire == 2
        && depth < 6
        && self::fields(&field.payload).is_some_and(|f| !f.is_empty())
        && random.random_ratio(2, 3)
    {
        fields[at].payload = structured(&field.payload, ids, random, depth + 1);
        return encoded(&fields);
    }
    match random.random_range(0..13) {
        0 => drop(fields.remove(at)),
        1 => {
            let times = *[1, 1, 1, 2, 2, 30, 100, 3_000].choose(random).expect("some");
            let times = times.min(BYTES_MAX / (field.payload.len() + 4));
            fields.extend(std::iter::repeat_n(field, times));
        }
        2 => {
            fields[at].number = *[0, 1, 2, 15, 16, 100, (1 << 29) - 1, 1 << 29].choose(random).expect("some")
        }
        3 => fields[at].wire = random.random_range(0..8),
        4 => {
            let other = random.random_range(0..fields.len());
            let payload = fields[other].payload.clone();
            fields[at].payload = payload;
        }
        5 => fields[at].payload = value(ids, random),
        6 => fields[at].payload = nested(&field, random),
        7 => fields[at].payload = varint(number(random)),
        8 => {
            // A length that lies, at the end, where it matters most.
            let mut bytes = encoded(&fields);
            bytes.extend(varint(field.number << 3 | 2));
            bytes.extend(varint(number(random)));
            return bytes;
        }
        9 => {
            // Groups, opened and never closed.
            let mut bytes = encoded(&fields);
            let opened = varint(random.random_range(1..2_000) << 3 | 3);
            bytes.extend(opened.repeat(*[1, 99, 100, 101, 3_000].choose(random).expect("some")));
            return bytes;
        }
        10 if field.payload.len() == 36 => fields[at].payload = id(&field.payload, ids, random),
        10 | 11 => fields[at].payload = blind(field.payload, random),
        _ => fields[at].payload = ids.choose(random).expect("some").clone().into_bytes(),
    }
    encoded(&fields)
}

/// A message in itself, many times over.
fn nested(field: &Field, random: &mut StdRng) -> Vec<u8> {
    let mut payload = field.payload.clone();
    for _ in 0..*[1, 2, 50, 99, 100, 101, 200].choose(random).expect("some") {
        let outer = Field { number: field.number, wire: 2, payload };
        payload = encoded(&[outer]);
        if payload.len() > BYTES_MAX / 2 {
            break;
        }
    }
    payload
}

/// Numbers at which something ends.
fn number(random: &mut StdRng) -> u64 {
    let ends = [0, 1, 2, 99, 100, 1_000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX as u64, u64::MAX];
    if random.random_ratio(1, 4) { random.random() } else { *ends.choose(random).expect("some") }
}

/// Texts that a text should not be.
fn value(ids: &[String], random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..12) {
        0 => Vec::new(),
        1 => b"\0".to_vec(),
        2 => b"a\0b".to_vec(),
        3 => vec![0xff, 0xfe],
        4 => vec![0xed, 0xa0, 0x80],
        5 => "\u{202e}\u{2066}あ\r\nx-post: y".into(),
        6 => "あ".repeat(random.random_range(1..5_000)).into(),
        7 => b"' OR 1=1; DROP SCHEMA log CASCADE; --".to_vec(),
        8 => b"../../../../etc/passwd %s%n {} ${jndi:x}".to_vec(),
        9 => "e\u{301}".repeat(300).into(),
        10 => noise(random, 300),
        _ => ids.choose(random).expect("some").to_uppercase().into_bytes(),
    }
}

/// Another spelling of an id, or another one.
fn id(text: &[u8], ids: &[String], random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..6) {
        0 => text.to_ascii_uppercase(),
        1 => text.iter().copied().filter(|byte| *byte != b'-').collect(),
        2 => [b"{", text, b"}"].concat(),
        3 => b"00000000-0000-0000-0000-000000000000".to_vec(),
        4 => b"ffffffff-ffff-ffff-ffff-ffffffffffff".to_vec(),
        _ => ids.choose(random).expect("some").clone().into_bytes(),
    }
}

fn fields(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let (number, wire) = (key >> 3, (key & 7) as u8);
        let length = match wire {
            0 => {
                let before = bytes;
                take_varint(&mut bytes)?;
                let length = before.len() - bytes.len();
                bytes = before;
                length
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (payload, rest) = bytes.split_at_checked(length)?;
        fields.push(Field { number, wire, payload: payload.to_vec() });
        bytes = rest;
    }
    Some(fields)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn encoded(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend(varint(field.number << 3 | u64::from(field.wire)));
        if field.wire == 2 {
            bytes.extend(varint(field.payload.len() as u64));
        }
        bytes.extend(&field.payload);
        if bytes.len() > 4 * BYTES_MAX {
            break;
        }
    }
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
