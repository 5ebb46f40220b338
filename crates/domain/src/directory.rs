//! Agencies, posts, holders and each municipality's rules: the fold of the directory's streams.
//!
//! A process holds one [`Directory`] and keeps it fresh from the log; decisions look through
//! [`Look`], which notes what they relied on, and the append checks those versions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tasuki_contract::Event;
use tasuki_contract::directory::v1 as pb;

use crate::decision::{Kind, Look, Recorded, StreamRef};
use crate::ids::{AgencyId, PostId, municipality_stream};
use crate::policy::{InForce, Policy};
use crate::refusal::{Reason, Refusal};

/// An agency.
#[derive(Clone, Debug)]
pub struct Agency {
    /// Its id.
    pub id: AgencyId,
    /// Kind, a code of the dictionary, or `family`.
    pub kind: String,
    /// Name in Japanese.
    pub name_ja: String,
    /// Name in English.
    pub name_en: String,
    /// Municipality where it works.
    pub municipality_code: String,
    /// Telephone of the office.
    pub telephone: String,
    /// Working days, where set.
    pub calendar: Option<pb::Calendar>,
}

/// A post.
#[derive(Clone, Debug)]
pub struct Post {
    /// Its id.
    pub id: PostId,
    /// Its agency.
    pub agency: AgencyId,
    /// Label in Japanese.
    pub label_ja: String,
    /// Label in English.
    pub label_en: String,
    /// Subjects that hold it.
    pub holders: BTreeSet<String>,
    /// False after it was retired.
    pub active: bool,
}

/// A municipality's rules.
#[derive(Clone, Debug)]
pub struct Municipality {
    /// Six-digit code.
    pub code: String,
    /// The post that receives what nobody else does.
    pub intake_post: PostId,
    /// Kinds that may lead.
    pub kinds_that_may_lead: BTreeSet<String>,
}

/// All that the directory's streams say.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Agencies by id.
    pub agencies: BTreeMap<AgencyId, Agency>,
    /// Posts by id.
    pub posts: BTreeMap<PostId, Post>,
    /// Municipalities by code.
    pub municipalities: BTreeMap<String, Municipality>,
    /// Posts that are or were the intake post of a municipality: the cases opened meanwhile have them as their ward's.
    pub intake_posts: BTreeSet<PostId>,
    /// Credentials that let nobody in any more. Shared, since it may be long and seldom changes.
    pub revoked: Arc<Revoked>,
    /// Policies that municipalities have adopted, by their codes.
    policies: BTreeMap<String, Adopted>,
    versions: HashMap<StreamRef, u64>,
}

/// Revoked credentials, by the issuer's opaque ids, whichever issuer it is.
#[derive(Clone, Debug, Default)]
pub struct Revoked {
    /// Ids of tokens.
    pub tokens: BTreeSet<String>,
    /// By subject: tokens issued before this second since 1970-01-01 UTC.
    pub subjects: BTreeMap<String, i64>,
}

impl Revoked {
    /// Whether a token lets nobody in any more.
    pub fn covers(&self, token_id: Option<&str>, subject: &str, issued_at_s: i64) -> bool {
        token_id.is_some_and(|id| self.tokens.contains(id))
            || self.subjects.get(subject).is_some_and(|before| issued_at_s < *before)
    }
}

/// A policy in force.
#[derive(Clone, Debug)]
struct Adopted {
    policy: Arc<Policy>,
    /// The version of the municipality's stream that brought it.
    revision: u64,
}

impl Directory {
    /// The policies under which a post of the agency reads a case of the municipality.
    ///
    /// The case's municipality picks the policy; where the agency works elsewhere, the stricter of the two applies. A
    /// municipality that has adopted none leaves the case to the policy that comes along.
    pub fn in_force(&self, case_municipality: &str, agency: AgencyId) -> InForce {
        let adopted = self.policies.get(case_municipality);
        let own = self.agencies.get(&agency).map(|agency| agency.municipality_code.as_str());
        let own = own.filter(|code| *code != case_municipality);
        let codes = [Some(case_municipality), own].into_iter().flatten();
        let row = |code: &str| {
            let id = municipality_stream(code);
            (id, self.version(StreamRef { kind: Kind::Municipality, id }))
        };
        InForce {
            of_case: adopted.map_or_else(|| Policy::standard().clone(), |adopted| adopted.policy.clone()),
            elsewhere: own.and_then(|code| self.policies.get(code)).map(|adopted| adopted.policy.clone()),
            revision: adopted.map_or(0, |adopted| adopted.revision),
            rows: codes.map(row).collect(),
        }
    }

    /// The version of one of the directory's streams; 0 when nothing is known of it.
    pub fn version(&self, stream: StreamRef) -> u64 {
        self.versions.get(&stream).copied().unwrap_or(0)
    }

    /// The agency of a post.
    pub fn agency_of(&self, post: PostId) -> Option<&Agency> {
        self.agencies.get(&self.posts.get(&post)?.agency)
    }

    /// Folds one event of the directory; events of other contexts are passed over.
    pub fn apply(&mut self, recorded: &Recorded) {
        let header = &recorded.header;
        if let Some(kind @ (Kind::Agency | Kind::Post | Kind::Municipality | Kind::Credential)) =
            Kind::from_proto(header.stream_kind())
        {
            let id = uuid::Uuid::try_parse(&header.stream_id).unwrap_or_default();
            self.versions.insert(StreamRef { kind, id }, header.version);
        }
        match &recorded.event {
            Event::AgencyRegistered(e) => {
                let id = AgencyId::trusted(&e.agency_id);
                let agency = Agency {
                    id,
                    kind: e.kind.clone(),
                    name_ja: e.name_ja.clone(),
                    name_en: e.name_en.clone(),
                    municipality_code: e.municipality_code.clone(),
                    telephone: e.telephone.clone(),
                    calendar: None,
                };
                self.agencies.insert(id, agency);
            }
            Event::CalendarSet(e) => {
                if let Some(agency) = self.agencies.get_mut(&AgencyId::trusted(&e.agency_id)) {
                    agency.calendar = e.calendar.clone();
                }
            }
            Event::PostCreated(e) => {
                let post = Post {
                    id: PostId::trusted(&e.post_id),
                    agency: AgencyId::trusted(&e.agency_id),
                    label_ja: e.label_ja.clone(),
                    label_en: e.label_en.clone(),
                    holders: BTreeSet::new(),
                    active: true,
                };
                self.posts.insert(post.id, post);
            }
            Event::PostHolderChanged(e) => {
                if let Some(post) = self.posts.get_mut(&PostId::trusted(&e.post_id)) {
                    post.holders = e.holder_subjects.iter().cloned().collect();
                }
            }
            Event::PostRetired(e) => {
                if let Some(post) = self.posts.get_mut(&PostId::trusted(&e.post_id)) {
                    post.active = false;
                }
            }
            Event::MunicipalityConfigured(e) => {
                let municipality = Municipality {
                    code: e.municipality_code.clone(),
                    intake_post: PostId::trusted(&e.intake_post_id),
                    kinds_that_may_lead: e.kinds_that_may_lead.iter().cloned().collect(),
                };
                self.intake_posts.insert(municipality.intake_post);
                self.municipalities.insert(municipality.code.clone(), municipality);
            }
            Event::CredentialRevoked(e) => {
                let revoked = Arc::make_mut(&mut self.revoked);
                if e.subject.is_empty() {
                    revoked.tokens.insert(e.token_id.clone());
                } else {
                    let before = revoked.subjects.entry(e.subject.clone()).or_insert(e.not_before_s);
                    *before = e.not_before_s.max(*before);
                }
            }
            Event::PolicyAdopted(e) => {
                let policy = Arc::new(Policy::adopted(&e.text));
                self.policies
                    .insert(e.municipality_code.clone(), Adopted { policy, revision: header.version });
            }
            _ => {}
        }
    }
}

impl<'a> Look<'a> {
    /// A post that takes part, with its agency; both are noted.
    ///
    /// Errors: `UNKNOWN_POST`, `POST_RETIRED`.
    pub fn active_post(&self, id: PostId) -> Result<(&'a Post, &'a Agency), Refusal> {
        let directory = self.noting(StreamRef { kind: Kind::Post, id: id.0 });
        let post = directory.posts.get(&id).ok_or(Reason::UnknownPost)?;
        self.noting(StreamRef { kind: Kind::Agency, id: post.agency.0 });
        let agency = directory.agencies.get(&post.agency).ok_or(Reason::UnknownPost)?;
        if post.active { Ok((post, agency)) } else { Err(Reason::PostRetired.into()) }
    }

    /// A municipality's rules, noted.
    ///
    /// Errors: `UNKNOWN_MUNICIPALITY`.
    pub fn municipality(&self, code: &str) -> Result<&'a Municipality, Refusal> {
        let directory = self.noting(StreamRef { kind: Kind::Municipality, id: municipality_stream(code) });
        directory.municipalities.get(code).ok_or_else(|| Reason::UnknownMunicipality.into())
    }

    /// Whether a post's agency is of a kind that may be responsible in the municipality.
    ///
    /// Errors: those of [`active_post`](Self::active_post) and [`municipality`](Self::municipality), `MAY_NOT_LEAD`.
    pub fn may_lead(&self, post: PostId, municipality_code: &str) -> Result<(), Refusal> {
        let (_, agency) = self.active_post(post)?;
        let rules = self.municipality(municipality_code)?;
        if rules.kinds_that_may_lead.contains(&agency.kind) { Ok(()) } else { Err(Reason::MayNotLead.into()) }
    }
}
