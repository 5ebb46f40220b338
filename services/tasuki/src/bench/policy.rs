//! What it takes to evaluate the policy for one item of a timeline: whether it is told, how much of it, what is withheld.
//!
//! No database and no key: a coordinator's desk reads a referral of a case with a circle of eight posts and five grants,
//! as the timeline service asks for it, with a fresh look at the case for every item.

use std::hint::black_box;
use std::time::Instant;

use clap::Args;
use tasuki_contract::event::v1::{Effects, Header, Relation};
use tasuki_contract::{DataClass, Event};
use tasuki_domain::case::CaseState;
use tasuki_domain::circle::{Grant, Recipient};
use tasuki_domain::ids::{AgencyId, GrantId, PostId};
use tasuki_domain::policy::InForce;
use tasuki_domain::purpose::Purpose;
use tasuki_privacy::{Access, PERSONAL, Viewer};
use uuid::Uuid;

use super::stats::median;
use super::{figure, remark};
use crate::Error;

/// Items that are evaluated for one value, so that the clock counts for nothing.
const ITEMS: u32 = 200;
/// The day on which the grants are looked at.
const DAY: i32 = 20_000;

/// How long to measure.
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// Values of which the median is told.
    #[arg(long, default_value_t = 501)]
    values: u32,
}

/// Prints `policy_eval_ns`: nanoseconds for one item, the median.
pub(super) async fn run(args: PolicyArgs) -> Result<(), Error> {
    remark("one item of a timeline: event_of, its level, the classes and keys that are withheld")?;
    figure("policy_eval_ns", eval_ns(args.values))
}

/// The median of so many values.
pub(super) fn eval_ns(values: u32) -> f64 {
    let (viewer, case, header) = (viewer(), case(), header());
    let rule = Event::rule_of(&header.r#type);
    let rules = InForce::standard();
    let evaluate = || {
        let access = Access::of_case(&viewer, &case, rules.clone(), DAY);
        let lens = access.event_of(&header);
        let withheld = rule.map(|rule| (lens.withheld_classes(rule), lens.withheld_keys(rule)));
        black_box((lens.level(), withheld));
    };
    evaluate();
    let value = |_| {
        let begun = Instant::now();
        (0..ITEMS).for_each(|_| evaluate());
        begun.elapsed().as_nanos() as f64 / f64::from(ITEMS)
    };
    median((0..values).map(value))
}

fn post(n: u128) -> PostId {
    PostId(Uuid::from_u128(n))
}

fn viewer() -> Viewer {
    let (kind, purpose) = ("mcc_coordinator_office".to_owned(), Purpose::of("care_coordination"));
    Viewer { post: post(1), agency: AgencyId(Uuid::from_u128(100)), kind, purpose }
}

fn case() -> CaseState {
    let mut case = CaseState::default();
    let relations = [
        Relation::Lead,
        Relation::Ward,
        Relation::Sender,
        Relation::Receiver,
        Relation::Accompanying,
        Relation::Family,
        Relation::Named,
        Relation::Asked,
    ];
    for (n, relation) in (1..).zip(relations) {
        case.circle.relations.entry(post(n)).or_default().insert(relation);
    }
    let recipients = [
        vec![Recipient::Post(post(1)), Recipient::Post(post(2)), Recipient::Post(post(3))],
        vec![Recipient::Kind("visiting_nurse_station".into()), Recipient::Kind("hospital".into())],
        vec![Recipient::Post(post(4)), Recipient::Agency(AgencyId(Uuid::from_u128(104)))],
        vec![Recipient::Kind("mcc_coordinator_office".into())],
        vec![Recipient::Post(post(7))],
    ];
    for (n, recipients) in (200..).zip(recipients) {
        let classes = PERSONAL.into_iter().filter(|class| *class < DataClass::Restricted).collect();
        let excluded_keys = ["allergies".to_owned(), "siblings".to_owned()].into();
        let valid_to_day = Some(DAY + 100);
        let grant = Grant { recipients, classes, excluded_keys, valid_to_day, ..Grant::default() };
        case.circle.grants.insert(GrantId(Uuid::from_u128(n)), grant);
    }
    case
}

fn header() -> Header {
    let parties = [post(3), post(4), post(5)];
    Header {
        r#type: "tasuki.intake.v1.ReferralSubmitted".to_owned(),
        data_class: DataClass::ReferralState.into(),
        agency_id: Uuid::from_u128(103).to_string(),
        effects: Some(Effects {
            party_post_ids: parties.iter().map(PostId::to_string).collect(),
            ..Effects::default()
        }),
        ..Header::default()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_value_is_measured() {
        assert!(super::eval_ns(3) > 0.0);
    }
}
