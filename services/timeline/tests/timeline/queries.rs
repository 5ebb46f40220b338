//! Card, timeline, caseload and duties.

use prost::Message as _;
use tasuki_contract::DataClass;
use tasuki_contract::event::v1::{DutyChange, DutyKind, Effects, Relation};
use tasuki_contract::intake::v1::{ReferralAcknowledged, ReferralSubmitted, ReferralWithdrawn};
use tasuki_contract::timeline::v1 as pb;
use tasuki_contract::timeline::v1::timeline_service_server::TimelineService as _;
use tasuki_privacy::PERSONAL;
use tonic::Code;
use uuid::Uuid;

use crate::world::*;

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_case_and_a_foreign_one_answer_alike() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR, HOSPITAL]).await;
    world.project().await;
    let foreign =
        [world.card(STRANGER, case).await.unwrap_err(), world.history(STRANGER, case).await.unwrap_err()];
    let unknown = Uuid::now_v7();
    let nobody = [
        world.card(STRANGER, unknown).await.unwrap_err(),
        world.history(STRANGER, unknown).await.unwrap_err(),
    ];
    for (foreign, nobody) in foreign.iter().zip(&nobody) {
        assert_eq!(foreign.code(), Code::NotFound);
        assert_eq!(
            (foreign.code(), foreign.message(), foreign.details()),
            (nobody.code(), nobody.message(), nobody.details())
        );
    }
    let malformed = world.card(STRANGER, "no uuid").await.unwrap_err();
    assert_eq!((malformed.code(), malformed.message()), (Code::InvalidArgument, "invalid: case_id"));
    assert_eq!(world.reads("GetCaseCard").await, 0, "nothing was disclosed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_shows_what_may_be_read_and_is_on_record() {
    let world = World::start().await;
    let classes = [DataClass::Lead, DataClass::Identity];
    let case = world.open_case(&classes, &[COORDINATOR, NURSES]).await;
    world.refer(case, vec![text("allergies", "MARK-ALLERGY")]).await;
    world
        .tell(
            COORDINATOR,
            case,
            ReferralAcknowledged::default(),
            joins(case, &[(NURSES, Relation::Receiver)]),
        )
        .await;

    let card = world.card(NURSES, case).await.unwrap();
    let keys: Vec<&str> = card.facts.iter().map(|f| f.fact.as_ref().unwrap().key.as_str()).collect();
    assert_eq!(keys, ["name_kanji"]);
    assert_eq!(card.facts[0].source_post_id, HOSPITAL.id().to_string());
    assert_eq!(
        (card.lead_post_id, card.lead_telephone.as_str()),
        (COORDINATOR.id().to_string(), "00-0000-0001")
    );
    assert!(card.withheld_classes.contains(&(DataClass::CareProcedure as i32)));
    assert!(!card.withheld_classes.contains(&(DataClass::Lead as i32)));
    assert!(card.withheld_keys.contains(&"allergies".to_owned()));

    let record = world
        .sql("SELECT post_id, purpose, case_ids[1], cardinality(event_ids), fact_keys[1], cardinality(grant_ids), \
              policy_version FROM log.reads")
        .await;
    assert_eq!(record, format!("{}|care_coordination|{case}|1|name_kanji|1|300000", NURSES.id()));

    // The hospital wrote everything and may read its own words, and of others' what its grant covers: nothing.
    let own = world.card(HOSPITAL, case).await.unwrap();
    assert_eq!(own.facts.len(), 2);
    assert!(own.lead_post_id.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_etag_of_a_card_covers_only_what_the_viewer_may_see() {
    let world = World::start().await;
    let case = world.open_case(&[DataClass::Identity], &[NURSES]).await;
    world
        .tell(
            COORDINATOR,
            case,
            ReferralAcknowledged::default(),
            joins(case, &[(NURSES, Relation::Receiver)]),
        )
        .await;
    let before = world.card(NURSES, case).await.unwrap();
    world.refer(case, vec![text("allergies", "hidden")]).await;
    let same = world.card(NURSES, case).await.unwrap();
    assert_eq!(before.encode_to_vec(), same.encode_to_vec());
    world.refer(case, vec![text("name_kana", "シメス")]).await;
    let changed = world.card(NURSES, case).await.unwrap();
    assert_ne!(before.etag, changed.etag);
    world.withdraw(case).await;
    let bare = world.card(NURSES, case).await.unwrap();
    assert!(bare.facts.is_empty() && bare.etag != changed.etag);
    assert_eq!(bare.withheld_classes.len(), PERSONAL.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_comes_in_pages_that_belong_to_their_viewer_and_case() {
    let world = World::start().await;
    let (case, other) =
        (world.open_case(&PERSONAL, &[COORDINATOR]).await, world.open_case(&PERSONAL, &[COORDINATOR]).await);
    for _ in 0..5 {
        world.refer(case, vec![text("name_kanji", "x")]).await;
        world.refer(other, vec![]).await;
    }
    world.project().await;
    let whole = world.history(COORDINATOR, case).await.unwrap();
    assert_eq!(whole.len(), 6);
    assert!(whole.iter().all(|i| i.case_id == case.to_string() && i.level() == pb::Level::Full));
    assert!(whole.windows(2).all(|w| w[0].number < w[1].number));

    let page = |post, case: Uuid, page_token: String| {
        let message = pb::GetTimelineRequest {
            case_id: case.to_string(),
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let request = world.request(post, message);
        let timeline = world.timeline.clone();
        async move { timeline.get_timeline(request).await.map(tonic::Response::into_inner) }
    };
    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let part = page(COORDINATOR, case, token.clone()).await.unwrap();
        paged.extend(part.items);
        if part.next_page_token.is_empty() {
            break;
        }
        token = part.next_page_token;
    }
    assert_eq!(paged, whole);
    for (post, case) in [(HOSPITAL, case), (COORDINATOR, other)] {
        let refused = page(post, case, token.clone()).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "invalid: page_token"));
    }
    let size = pb::GetTimelineRequest { case_id: case.to_string(), page_size: 201, ..Default::default() };
    let refused = world.timeline.get_timeline(world.request(COORDINATOR, size)).await.unwrap_err();
    assert_eq!(refused.message(), "invalid: page_size");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_viewer_may_not_read_is_in_none_of_its_bytes() {
    let world = World::start().await;
    let case = world.open_case(&[DataClass::ReferralState], &[COORDINATOR, NURSES]).await;
    world.refer(case, vec![text("allergies", "MARK-ALLERGY")]).await;
    let joined = joins(case, &[(NURSES, Relation::Receiver)]);
    world.tell(COORDINATOR, case, ReferralAcknowledged::default(), joined).await;
    world.project().await;
    let mut bytes = world.card(NURSES, case).await.unwrap().encode_to_vec();
    for item in world.history(NURSES, case).await.unwrap() {
        bytes.extend(item.encode_to_vec());
    }
    bytes.extend(world.read(NURSES, pb::ReadFeedRequest::default()).await.unwrap().encode_to_vec());
    assert!(!contains(&bytes, "MARK-"), "{}", String::from_utf8_lossy(&bytes));
    let coordinator = world.history(COORDINATOR, case).await.unwrap();
    let seen: Vec<u8> = coordinator.iter().flat_map(|i| i.encode_to_vec()).collect();
    assert!(
        contains(&seen, "MARK-MESSAGE") && !contains(&seen, "MARK-ALLERGY") && !contains(&seen, "MARK-LABEL")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_waits_for_the_event_that_its_caller_names_and_not_for_an_unknown_one() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    world.project().await;
    let event = world.refer(case, vec![]).await;
    let ask = |after: Uuid| {
        let message = pb::GetTimelineRequest {
            case_id: case.to_string(),
            after_event_id: after.to_string(),
            ..Default::default()
        };
        let request = world.request(COORDINATOR, message);
        let timeline = world.timeline.clone();
        async move { timeline.get_timeline(request).await.unwrap().into_inner().items.len() }
    };
    assert_eq!(within("an answer without a wait", ask(Uuid::now_v7())).await, 1);
    let waiting = tokio::spawn(ask(event));
    assert_eq!(ask(Uuid::now_v7()).await, 1, "the view has not moved");
    assert!(!waiting.is_finished());
    world.project().await;
    assert_eq!(within("the awaited event", waiting).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn caseload_and_duties_are_those_of_the_post() {
    let world = World::start().await;
    let mut cases = Vec::new();
    for _ in 0..3 {
        cases.push(world.open_case(&[DataClass::Lead], &[COORDINATOR]).await);
    }
    let duty = |n: u128, case: Uuid, due_day| DutyChange {
        duty_id: Uuid::from_u128(n).to_string(),
        kind: DutyKind::DutyAnswer as i32,
        case_id: case.to_string(),
        owner_post_id: COORDINATOR.id().to_string(),
        subject_id: Uuid::from_u128(7).to_string(),
        due_day,
        ends: false,
    };
    let duties = vec![duty(1, cases[0], 0), duty(2, cases[0], 20_000), duty(3, cases[1], 19_999)];
    world
        .tell(HOSPITAL, cases[0], ReferralAcknowledged::default(), Effects { duties, ..Effects::default() })
        .await;
    world.project().await;

    let caseload = |post, page_size, page_token| {
        let message = pb::ListCaseloadRequest { page_size, page_token, ..Default::default() };
        let (timeline, request) = (world.timeline.clone(), world.request(post, message));
        async move { timeline.list_caseload(request).await.unwrap().into_inner() }
    };
    cases.sort_unstable();
    let first = caseload(COORDINATOR, 2, String::new()).await;
    let second = caseload(COORDINATOR, 2, first.next_page_token.clone()).await;
    assert!(second.next_page_token.is_empty());
    let listed: Vec<pb::CaseloadEntry> = first.cases.into_iter().chain(second.cases).collect();
    let ids: Vec<String> = listed.iter().map(|c| c.case_id.clone()).collect();
    assert_eq!(ids, cases.iter().map(Uuid::to_string).collect::<Vec<_>>());
    assert!(
        listed.iter().all(|c| c.lead_post_id == COORDINATOR.id().to_string() && c.last_item_at.is_some())
    );
    assert_eq!(listed.iter().map(|c| c.open_duties).sum::<i32>(), 3);
    assert!(listed.iter().all(|c| c.relations().eq([Relation::Lead, Relation::Ward])));
    // No grant covers the hospital: it knows that it sent a referral, not who is responsible.
    let hospital = caseload(HOSPITAL, 0, String::new()).await.cases;
    assert!(hospital.len() == 3 && hospital.iter().all(|c| c.lead_post_id.is_empty()));
    assert!(caseload(STRANGER, 0, String::new()).await.cases.is_empty());

    let message = pb::ListDutiesRequest { page_size: 2, ..Default::default() };
    let first = world.timeline.list_duties(world.request(COORDINATOR, message)).await.unwrap().into_inner();
    let message = pb::ListDutiesRequest { page_token: first.next_page_token, ..Default::default() };
    let second = world.timeline.list_duties(world.request(COORDINATOR, message)).await.unwrap().into_inner();
    let ids: Vec<String> = first.duties.iter().chain(&second.duties).map(|d| d.duty_id.clone()).collect();
    assert_eq!(ids, [3, 2, 1].map(|n| Uuid::from_u128(n).to_string()));
    assert!(second.duties[0].due_on.is_none() && first.duties[0].due_on.is_some());
    // One record for each case of an answer, so that a guardian finds its own child's; one without for an empty answer.
    assert_eq!((world.reads("ListCaseload").await, world.reads("ListDuties").await), (2 + 1 + 3 + 1, 2 + 1));
    let mixed = "SELECT count(*) FROM log.reads WHERE cardinality(case_ids) > 1";
    assert_eq!(world.sql(mixed).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_taken_back_is_off_the_card_of_who_may_read_that_it_was() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR, NURSES]).await;
    let joined = joins(case, &[(NURSES, Relation::Receiver)]);
    world.tell(COORDINATOR, case, ReferralAcknowledged::default(), joined).await;
    world.refer(case, vec![text("emergency_signs", "MARK-SIGN")]).await;
    let referral_id = Uuid::now_v7().to_string();
    let sent = ReferralSubmitted {
        referral_id: referral_id.clone(),
        facts: vec![text("emergency_signs", "none")],
        ..Default::default()
    };
    world.tell(NURSERY, case, sent, Effects::default()).await;
    let statements = async |post| {
        let card = world.card(post, case).await.unwrap();
        let sources = |known: &pb::KnownFact| {
            let others = known.other_statements.iter().map(|other| other.source_post_id.clone());
            [known.source_post_id.clone()].into_iter().chain(others).collect::<Vec<_>>()
        };
        let signs = card.facts.iter().filter(|known| known.fact.as_ref().unwrap().key == "emergency_signs");
        signs.flat_map(sources).collect::<Vec<_>>()
    };
    let both = [NURSERY, HOSPITAL].map(|post| post.id().to_string());
    assert_eq!(statements(COORDINATOR).await, both);
    world
        .tell(NURSERY, case, ReferralWithdrawn { referral_id, ..Default::default() }, Effects::default())
        .await;
    assert_eq!(statements(COORDINATOR).await, [HOSPITAL.id().to_string()]);
    assert_eq!(statements(NURSES).await, both, "its own part is neither: to it nothing happened");
}
