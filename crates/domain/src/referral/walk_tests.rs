//! Random walks over referrals, consultations, consents and the directory: whatever is commanded by whom, nothing
//! panics, nobody is dropped (P2), and the circle says the same as the referrals.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use tasuki_contract::DataClass;
use tasuki_contract::consent::v1 as consent_pb;
use tasuki_contract::directory::v1 as directory_pb;
use tasuki_contract::event::v1::{Recipient, Relation, recipient::Who};
use tasuki_contract::intake::v1 as pb;

use super::tests::{seven_items, signed};
use super::*;
use crate::decision::{Decision, Kind, etag};
use crate::ids::ConsultationId;
use crate::testing::*;
use crate::{consent, consultation, registry};

const POSTS: [PostId; 9] = [HOSPITAL, INTAKE, COORDINATOR, NURSE, PLANNER, NURSERY, HEALTH, RETIRED, UNKNOWN];
/// Of the posts above, those that anybody holds: a retired or unknown post gives no commands.
const CALLERS: usize = 7;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Submit { by: usize, to: usize, into: Option<usize>, anonymous: bool },
    Acknowledge { by: usize, referral: usize },
    Accept { by: usize, referral: usize, as_lead: bool },
    Decline { by: usize, referral: usize },
    Reroute { by: usize, referral: usize, to: usize, again: bool },
    Withdraw { by: usize, referral: usize },
    Consult { by: usize },
    Open { by: usize, consultation: usize },
    Consent { by: usize, case: usize, to: usize },
    Retire { post: usize },
    Intake { post: usize },
    Pass { days: i64 },
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let caller = || 0..CALLERS;
    let post = || 0..POSTS.len();
    let nth = || 0..8usize;
    prop_oneof![
        4 => (caller(), post(), prop::option::of(nth()), any::<bool>())
            .prop_map(|(by, to, into, anonymous)| Step::Submit { by, to, into, anonymous }),
        2 => (caller(), nth()).prop_map(|(by, referral)| Step::Acknowledge { by, referral }),
        6 => (caller(), nth(), any::<bool>())
            .prop_map(|(by, referral, as_lead)| Step::Accept { by, referral, as_lead }),
        4 => (caller(), nth()).prop_map(|(by, referral)| Step::Decline { by, referral }),
        4 => (caller(), nth(), post(), any::<bool>())
            .prop_map(|(by, referral, to, again)| Step::Reroute { by, referral, to, again }),
        1 => (caller(), nth()).prop_map(|(by, referral)| Step::Withdraw { by, referral }),
        2 => caller().prop_map(|by| Step::Consult { by }),
        2 => (caller(), nth()).prop_map(|(by, consultation)| Step::Open { by, consultation }),
        1 => (caller(), nth(), post()).prop_map(|(by, case, to)| Step::Consent { by, case, to }),
        1 => post().prop_map(|post| Step::Retire { post }),
        1 => post().prop_map(|post| Step::Intake { post }),
        1 => (1..40i64).prop_map(|days| Step::Pass { days }),
    ]
}

/// The world, and what was made in it.
pub(crate) struct Walk {
    pub(crate) world: World,
    referrals: Vec<Submitted>,
    consultations: Vec<ConsultationId>,
    cases: Vec<CaseId>,
}

impl Walk {
    pub(crate) fn new() -> Self {
        Self { world: World::new(), referrals: vec![], consultations: vec![], cases: vec![] }
    }

    /// Half of the time the post whose turn it is commands, so that walks get somewhere.
    fn receiver(&self, by: usize, referral: usize) -> Option<(PostId, Submitted, CaseState)> {
        let sent = *self.referrals.get(referral % self.referrals.len().max(1))?;
        let state = self.world.case(sent.case);
        let turn = state.referrals[&sent.referral].receiver;
        let post = if by.is_multiple_of(2) { turn } else { POSTS[by] };
        Some((post, sent, state)).filter(|_| self.world.directory.posts.get(&post).is_some_and(|p| p.active))
    }

    fn checked<R>(&self, decision: &Decision<R>, sent: Submitted) {
        let revision = self.world.case(sent.case).referrals[&sent.referral].revision;
        assert_eq!(decision.etag(), etag(sent.referral.0, revision));
    }

    pub(crate) fn take(&mut self, step: &Step) -> bool {
        self.try_take(step).unwrap_or(false)
    }

    /// `None`: there is nothing yet that the step could be about.
    fn try_take(&mut self, step: &Step) -> Option<bool> {
        match *step {
            Step::Submit { by, to, into, anonymous } => {
                let mut request = seven_items(POSTS[to]);
                if anonymous {
                    request.facts.remove(0);
                    let consent = pb::ConsentAtSource { anonymous: true, ..Default::default() };
                    request.consent_at_source = Some(consent);
                }
                let into = into.and_then(|i| self.cases.get(i % self.cases.len().max(1)).copied());
                request.case_id = into.map(String::from).unwrap_or_default();
                let state = into.map(|case| self.world.case(case)).unwrap_or_default();
                let sent = self.world.run(POSTS[by], |given| submit(&state, &request, given)).ok()?;
                self.checked(&sent, sent.reply);
                self.referrals.push(sent.reply);
                if into.is_none() {
                    self.cases.push(sent.reply.case);
                }
            }
            Step::Acknowledge { by, referral } => {
                let (post, sent, state) = self.receiver(by, referral)?;
                let referral_id = sent.referral.into();
                let request = pb::AcknowledgeReferralRequest { referral_id, context: None };
                let done = self.world.run(post, |given| acknowledge(&state, &request, given)).ok()?;
                self.checked(&done, sent);
            }
            Step::Accept { by, referral, as_lead } => {
                let (post, sent, state) = self.receiver(by, referral)?;
                let request = pb::AcceptReferralRequest {
                    referral_id: sent.referral.into(),
                    as_lead,
                    first_contact_on: in_days(&self.world, 5),
                    ..Default::default()
                };
                let done = self.world.run(post, |given| accept(&state, &request, given)).ok()?;
                self.checked(&done, sent);
            }
            Step::Decline { by, referral } => {
                let (post, sent, state) = self.receiver(by, referral)?;
                let request = pb::DeclineReferralRequest {
                    referral_id: sent.referral.into(),
                    decline_reason: "capacity_full".to_owned(),
                    ..Default::default()
                };
                let done = self.world.run(post, |given| decline(&state, &request, given)).ok()?;
                self.checked(&done, sent);
            }
            Step::Reroute { by, referral, to, again } => {
                let (_, sent, state) = self.receiver(by, referral)?;
                let request = pb::RerouteReferralRequest {
                    referral_id: sent.referral.into(),
                    to_post_id: POSTS[to].into(),
                    reason_again: if again { "例".to_owned() } else { String::new() },
                    ..Default::default()
                };
                let sender = state.referrals[&sent.referral].sender;
                let by = if by.is_multiple_of(2) { sender } else { POSTS[by] };
                let done = self.world.run(by, |given| reroute(&state, &request, given)).ok()?;
                self.checked(&done, sent);
            }
            Step::Withdraw { by, referral } => {
                let (_, sent, state) = self.receiver(by, referral)?;
                let referral_id = sent.referral.into();
                let request = pb::WithdrawReferralRequest { referral_id, withdraw_reason: 1, context: None };
                let sender = state.referrals[&sent.referral].sender;
                let by = if by.is_multiple_of(2) { sender } else { POSTS[by] };
                let done = self.world.run(by, |given| withdraw(&state, &request, given)).ok()?;
                assert!(self.world.case(sent.case).referrals[&sent.referral].duties.is_empty());
                self.checked(&done, sent);
            }
            Step::Consult { by } => {
                let request = pb::RecordConsultationRequest {
                    consulter_attribute: "family".to_owned(),
                    access_route: "event".to_owned(),
                    contact_method: "phone".to_owned(),
                    contents: vec!["disaster".to_owned()],
                    caller_identity: pb::CallerIdentity::Anonymous.into(),
                    ..Default::default()
                };
                let done = self.world.run(POSTS[by], |given| consultation::record(&request, given)).ok()?;
                self.consultations.push(done.reply);
            }
            Step::Open { by, consultation } => {
                let id = *self.consultations.get(consultation % self.consultations.len().max(1))?;
                let state: consultation::ConsultationState =
                    self.world.fold(Kind::Consultation, id.0, |state, r| {
                        consultation::ConsultationState::evolve(state, r);
                    });
                let request = pb::OpenCaseRequest {
                    consultation_id: id.into(),
                    municipality_code: WARD.to_owned(),
                    label: "例A".to_owned(),
                    consent: signed(),
                    ..Default::default()
                };
                let desk = if by.is_multiple_of(2) { state.desk? } else { POSTS[by] };
                let open = |given: &mut Given<'_>| consultation::open_case(&state, &request, given);
                self.cases.push(self.world.run(desk, open).ok()?.reply.case);
            }
            Step::Consent { by, case, to } => {
                let case = *self.cases.get(case % self.cases.len().max(1))?;
                let request = consent_pb::RecordSignedConsentRequest {
                    case_id: case.into(),
                    recipients: vec![Recipient { who: Some(Who::PostId(POSTS[to].into())) }],
                    classes: vec![DataClass::Support.into()],
                    signer_relation: "self".to_owned(),
                    consent_method: "verbal".to_owned(),
                    signed_on: in_days(&self.world, 0),
                    ..Default::default()
                };
                let state = self.world.case(case);
                let record = |given: &mut Given<'_>| consent::record_signed(&state, &request, given);
                self.world.run(POSTS[by], record).ok()?;
            }
            Step::Retire { post } => {
                let led = self.world.cases().values().filter(|c| c.circle.lead == Some(POSTS[post])).count();
                let request = directory_pb::RetirePostRequest { post_id: POSTS[post].into(), context: None };
                let retire = |given: &mut Given<'_>| registry::retire_post(&request, led as u64, given);
                self.world.run_operator(retire).ok()?;
            }
            Step::Intake { post } => {
                let request = directory_pb::ConfigureMunicipalityRequest {
                    municipality_code: WARD.to_owned(),
                    intake_post_id: POSTS[post].into(),
                    kinds_that_may_lead: vec![],
                    context: None,
                };
                let configure = |given: &mut Given<'_>| registry::configure_municipality(&request, given);
                self.world.run_operator(configure).ok()?;
            }
            Step::Pass { days } => self.world.pass_days(days),
        }
        Some(true)
    }

    /// A post is asked exactly while a referral lies before it, and what it took up it receives.
    fn assert_the_circle_follows_the_referrals(&self) {
        for state in self.world.cases().values() {
            let with = |relation| -> BTreeSet<PostId> {
                let all = state.circle.relations.iter();
                all.filter(|(_, r)| r.contains(&relation)).map(|(post, _)| *post).collect()
            };
            let asked = state.referrals.values().filter(|r| r.stage < Stage::Accepted).map(|r| r.receiver);
            assert_eq!(with(Relation::Asked), asked.collect());
            let taken = state.referrals.values().filter(|r| r.stage == Stage::Accepted).map(|r| r.receiver);
            assert!(taken.collect::<BTreeSet<_>>().is_subset(&with(Relation::Receiver)));
            let owners = state
                .referrals
                .values()
                .flat_map(|r| r.duties.iter().map(move |(_, owner)| [r.sender, r.receiver].contains(owner)));
            assert!(owners.into_iter().all(|party| party), "a post owes what it has no part in");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_open_case_keeps_one_active_lead_whatever_is_commanded(steps in prop::collection::vec(step(), 1..60)) {
        let mut walk = Walk::new();
        for step in &steps {
            walk.take(step);
            walk.world.assert_nobody_is_dropped();
            walk.assert_the_circle_follows_the_referrals();
        }
    }
}

#[test]
fn walks_reach_acceptances_as_lead_reroutes_and_cases_from_consultations() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..40 {
        let steps = prop::collection::vec(step(), 60).new_tree(&mut runner).unwrap().current();
        let mut walk = Walk::new();
        for step in &steps {
            if walk.take(step) {
                let name = format!("{step:?}");
                reached.insert(name.split([' ', '{']).next().unwrap().to_owned());
            }
        }
        let transfers = |r: &&Recorded| matches!(r.event, Event::ResponsibilityTransferred(_));
        if walk.world.log.iter().any(|r| transfers(&r)) {
            reached.insert("AsLead".to_owned());
        }
    }
    let names = [
        "Accept",
        "Acknowledge",
        "AsLead",
        "Consent",
        "Consult",
        "Decline",
        "Intake",
        "Open",
        "Pass",
        "Reroute",
        "Retire",
        "Submit",
        "Withdraw",
    ];
    assert_eq!(reached.iter().map(String::as_str).collect::<Vec<_>>(), names);
}

#[test]
fn a_desk_that_opened_the_case_stays_in_the_circle_when_it_declines_a_referral() {
    let mut walk = Walk::new();
    let nursery = POSTS.iter().position(|post| *post == NURSERY).unwrap();
    let into = Step::Submit { by: 1, to: nursery, into: Some(0), anonymous: false };
    let steps = [
        Step::Consult { by: nursery },
        Step::Open { by: nursery, consultation: 0 },
        into,
        Step::Accept { by: 0, referral: 0, as_lead: false },
        Step::Decline { by: 0, referral: 0 },
    ];
    for step in &steps {
        assert!(walk.take(step), "{step:?}");
    }
    assert!(walk.world.case(walk.cases[0]).circle.is_member(NURSERY));
}
