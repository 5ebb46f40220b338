//! P5: withdrawal works. It is never refused, from its position on nothing more is served on that consent, and who
//! could read is told.
//!
//! "Served" is the commit of its read record. Which of two commits came first PostgreSQL itself says, by
//! `track_commit_timestamp`: what conflicts on a row commits one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tasuki_contract::DataClass;
use tasuki_contract::common::v1::CommandContext;
use tasuki_contract::consent::v1 as consent;
use tasuki_contract::event::v1::{DutyKind, Recipient, recipient::Who};
use tasuki_contract::timeline::v1 as timeline;
use tasuki_contract::timeline::v1::Level;
use tasuki_tests::{Caller, Live, Program, World, eventually, referral};
use tonic::Code;
use uuid::Uuid;

use crate::PROGRAM;
use crate::story::day;
use crate::who_reads::{COORDINATOR, FAMILY, HOSPITAL, NURSE, WARD};

const LIMIT: Duration = Duration::from_secs(60);
const CASES: usize = 25;
const WITHDRAWALS_OF_A_CASE: usize = 40;
const CLASSES: [DataClass; 4] =
    [DataClass::Lead, DataClass::Identity, DataClass::CareProcedure, DataClass::Consent];

fn recipient(caller: &Caller) -> Recipient {
    Recipient { who: Some(Who::PostId(caller.post.to_string())) }
}

fn signed(case_id: &str, recipients: Vec<Recipient>) -> consent::RecordSignedConsentRequest {
    consent::RecordSignedConsentRequest {
        case_id: case_id.to_owned(),
        recipients,
        classes: CLASSES.iter().map(|class| *class as i32).collect(),
        signer_relation: "mother".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: day(-1),
        ..Default::default()
    }
}

/// A case whose referral went to the nurses, so that only a consent brings the coordinator in.
async fn open_case(hospital: &Caller, nurse: &Caller) -> String {
    let request = hospital.request(referral(nurse.post, "kita_A"));
    hospital.referrals().submit_referral(request).await.unwrap().into_inner().case_id
}

/// One post at both processes.
async fn at_both(world: &World, programs: [&Program; 2], slug: &str) -> [Caller; 2] {
    [world.caller(programs[0], slug).await.unwrap(), world.caller(programs[1], slug).await.unwrap()]
}

/// Whether the card was served; it is refused to who stands outside the circle.
async fn reads_card(caller: &Caller, case_id: &str) -> bool {
    let card = timeline::GetCaseCardRequest { case_id: case_id.to_owned(), ..Default::default() };
    match caller.timeline().get_case_card(caller.request(card)).await {
        Ok(answer) => {
            assert!(!answer.into_inner().facts.is_empty(), "a card without anything on it was served");
            true
        }
        Err(status) => {
            assert!(matches!(status.code(), Code::NotFound | Code::Aborted), "{status:?}");
            false
        }
    }
}

/// What one case has brought about.
#[derive(Default)]
struct Round {
    /// Each consent that was withdrawn, with the last event of its withdrawal.
    withdrawn: Vec<(Uuid, Uuid)>,
    served: usize,
    refused: usize,
}

/// Signs and withdraws again and again, each time while both processes read.
async fn sign_and_withdraw(case: String, ward: [Caller; 2], reader: [Caller; 2]) -> Round {
    let mut round = Round::default();
    for turn in 0..WITHDRAWALS_OF_A_CASE {
        let (here, there) = (turn % 2, (turn + 1) % 2);
        let ward = [&ward[here], &ward[there]];
        let reader = [&reader[here], &reader[there]];
        let request = ward[0].request(signed(&case, vec![recipient(reader[0])]));
        let grant = ward[0].consents().record_signed_consent(request).await.unwrap().into_inner().grant_id;
        let withdraw = async {
            // What is withdrawn while somebody reads, before they are through.
            tokio::task::yield_now().await;
            let request = consent::WithdrawConsentRequest {
                case_id: case.clone(),
                grant_id: grant.clone(),
                ..Default::default()
            };
            ward[1].consents().withdraw_consent(ward[1].request(request)).await
        };
        let (withdrawn, one, two, three) = tokio::join!(
            withdraw,
            reads_card(reader[0], &case),
            reads_card(reader[1], &case),
            reads_card(reader[0], &case),
        );
        let withdrawn = withdrawn.expect("a withdrawal is never refused").into_inner();
        assert_eq!(withdrawn.grant_ids, [grant.as_str()]);
        let event = withdrawn.receipt.unwrap().event_id;
        round.withdrawn.push((Uuid::try_parse(&grant).unwrap(), Uuid::try_parse(&event).unwrap()));
        let served = [one, two, three].into_iter().filter(|served| *served).count();
        round.served += served;
        round.refused += 3 - served;
        for late in reader {
            assert!(!reads_card(late, &case).await, "read after the withdrawal was answered");
        }
    }
    round
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_nothing_is_served_after_any_of_a_thousand_withdrawals() {
    let world = World::start_with(PROGRAM, commit_times).await.unwrap();
    let first = world.ready().await.unwrap();
    let second = world.serve("all").await.unwrap();
    let programs = [&first, &second];
    let hospital = world.caller(&first, HOSPITAL).await.unwrap();
    let nurse = world.caller(&first, NURSE).await.unwrap();
    let ward = at_both(&world, programs, WARD).await;
    let reader = at_both(&world, programs, COORDINATOR).await;
    let streams: Vec<Live> = reader.iter().map(|caller| Live::start(vec![caller.clone()])).collect();

    let mut rounds = Vec::new();
    for _ in 0..CASES {
        let case = open_case(&hospital, &nurse).await;
        let (ward, reader) = (ward.clone(), reader.clone());
        rounds.push(tokio::spawn(sign_and_withdraw(case, ward, reader)));
    }
    let mut all = Round::default();
    for round in rounds {
        let round = round.await.unwrap();
        all.withdrawn.extend(round.withdrawn);
        all.served += round.served;
        all.refused += round.refused;
    }
    assert_eq!(all.withdrawn.len(), CASES * WITHDRAWALS_OF_A_CASE);
    world.views_reach_the_log().await.unwrap();

    let (client, connection) =
        tokio_postgres::connect(&world.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let (grants, events): (Vec<Uuid>, Vec<Uuid>) = all.withdrawn.iter().copied().unzip();
    let count = async |sql: &str| {
        let row = client.query_one(sql, &[&grants, &events]).await.unwrap();
        usize::try_from(row.get::<_, i64>(0)).unwrap()
    };
    let of_these = "FROM unnest($1::uuid[], $2::uuid[]) AS w(grant_id, event_id) \
                    JOIN log.events e USING (event_id) JOIN log.reads r ON w.grant_id = ANY(r.grant_ids)";
    let served = count(&format!("SELECT count(DISTINCT r.read_id) {of_these}")).await;
    let late = count(&format!(
        "SELECT count(*) {of_these} \
         WHERE pg_xact_commit_timestamp(r.xmin) >= pg_xact_commit_timestamp(e.xmin)"
    ))
    .await;
    println!(
        "{} withdrawals; {served} reads on record under them; cards raced: {} served, {} refused",
        grants.len(),
        all.served,
        all.refused
    );
    assert_eq!(late, 0, "reads went on record after the consent had been withdrawn");
    assert!(all.served > 100 && all.refused > 100, "no race: {} served, {} refused", all.served, all.refused);
    assert!(served >= all.served, "cards were served that are not on record");
    each_streamed_item_is_on_record(&streams, &client, &grants).await;
}

/// What the streams have served of consents: each under a consent, on record, so that the check above holds for it too.
async fn each_streamed_item_is_on_record(
    streams: &[Live],
    client: &tokio_postgres::Client,
    grants: &Vec<Uuid>,
) {
    let mut streamed = BTreeSet::new();
    for item in streams.iter().flat_map(Live::items) {
        let of_a_consent = item.r#type.ends_with(".ConsentActivated");
        if of_a_consent && item.level() > Level::Existence {
            streamed.insert(Uuid::try_parse(&item.event_id).unwrap());
        }
    }
    let streamed: Vec<Uuid> = streamed.into_iter().collect();
    println!("{} consents streamed before they were withdrawn", streamed.len());
    assert!(!streamed.is_empty(), "no stream had anything to race for");
    let unrecorded = "SELECT count(*) FROM unnest($2::uuid[]) AS s(event_id) WHERE NOT EXISTS (\
                      SELECT FROM log.reads r WHERE s.event_id = ANY(r.event_ids) AND r.grant_ids && $1 \
                      AND r.method = 'TimelineService/Subscribe')";
    let row = client.query_one(unrecorded, &[grants, &streamed]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0, "items were streamed that are not on record under a consent");
}

/// Signs again and again until told to stop; how often it was refused since somebody was faster.
async fn keep_busy(caller: Caller, case: String, stop: Arc<AtomicBool>) -> usize {
    let mut conflicts = 0;
    while !stop.load(Ordering::Relaxed) {
        let request = caller.request(signed(&case, vec![recipient(&caller)]));
        if let Err(status) = caller.consents().record_signed_consent(request).await {
            assert_eq!(status.code(), Code::Aborted, "{status:?}");
            conflicts += 1;
        }
    }
    conflicts
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_a_withdrawal_is_refused_for_no_version_however_busy_the_case_is() {
    let world = World::start(PROGRAM).await.unwrap();
    let first = world.ready().await.unwrap();
    let second = world.serve("all").await.unwrap();
    let hospital = world.caller(&first, HOSPITAL).await.unwrap();
    let nurse = world.caller(&first, NURSE).await.unwrap();
    let ward = at_both(&world, [&first, &second], WARD).await;
    let case = open_case(&hospital, &nurse).await;
    let stop = Arc::new(AtomicBool::new(false));
    let busy = |i: usize| keep_busy(ward[i % 2].clone(), case.clone(), stop.clone());
    let others: Vec<_> = (0..24).map(|i| tokio::spawn(busy(i))).collect();
    let mut taken_back = 0;
    for turn in 0..20 {
        let caller = &ward[turn % 2];
        let context = CommandContext { etag: "0123456789abcdef".to_owned(), occurred_at: None };
        let request = consent::WithdrawConsentRequest {
            context: Some(context),
            case_id: case.clone(),
            ..Default::default()
        };
        let answer = caller.consents().withdraw_consent(caller.request(request)).await;
        taken_back += answer.expect("a withdrawal is never refused").into_inner().grant_ids.len();
    }
    stop.store(true, Ordering::Relaxed);
    let mut conflicts = 0;
    for other in others {
        conflicts += other.await.unwrap();
    }
    println!("{taken_back} consents taken back by 20 withdrawals; {conflicts} other commands lost the race");
    assert!(taken_back > 20, "nothing was signed meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_a_guardian_withdraws_and_every_past_recipient_is_told_and_takes_note() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let nurse = world.caller(&program, NURSE).await.unwrap();
    let ward = world.caller(&program, WARD).await.unwrap();
    let family = world.caller(&program, FAMILY).await.unwrap();
    let desk = world.caller(&program, COORDINATOR).await.unwrap();
    let case = open_case(&hospital, &nurse).await;
    let request = ward.request(signed(&case, vec![recipient(&desk), recipient(&family)]));
    let grant = ward.consents().record_signed_consent(request).await.unwrap().into_inner().grant_id;
    assert!(reads_card(&desk, &case).await);
    let listed = list(&desk, &case).await;
    assert_eq!((listed.consents.len(), listed.withheld_classes.len()), (1, 1));
    assert_eq!(listed.consents[0].recipients, [recipient(&desk)], "not who else is named");
    assert_eq!(list(&family, &case).await.consents.len(), 2, "the one held at source too");

    let request = consent::WithdrawConsentRequest { case_id: case.clone(), ..Default::default() };
    let withdrawn = family.consents().withdraw_consent(family.request(request.clone())).await.unwrap();
    assert_eq!(withdrawn.into_inner().grant_ids.len(), 2, "everything that was signed");
    let again = family.consents().withdraw_consent(family.request(request)).await.unwrap();
    assert!(again.into_inner().grant_ids.is_empty(), "once more, and OK");
    assert!(!reads_card(&desk, &case).await);
    world.views_reach_the_log().await.unwrap();

    let kept = list(&ward, &case).await.consents;
    assert!(kept.iter().all(|consent| consent.state == "withdrawn"), "{kept:?}");
    let told: BTreeSet<String> =
        kept.iter().flat_map(|c| &c.stop_notices).map(|notice| notice.to_post_id.clone()).collect();
    let expected = [&hospital, &nurse, &ward, &desk].map(|caller| caller.post.to_string());
    assert_eq!(told, expected.into_iter().collect(), "every office that could read, and not the family");
    // The referral to the nurses rested on it: the responsible post is to say what becomes of it.
    let waits = duties(&ward).await;
    assert!(waits.iter().any(|duty| duty.kind() == DutyKind::DutyReviewHold), "{waits:?}");

    let owed = duties(&desk).await;
    assert_eq!((owed.len(), owed[0].kind()), (1, DutyKind::DutyStopNotice));
    let mine = list(&desk, &case).await.consents;
    assert_eq!((mine.len(), mine[0].state.as_str()), (1, "withdrawn"));
    assert_eq!((mine[0].grant_id.as_str(), mine[0].classes.len()), (grant.as_str(), 0));
    let note = consent::AcknowledgeStopNoticeRequest {
        case_id: case.clone(),
        notice_id: mine[0].stop_notices[0].notice_id.clone(),
        ..Default::default()
    };
    desk.consents().acknowledge_stop_notice(desk.request(note)).await.unwrap();
    world.views_reach_the_log().await.unwrap();
    assert!(duties(&desk).await.is_empty());
    let kept = list(&ward, &case).await.consents;
    let noted = kept.iter().flat_map(|c| &c.stop_notices).filter(|notice| notice.acknowledged);
    assert!(noted.clone().count() > 0 && noted.clone().all(|n| n.to_post_id == desk.post.to_string()));
    // Its own notice is all that its feed still tells of the case.
    eventually("the notice in the feed", LIMIT, || async {
        crate::received::items(&desk).await.iter().any(|item| item.r#type.ends_with(".StopNoticeIssued"))
    })
    .await;
    for item in crate::received::items(&desk).await {
        let own = item.r#type.contains(".StopNotice");
        assert!(own || item.level() == Level::None, "{item:?}");
    }
}

async fn list(caller: &Caller, case_id: &str) -> consent::ListConsentsResponse {
    let request = consent::ListConsentsRequest { case_id: case_id.to_owned(), ..Default::default() };
    caller.consents().list_consents(caller.request(request)).await.unwrap().into_inner()
}

async fn duties(caller: &Caller) -> Vec<timeline::Duty> {
    let request = timeline::ListDutiesRequest::default();
    caller.timeline().list_duties(caller.request(request)).await.unwrap().into_inner().duties
}

/// PostgreSQL says when each transaction committed.
fn commit_times(options: &mut tasuki_standalone::StackOptions) {
    options.postgres.settings.push(("track_commit_timestamp".to_owned(), "on".to_owned()));
}
