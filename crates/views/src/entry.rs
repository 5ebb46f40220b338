//! One row of the log as the fold takes it: read and checked, or the reason why nobody may go past it.
//!
//! A type or schema number that this binary does not know may mean anything, a change of the circle included, so it
//! is an error here and never passed over.

use prost::Message as _;
use tasuki_contract::cases::v1::CaseOpened;
use tasuki_contract::directory::v1::{AgencyRegistered, PolicyAdopted, PostCreated};
use tasuki_contract::event::v1::{Effects, Envelope, Header};
use tasuki_contract::{DataClass, readable};
use tasuki_domain::ids::{AgencyId, CaseId, PostId};
use tasuki_privacy::PERSONAL;
use uuid::Uuid;

use crate::error::ViewError;

const TOKYO_OFFSET_US: i64 = 9 * 3_600_000_000;
const DAY_US: i64 = 86_400_000_000;

/// One event, ready for the fold.
#[derive(Debug)]
pub(crate) struct Entry {
    pub position: u64,
    pub epoch: u64,
    pub recorded_at_us: i64,
    pub event_id: Uuid,
    /// The hash of the event by itself.
    pub commitment: [u8; 32],
    /// The cases in whose timelines it stands, each once.
    pub cases: Vec<CaseId>,
    /// The class that decides who learns of it; `None`: it stands in no feed.
    pub class: Option<DataClass>,
    pub effects: Effects,
    pub directory: Option<DirectoryNews>,
    /// The case that it opens, with the code of the municipality whose policy holds.
    pub opened: Option<(CaseId, String)>,
}

/// What the fold learns from the directory.
#[derive(Debug)]
pub(crate) enum DirectoryNews {
    Agency { agency: AgencyId, kind: String, municipality: String },
    Post { post: PostId, agency: AgencyId },
    Policy { municipality: String, text: String },
}

impl Entry {
    pub(crate) fn of_envelope(envelope: &Envelope) -> Result<Self, ViewError> {
        let at = envelope.recorded_at.unwrap_or_default();
        let recorded_at_us = at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000;
        Self::read(envelope.position, envelope.epoch, recorded_at_us, &envelope.header, &envelope.commitment)
    }

    pub(crate) fn read(
        position: u64,
        epoch: u64,
        recorded_at_us: i64,
        header: &[u8],
        commitment: &[u8],
    ) -> Result<Self, ViewError> {
        let unreadable = |why| ViewError::Unreadable { position, why };
        let commitment = commitment.try_into().map_err(|_| unreadable("no commitment"))?;
        let header = Header::decode(header).map_err(|_| unreadable("no header"))?;
        readable(&header).map_err(unreadable)?;
        let class = header.data_class();
        let directory = directory(&header).map_err(|()| unreadable("unreadable open payload"))?;
        let opened = opened(&header).map_err(|()| unreadable("unreadable open payload"))?;
        let mut cases: Vec<CaseId> = Vec::with_capacity(header.case_ids.len());
        for case in header.case_ids.iter().map(|id| CaseId::trusted(id)) {
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        let effects = header.effects.unwrap_or_default();
        let class = PERSONAL.contains(&class).then_some(class);
        let event_id = Uuid::try_parse(&header.event_id).map_err(|_| unreadable("event id is no uuid"))?;
        Ok(Self {
            position,
            epoch,
            recorded_at_us,
            event_id,
            commitment,
            cases,
            class,
            effects,
            directory,
            opened,
        })
    }

    /// The day of recording in Asia/Tokyo (no summer time since 1951), as days since 1970-01-01.
    pub(crate) fn day(&self) -> i32 {
        let day = (self.recorded_at_us + TOKYO_OFFSET_US).div_euclid(DAY_US);
        i32::try_from(day).unwrap_or(i32::MAX)
    }

    /// Every case that it concerns: where it stands and where it changes something, each once.
    pub(crate) fn concerned(&self) -> Vec<CaseId> {
        let effects = &self.effects;
        let changed = (effects.circle.iter().map(|c| &c.case_id))
            .chain(effects.leads.iter().map(|c| &c.case_id))
            .chain(effects.grants.iter().map(|c| &c.case_id));
        let mut cases = self.cases.clone();
        for case in changed.map(|id| CaseId::trusted(id)) {
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        cases
    }

    /// Posts that are party, each once.
    pub(crate) fn parties(&self) -> Vec<PostId> {
        let mut parties: Vec<PostId> = Vec::with_capacity(self.effects.party_post_ids.len());
        for post in self.effects.party_post_ids.iter().map(|id| PostId::trusted(id)) {
            if !parties.contains(&post) {
                parties.push(post);
            }
        }
        parties
    }
}

fn directory(header: &Header) -> Result<Option<DirectoryNews>, ()> {
    let payload = header.open_payload.as_slice();
    Ok(match header.r#type.as_str() {
        "tasuki.directory.v1.AgencyRegistered" => {
            let event = AgencyRegistered::decode(payload).map_err(drop)?;
            let (agency, municipality) = (AgencyId::trusted(&event.agency_id), event.municipality_code);
            Some(DirectoryNews::Agency { agency, kind: event.kind, municipality })
        }
        "tasuki.directory.v1.PostCreated" => {
            let event = PostCreated::decode(payload).map_err(drop)?;
            let (post, agency) = (PostId::trusted(&event.post_id), AgencyId::trusted(&event.agency_id));
            Some(DirectoryNews::Post { post, agency })
        }
        "tasuki.directory.v1.PolicyAdopted" => {
            let event = PolicyAdopted::decode(payload).map_err(drop)?;
            Some(DirectoryNews::Policy { municipality: event.municipality_code, text: event.text })
        }
        _ => None,
    })
}

fn opened(header: &Header) -> Result<Option<(CaseId, String)>, ()> {
    if header.r#type != "tasuki.cases.v1.CaseOpened" {
        return Ok(None);
    }
    let event = CaseOpened::decode(header.open_payload.as_slice()).map_err(drop)?;
    Ok(Some((CaseId::trusted(&event.case_id), event.municipality_code)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tasuki_contract::RULES;

    use super::*;

    fn header(r#type: &str, schema: u32) -> Vec<u8> {
        let event_id = Uuid::from_u128(1).to_string();
        Header { event_id, r#type: r#type.into(), schema, ..Header::default() }.encode_to_vec()
    }

    fn why(header: &[u8]) -> &'static str {
        match Entry::read(7, 1, 0, header, &[0; 32]).unwrap_err() {
            ViewError::Unreadable { position: 7, why } => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_this_binary_does_not_know_is_never_passed_over() {
        assert_eq!(why(&header("tasuki.intake.v9.Unheard", 1)), "unknown event type");
        assert_eq!(why(&header("tasuki.intake.v1.ReferralSubmitted", 99)), "schema newer than this binary");
        assert_eq!(why(&[0xff]), "no header");
    }

    #[test]
    fn every_type_of_the_contract_is_known() {
        for rule in RULES {
            Entry::read(1, 1, 0, &header(rule.type_name, rule.schema), &[0; 32]).unwrap();
        }
    }

    #[test]
    fn a_day_begins_at_midnight_in_tokyo() {
        let at =
            |us| Entry::read(1, 1, us, &header("tasuki.cases.v1.CaseOpened", 1), &[0; 32]).unwrap().day();
        assert_eq!((at(DAY_US - TOKYO_OFFSET_US - 1), at(DAY_US - TOKYO_OFFSET_US)), (0, 1));
    }
}
