//! Whose case it is: search before create, cases in doubt, merge and unmerge, on real processes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use prost::Message as _;
use tasuki_contract::common::v1::{Date, fact::Value};
use tasuki_contract::consent::v1::RecordSignedConsentRequest;
use tasuki_contract::event::v1::{DutyKind, Recipient, Relation, StreamKind, recipient::Who};
use tasuki_contract::identity::v1 as pb;
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::timeline::v1::{
    GetTimelineRequest, ListCaseloadRequest, ListDutiesRequest, ReadFeedRequest,
};
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::Recorded;
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_log::{BlindIndex, Database};
use tasuki_tests::{Caller, World, fact, referral};
use tonic::{Code, Request, Status};

use crate::PROGRAM;
use crate::answer::Seen;

const NAME: &str = "テスト タロウ";

fn named(to: PostId, kana: &str, label: &str) -> intake::SubmitReferralRequest {
    let mut request = referral(to, label);
    request.facts.push(fact("name_kana", Value::Text(kana.to_owned())));
    request.facts.push(fact("sex", Value::Code("female".to_owned())));
    request
}

async fn submit(by: &Caller, request: intake::SubmitReferralRequest) -> intake::SubmitReferralResponse {
    by.referrals().submit_referral(by.request(request)).await.unwrap().into_inner()
}

fn wanted(kana: &str) -> pb::SearchChildRequest {
    pb::SearchChildRequest {
        name_kana: kana.to_owned(),
        birth_date: Some(Date { year: 2021, month: 11, day: 5 }),
        ..Default::default()
    }
}

fn on_intake<M>(by: &Caller, message: M) -> Request<M> {
    let mut request = by.request(message);
    request.metadata_mut().insert("x-purpose", "intake".parse().unwrap());
    request
}

async fn search(by: &Caller, request: pb::SearchChildRequest) -> Result<pb::SearchChildResponse, Status> {
    by.identity().search_child(on_intake(by, request)).await.map(tonic::Response::into_inner)
}

/// What the read log says of the searches of a post: how many, and of which cases.
async fn on_record(world: &World, post: PostId) -> (usize, Vec<String>) {
    let sql = format!(
        "SELECT array_to_string(case_ids, ',') FROM log.reads \
         WHERE method = 'IdentityService/SearchChild' AND post_id = '{post}' ORDER BY read_at"
    );
    let ask = async |columns: &str| {
        let sql = format!("SELECT {columns} FROM ({sql}) AS s(c)");
        world.stack.postgres.sql("tasuki", &sql).await.unwrap().trim().to_owned()
    };
    let cases = ask("coalesce(string_agg(c, ';'), '')").await;
    let cases = cases.split(';').filter(|case| !case.is_empty()).map(str::to_owned).collect();
    (ask("count(*)").await.parse().unwrap(), cases)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_ones_own_tells_wards_whom_to_ask_and_tells_everybody_else_nothing() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let caller = async |slug: &str| world.caller(&program, slug).await.unwrap();
    let hospital = caller("hospital.discharge").await;
    let coordinator = caller("coordinator.desk").await;
    let ward = caller("ward-welfare.intake").await;
    let mut first = named(coordinator.post, NAME, "kita_A");
    first.facts.push(fact("patient_id", Value::Text("00123-45".to_owned())));
    let sent = submit(&hospital, first).await;

    // Who reads the name in the event that says it finds its own case, in any spelling, by a number too.
    let found = search(&hospital, wanted("ﾃｽﾄ　たろー")).await.unwrap();
    assert_eq!(found.cases.len(), 1);
    assert_eq!((&found.cases[0].case_id, found.exists_ask_post_ids.len()), (&sent.case_id, 0));
    let open = &found.cases[0].open_referrals;
    assert_eq!(
        (open[0].referral_id.as_str(), open[0].state.as_str()),
        (sent.referral_id.as_str(), "submitted")
    );
    let number = |n: &str| pb::SearchChildRequest {
        identifier_key: "patient_id".to_owned(),
        identifier: n.to_owned(),
        ..Default::default()
    };
    assert_eq!(search(&hospital, number("００１２３４５")).await.unwrap().cases.len(), 1);
    assert_eq!(on_record(&world, hospital.post).await, (2, vec![sent.case_id.clone(), sent.case_id.clone()]));

    // A ward division and the coordinators are told whom to ask, about their own municipality.
    for slug in ["health.nurse", "ward-childcare.admission", "ward-welfare.council"] {
        let division = caller(slug).await;
        let told = search(&division, wanted(NAME)).await.unwrap();
        assert!(told.cases.is_empty(), "{slug}");
        assert_eq!(told.exists_ask_post_ids, [ward.post.to_string()], "{slug}");
        assert_eq!(
            on_record(&world, division.post).await,
            (1, vec![sent.case_id.clone()]),
            "it is told of the case"
        );
        let other = search(&division, wanted("ア イ")).await.unwrap();
        assert_eq!(other, pb::SearchChildResponse::default(), "{slug}");
    }

    // To everybody else a child that is known and one that nobody knows are one, byte for byte, number and name.
    for slug in ["nursery.head", "school.head", "homedoctor.clinic", "planner2.desk", "nursing.station"] {
        let outsider = caller(slug).await;
        let known = search(&outsider, wanted(NAME)).await.unwrap().encode_to_vec();
        let unknown = search(&outsider, wanted("ア イ")).await.unwrap().encode_to_vec();
        assert_eq!(known, unknown, "{slug}");
        let mut of_hospital = number("0012345");
        of_hospital.issuer_agency_id = world.post("hospital.discharge").0.to_string();
        assert_eq!(search(&outsider, of_hospital).await.unwrap().encode_to_vec(), unknown, "{slug}");
        assert_eq!(
            on_record(&world, outsider.post).await,
            (3, vec![]),
            "each is on record, and names no case"
        );
    }
    let guardian = caller("family-a.guardian").await;
    assert_eq!(Seen::refused(search(&guardian, wanted(NAME)).await).reason, "PURPOSE_NOT_YOURS");
    let for_care = hospital.identity().search_child(hospital.request(wanted(NAME))).await;
    assert_eq!(Seen::refused(for_care).reason, "PURPOSE_NOT_INTAKE");

    // The index holds nothing of it in the clear, and goes with the case.
    let sql = "SELECT string_agg(b::text, ' ') || ' ' || string_agg(convert_from(decode(encode(token, 'hex'), 'escape'), 'UTF8'), ' ') \
               FROM log.blind_index AS b";
    let dump = world.stack.postgres.sql("tasuki", sql).await.unwrap();
    assert!(dump.len() > 200);
    for piece in ["テスト", "タロウ", "タロオ", "2021", "0012345", "131172", "female"] {
        assert!(!dump.contains(piece), "{piece}");
    }
    let database = Database::new(&world.database_url, 1).unwrap();
    let case = uuid::Uuid::try_parse(&sent.case_id).unwrap();
    assert!(BlindIndex::forget(&database.connect().await.unwrap(), case).await.unwrap() >= 5);
    assert_eq!(search(&hospital, wanted(NAME)).await.unwrap(), pb::SearchChildResponse::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_searches_thirty_times_an_hour_over_all_processes() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let second = world.serve("intake").await.unwrap();
    let callers = [
        world.caller(&program, "nursery.head").await.unwrap(),
        world.caller(&second, "nursery.head").await.unwrap(),
    ];
    let answers = futures::future::join_all((0..40).map(|n| search(&callers[n % 2], wanted("ア イ")))).await;
    let (told, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((told.len(), refused.len()), (30, 10));
    for answer in refused {
        let seen = Seen::refused(answer);
        assert_eq!((seen.code, seen.reason.as_str()), (Code::ResourceExhausted, "SEARCH_LIMIT"));
        assert!(seen.retry.is_some());
    }
    assert_eq!(on_record(&world, callers[0].post).await.0, 30);
    let school = world.caller(&program, "school.head").await.unwrap();
    search(&school, wanted("ア イ")).await.unwrap();
}

/// All that a post reads without naming anything.
async fn everything(by: &Caller) -> Vec<Vec<u8>> {
    let request = ReadFeedRequest { page_size: 200, ..Default::default() };
    let feed = by.timeline().read_feed(by.request(request)).await;
    let cases = by.timeline().list_caseload(by.request(ListCaseloadRequest::default())).await;
    let duties = by.timeline().list_duties(by.request(ListDutiesRequest::default())).await;
    let referrals = by.referrals().list_referrals(by.request(intake::ListReferralsRequest::default())).await;
    let mut feed = feed.unwrap().into_inner();
    // A cursor says where the reader is, sealed anew each time.
    feed.cursor.clear();
    feed.items.iter_mut().for_each(|item| item.cursor.clear());
    vec![
        feed.encode_to_vec(),
        cases.unwrap().into_inner().encode_to_vec(),
        duties.unwrap().into_inner().encode_to_vec(),
        referrals.unwrap().into_inner().encode_to_vec(),
    ]
}

async fn get(by: &Caller, id: &str) -> Result<intake::Referral, Status> {
    let request = intake::GetReferralRequest { referral_id: id.to_owned(), ..Default::default() };
    let got = by.referrals().get_referral(by.request(request)).await?.into_inner();
    Ok(got.referral.unwrap())
}

async fn doubt(by: &Caller, case: &str) -> Result<pb::GetIdentityDoubtResponse, Status> {
    let request = pb::GetIdentityDoubtRequest { case_id: case.to_owned() };
    by.identity().get_identity_doubt(by.request(request)).await.map(tonic::Response::into_inner)
}

async fn merge(by: &Caller, case: &str, into: &str) -> Result<pb::MergeCasesResponse, Status> {
    let (case_id, survivor_case_id) = (case.to_owned(), into.to_owned());
    let request = pb::MergeCasesRequest { case_id, survivor_case_id, context: None };
    by.identity().merge_cases(by.request(request)).await.map(tonic::Response::into_inner)
}

/// Promise P2 at every position, and in the log's own table: one responsible post for each case that is not merged.
async fn nobody_is_dropped(world: &World) {
    let mut cases: BTreeMap<CaseId, CaseState> = BTreeMap::new();
    for record in world.reader().unwrap().after(0, 100_000).await.unwrap() {
        if record.header.stream_kind() != StreamKind::Case {
            continue;
        }
        let recorded = Recorded {
            header: record.header.clone(),
            event: record.open_event().unwrap(),
            recorded_at: Timestamp::from_microsecond(record.recorded_at_us).unwrap(),
        };
        let case = CaseId::trusted(&record.header.stream_id);
        cases.entry(case).or_default().evolve(case, &recorded);
        for (case, state) in &cases {
            let leads = state.circle.relations.values().filter(|all| all.contains(&Relation::Lead)).count();
            let expected = usize::from(state.merged.is_none());
            assert_eq!(leads, expected, "position {}, case {case}", record.position);
        }
    }
    for (case, state) in &cases {
        let sql = format!("SELECT post_id FROM log.leads WHERE case_id = '{case}'");
        let lead = PostId::trusted(world.stack.postgres.sql("tasuki", &sql).await.unwrap().trim());
        assert_eq!(lead, state.circle.lead.unwrap_or(tasuki_domain::circle::NOBODY), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_in_doubt_is_disclosed_to_nobody_new_until_a_person_has_decided() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let caller = async |slug: &str| world.caller(&program, slug).await.unwrap();
    let (hospital, doctor) = (caller("hospital.discharge").await, caller("homedoctor.clinic").await);
    let (coordinator, nursing) = (caller("coordinator.desk").await, caller("nursing.station").await);
    let ward = caller("ward-welfare.intake").await;
    let first = submit(&hospital, named(coordinator.post, NAME, "kita_A")).await;
    assert_eq!(get(&hospital, &first.referral_id).await.unwrap().state, "submitted");

    // A retry is the same referral, and no second case beside its own.
    let once = named(coordinator.post, "ア イ", "kita_E");
    let request = || hospital.request_as(once.clone(), "once");
    let sent = hospital.referrals().submit_referral(request()).await.unwrap().into_inner();
    let again = hospital.referrals().submit_referral(request()).await.unwrap().into_inner();
    assert_eq!(again, sent);
    assert_eq!(get(&hospital, &sent.referral_id).await.unwrap().state, "submitted");

    // A twin is another child: nothing is held up.
    let twin = submit(&hospital, named(coordinator.post, "テスト ハナ", "kita_B")).await;
    assert_eq!(get(&hospital, &twin.referral_id).await.unwrap().state, "submitted");

    world.views_reach_the_log().await.unwrap();
    let before = everything(&nursing).await;
    let second = submit(&doctor, named(nursing.post, "テスト タロー", "kita_C")).await;
    world.views_reach_the_log().await.unwrap();
    assert_eq!(everything(&nursing).await, before, "the receiver sees that nothing has happened");
    assert_eq!(Seen::refused(get(&nursing, &second.referral_id).await).reason, "NOT_FOUND");
    assert_eq!(get(&doctor, &second.referral_id).await.unwrap().state, "on_hold");

    // The intake post owes a decision, and it alone sees what the case looks like.
    let duties =
        ward.timeline().list_duties(ward.request(ListDutiesRequest::default())).await.unwrap().into_inner();
    assert!(
        duties
            .duties
            .iter()
            .any(|duty| duty.kind() == DutyKind::DutyIdentity && duty.case_id == second.case_id)
    );
    let told = doubt(&ward, &second.case_id).await.unwrap();
    let likenesses: Vec<(&str, &str)> =
        told.likenesses.iter().map(|l| (l.case_id.as_str(), l.verdict.as_str())).collect();
    assert_eq!((told.in_doubt, likenesses), (true, vec![(first.case_id.as_str(), "likely")]));
    assert_eq!(Seen::refused(doubt(&doctor, &second.case_id).await).reason, "NOT_YOUR_PART");
    assert_eq!(Seen::refused(doubt(&nursing, &second.case_id).await).reason, "NOT_FOUND");
    assert_eq!(doubt(&ward, &first.case_id).await.unwrap(), pb::GetIdentityDoubtResponse::default());

    // Nobody is brought in meanwhile, by no command; a ward division is told of the first case alone.
    let consent = RecordSignedConsentRequest {
        case_id: second.case_id.clone(),
        recipients: vec![Recipient { who: Some(Who::PostId(nursing.post.to_string())) }],
        classes: vec![tasuki_contract::DataClass::Identity.into()],
        signer_relation: "mother".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: Some(Date { year: 2026, month: 4, day: 5 }),
        ..Default::default()
    };
    let signed = ward.consents().record_signed_consent(ward.request(consent)).await;
    assert_eq!(Seen::refused(signed).reason, "IDENTITY_IN_DOUBT");
    let also = intake::SubmitReferralRequest {
        case_id: second.case_id.clone(),
        ..referral(coordinator.post, "kita_D")
    };
    let also = intake::SubmitReferralRequest { consent_at_source: None, ..also };
    let sent = doctor.referrals().submit_referral(doctor.request(also)).await;
    assert_eq!(Seen::refused(sent).reason, "IDENTITY_IN_DOUBT");
    assert_eq!(everything(&nursing).await, before);

    // Another child after all: the referral goes out, with its consent.
    let confirm = pb::ConfirmDistinctRequest { case_id: second.case_id.clone(), context: None };
    let early = nursing.identity().confirm_distinct(nursing.request(confirm.clone())).await;
    assert_eq!(Seen::refused(early).reason, "NOT_FOUND");
    ward.identity().confirm_distinct(ward.request(confirm)).await.unwrap();
    world.views_reach_the_log().await.unwrap();
    assert_ne!(everything(&nursing).await, before);
    let got = get(&nursing, &second.referral_id).await.unwrap();
    assert_eq!(got.state, "submitted");
    assert!(got.content.unwrap().message.contains("MARK-REFERRAL-kita_C"));
    nobody_is_dropped(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_case_points_to_the_other_and_an_undone_merge_gives_it_back() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let caller = async |slug: &str| world.caller(&program, slug).await.unwrap();
    let (hospital, doctor) = (caller("hospital.discharge").await, caller("homedoctor.clinic").await);
    let (coordinator, nursing) = (caller("coordinator.desk").await, caller("nursing.station").await);
    let ward = caller("ward-welfare.intake").await;
    let first = submit(&hospital, named(coordinator.post, NAME, "kita_A")).await;
    let second = submit(&doctor, named(nursing.post, NAME, "kita_B")).await;

    assert_eq!(Seen::refused(merge(&doctor, &second.case_id, &first.case_id).await).reason, "NOT_YOUR_PART");
    assert_eq!(Seen::refused(merge(&nursing, &second.case_id, &first.case_id).await).reason, "NOT_FOUND");
    let doubted = Seen::refused(merge(&ward, &first.case_id, &second.case_id).await);
    assert_eq!(doubted.reason, "IDENTITY_IN_DOUBT");
    merge(&ward, &second.case_id, &first.case_id).await.unwrap();
    nobody_is_dropped(&world).await;

    // Its members read on, and are sent to the other case; nobody else learns of either.
    assert_eq!(get(&doctor, &second.referral_id).await.unwrap().state, "closed");
    let into = intake::SubmitReferralRequest {
        case_id: second.case_id.clone(),
        consent_at_source: None,
        ..referral(coordinator.post, "kita_C")
    };
    let status = doctor.referrals().submit_referral(doctor.request(into.clone())).await.unwrap_err();
    assert_eq!(Seen::of(&status).reason, "CASE_MERGED");
    let info = tonic_types::StatusExt::get_error_details(&status).error_info().unwrap().clone();
    assert_eq!(info.metadata.get("survivor_case_id"), Some(&first.case_id));
    let foreign = nursing.referrals().submit_referral(nursing.request(into)).await;
    assert_eq!(Seen::refused(foreign).reason, "NOT_FOUND");
    world.views_reach_the_log().await.unwrap();
    let timeline = async |by: &Caller, case: &str| {
        let request = GetTimelineRequest { case_id: case.to_owned(), page_size: 200, ..Default::default() };
        let items = by.timeline().get_timeline(by.request(request)).await.unwrap().into_inner().items;
        items.into_iter().map(|item| item.r#type).collect::<Vec<_>>()
    };
    let merged = "tasuki.identity.v1.CasesMerged".to_owned();
    assert!(timeline(&hospital, &first.case_id).await.contains(&merged), "a pointer in the one that goes on");
    assert!(timeline(&doctor, &second.case_id).await.contains(&merged), "and in the one that was closed");

    // Undone: the lead is back, the referral is to be routed, and the log and its tables agree.
    let undo = pb::UnmergeCasesRequest { case_id: second.case_id.clone(), context: None };
    let undone = ward.identity().unmerge_cases(ward.request(undo)).await.unwrap().into_inner();
    assert_eq!(undone.lead_post_id, ward.post.to_string());
    nobody_is_dropped(&world).await;
    assert_eq!(get(&doctor, &second.referral_id).await.unwrap().state, "needs_routing");
    let again = intake::RerouteReferralRequest {
        referral_id: second.referral_id.clone(),
        to_post_id: nursing.post.to_string(),
        ..Default::default()
    };
    doctor.referrals().reroute_referral(doctor.request(again)).await.unwrap();
    assert_eq!(get(&nursing, &second.referral_id).await.unwrap().state, "submitted");
    let verified = world.command(&["verify"]).await.unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
