//! What every decision is given, and what it gives back.
//!
//! `decide(state, command, given) -> Result<Decision, Refusal>` and `evolve(state, recorded)`: time, ids and the
//! directory arrive as arguments; nothing here reads a clock, a random source or a database.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use tasuki_contract::Event;
use tasuki_contract::common::v1::CommandContext;
use tasuki_contract::event::v1::{Effects, Header, StreamKind};
use uuid::Uuid;

use crate::directory::Directory;
use crate::ids::{AgencyId, PostId};
use crate::refusal::{Reason, Refusal};

/// A stream of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamRef {
    /// What it is about.
    pub kind: Kind,
    /// Its id; the id of the case, the meeting, the post.
    pub id: Uuid,
}

/// Kind of a stream, ordered as in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Case,
    Consultation,
    Meeting,
    Agency,
    Post,
    Municipality,
    Credential,
}

impl Kind {
    /// As the contract spells it.
    pub fn to_proto(self) -> StreamKind {
        match self {
            Self::Case => StreamKind::Case,
            Self::Consultation => StreamKind::Consultation,
            Self::Meeting => StreamKind::Meeting,
            Self::Agency => StreamKind::Agency,
            Self::Post => StreamKind::Post,
            Self::Municipality => StreamKind::Municipality,
            Self::Credential => StreamKind::Credential,
        }
    }

    /// From the contract; `None` for a kind that this binary does not know.
    pub fn from_proto(kind: StreamKind) -> Option<Self> {
        Some(match kind {
            StreamKind::Case => Self::Case,
            StreamKind::Consultation => Self::Consultation,
            StreamKind::Meeting => Self::Meeting,
            StreamKind::Agency => Self::Agency,
            StreamKind::Post => Self::Post,
            StreamKind::Municipality => Self::Municipality,
            StreamKind::Credential => Self::Credential,
            StreamKind::Unspecified => return None,
        })
    }
}

/// Who commands: one post, claimed and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The agency.
    pub agency: AgencyId,
    /// The post; nil for an operator without one.
    pub post: PostId,
    /// Whether the token is an operator's.
    pub operator: bool,
}

/// What a decision may know beside its state: the world at one instant.
#[derive(Debug)]
pub struct Given<'a> {
    /// Who commands.
    pub actor: Actor,
    /// The instant of the command.
    pub now: Timestamp,
    /// When it happened, as the caller says; `now` where it says nothing.
    pub occurred_at: Timestamp,
    /// The directory, noting what was looked at.
    pub directory: Look<'a>,
    /// Fresh ids, v7 in production, counted in tests.
    pub ids: Ids,
}

impl Given<'_> {
    /// The day of `now` in Asia/Tokyo.
    pub fn today(&self) -> Date {
        crate::decision::day_in_tokyo(self.now)
    }

    /// The day on which it happened, in Asia/Tokyo.
    pub fn occurred_on(&self) -> Date {
        crate::decision::day_in_tokyo(self.occurred_at)
    }
}

/// The calendar day of an instant in Asia/Tokyo, which has had one offset since 1951.
pub fn day_in_tokyo(at: Timestamp) -> Date {
    jiff::tz::Offset::constant(9).to_datetime(at).date()
}

/// A supply of fresh ids that is a value, so that decisions stay functions.
///
/// The ids are UUID v7 with the seed's time; their other bits follow from seed and count through a hash, so that
/// nobody who sees two of them can tell how many lie between.
#[derive(Debug)]
pub struct Ids {
    seed: Uuid,
    given: u32,
}

impl Ids {
    /// Ids that follow from `seed`: a fresh v7 in production, any value in tests.
    pub fn seeded(seed: Uuid) -> Self {
        Self { seed, given: 0 }
    }

    /// The next one.
    pub fn fresh(&mut self) -> Uuid {
        self.given += 1;
        let hashed = Uuid::new_v5(&self.seed, &self.given.to_be_bytes());
        let mut bytes = hashed.into_bytes();
        bytes[..6].copy_from_slice(&self.seed.as_bytes()[..6]);
        uuid::Builder::from_bytes(bytes).with_version(uuid::Version::SortRand).into_uuid()
    }
}

/// The directory, noting the version of every stream that a decision relied on.
#[derive(Debug)]
pub struct Look<'a> {
    directory: &'a Directory,
    noted: RefCell<BTreeMap<StreamRef, u64>>,
}

impl<'a> Look<'a> {
    /// Nothing looked at yet.
    pub fn new(directory: &'a Directory) -> Self {
        Self { directory, noted: RefCell::default() }
    }

    /// The directory, after noting that `stream` was relied on.
    pub fn noting(&self, stream: StreamRef) -> &'a Directory {
        self.noted.borrow_mut().insert(stream, self.directory.version(stream));
        self.directory
    }

    /// Agency and kind of a post, which never change: noted only where the post is not known here yet, so that a
    /// directory that is behind is read again.
    pub fn office_of(&self, post: PostId) -> Option<(AgencyId, &'a str)> {
        let found = self.directory.agency_of(post).map(|agency| (agency.id, agency.kind.as_str()));
        if found.is_none() {
            self.noting(StreamRef { kind: Kind::Post, id: post.0 });
        }
        found
    }

    /// What was relied on, with the versions that were seen.
    pub fn relied_on(&self) -> Vec<(StreamRef, u64)> {
        self.noted.borrow().iter().map(|(s, v)| (*s, *v)).collect()
    }
}

/// One event that a decision wants appended.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The stream that it goes to.
    pub stream: StreamRef,
    /// The event.
    pub event: Event,
    /// What it does, for folds that do not know its type.
    pub effects: Effects,
    /// The cases in whose timelines it stands.
    pub cases: Vec<Uuid>,
    /// The post for whom the caller recorded it; `None`: nobody, or a person without a post.
    pub on_behalf_of: Option<PostId>,
}

/// One event as the log gives it back, without what is sealed.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its header.
    pub header: Header,
    /// The event, reduced to its open fields.
    pub event: Event,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// What a command brings about: events to append in one go, and what its caller is told.
///
/// What it relied on is read from [`Given::directory`].
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<R> {
    /// Events in order; never empty.
    pub events: Vec<Decided>,
    /// Ids for the answer.
    pub reply: R,
    /// The thing that changed, with its revision afterwards: the next etag follows from it.
    pub item: Option<(Uuid, u64)>,
}

impl<R> Decision<R> {
    /// The etag of the thing that changed; empty where nothing of the kind did.
    pub fn etag(&self) -> String {
        self.item.map(|(id, revision)| etag(id, revision)).unwrap_or_default()
    }
}

/// The etag of a thing: 16 hex characters that follow from its id and its revision.
///
/// Whoever knows the id can compute it for any revision, so a revision says only what every party of the thing sees,
/// and a command compares it after it is clear that the caller is one: the number of events, where all parties see
/// all of them; of a referral, whose parties change, its state.
pub fn etag(thing: Uuid, revision: u64) -> String {
    let id = crate::ids::derived(&["etag", &thing.to_string(), &revision.to_string()]);
    id.simple().to_string().split_at(16).0.to_owned()
}

/// Compares the etag that a caller last saw with the present one; an empty etag is no check.
///
/// Errors: `STALE_ETAG`.
pub fn check_etag(context: Option<&CommandContext>, thing: Uuid, revision: u64) -> Result<(), Refusal> {
    match context {
        Some(context) if !context.etag.is_empty() && context.etag != etag(thing, revision) => {
            Err(Reason::StaleEtag.into())
        }
        _ => Ok(()),
    }
}
