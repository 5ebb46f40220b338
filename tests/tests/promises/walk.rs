//! A random walk: many callers throw commands at two processes at once, most of them plausible, many of them refused.
//!
//! Only what no caller can make happen is a failure: an answer that is neither a success, a refusal nor busy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tasuki::{region, token};
use tasuki_contract::DataClass;
use tasuki_contract::consent::v1::RecordSignedConsentRequest;
use tasuki_contract::directory::v1 as directory;
use tasuki_contract::event::v1::{Recipient, recipient::Who};
use tasuki_contract::handoff::v1 as handoff;
use tasuki_contract::intake::v1 as intake;
use tasuki_domain::ids::PostId;
use tasuki_tests::{Caller, Program, World, referral};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::story::day;
use crate::who_reads::{COORDINATOR, HEALTH, HOSPITAL, NURSERY, PLANNER, WARD};

/// How long and how wide.
#[derive(Clone, Copy)]
pub struct WalkOptions {
    pub walkers: usize,
    /// Commands of each walker.
    pub steps: usize,
    /// Cases that are open at the beginning.
    pub cases: usize,
    /// Posts beside those of the region; they come, lead, and are retired.
    pub desks: usize,
}

/// What the walkers know of what there is. They share it loosely: it may be out of date, as with people.
#[derive(Default)]
struct Known {
    cases: Vec<String>,
    /// Referral, and the post that it lies before.
    referrals: Vec<(String, usize)>,
    /// Hand-off with the places of both sides.
    handoffs: Vec<(String, usize, usize)>,
    /// Case and its lead, as somebody last heard.
    leads: BTreeMap<String, usize>,
}

/// A step of a hand-off.
#[derive(Clone, Copy)]
enum Step {
    Accept,
    Decline,
    Begin,
    Meet,
    Complete,
}

/// Commands by name and outcome.
pub type Done = BTreeMap<(&'static str, String), usize>;

pub struct Walk {
    /// Each post's callers, one for each process.
    posts: Arc<Vec<[Caller; 2]>>,
    operators: [Caller; 2],
    known: Arc<Mutex<Known>>,
    options: WalkOptions,
    seeds: Vec<u64>,
}

const SLUGS: [&str; 6] = [HOSPITAL, WARD, COORDINATOR, PLANNER, HEALTH, NURSERY];
/// Places in `posts`.
const AT_HOSPITAL: usize = 0;
const AT_WARD: usize = 1;
/// The first post that may lead beside the ward.
const FIRST_DESK: usize = 2;
const AT_NURSERY: usize = 5;

impl Walk {
    /// Opens the first cases and creates the desks.
    pub async fn begin(
        world: &World,
        programs: [&Program; 2],
        rng: &mut StdRng,
        options: WalkOptions,
    ) -> Self {
        let operators =
            [world.operator(programs[0]).await.unwrap(), world.operator(programs[1]).await.unwrap()];
        let mut posts = Vec::new();
        for slug in SLUGS {
            let both = [world.caller(programs[0], slug).await, world.caller(programs[1], slug).await];
            posts.push(both.map(Result::unwrap));
        }
        for i in 0..options.desks {
            posts.push(desk(world, &operators, i).await);
        }
        let walk = Self {
            posts: Arc::new(posts),
            operators,
            known: Arc::default(),
            options,
            seeds: (0..options.walkers).map(|_| rng.random()).collect(),
        };
        let mut walker = walk.walker(rng.random());
        for _ in 0..options.cases {
            walker.submit().await;
        }
        assert_eq!(walk.known.lock().unwrap().cases.len(), options.cases, "{:?}", walker.done);
        walk
    }

    fn walker(&self, seed: u64) -> Walker {
        Walker {
            posts: self.posts.clone(),
            operators: self.operators.clone(),
            known: self.known.clone(),
            rng: StdRng::seed_from_u64(seed),
            done: Done::default(),
        }
    }

    /// Lets every walker go its steps.
    pub async fn run(self) -> Done {
        let walkers: Vec<_> = self
            .seeds
            .iter()
            .map(|seed| {
                let (mut walker, steps) = (self.walker(*seed), self.options.steps);
                tokio::spawn(async move {
                    for _ in 0..steps {
                        walker.step().await;
                    }
                    walker.done
                })
            })
            .collect();
        let mut all = Done::default();
        for walker in walkers {
            for (what, count) in walker.await.unwrap() {
                *all.entry(what).or_default() += count;
            }
        }
        all
    }
}

/// A post of its own at the coordinator's or a planner's agency.
async fn desk(world: &World, operators: &[Caller; 2], i: usize) -> [Caller; 2] {
    let agency = region::agency_id(["coordinator", "planner2", "health"][i % 3]);
    let post = PostId(Uuid::now_v7());
    let create = directory::CreatePostRequest {
        post_id: post.to_string(),
        agency_id: agency.to_string(),
        label_ja: format!("例示 窓口 {i}"),
        label_en: format!("Example desk {i}"),
        holder_subjects: vec![region::holder_of(post)],
        ..Default::default()
    };
    operators[0].directory().create_post(operators[0].request(create)).await.unwrap();
    let token = token::for_post(world.secrets.issuer.as_ref().unwrap(), agency, post, 3_600).unwrap();
    operators.clone().map(|operator| Caller { channel: operator.channel, token: token.clone(), post })
}

struct Walker {
    posts: Arc<Vec<[Caller; 2]>>,
    operators: [Caller; 2],
    known: Arc<Mutex<Known>>,
    rng: StdRng,
    done: Done,
}

impl Walker {
    async fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..6 => self.submit().await,
            6..9 => self.rush().await,
            9..14 => self.refer().await,
            14..36 => self.answer().await,
            36..40 => self.reroute().await,
            40..43 => self.withdraw().await,
            43..50 => self.consent().await,
            50..58 => self.propose().await,
            58..94 => self.hand_over().await,
            94..97 => self.cancel().await,
            _ => self.retire().await,
        }
    }

    /// The post at a place, at one of the two processes.
    fn at(&mut self, place: usize) -> Caller {
        self.posts[place][self.rng.random_range(0..2)].clone()
    }

    /// A post that may lead; now and then one that may not.
    fn desk(&mut self) -> usize {
        match self.rng.random_range(0..20) {
            0 => AT_NURSERY,
            1 => AT_WARD,
            _ => loop {
                let place = self.rng.random_range(FIRST_DESK..self.posts.len());
                if place != AT_NURSERY {
                    break place;
                }
            },
        }
    }

    fn post(&self, place: usize) -> String {
        self.posts[place][0].post.to_string()
    }

    fn any_case(&mut self) -> String {
        let cases = self.known.lock().unwrap().cases.clone();
        cases.choose(&mut self.rng).unwrap().clone()
    }

    /// The lead as last heard of; now and then somebody else.
    fn lead_of(&mut self, case: &str) -> usize {
        let lead = self.known.lock().unwrap().leads.get(case).copied().unwrap_or(AT_WARD);
        if self.rng.random_bool(0.9) { lead } else { self.desk() }
    }

    /// Notes the outcome; returns the answer if it is one.
    fn note<T>(&mut self, what: &'static str, answer: Result<tonic::Response<T>, Status>) -> Option<T> {
        let (outcome, answer) = match answer {
            Ok(answer) => ("ok".to_owned(), Some(answer.into_inner())),
            Err(status) => {
                let expected = matches!(
                    status.code(),
                    Code::NotFound | Code::FailedPrecondition | Code::PermissionDenied | Code::Aborted
                );
                assert!(expected, "{what}: {status:?}");
                let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
                (reason.unwrap_or_else(|| panic!("{what} without a reason: {status:?}")), None)
            }
        };
        *self.done.entry((what, outcome)).or_default() += 1;
        answer
    }

    async fn submit(&mut self) {
        let to = self.desk();
        let request = referral(self.posts[to][0].post, "kita_A");
        let caller = self.at(AT_HOSPITAL);
        let answer = caller.referrals().submit_referral(caller.request(request)).await;
        if let Some(sent) = self.note("submit", answer) {
            let mut known = self.known.lock().unwrap();
            known.cases.push(sent.case_id);
            known.referrals.push((sent.referral_id, to));
        }
    }

    /// Asks one more post about a case that there is.
    async fn refer(&mut self) {
        let (case_id, to) = (self.any_case(), self.desk());
        let from = self.lead_of(&case_id);
        if from == to {
            return;
        }
        let caller = self.at(from);
        let request = intake::SubmitReferralRequest {
            case_id,
            to_post_id: self.post(to),
            referral_purpose: "enrollment".to_owned(),
            ..Default::default()
        };
        let answer = caller.referrals().submit_referral(caller.request(request)).await;
        if let Some(sent) = self.note("refer", answer) {
            self.known.lock().unwrap().referrals.push((sent.referral_id, to));
        }
    }

    fn any_referral(&mut self) -> (usize, String, usize) {
        let known = self.known.lock().unwrap();
        // The late ones are likelier to lie before somebody still.
        let from = if self.rng.random_bool(0.7) { known.referrals.len().saturating_sub(12) } else { 0 };
        let place = self.rng.random_range(from..known.referrals.len());
        let (id, to) = known.referrals[place].clone();
        (place, id, to)
    }

    async fn answer(&mut self) {
        let (_, referral_id, to) = self.any_referral();
        let who = if self.rng.random_bool(0.9) { to } else { self.desk() };
        let caller = self.at(who);
        let mut client = caller.referrals();
        match self.rng.random_range(0..10) {
            0..2 => {
                let request = intake::AcknowledgeReferralRequest { referral_id, ..Default::default() };
                let answer = client.acknowledge_referral(caller.request(request)).await;
                self.note("acknowledge", answer);
            }
            2..4 => {
                let request = intake::DeclineReferralRequest {
                    referral_id,
                    decline_reason: "caseload_full".to_owned(),
                    ..Default::default()
                };
                let answer = client.decline_referral(caller.request(request)).await;
                self.note("decline", answer);
            }
            _ => {
                let as_lead = self.rng.random_bool(0.7);
                let request = intake::AcceptReferralRequest {
                    referral_id,
                    as_lead,
                    first_contact_on: day(3),
                    ..Default::default()
                };
                let answer = client.accept_referral(caller.request(request)).await;
                self.note(if as_lead { "accept as lead" } else { "accept" }, answer);
            }
        }
    }

    async fn reroute(&mut self) {
        let ((place, referral_id, _), to) = (self.any_referral(), self.desk());
        let who = *[AT_HOSPITAL, AT_WARD].choose(&mut self.rng).unwrap();
        let caller = self.at(who);
        let request = intake::RerouteReferralRequest {
            referral_id,
            to_post_id: self.post(to),
            reason_again: "MARK-AGAIN".to_owned(),
            ..Default::default()
        };
        let answer = caller.referrals().reroute_referral(caller.request(request)).await;
        let refused_self = matches!(&answer, Err(status) if status.code() == Code::InvalidArgument);
        if !refused_self && self.note("reroute", answer).is_some() {
            self.known.lock().unwrap().referrals[place].1 = to;
        }
    }

    async fn withdraw(&mut self) {
        let (_, referral_id, _) = self.any_referral();
        let caller = self.at(AT_HOSPITAL);
        let request = intake::WithdrawReferralRequest {
            referral_id,
            withdraw_reason: intake::WithdrawReason::NoLongerNeeded.into(),
            ..Default::default()
        };
        let answer = caller.referrals().withdraw_referral(caller.request(request)).await;
        self.note("withdraw", answer);
    }

    /// Lets every kind of agency that may lead read what a hand-off needs.
    async fn consent(&mut self) {
        let case_id = self.any_case();
        let who = if self.rng.random_bool(0.5) { AT_WARD } else { self.lead_of(&case_id) };
        let request = consent_for_kinds(case_id);
        let caller = self.at(who);
        let answer = caller.consents().record_signed_consent(caller.request(request)).await;
        self.note("consent", answer);
    }

    async fn propose(&mut self) {
        let (case_id, to) = (self.any_case(), self.desk());
        // The ward may propose for whoever leads, so most proposals reach the right case.
        let who = if self.rng.random_bool(0.7) { AT_WARD } else { self.lead_of(&case_id) };
        let caller = self.at(who);
        let request = handoff::ProposeHandoffRequest {
            case_id: case_id.clone(),
            kind: handoff::HandoffKind::Other.into(),
            incoming_post_id: self.post(to),
            ..Default::default()
        };
        let answer = caller.handoffs().propose_handoff(caller.request(request)).await;
        if let Some(proposed) = self.note("propose", answer) {
            // Nobody tells the walker who leads: every post tries, and the one whose part it is succeeds.
            let lead = self.offer_by_whoever_leads(&proposed.handoff_id, &case_id).await;
            self.known.lock().unwrap().handoffs.push((proposed.handoff_id, lead, to));
        }
    }

    async fn offer_by_whoever_leads(&mut self, handoff_id: &str, case_id: &str) -> usize {
        let caller = self.at(AT_WARD);
        let request = consent_for_kinds(case_id.to_owned());
        let answer = caller.consents().record_signed_consent(caller.request(request)).await;
        self.note("consent", answer);
        for place in 1..self.posts.len() {
            let caller = self.at(place);
            let request = handoff::OfferHandoffRequest {
                handoff_id: handoff_id.to_owned(),
                summary: "MARK-SUMMARY".to_owned(),
                ..Default::default()
            };
            let answer = caller.handoffs().offer_handoff(caller.request(request)).await;
            if self.note("offer", answer).is_some() {
                self.known.lock().unwrap().leads.insert(case_id.to_owned(), place);
                return place;
            }
        }
        AT_WARD
    }

    fn any_handoff(&mut self) -> Option<(String, usize, usize)> {
        let known = self.known.lock().unwrap();
        let from = if self.rng.random_bool(0.8) { known.handoffs.len().saturating_sub(8) } else { 0 };
        known.handoffs[from..].choose(&mut self.rng).cloned()
    }

    /// One more step of a hand-off, whichever may be next, from either side; or all that are left, in their order,
    /// with others in between.
    async fn hand_over(&mut self) {
        let Some((handoff_id, outgoing, incoming)) = self.any_handoff() else { return };
        if self.rng.random_bool(0.15) {
            let steps = [Step::Accept, Step::Begin, Step::Meet, Step::Complete];
            for step in steps {
                self.hand_over_step(step, &handoff_id, incoming).await;
            }
            self.hand_over_step(Step::Complete, &handoff_id, outgoing).await;
            return;
        }
        let who = match self.rng.random_range(0..20) {
            0 => self.desk(),
            1..8 => outgoing,
            _ => incoming,
        };
        let steps = [Step::Accept, Step::Decline, Step::Begin, Step::Meet, Step::Complete, Step::Complete];
        let step = *steps.choose(&mut self.rng).unwrap();
        self.hand_over_step(step, &handoff_id, who).await;
    }

    async fn hand_over_step(&mut self, step: Step, handoff_id: &str, who: usize) {
        let handoff_id = handoff_id.to_owned();
        let caller = self.at(who);
        let mut client = caller.handoffs();
        match step {
            Step::Accept => {
                let request = handoff::AcceptHandoffRequest { handoff_id, ..Default::default() };
                let answer = client.accept_handoff(caller.request(request)).await;
                self.note("accept hand-off", answer);
            }
            Step::Decline => {
                let request = handoff::DeclineHandoffRequest {
                    handoff_id,
                    decline_reason: "caseload_full".to_owned(),
                    ..Default::default()
                };
                let answer = client.decline_handoff(caller.request(request)).await;
                self.note("decline hand-off", answer);
            }
            Step::Begin => {
                let request = handoff::BeginAccompanimentRequest {
                    handoff_id,
                    joint_contact_on: day(1),
                    review_on: day(9),
                    ..Default::default()
                };
                let answer = client.begin_accompaniment(caller.request(request)).await;
                self.note("begin accompaniment", answer);
            }
            Step::Meet => {
                let full = self.rng.random_bool(0.8);
                let request = handoff::RecordJointContactRequest {
                    handoff_id,
                    held_on: day(0),
                    family_present: full,
                    outgoing_present: true,
                    incoming_present: true,
                    absence_reason: if full { String::new() } else { "MARK-ABSENT".to_owned() },
                    ..Default::default()
                };
                let answer = client.record_joint_contact(caller.request(request)).await;
                self.note("joint contact", answer);
            }
            Step::Complete => {
                let request = handoff::CompleteHandoffRequest { handoff_id, ..Default::default() };
                let answer = client.complete_handoff(caller.request(request)).await;
                self.note("complete", answer);
            }
        }
    }

    async fn cancel(&mut self) {
        let Some((handoff_id, outgoing, incoming)) = self.any_handoff() else { return };
        let caller = self.at(outgoing);
        let caller = if self.rng.random_bool(0.5) { caller } else { self.at(incoming) };
        let request = handoff::CancelHandoffRequest {
            handoff_id,
            cancel_reason: handoff::CancelReason::FamilyWish.into(),
            ..Default::default()
        };
        let answer = caller.handoffs().cancel_handoff(caller.request(request)).await;
        self.note("cancel", answer);
    }

    /// Closes a desk at one process at the moment at which it takes a case at the other, which may not know yet.
    async fn rush(&mut self) {
        let desk = self.rng.random_range(SLUGS.len()..self.posts.len());
        let caller = self.at(AT_HOSPITAL);
        let request = referral(self.posts[desk][0].post, "kita_A");
        let answer = caller.referrals().submit_referral(caller.request(request)).await;
        let Some(sent) = self.note("submit", answer) else { return };
        self.known.lock().unwrap().cases.push(sent.case_id);
        let accept = intake::AcceptReferralRequest {
            referral_id: sent.referral_id,
            as_lead: true,
            first_contact_on: day(3),
            ..Default::default()
        };
        let retire = directory::RetirePostRequest { post_id: self.post(desk), ..Default::default() };
        let at = self.rng.random_range(0..2);
        let (operator, caller) = (self.operators[at].clone(), self.posts[desk][1 - at].clone());
        let (mut keeper, mut client) = (operator.directory(), caller.referrals());
        let (retired, accepted) = tokio::join!(
            keeper.retire_post(operator.request(retire)),
            client.accept_referral(caller.request(accept))
        );
        self.note("retire in a rush", retired);
        self.note("accept as lead in a rush", accepted);
    }

    /// Tries to close a post while others may just be making it responsible for a case.
    async fn retire(&mut self) {
        let handoff = self.any_handoff();
        let candidates: BTreeSet<usize> = (SLUGS.len()..self.posts.len()).collect();
        let incoming = handoff.map(|(_, _, incoming)| incoming).filter(|place| candidates.contains(place));
        let place = match incoming {
            Some(place) if self.rng.random_bool(0.5) => place,
            _ => self.rng.random_range(SLUGS.len()..self.posts.len()),
        };
        let operator = self.operators[self.rng.random_range(0..2)].clone();
        let request = directory::RetirePostRequest { post_id: self.post(place), ..Default::default() };
        let answer = operator.directory().retire_post(operator.request(request)).await;
        self.note("retire", answer);
    }
}

fn consent_for_kinds(case_id: String) -> RecordSignedConsentRequest {
    let kinds = [
        "mcc_coordinator_office",
        "consultation_support_office",
        "public_health_center",
        "municipal_disability_welfare",
    ];
    let classes = [DataClass::Handoff, DataClass::Lead, DataClass::Identity, DataClass::CareProcedure];
    RecordSignedConsentRequest {
        case_id,
        recipients: kinds.map(|kind| Recipient { who: Some(Who::AgencyKind(kind.to_owned())) }).into(),
        classes: classes.map(|class| class as i32).into(),
        signer_relation: "mother".to_owned(),
        consent_method: "verbal".to_owned(),
        signed_on: day(-1),
        ..Default::default()
    }
}
