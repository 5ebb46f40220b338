//! Claims about cards, on records made by hand.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use prost::Message as _;
use tasuki_contract::common::v1::fact::Value;
use tasuki_contract::common::v1::{CodeList, Fact};
use tasuki_contract::event::v1::{Effects, Header, Relation};
use tasuki_contract::intake::v1::ReferralSubmitted;
use tasuki_domain::circle::{Circle, Grant, Recipient};
use tasuki_domain::ids::{AgencyId, GrantId};
use tasuki_privacy::{PERSONAL, Viewer};

use super::*;

const CASE: CaseId = CaseId(Uuid::from_u128(1));
const ME: PostId = PostId(Uuid::from_u128(2));
const MY_AGENCY: AgencyId = AgencyId(Uuid::from_u128(3));
const OTHERS: AgencyId = AgencyId(Uuid::from_u128(4));

fn viewer(kind: &str) -> Viewer {
    Viewer { post: ME, agency: MY_AGENCY, kind: kind.into() }
}

fn circle(relation: Option<Relation>, classes: &[DataClass]) -> Circle {
    let mut circle = Circle { lead: Some(PostId(Uuid::from_u128(9))), ..Circle::default() };
    if let Some(relation) = relation {
        circle.relations.insert(ME, BTreeSet::from([relation]));
    }
    let grant = Grant {
        recipients: vec![Recipient::Post(ME)],
        classes: classes.iter().copied().collect(),
        excluded_keys: BTreeSet::new(),
        valid_to_day: None,
    };
    circle.grants.insert(GrantId(Uuid::from_u128(5)), grant);
    circle
}

fn text(key: &str, text: &str) -> Fact {
    Fact { key: key.into(), value: Some(Value::Text(text.into())), ..Fact::default() }
}

fn referral(number: u128, agency: AgencyId, party: bool, facts: Vec<Fact>) -> (Record, Event) {
    let header = Header {
        event_id: Uuid::from_u128(1_000 + number).to_string(),
        r#type: "tasuki.intake.v1.ReferralSubmitted".into(),
        agency_id: agency.to_string(),
        data_class: DataClass::ReferralState as i32,
        effects: Some(Effects {
            party_post_ids: party.then(|| ME.to_string()).into_iter().collect(),
            ..Effects::default()
        }),
        ..Header::default()
    };
    let record = Record {
        position: number as u64,
        epoch: 1,
        recorded_at_us: number as i64,
        header,
        header_bytes: Vec::new(),
        parts: Vec::new(),
        hash: Vec::new(),
    };
    (record, Event::ReferralSubmitted(ReferralSubmitted { facts, ..Default::default() }))
}

fn made(kind: &str, circle: &Circle, events: &[(Record, Event)]) -> Card {
    let viewer = viewer(kind);
    let access = Access::new(&viewer, circle, 20_000);
    let lead = circle.lead.map(|post| (post, "00-0000-0000".to_owned()));
    card(CASE, &access, lead, events)
}

fn keys(card: &Card) -> Vec<&str> {
    card.fact_keys.iter().map(String::as_str).collect()
}

#[test]
fn withheld_never_looks_like_absent() {
    let hidden =
        vec![text("allergies", "MARK"), text("primary_diagnosis", "MARK"), text("nationality", "MARK")];
    let with = [referral(1, OTHERS, false, hidden)];
    let without = [referral(1, OTHERS, false, Vec::new())];
    let relations = [None, Some(Relation::Asked), Some(Relation::Lead), Some(Relation::Family)];
    for kind in ["visiting_nurse_station", "hospital", "nursery", "mcc_support_center", "npo"] {
        for relation in relations {
            let circle = circle(relation, &[DataClass::ReferralState, DataClass::Lead]);
            let (known, unknown) = (made(kind, &circle, &with), made(kind, &circle, &without));
            assert_eq!(
                known.response.encode_to_vec(),
                unknown.response.encode_to_vec(),
                "{kind} {relation:?}"
            );
            assert_eq!(known, unknown);
            for key in ["allergies", "primary_diagnosis", "nationality"] {
                assert!(known.response.withheld_keys.iter().any(|k| k == key), "{key} for {kind}");
            }
            assert!(known.response.withheld_classes.contains(&(DataClass::CareProcedure as i32)));
        }
    }
    // The same facts under a grant of their class are there, and no longer withheld.
    let open = made("visiting_nurse_station", &circle(Some(Relation::Receiver), &PERSONAL), &with);
    assert!(keys(&open).contains(&"allergies"));
    assert!(!open.response.withheld_keys.iter().any(|k| k == "allergies"));
}

#[test]
fn the_newest_fact_that_the_viewer_may_read_counts_and_a_hidden_newer_one_leaves_no_trace() {
    let mine = || referral(1, MY_AGENCY, true, vec![text("allergies", "old, mine")]);
    let newer = referral(2, OTHERS, false, vec![text("allergies", "new")]);
    let closed = circle(Some(Relation::Sender), &[DataClass::ReferralState]);
    let own_only = made("hospital", &closed, &[mine(), newer.clone()]);
    assert_eq!(own_only, made("hospital", &closed, &[mine()]));
    let fact = own_only.response.facts[0].fact.clone().unwrap();
    assert_eq!(fact.value, Some(Value::Text("old, mine".into())));

    let open = made("hospital", &circle(Some(Relation::Sender), &PERSONAL), &[mine(), newer]);
    assert_eq!(open.response.facts[0].fact.clone().unwrap().value, Some(Value::Text("new".into())));
    assert_eq!(open.events, [Uuid::from_u128(1_002)], "the record names only what was disclosed");
}

#[test]
fn facts_stand_in_the_order_of_the_dictionary_with_class_level_and_source() {
    let facts = vec![text("allergies", "a"), text("name_kanji", "b"), text("no_such_key", "c")];
    let card = made(
        "visiting_nurse_station",
        &circle(Some(Relation::Receiver), &PERSONAL),
        &[referral(1, OTHERS, false, facts)],
    );
    assert_eq!(keys(&card), ["name_kanji", "allergies"]);
    let name = &card.response.facts[0];
    assert_eq!(name.data_class(), DataClass::Identity);
    assert_eq!(name.level(), tasuki_contract::timeline::v1::Level::Full);
}

#[test]
fn a_nursery_that_is_asked_gets_codes_of_care_from_what_is_put_before_it_and_no_lead() {
    let care = Fact {
        key: "care_procedures".into(),
        value: Some(Value::Codes(CodeList { codes: vec!["suction".into()] })),
        ..Fact::default()
    };
    let facts = vec![care, text("name_kanji", "MARK")];
    let asked = circle(Some(Relation::Asked), &PERSONAL);
    let card = made("nursery", &asked, &[referral(1, OTHERS, true, facts.clone())]);
    assert_eq!(keys(&card), ["care_procedures"]);
    assert!(card.response.lead_post_id.is_empty() && card.response.lead_telephone.is_empty());
    let elsewhere = made("nursery", &asked, &[referral(1, OTHERS, false, facts)]);
    assert!(keys(&elsewhere).is_empty(), "facts of a referral to somebody else");
    assert_eq!(card.response.withheld_keys, elsewhere.response.withheld_keys);
}

#[test]
fn the_lead_is_named_to_members_with_a_grant_for_it() {
    let with = made("nursery", &circle(Some(Relation::Receiver), &[DataClass::Lead]), &[]);
    assert_eq!(with.response.lead_post_id, Uuid::from_u128(9).to_string());
    assert_eq!(with.response.lead_telephone, "00-0000-0000");
    let without = made("nursery", &circle(Some(Relation::Receiver), &[]), &[]);
    assert!(without.response.lead_post_id.is_empty() && without.response.lead_telephone.is_empty());
}
