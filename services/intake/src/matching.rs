//! Which cases may be about a child, by tokens alone: nothing is opened, nobody is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tasuki_contract::common::v1::Fact;
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::{Decided, StreamRef};
use tasuki_domain::identity::{self, Clue, ClueKind, Person, Values, Verdict};
use tasuki_domain::ids::{AgencyId, CaseId, PostId};
use tasuki_domain::refusal::Refusal;
use tasuki_kit::command::Basis;
use tasuki_kit::{Platform, errors};
use tasuki_log::{BlindEntry, Token};
use tonic::Status;
use uuid::Uuid;

/// What the index says of each case.
pub(crate) type ByCase = BTreeMap<CaseId, Vec<BlindEntry>>;

/// The clues as tokens.
pub(crate) fn tokens(platform: &Platform, clues: &[Clue]) -> Values<Token> {
    let mut all = Values::new();
    for clue in clues {
        let token = platform.keyring().blind_token(clue.kind.number(), &clue.text);
        all.entry(clue.kind).or_insert_with(Default::default).insert(token);
    }
    all
}

/// What the rows say, as far as `counts`; a kind that this binary does not know says nothing.
pub(crate) fn values(entries: &[BlindEntry], counts: impl Fn(&BlindEntry) -> bool) -> Values<Token> {
    let mut all = Values::new();
    for entry in entries.iter().filter(|entry| counts(entry)) {
        if let Some(kind) = ClueKind::from_number(entry.kind) {
            all.entry(kind).or_insert_with(Default::default).insert(entry.token.clone());
        }
    }
    all
}

/// The cases that have a token in common with these, of a kind that finds.
pub(crate) async fn candidates(platform: &Platform, sought: &Values<Token>) -> Result<ByCase, Status> {
    let finding = sought.iter().filter(|(kind, _)| kind.finds());
    let tokens: Vec<Token> = finding.flat_map(|(_, tokens)| tokens).cloned().collect();
    let found = platform.blind_index().like(&tokens).await.map_err(|e| errors::fault(&e))?;
    let mut cases = ByCase::new();
    for entry in found {
        cases.entry(CaseId(entry.case)).or_default().push(entry);
    }
    Ok(cases)
}

/// Open cases that are likely the child's, of which `ward` is the intake post, the likest first; `except` aside.
///
/// A case that was merged stands for the one that it points to.
pub(crate) async fn likely(
    platform: &Platform,
    sought: &Values<Token>,
    ward: PostId,
    except: Option<CaseId>,
) -> Result<Vec<(CaseId, Verdict)>, Status> {
    let cases = candidates(platform, sought).await?;
    let mut found: BTreeMap<CaseId, Verdict> = BTreeMap::new();
    for (case, entries) in &cases {
        let verdict = identity::compare(sought, &values(entries, |_| true));
        if verdict < Verdict::Likely {
            continue;
        }
        if let Some((case, state)) = open_one(platform, *case).await?
            && Some(case) != except
            && identity::wards(&state).any(|post| post == ward)
        {
            let best = found.entry(case).or_insert(verdict);
            *best = verdict.max(*best);
        }
    }
    let mut found: Vec<(CaseId, Verdict)> = found.into_iter().collect();
    found.sort_by_key(|(case, verdict)| (std::cmp::Reverse(*verdict), *case));
    Ok(found)
}

/// The case, or the open one into which it was merged.
async fn open_one(platform: &Platform, case: CaseId) -> Result<Option<(CaseId, Arc<CaseState>)>, Status> {
    let mut seen = BTreeSet::new();
    let mut at = case;
    while seen.insert(at) {
        let loaded = platform.case(at).await.map_err(|e| errors::fault(&e))?;
        match &loaded.state.merged {
            Some(merged) => at = merged.into,
            None => return Ok(loaded.state.exists().then_some((at, loaded.state))),
        }
    }
    Ok(None)
}

/// Whether an open case of the municipality's intake post looks like the one that these facts would open.
///
/// Looked up before the decision and outside its transaction: two cases of one child that are opened in the same instant
/// may miss each other.
pub(crate) async fn alike(
    platform: &Platform,
    facts: &[Fact],
    agency: AgencyId,
    municipality: &str,
) -> Result<Alike, Status> {
    let clues = Person::of(facts, agency, municipality).clues();
    let intake = platform.directory().municipalities.get(municipality).map(|rules| rules.intake_post);
    let Some(ward) = intake.filter(|_| !clues.is_empty()) else { return Ok(Alike(false)) };
    let found = likely(platform, &tokens(platform, &clues), ward, None).await?;
    Ok(Alike(!found.is_empty()))
}

/// Whether another case looks like the one to be opened; a part of a decision's basis that has no version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alike(pub(crate) bool);

impl Basis for Alike {
    fn versions(&self) -> Vec<(StreamRef, u64)> {
        Vec::new()
    }
    fn bars(&self, _: &[Decided]) -> Option<Refusal> {
        None
    }
}

/// The ids of the events that say so, each once.
pub(crate) fn events_of(cases: &ByCase) -> Vec<Uuid> {
    let mut all: Vec<Uuid> = cases.values().flatten().map(|entry| entry.event).collect();
    all.sort_unstable();
    all.dedup();
    all
}
