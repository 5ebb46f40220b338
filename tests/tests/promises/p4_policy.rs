//! P4: a municipality's policy decides what is read, from the very answer after it was adopted, in every process; and
//! why somebody reads what it reads can be asked for.

use tasuki_contract::directory::v1::AdoptPolicyRequest;
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::timeline::v1 as timeline;
use tasuki_domain::policy::DEFAULT;
use tasuki_tests::{Caller, World, referral};
use tonic::Code;

use crate::PROGRAM;
use crate::story::day;
use crate::who_reads::{COORDINATOR, FAMILY, HOSPITAL, WARD};

const KEY: &str = "care_procedures";
const ROUNDS: usize = 12;

/// The default for the region's municipality, with a name of its own.
pub fn lax(version: usize) -> String {
    let text = DEFAULT.replace("municipality = \"default\"", "municipality = \"131172\"");
    text.replace("version = \"2026-11\"", &format!("version = \"round {version}\""))
}

/// The same, by which no coordinator reads care procedures.
fn strict(version: usize) -> String {
    let narrowed = format!("[keys.{KEY}]\nnothing = [\"CD\"]\n\n[uninformed]");
    lax(version).replace("[uninformed]", &narrowed)
}

pub async fn adopt(operator: &Caller, text: String) -> Result<String, tonic::Status> {
    let request = operator.request(AdoptPolicyRequest { context: None, text });
    Ok(operator.directory().adopt_policy(request).await?.into_inner().sha256)
}

async fn card(who: &Caller, case_id: &str) -> timeline::GetCaseCardResponse {
    let request = timeline::GetCaseCardRequest { case_id: case_id.to_owned(), ..Default::default() };
    who.timeline().get_case_card(who.request(request)).await.unwrap().into_inner()
}

/// A case that a hospital referred to the desk, which has taken it up as the responsible post.
async fn led_by(desk: &Caller, hospital: &Caller) -> String {
    let sent = hospital.referrals().submit_referral(hospital.request(referral(desk.post, "kita_A"))).await;
    let sent = sent.unwrap().into_inner();
    let accept = intake::AcceptReferralRequest {
        referral_id: sent.referral_id,
        as_lead: true,
        first_contact_on: day(1),
        ..Default::default()
    };
    desk.referrals().accept_referral(desk.request(accept)).await.unwrap();
    sent.case_id
}

fn explaining(case_id: &str, post: &Caller, purpose: &str) -> timeline::ExplainAccessRequest {
    timeline::ExplainAccessRequest {
        case_id: case_id.to_owned(),
        post_id: post.post.to_string(),
        purpose: purpose.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_policy_holds_from_the_next_answer_of_every_process_on() {
    let world = World::start(PROGRAM).await.unwrap();
    let first = world.ready().await.unwrap();
    let second = world.serve("all").await.unwrap();
    let operator = world.operator(&first).await.unwrap();
    let hospital = world.caller(&first, HOSPITAL).await.unwrap();
    let desk = world.caller(&second, COORDINATOR).await.unwrap();
    let case = led_by(&desk, &hospital).await;
    let reads = |card: &timeline::GetCaseCardResponse| {
        let known = card.facts.iter().filter_map(|known| known.fact.as_ref()).any(|fact| fact.key == KEY);
        assert_eq!(known, !card.withheld_keys.contains(&KEY.to_owned()), "withheld is not absent");
        known
    };
    assert!(reads(&card(&desk, &case).await));
    for round in 0..ROUNDS {
        adopt(&operator, strict(round)).await.unwrap();
        assert!(
            !reads(&card(&desk, &case).await),
            "round {round}: the other process reads by the old policy"
        );
        adopt(&operator, lax(round)).await.unwrap();
        assert!(reads(&card(&desk, &case).await), "round {round}");
    }
    // The record of a read tells which policy it was found by.
    let client = tasuki_log::Database::new(&world.database_url, 1).unwrap();
    let reader = tasuki_log::Reader::new(client);
    let versions = reader.versions(&[tasuki_domain::ids::municipality_stream("131172")]).await.unwrap();
    assert_eq!(versions[0].1, 1 + 2 * ROUNDS as u64, "one event for the rules, and one for each policy");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_policy_that_is_wrong_or_not_the_operators_is_not_adopted() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let operator = world.operator(&program).await.unwrap();
    let desk = world.caller(&program, COORDINATOR).await.unwrap();
    let refused = adopt(&desk, lax(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let line = lax(1).lines().position(|line| line.contains("\"VEND\"")).unwrap() + 1;
    let refused = adopt(&operator, lax(1).replace("\"VEND\"", "\"VENDOR\"")).await.unwrap_err();
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let fields = &details.bad_request().unwrap().field_violations;
    let wrong = fields.iter().find(|violation| violation.field == format!("text:{line}")).unwrap();
    assert!(wrong.description.starts_with("BAD_POLICY") && wrong.description.contains("FAM, CD"));
    let refused = adopt(&operator, DEFAULT.to_owned()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "the default is no municipality's");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_why_a_post_reads_what_it_reads_is_told_to_itself_and_to_the_ward() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let desk = world.caller(&program, COORDINATOR).await.unwrap();
    let ward = world.caller(&program, WARD).await.unwrap();
    let family = world.caller(&program, FAMILY).await.unwrap();
    let case = led_by(&desk, &hospital).await;
    let explain = async |who: &Caller, request| {
        let answer = who.timeline().explain_access(who.request(request)).await;
        answer.map(tonic::Response::into_inner)
    };
    let told = explain(&ward, explaining(&case, &desk, "")).await.unwrap();
    let shown = card(&desk, &case).await;
    for key in &told.keys {
        let full = key.level() == timeline::Level::Full;
        let untold = key.why_en.contains("has not been told");
        assert_eq!(!full || untold, shown.withheld_keys.contains(&key.name), "{key:?}");
        assert!(!key.why_ja.is_empty() && !key.why_en.is_empty(), "{key:?}");
    }
    let narrower = explain(&ward, explaining(&case, &desk, "administration")).await.unwrap();
    let level =
        |told: &timeline::ExplainAccessResponse| told.keys.iter().find(|k| k.name == KEY).unwrap().level();
    assert_eq!((level(&told), level(&narrower)), (timeline::Level::Full, timeline::Level::None));
    assert!(explain(&desk, explaining(&case, &desk, "")).await.is_ok(), "of itself");
    for (who, of) in [(&hospital, &desk), (&family, &desk), (&family, &family)] {
        let refused = explain(who, explaining(&case, of, "")).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}
