//! Reading under policy: who asks, what an answer discloses, and the loop that puts it on record before it leaves.
//!
//! An answer is made under the disclosure epochs of its cases. Its records, one for each case, are committed together;
//! where an epoch has moved meanwhile nothing is recorded, nothing is served, and the answer is made anew.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tasuki_domain::directory::Directory;
use tasuki_domain::ids::{CaseId, GrantId, PostId};
use tasuki_domain::policy::InForce;
use tasuki_domain::purpose::Purpose;
use tasuki_log::reads::ReadOutcome;
use tasuki_log::{AppendError, ReadEntry};
use tasuki_privacy::{Viewer, policy_version};
use tonic::Status;
use uuid::Uuid;

use crate::{Context, Platform, errors};

/// How often an answer is made anew because a disclosure changed under it, before the caller is told to try again.
const TRIES_MAX: usize = 5;

const TOKYO_OFFSET_S: i64 = 9 * 3_600;
const DAY_S: i64 = 86_400;

/// One caller of one method.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The caller.
    pub context: Context,
    /// The caller as the policy knows it.
    pub viewer: Viewer,
    /// `Service/Method`, as it stands in the read record.
    pub method: &'static str,
}

impl Asking {
    /// The caller of `method`, which is `Service/Method`.
    ///
    /// Errors: `POST_REQUIRED` for a caller without a post.
    pub fn new(context: Context, directory: &Directory, method: &'static str) -> Result<Self, Status> {
        let post = context.actor.post;
        if post.0.is_nil() {
            return Err(errors::post_required());
        }
        // An agency that is not known reads its own part only.
        let kind = directory.agency_of(post).map(|agency| agency.kind.clone()).unwrap_or_default();
        let purpose = Purpose::of(&context.purpose);
        let viewer = Viewer { post, agency: context.actor.agency, kind, purpose };
        Ok(Self { context, viewer, method })
    }

    /// The post that reads.
    pub fn post(&self) -> PostId {
        self.viewer.post
    }

    /// The record of what is read of these cases, each with the disclosure epoch that the policy was evaluated under.
    /// `rules` are the policies by which that was found; `None` where nothing was asked of a policy.
    pub fn entry(
        &self,
        rules: Option<&InForce>,
        cases: Vec<(CaseId, u64)>,
        events: Vec<Uuid>,
        fact_keys: Vec<String>,
        grants: Vec<GrantId>,
    ) -> ReadEntry {
        ReadEntry {
            agency: self.viewer.agency.0,
            post: self.viewer.post.0,
            purpose: self.context.purpose.clone(),
            method: self.method,
            cases: cases.into_iter().map(|(case, epoch)| (case.0, epoch)).collect(),
            events,
            fact_keys,
            grants: grants.into_iter().map(|g| g.0).collect(),
            policy_version: rules.map_or_else(|| policy_version(&InForce::standard()), policy_version),
            policies: rules.map(|rules| rules.rows.clone()).unwrap_or_default(),
        }
    }

    /// The records of an answer, one for each case; of an answer that discloses nothing, one without a case.
    fn entries(&self, disclosed: Disclosed) -> Vec<ReadEntry> {
        if disclosed.0.is_empty() {
            return vec![self.entry(None, Vec::new(), Vec::new(), Vec::new(), Vec::new())];
        }
        let entry = |(case, mut part): (Option<CaseId>, Part)| {
            part.fact_keys.sort_unstable();
            part.fact_keys.dedup();
            part.grants.sort_unstable();
            part.grants.dedup();
            let cases = case.map(|case| (case, part.epoch)).into_iter().collect();
            self.entry(part.rules.as_ref(), cases, part.events, part.fact_keys, part.grants)
        };
        disclosed.0.into_iter().map(entry).collect()
    }
}

/// What one answer discloses, case by case, so that each guardian's record tells of that guardian's child alone.
#[derive(Clone, Debug, Default)]
pub struct Disclosed(BTreeMap<Option<CaseId>, Part>);

#[derive(Clone, Debug, Default)]
struct Part {
    epoch: u64,
    events: Vec<Uuid>,
    fact_keys: Vec<String>,
    grants: Vec<GrantId>,
    rules: Option<InForce>,
}

impl Disclosed {
    /// Notes the policies by which something of the case was found.
    pub fn by(&mut self, case: (CaseId, u64), rules: &InForce) {
        self.add(Some(case), [], [], []);
        if let Some(part) = self.0.get_mut(&Some(case.0)) {
            part.rules = Some(rules.clone());
        }
    }

    /// Adds something of a case that was looked at under an epoch; `None` for what belongs to no case.
    ///
    /// Where a case was looked at more than once, the earliest look counts.
    pub fn add(
        &mut self,
        case: Option<(CaseId, u64)>,
        events: impl IntoIterator<Item = Uuid>,
        fact_keys: impl IntoIterator<Item = String>,
        grants: impl IntoIterator<Item = GrantId>,
    ) {
        let epoch = case.map_or(0, |(_, epoch)| epoch);
        let first = || Part { epoch, ..Part::default() };
        let part = self.0.entry(case.map(|(case, _)| case)).or_insert_with(first);
        part.epoch = part.epoch.min(epoch);
        part.events.extend(events);
        part.fact_keys.extend(fact_keys);
        part.grants.extend(grants);
    }
}

/// An answer that is on record when this returns.
///
/// `make` evaluates it from the disclosure epochs on, and is called again for as long as they move under it, and where
/// midnight has come meanwhile: what ends with a day is not served after it.
/// Errors: what `make` refuses; `CONFLICT` when disclosures change more often than a few times; faults of the log.
pub async fn on_record<T, F>(platform: &Platform, asking: &Asking, make: impl Fn() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<(T, Disclosed), Status>> + Send,
{
    for _ in 0..TRIES_MAX {
        let today = platform.today();
        let (answer, disclosed) = make().await?;
        let recorded = platform.reads().record_all(asking.entries(disclosed)).await;
        let recorded = recorded.map_err(|e| errors::fault(&e))? == ReadOutcome::Recorded;
        if recorded && platform.today() == today {
            return Ok(answer);
        }
        // It may be the policy that has changed: the directory is then behind.
        platform.refresh_directory().await.map_err(|e| errors::fault(&e))?;
    }
    Err(errors::append_failed(&AppendError::Conflict))
}

/// The day of an instant in Asia/Tokyo, as days since 1970-01-01: the day on which grants are looked at.
pub fn day_of(now: Timestamp) -> i32 {
    i32::try_from((now.as_second() + TOKYO_OFFSET_S).div_euclid(DAY_S)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use tasuki_domain::decision::Actor;
    use tasuki_domain::ids::AgencyId;

    use super::*;

    fn asking() -> Asking {
        let actor =
            Actor { agency: AgencyId(Uuid::from_u128(1)), post: PostId(Uuid::from_u128(2)), operator: false };
        let issuer = tasuki_auth::DevIssuer::generate().expect("a key");
        let verifier =
            tasuki_auth::Verifier::new(vec![issuer.trust("test").expect("trust")]).expect("a verifier");
        let grant = tasuki_auth::DevGrant {
            subject: "kita_A".into(),
            audience: "test".into(),
            agency: actor.agency.0,
            posts: vec![actor.post.0],
            operator: false,
            issued_at_s: 1_000,
            lifetime_s: 60,
        };
        let token = verifier.verify(&issuer.issue(&grant).expect("a token"), 1_001).expect("a caller");
        let context = Context {
            actor,
            token,
            subject: String::new(),
            purpose: "care_coordination".into(),
            request_id: String::new(),
            expires_at_s: 0,
            traceparent: None,
        };
        let viewer =
            Viewer { post: actor.post, agency: actor.agency, kind: String::new(), purpose: Purpose::Unknown };
        Asking { context, viewer, method: "Test/Read" }
    }

    #[test]
    fn a_day_begins_at_midnight_in_tokyo() {
        let at = |second| day_of(Timestamp::from_second(second).unwrap_or_default());
        assert_eq!((at(15 * 3_600 - 1), at(15 * 3_600)), (0, 1));
        assert_eq!(at(-9 * 3_600 - 1), -1);
    }

    #[test]
    fn each_case_has_a_record_of_its_own_under_the_earliest_look_at_it() {
        let [one, two] = [1, 2].map(|n| CaseId(Uuid::from_u128(n)));
        let [first, second, third] = [11, 12, 13].map(Uuid::from_u128);
        let grant = GrantId(Uuid::from_u128(21));
        let mut disclosed = Disclosed::default();
        disclosed.add(Some((one, 5)), [first], ["b".to_owned(), "a".to_owned()], [grant]);
        disclosed.add(Some((two, 7)), [second], [], []);
        disclosed.add(Some((one, 4)), [third], ["a".to_owned()], [grant]);
        let entries = asking().entries(disclosed);
        assert_eq!(entries.len(), 2);
        assert_eq!((&entries[0].cases, &entries[0].events), (&vec![(one.0, 4)], &vec![first, third]));
        assert_eq!(
            (&entries[0].fact_keys[..], entries[0].grants.len()),
            (&["a".to_owned(), "b".into()][..], 1)
        );
        assert_eq!((&entries[1].cases, &entries[1].events), (&vec![(two.0, 7)], &vec![second]));
    }

    #[test]
    fn an_answer_that_discloses_nothing_is_on_record_too() {
        let entries = asking().entries(Disclosed::default());
        assert_eq!(entries.len(), 1);
        assert!(entries[0].cases.is_empty() && entries[0].events.is_empty());
    }
}
