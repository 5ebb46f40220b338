//! What a mother told a desk on the telephone is known in the case that follows: nobody asks her again.

use tasuki_contract::common::v1::{CodeList, Date, fact::Value};
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::intake::v1::consultation_service_client::ConsultationServiceClient;
use tasuki_contract::timeline::v1::GetCaseCardRequest;
use tasuki_tests::{World, fact};

use crate::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_in_a_consultation_stands_on_the_card_of_its_case() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let desk = world.caller(&program, "coordinator.desk").await.unwrap();
    let mut consultations = ConsultationServiceClient::new(desk.channel.clone());
    let codes =
        |all: &[&str]| Value::Codes(CodeList { codes: all.iter().map(ToString::to_string).collect() });
    let record = intake::RecordConsultationRequest {
        consulter_attribute: "family".into(),
        access_route: "ward_homepage".into(),
        contact_method: "phone".into(),
        contents: vec!["medical_care".into()],
        caller_identity: intake::CallerIdentity::Labelled as i32,
        caller_label: "kita_C-mother".into(),
        facts: vec![
            fact("care_procedures", codes(&["tube_feeding"])),
            fact("family_wishes", Value::Text("told by telephone".into())),
        ],
        ..Default::default()
    };
    let recorded = consultations.record_consultation(desk.request(record)).await.unwrap().into_inner();
    let open = intake::OpenCaseRequest {
        consultation_id: recorded.consultation_id,
        municipality_code: "131172".into(),
        label: "kita_C".into(),
        consent: Some(intake::ConsentAtSource {
            signer_relation: "mother".into(),
            signed_on: Some(Date { year: 2026, month: 4, day: 5 }),
            ..Default::default()
        }),
        facts: vec![fact("family_wishes", Value::Text("said again at the desk".into()))],
        ..Default::default()
    };
    let opened =
        consultations.open_case(desk.request_as(open.clone(), "open-once")).await.unwrap().into_inner();
    let again = consultations.open_case(desk.request_as(open, "open-once")).await.unwrap().into_inner();
    assert_eq!(again, opened, "a retry is the same request");
    let event = opened.receipt.unwrap().event_id;
    let card = GetCaseCardRequest { case_id: opened.case_id, after_event_id: event };
    let card = desk.timeline().get_case_card(desk.request(card)).await.unwrap().into_inner();
    let known = |key: &str| {
        let found = card.facts.iter().filter_map(|k| k.fact.as_ref()).find(|f| f.key == key);
        found.unwrap_or_else(|| panic!("{key} is not on the card")).clone()
    };
    assert_eq!(known("care_procedures").value, Some(codes(&["tube_feeding"])));
    assert!(known("care_procedures").asserted_on.is_some(), "it says when it was told");
    assert_eq!(known("family_wishes").value, Some(Value::Text("said again at the desk".into())));
}
