//! P10, and P4 for two histories: a fact that is hidden from a viewer changes no byte of any answer to it, and what is
//! withheld is listed whether or not there is anything.

use prost::Message as _;
use tasuki_contract::attachments::v1 as attachments;
use tasuki_contract::common::v1::{DocumentRef, Fact, TextList, fact::Value};
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::minutes::v1 as minutes;
use tasuki_contract::timeline::v1 as timeline;
use tasuki_contract::{DataClass, Event};
use tasuki_domain::dictionary;
use tasuki_domain::ids::PostId;
use tasuki_domain::policy::Policy;
use tasuki_domain::visibility::ReaderGroup;
use tasuki_tests::{Caller, Paper, World, fact, referral};
use uuid::Uuid;

use crate::PROGRAM;
use crate::received::{holds, items};
use crate::story::day;
use crate::who_reads::{COORDINATOR, HOSPITAL, WARD};

/// Facts that neither the coordinator nor the ward may read, and that a referral may leave out.
fn hidden() -> Vec<Fact> {
    let text = |key| fact(key, Value::Text("MARK-HIDDEN".to_owned()));
    let text_of = || "MARK-HIDDEN".to_owned();
    let document = DocumentRef { document_id: text_of(), title: text_of(), valid_until: None };
    vec![
        text("patient_id"),
        text("insurance_member_id"),
        text("parent_work"),
        text("meals_sleep_toilet"),
        text("communication"),
        fact("infection", Value::Texts(TextList { texts: vec!["MARK-HIDDEN".to_owned()] })),
        fact("advance_directive", Value::Document(document)),
    ]
}

/// A meeting of both on the case; into the first one's minutes goes a passage that the hospital alone reads.
async fn meet(hospital: &Caller, coordinator: &Caller, case: &str, with_hidden: bool) {
    let mut meetings = hospital.minutes();
    let schedule = minutes::ScheduleMeetingRequest {
        meeting_kind: "discharge_conference".to_owned(),
        starts_at: Some(prost_types::Timestamp { seconds: jiff::Timestamp::now().as_second(), nanos: 0 }),
        invitee_post_ids: vec![coordinator.post.to_string()],
        agenda: vec![minutes::AgendaItem { case_id: case.to_owned(), text: "例示".to_owned() }],
        ..Default::default()
    };
    let meeting =
        meetings.schedule_meeting(hospital.request(schedule)).await.unwrap().into_inner().meeting_id;
    let came = |post: PostId| minutes::Attendance { post_id: post.to_string(), people: 1 };
    let hold = minutes::HoldMeetingRequest {
        meeting_id: meeting.clone(),
        attendance: vec![came(hospital.post), came(coordinator.post)],
        ..Default::default()
    };
    meetings.hold_meeting(hospital.request(hold)).await.unwrap();
    let passage = |class: DataClass, text: &str| minutes::SectionDraft {
        case_id: case.to_owned(),
        data_class: class.into(),
        text: text.to_owned(),
    };
    let mut sections = vec![passage(DataClass::Minutes, "例示")];
    if with_hidden {
        sections.insert(0, passage(DataClass::FamilyCircumstances, "MARK-HIDDEN"));
        sections.push(passage(DataClass::Restricted, "MARK-HIDDEN"));
    }
    let draft = minutes::DraftMinutesRequest { meeting_id: meeting, sections, ..Default::default() };
    meetings.draft_minutes(hospital.request(draft)).await.unwrap();
}

/// Everything that the viewer is answered about one case and its referral, without ids, times and technical values.
async fn answers(viewer: &Caller, sent: &intake::SubmitReferralResponse) -> Vec<(&'static str, Vec<u8>)> {
    let mut views = viewer.timeline();
    let card = timeline::GetCaseCardRequest { case_id: sent.case_id.clone(), ..Default::default() };
    let mut card = views.get_case_card(viewer.request(card)).await.unwrap().into_inner();
    assert!(!card.facts.is_empty() && !card.withheld_keys.is_empty());
    card.etag.clear();
    card.facts.iter_mut().for_each(|known| known.recorded_at = None);
    let page = timeline::GetTimelineRequest { case_id: sent.case_id.clone(), ..Default::default() };
    let mut page = views.get_timeline(viewer.request(page)).await.unwrap().into_inner();
    assert!(page.items.len() >= 5);
    page.items.iter_mut().for_each(plain);
    let mut feed = timeline::GetTimelineResponse { items: items(viewer).await, ..Default::default() };
    feed.items.retain(|item| item.case_id == sent.case_id);
    feed.items.iter_mut().for_each(plain);
    assert_eq!(feed.items.len(), page.items.len());
    let duties = timeline::ListDutiesRequest { page_size: 200, ..Default::default() };
    let mut duties = views.list_duties(viewer.request(duties)).await.unwrap().into_inner();
    duties.duties.retain(|duty| duty.case_id == sent.case_id);
    let caseload = timeline::ListCaseloadRequest { page_size: 200, ..Default::default() };
    let mut caseload = views.list_caseload(viewer.request(caseload)).await.unwrap().into_inner();
    caseload.cases.retain(|entry| entry.case_id == sent.case_id);
    caseload.cases.iter_mut().for_each(|entry| entry.last_item_at = None);
    assert_eq!(caseload.cases.len(), 1);
    let get = intake::GetReferralRequest { referral_id: sent.referral_id.clone(), ..Default::default() };
    let referral = match viewer.referrals().get_referral(viewer.request(get)).await {
        Ok(found) => {
            let mut found = found.into_inner();
            if let Some(referral) = &mut found.referral {
                assert!(referral.content.is_some() && !referral.withheld_keys.is_empty());
                referral.submitted_at = None;
                referral.etag.clear();
            }
            found.encode_to_vec()
        }
        Err(status) => crate::received::said(&status),
    };
    let list = intake::ListReferralsRequest { page_size: 200, ..Default::default() };
    let mut list = viewer.referrals().list_referrals(viewer.request(list)).await.unwrap().into_inner();
    list.referrals.retain(|referral| referral.case_id == sent.case_id);
    for referral in &mut list.referrals {
        referral.submitted_at = None;
        referral.etag.clear();
    }
    let documents =
        attachments::ListAttachmentsRequest { case_id: sent.case_id.clone(), ..Default::default() };
    let documents =
        viewer.attachments().list_attachments(viewer.request(documents)).await.unwrap().into_inner();
    assert!(!documents.withheld_classes.is_empty());
    vec![
        ("card", card.encode_to_vec()),
        ("timeline", page.encode_to_vec()),
        ("feed", feed.encode_to_vec()),
        ("duties", duties.encode_to_vec()),
        ("caseload", caseload.encode_to_vec()),
        ("referral", referral),
        ("referrals", list.encode_to_vec()),
        ("documents", documents.encode_to_vec()),
    ]
}

fn plain(item: &mut timeline::TimelineItem) {
    item.number = 0;
    item.occurred_at = None;
    item.recorded_at = None;
    item.traceparent.clear();
}

/// Puts the rank of its first appearance in place of every id, so that two cases compare.
fn without_ids(mut bytes: Vec<u8>, keep: &[PostId]) -> Vec<u8> {
    const LENGTH: usize = 36;
    let mut seen: Vec<Uuid> = Vec::new();
    let mut at = 0;
    while at + LENGTH <= bytes.len() {
        let id =
            std::str::from_utf8(&bytes[at..at + LENGTH]).ok().and_then(|text| Uuid::try_parse(text).ok());
        let Some(id) = id else {
            at += 1;
            continue;
        };
        if !keep.contains(&PostId(id)) {
            let rank = seen.iter().position(|other| *other == id).unwrap_or_else(|| {
                seen.push(id);
                seen.len() - 1
            });
            bytes[at..at + LENGTH].copy_from_slice(format!("{rank:036}").as_bytes());
        }
        at += LENGTH;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_a_hidden_fact_changes_no_byte_and_withheld_never_looks_like_absent() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let coordinator = world.caller(&program, COORDINATOR).await.unwrap();
    let mut sent = Vec::new();
    for more in [hidden(), Vec::new()] {
        let mut request = referral(coordinator.post, "kita_A");
        request.facts.extend(more);
        let answer =
            hospital.referrals().submit_referral(hospital.request(request)).await.unwrap().into_inner();
        let accept = intake::AcceptReferralRequest {
            referral_id: answer.referral_id.clone(),
            as_lead: true,
            first_contact_on: day(1),
            ..Default::default()
        };
        coordinator.referrals().accept_referral(coordinator.request(accept)).await.unwrap();
        meet(&hospital, &coordinator, &answer.case_id, sent.is_empty()).await;
        if sent.is_empty() {
            let hidden = Paper::pdf(&answer.case_id, DataClass::Restricted, "MARK-HIDDEN", 100);
            hidden.add(&hospital).await.unwrap();
        }
        sent.push(answer);
    }
    world.views_reach_the_log().await.unwrap();

    let posts = [HOSPITAL, COORDINATOR, WARD].map(|slug| world.post(slug).1);
    for slug in [COORDINATOR, WARD] {
        let viewer = world.caller(&program, slug).await.unwrap();
        let with = answers(&viewer, &sent[0]).await;
        let without = answers(&viewer, &sent[1]).await;
        for ((what, with), (_, without)) in with.into_iter().zip(without) {
            assert!(!holds(&with, "MARK-HIDDEN"), "{slug}: {what}");
            let [with, without] = [with, without].map(|bytes| without_ids(bytes, &posts));
            assert!(with == without, "{slug} tells the two cases apart by its {what}");
        }
    }
    // The yardstick itself: the sender reads what it wrote, so its answers differ.
    let with = answers(&hospital, &sent[0]).await;
    let without = answers(&hospital, &sent[1]).await;
    assert!(holds(&with[0].1, "MARK-HIDDEN"));
    assert_ne!(without_ids(with[0].1.clone(), &posts), without_ids(without[0].1.clone(), &posts));
    each_hidden_key_is_listed(&world, &program, &sent).await;
}

/// Whether the key is hidden from a coordinator where the family has not been told the diagnosis.
fn may_be_untold(key: &str) -> bool {
    let untold = Policy::standard().hidden_when_untold(Some(ReaderGroup::Cd));
    dictionary::place(key).is_some_and(|place| untold.has(place))
}

/// In both cases the coordinator reads that these keys are withheld from it: on the card, and in the very event.
async fn each_hidden_key_is_listed(
    world: &World,
    program: &tasuki_tests::Program,
    sent: &[intake::SubmitReferralResponse],
) {
    let viewer = world.caller(program, COORDINATOR).await.unwrap();
    for sent in sent {
        let card = timeline::GetCaseCardRequest { case_id: sent.case_id.clone(), ..Default::default() };
        let card = viewer.timeline().get_case_card(viewer.request(card)).await.unwrap().into_inner();
        for fact in hidden() {
            assert!(card.withheld_keys.contains(&fact.key), "{} is neither shown nor withheld", fact.key);
        }
        // What is shown is not also called withheld, unless it is shown in part.
        for known in card.facts.iter().filter(|known| known.level() == timeline::Level::Full) {
            let key = &known.fact.as_ref().unwrap().key;
            // What may be untold to the family is named at all times, so that nothing follows from it.
            assert_eq!(card.withheld_keys.contains(key), may_be_untold(key), "{key} is shown in full");
        }
        let of_the_case = items(&viewer).await.into_iter().filter(|item| item.case_id == sent.case_id);
        let (mut with_facts, mut without) = (0, 0);
        for item in of_the_case {
            let rule = Event::rule_of(&item.r#type).unwrap();
            let of = rule.type_name;
            if !rule.has_facts {
                assert!(item.withheld_keys.is_empty(), "{of} holds no facts");
                without += 1;
                continue;
            }
            with_facts += 1;
            for fact in hidden() {
                assert!(
                    item.withheld_keys.contains(&fact.key),
                    "{} is neither shown nor withheld in {of}",
                    fact.key
                );
            }
            let event = Event::decode(of, &[&item.event.as_ref().unwrap().value]).unwrap();
            for fact in event.facts() {
                let on_card = card.facts.iter().find(|known| known.fact.as_ref().unwrap().key == fact.key);
                let full = on_card.unwrap().level() == timeline::Level::Full;
                let whole = full && !may_be_untold(&fact.key);
                assert_ne!(whole, item.withheld_keys.contains(&fact.key), "{} in {of}", fact.key);
            }
        }
        assert!(with_facts >= 1 && without >= 4);
    }
}
