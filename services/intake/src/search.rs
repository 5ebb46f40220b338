//! Search before create: what a post may learn of a child that it is about to open a case for.
//!
//! A case counts as the caller's own where it may read, in the events that say so, what it searched by. Of any other
//! it learns at most that there is one, and whom to ask. The answer to everybody else is the answer to a child that
//! nobody knows, byte for byte, and takes as long: each search does the same statements, and its answer leaves at the
//! next tick of [`TICK`], so that its time tells no more than that the server is busy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tasuki_contract::DataClass;
use tasuki_contract::identity::v1 as pb;
use tasuki_domain::case::CaseState;
use tasuki_domain::identity::{self, ClueKind, Sought, Verdict};
use tasuki_domain::ids::CaseId;
use tasuki_domain::referral::Stage;
use tasuki_kit::reading::{Asking, Disclosed, day_of, on_record};
use tasuki_kit::{Platform, errors};
use tasuki_log::blind::CANDIDATES_MAX;
use tasuki_log::{BlindEntry, Record};
use tasuki_privacy::{Access, Level};
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use crate::matching::{ByCase, candidates, events_of, tokens, values};

/// Searches of a post in an hour: far more than a desk opens cases, far fewer than somebody needs who tries names.
pub(crate) const SEARCHES_PER_HOUR: u32 = 30;
/// Answers leave at a multiple of this after they were asked for.
const TICK: Duration = Duration::from_millis(100);

pub(crate) async fn search(
    platform: &Platform,
    asking: &Asking,
    request: &pb::SearchChildRequest,
) -> Result<pb::SearchChildResponse, Status> {
    let asked_at = Instant::now();
    let context = &asking.context;
    let sought = identity::sought(request, context.actor.agency, &context.purpose)
        .map_err(|refusal| errors::refused(&refusal))?;
    let allowed = platform.blind_index().take_search(asking.post().0, SEARCHES_PER_HOUR).await;
    if !allowed.map_err(|e| errors::fault(&e))? {
        return Err(errors::search_limit());
    }
    let answer = on_record(platform, asking, || one(platform, asking, &sought)).await;
    tokio::time::sleep_until(next_tick(asked_at, Instant::now())).await;
    answer
}

fn next_tick(asked_at: Instant, now: Instant) -> Instant {
    let ticks = now.duration_since(asked_at).as_millis() / TICK.as_millis() + 1;
    asked_at + TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

async fn one(
    platform: &Platform,
    asking: &Asking,
    sought: &Sought,
) -> Result<(pb::SearchChildResponse, Disclosed), Status> {
    let tokens = tokens(platform, &sought.clues);
    let cases = candidates(platform, &tokens).await?;
    let (states, records) = futures::try_join!(states_of(platform, &cases), records_of(platform, &cases))?;
    let day = platform.today();
    let works_in =
        platform.directory().agencies.get(&asking.viewer.agency).map(|a| a.municipality_code.clone());
    let works_in = works_in.unwrap_or_default();
    let (mut found, mut ask) = (Vec::new(), BTreeSet::new());
    let mut disclosed = Disclosed::default();
    for (case, entries) in &cases {
        let Some((epoch, state)) = states.get(case).filter(|(_, state)| state.exists()) else { continue };
        // What is to be erased is found by nobody any more.
        if state.erasure.is_confirmed() {
            continue;
        }
        let rules = platform.directory().in_force(&state.municipality_code, asking.viewer.agency);
        let access = Access::of_case(&asking.viewer, state, rules, day);
        let reads = |entry: &BlindEntry| {
            records
                .get(&entry.event)
                .is_some_and(|record| reads_what_it_is_made_of(&access, record, entry, sought))
        };
        if identity::compare(&tokens, &values(entries, reads)) >= Verdict::Likely {
            let read = || entries.iter().filter(|entry| reads(entry));
            let events: BTreeSet<Uuid> = read().map(|entry| entry.event).collect();
            let kinds = tokens.keys().filter(|kind| read().any(|entry| entry.kind == kind.number()));
            let keys = kinds.flat_map(|kind| keys_of(*kind, sought)).map(str::to_owned);
            disclosed.add(Some((*case, *epoch)), events, keys, access.grants());
            disclosed.by((*case, *epoch), access.rules());
            let open_referrals = open_referrals(state, &access, asking);
            found.push(pb::FoundCase { case_id: case.to_string(), open_referrals });
            continue;
        }
        let shown = identity::existence_shown(&asking.viewer.kind, &works_in, &state.municipality_code);
        // Disclosure of a case in doubt waits, and one that was merged is told by the one that goes on.
        let hidden = state.doubt.is_some() || state.merged.is_some();
        if shown && !hidden && identity::compare(&tokens, &values(entries, |_| true)) >= Verdict::Likely {
            ask.extend(identity::wards(state).map(|post| post.to_string()));
            disclosed.add(Some((*case, *epoch)), [], [], []);
            disclosed.by((*case, *epoch), access.rules());
        }
    }
    let exists_ask_post_ids = ask.into_iter().collect();
    Ok((pb::SearchChildResponse { cases: found, exists_ask_post_ids }, disclosed))
}

/// Whether the viewer reads in full, in this event, all that the token was made of.
fn reads_what_it_is_made_of(
    access: &Access<'_>,
    record: &Record,
    entry: &BlindEntry,
    sought: &Sought,
) -> bool {
    let Some(kind) = ClueKind::from_number(entry.kind) else { return false };
    let recorded = Timestamp::from_microsecond(record.recorded_at_us).unwrap_or_default();
    let then = access.of_what_was_recorded_on(day_of(recorded));
    let lens = then.event_of(&record.header);
    // Members alone: who was asked and has not answered learns of a child by the referral, not by looking for it.
    access.in_circle() && keys_of(kind, sought).iter().all(|key| lens.fact_level(key) == Level::Full)
}

/// The dictionary keys that a clue is made of.
fn keys_of(kind: ClueKind, sought: &Sought) -> Vec<&str> {
    match kind {
        ClueKind::NameBirth | ClueKind::SurnameBirth | ClueKind::GivenBirth => {
            vec!["name_kana", "birth_date"]
        }
        ClueKind::OrderBirth => vec!["multiple_birth_order", "birth_date"],
        ClueKind::Place => vec!["sex", "birth_date", "municipality_code"],
        ClueKind::Household => vec!["insurance_member_id", "birth_date"],
        // Of another kind than the one that was asked for it is not compared.
        ClueKind::Identifier if sought.identifier_key.is_empty() => Vec::new(),
        ClueKind::Identifier => vec![&sought.identifier_key],
    }
}

fn open_referrals(state: &CaseState, access: &Access<'_>, asking: &Asking) -> Vec<pb::OpenReferral> {
    let told = access.class_level(DataClass::ReferralState) > Level::None;
    let open = state.referrals.iter().filter(|(_, referral)| referral.stage != Stage::Closed);
    let mine = open.filter(|(_, referral)| told || referral.parties().any(|post| post == asking.post()));
    let shown = mine.map(|(id, referral)| pb::OpenReferral {
        referral_id: id.to_string(),
        state: referral.stage.code().to_owned(),
        to_post_id: referral.receiver.to_string(),
    });
    shown.collect()
}

/// The cases as of now, always as many: what is not found is filled up with ids that nobody has.
async fn states_of(
    platform: &Platform,
    cases: &ByCase,
) -> Result<BTreeMap<CaseId, (u64, Arc<CaseState>)>, Status> {
    let nobody = std::iter::repeat_with(|| CaseId(Uuid::new_v4()));
    let ids: Vec<CaseId> = cases.keys().copied().chain(nobody).take(CANDIDATES_MAX).collect();
    let loaded = platform.cases_with_epochs(&ids).await.map_err(|e| errors::fault(&e))?;
    Ok(loaded.into_iter().map(|(case, epoch, state)| (case, (epoch, state))).collect())
}

/// The headers of the events that say so.
async fn records_of(platform: &Platform, cases: &ByCase) -> Result<HashMap<Uuid, Record>, Status> {
    let mut ids = events_of(cases);
    // The statement is run whether or not anything was found.
    ids.push(Uuid::new_v4());
    let records = platform.reader().events(&ids).await.map_err(|e| errors::fault(&e))?;
    let by_id = |record: Record| Some((Uuid::try_parse(&record.header.event_id).ok()?, record));
    Ok(records.into_iter().filter_map(by_id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_leaves_at_a_tick_however_long_it_took() {
        let asked_at = Instant::now();
        let leaves = |ms| (next_tick(asked_at, asked_at + Duration::from_millis(ms)) - asked_at).as_millis();
        assert_eq!([0, 3, 99, 100, 101, 250].map(leaves), [100, 100, 100, 200, 200, 300]);
    }
}
