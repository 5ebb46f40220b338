//! Claims about cards, on records made by hand.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use prost::Message as _;
use tasuki_contract::common::v1::fact::Value;
use tasuki_contract::common::v1::{CodeList, Date, Fact, TextList};
use tasuki_contract::event::v1::{Effects, Header, Relation};
use tasuki_contract::intake::v1::{ReferralSubmitted, ReferralWithdrawn};
use tasuki_domain::circle::{Circle, Grant, Recipient};
use tasuki_domain::ids::{AgencyId, GrantId};
use tasuki_domain::policy::InForce;
use tasuki_domain::purpose::Purpose;
use tasuki_privacy::{PERSONAL, Viewer};

use super::*;

const CASE: CaseId = CaseId(Uuid::from_u128(1));
const ME: PostId = PostId(Uuid::from_u128(2));
const MY_AGENCY: AgencyId = AgencyId(Uuid::from_u128(3));
const OTHERS: AgencyId = AgencyId(Uuid::from_u128(4));

fn viewer(kind: &str) -> Viewer {
    Viewer { post: ME, agency: MY_AGENCY, kind: kind.into(), purpose: Purpose::Any }
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
        ..Grant::default()
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
    let access = Access::new(&viewer, circle, InForce::standard(), 20_000);
    let lead = circle.lead.map(|post| (post, "00-0000-0000".to_owned()));
    card(CASE, &access, lead, events)
}

fn keys(card: &Card) -> Vec<&str> {
    card.fact_keys.iter().map(String::as_str).collect()
}

#[test]
fn an_untold_diagnosis_stands_on_no_card_until_the_agency_that_said_so_says_otherwise() {
    let flag = |untold| Fact { key: UNTOLD.into(), value: Some(Value::Flag(untold)), ..Fact::default() };
    let hospital = AgencyId(Uuid::from_u128(6));
    let untold = referral(1, hospital, false, vec![flag(true), text("primary_diagnosis", "MARK")]);
    let elsewhere =
        referral(2, OTHERS, false, vec![text("primary_diagnosis", "MARK"), text("allergies", "MARK")]);
    let told = referral(3, hospital, false, vec![flag(false)]);
    for kind in ["family", "mcc_coordinator_office", "visiting_nurse_station", "hospital"] {
        let relation = if kind == "family" { Relation::Family } else { Relation::Receiver };
        let circle = circle(Some(relation), &PERSONAL);
        let doctor = kind == "hospital";
        let before = made(kind, &circle, &[untold.clone(), elsewhere.clone()]);
        assert_eq!(keys(&before).contains(&"primary_diagnosis"), doctor, "{kind}");
        let after = made(kind, &circle, &[untold.clone(), elsewhere.clone(), told.clone()]);
        assert!(keys(&after).contains(&"primary_diagnosis"), "{kind}");
        // The list says the same before and after.
        assert_eq!(before.response.withheld_keys, after.response.withheld_keys);
        assert_eq!(before.response.withheld_keys.contains(&"primary_diagnosis".to_owned()), !doctor);
    }
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
    assert_eq!(open.response.facts[0].other_statements.len(), 1, "its own is not lost");
    assert_eq!(open.events, [1_001, 1_002].map(Uuid::from_u128), "the record names all that was disclosed");
    let alone = made(
        "hospital",
        &circle(Some(Relation::Sender), &PERSONAL),
        &[
            referral(1, MY_AGENCY, true, vec![text("name_kanji", "old")]),
            referral(2, OTHERS, false, vec![text("name_kanji", "new")]),
        ],
    );
    assert!(alone.response.facts[0].other_statements.is_empty(), "no safety depends on it");
    assert_eq!(alone.events, [Uuid::from_u128(1_002)], "and nothing more");
}

const THIRD: AgencyId = AgencyId(Uuid::from_u128(6));
const NURSES: &str = "visiting_nurse_station";
const COORDINATOR: &str = "mcc_coordinator_office";
/// 2024-07-03.
const RECORDED_US: i64 = 1_720_000_000_000_000;

fn day(year: i32, month: i32, day: i32) -> Date {
    Date { year, month, day }
}

fn lines(key: &str, lines: &[&str], asserted_on: Option<Date>) -> Fact {
    let texts = lines.iter().map(|line| (*line).to_owned()).collect();
    Fact { key: key.into(), value: Some(Value::Texts(TextList { texts })), asserted_on, ..Fact::default() }
}

/// A referral of that number, recorded in July 2024.
fn sent(number: u128, agency: AgencyId, fact: Fact) -> (Record, Event) {
    let (mut record, mut event) = referral(number, agency, false, vec![fact]);
    record.recorded_at_us = RECORDED_US + number as i64;
    if let Event::ReferralSubmitted(sent) = &mut event {
        sent.referral_id = format!("r{number}");
    }
    (record, event)
}

fn withdrawn(number: u128, of: u128, agency: AgencyId) -> (Record, Event) {
    let (mut record, _) = referral(number, agency, false, Vec::new());
    record.header.r#type = WITHDRAWN.into();
    (
        record,
        Event::ReferralWithdrawn(ReferralWithdrawn { referral_id: format!("r{of}"), ..Default::default() }),
    )
}

/// The statements of the only key: the one shown, then the others.
fn statements(card: &Card) -> Vec<Option<Vec<String>>> {
    let [known] = &card.response.facts[..] else { panic!("{:?}", card.response.facts) };
    let others = known.other_statements.iter().map(|s| s.fact.clone().unwrap());
    let value = |fact: Fact| match fact.value {
        Some(Value::Texts(list)) => Some(list.texts),
        _ => None,
    };
    known.fact.clone().into_iter().chain(others).map(value).collect()
}

fn said(lines: &[&str]) -> Option<Vec<String>> {
    Some(lines.iter().map(|line| (*line).to_owned()).collect())
}

#[test]
fn what_was_sent_with_a_withdrawn_referral_counts_only_for_who_may_not_know_that_it_was() {
    let egg = sent(1, OTHERS, lines("emergency_signs", &["sign"], None));
    let none = sent(2, THIRD, lines("emergency_signs", &[], Some(day(2024, 7, 3))));
    let taken_back = withdrawn(3, 2, THIRD);
    let circle = circle(Some(Relation::Receiver), &PERSONAL);
    let made = |kind, events: &[(Record, Event)]| made(kind, &circle, events);
    let all = [egg.clone(), none.clone(), taken_back];

    assert_eq!(made(COORDINATOR, &all), made(COORDINATOR, std::slice::from_ref(&egg)));
    // The nurses' station is party to neither referral: to it the withdrawal leaves no trace.
    let nurses = made(NURSES, &all);
    assert_eq!(nurses, made(NURSES, &[egg, none]));
    assert_eq!(statements(&nurses), [said(&[]), said(&["sign"])], "and still no danger is lost");
}

#[test]
fn the_statement_for_the_latest_day_is_shown_whatever_was_recorded_last() {
    let circle = circle(Some(Relation::Receiver), &PERSONAL);
    let shown = |events: &[(Record, Event)]| statements(&made(NURSES, &circle, events));
    let early = |fact| {
        let mut early = sent(3, OTHERS, fact);
        early.0.header.occurred_at = Some(prost_types::Timestamp { seconds: 1_600_000_000, nanos: 0 });
        early
    };
    // Without a day of its own, that of the event counts; of the same day, the later in the log.
    let egg = || sent(1, OTHERS, lines("allergies", &["egg"], None));
    let old = || sent(2, OTHERS, lines("allergies", &[], Some(day(2022, 1, 1))));
    assert_eq!(shown(&[egg(), old()]), [said(&["egg"])]);
    assert_eq!(shown(&[egg(), early(lines("allergies", &[], None))]), [said(&["egg"])]);
    let later = sent(2, OTHERS, lines("allergies", &["milk"], None));
    assert_eq!(shown(&[egg(), later]), [said(&["milk"])]);
    let card = made(NURSES, &circle, &[egg()]);
    assert_eq!(card.response.facts[0].fact.clone().unwrap().asserted_on, Some(day(2024, 7, 3)));
}

#[test]
fn no_agency_takes_a_danger_off_the_card_that_another_one_named() {
    let circle = circle(Some(Relation::Receiver), &PERSONAL);
    let shown = |events: &[(Record, Event)]| statements(&made(NURSES, &circle, events));
    let by = |number, agency, list: &[&str]| sent(number, agency, lines("allergies", list, None));
    let dispute = shown(&[by(1, OTHERS, &["egg", "milk"]), by(2, THIRD, &[]), by(3, MY_AGENCY, &["soy"])]);
    assert_eq!(dispute, [said(&["soy"]), said(&[]), said(&["egg", "milk"])]);
    let agreed = shown(&[by(1, OTHERS, &["egg", "milk"]), by(2, THIRD, &["milk", "egg"])]);
    assert_eq!(agreed, [said(&["milk", "egg"])]);
    assert_eq!(shown(&[by(1, OTHERS, &["egg"]), by(2, OTHERS, &[])]), [said(&[])], "its own, it may");
    let settled = shown(&[by(1, OTHERS, &["egg"]), by(2, THIRD, &[]), by(3, OTHERS, &[])]);
    assert_eq!(settled, [said(&[])]);
}

#[test]
fn a_dispute_between_values_that_are_withheld_is_not_told() {
    let circle = circle(Some(Relation::Receiver), &PERSONAL);
    let by = |number, agency, list: &[&str]| sent(number, agency, lines("devices", list, None));
    let viewer = viewer(COORDINATOR);
    let access = Access::new(&viewer, &circle, InForce::standard(), 20_000);
    assert_eq!(access.fact_level("devices"), Level::Summary);
    let card = made(COORDINATOR, &circle, &[by(1, OTHERS, &["x"]), by(2, THIRD, &[])]);
    assert_eq!(statements(&card), [None]);
    assert_eq!(card, made(COORDINATOR, &circle, &[by(1, OTHERS, &[]), by(2, THIRD, &["y"])]));
}

#[test]
fn others_stand_on_the_card_without_their_words_where_these_are_too_many() {
    let circle = circle(Some(Relation::Receiver), &PERSONAL);
    let long = "x".repeat(OTHERS_BYTES_MAX / 2);
    let by =
        |n: u128, list: &[&str]| sent(n, AgencyId(Uuid::from_u128(100 + n)), lines("allergies", list, None));
    let card =
        made(NURSES, &circle, &[by(1, &[&long, "1"]), by(2, &[&long, "2"]), by(3, &[&long]), by(4, &[])]);
    let told: Vec<bool> = statements(&card).iter().map(Option::is_some).collect();
    assert_eq!(told, [true, true, false, false]);
    assert!(card.response.encoded_len() < 2 * OTHERS_BYTES_MAX);
}

/// What a client takes in one message unless it is told otherwise.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

#[test]
fn the_largest_card_that_requests_can_bring_about_fits_into_one_message() {
    use tasuki_domain::check::{DOCUMENT_ID_CHARS_MAX, TEXT_CHARS_MAX};
    use tasuki_domain::dictionary::Kind;
    use tasuki_domain::facts::FACTS_BYTES_MAX;
    let most = |field: &Field| {
        let shown = match field.kind {
            Kind::TextList => FACTS_BYTES_MAX,
            Kind::Text => 4 * TEXT_CHARS_MAX,
            Kind::Document => 4 * (TEXT_CHARS_MAX + DOCUMENT_ID_CHARS_MAX),
            Kind::Codes(_) | Kind::Code(_) | Kind::Date | Kind::Boolean | Kind::Integer => 1024,
        };
        shown + if field.safety { OTHERS_BYTES_MAX } else { 0 }
    };
    let most: usize = dictionary::all().iter().map(most).sum();
    assert!(most < MESSAGE_BYTES, "{most}");
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
