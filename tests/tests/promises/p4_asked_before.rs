//! P4: what becomes of a referral after a post has declined it, or where a post is not told of it, changes no byte of
//! what that post gets: no page, token, count, state or etag.

use std::collections::BTreeSet;

use tasuki_contract::Event;
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::timeline::v1 as timeline;
use tasuki_tests::{Caller, World, referral};
use tonic::Code;

use crate::PROGRAM;
use crate::received::{bytes, everything};
use crate::story::{Told, day};
use crate::who_reads::{COUNCIL, HOSPITAL, OTHER_PROVIDER, PROVIDER, WARD};

/// Every state that a list can be filtered by, and none.
const FILTERS: [&str; 6] = ["", "submitted", "acknowledged", "accepted", "needs_routing", "closed"];
const SIZES: [i32; 4] = [1, 2, 3, 50];

async fn sent(hospital: &Caller, to: &Caller, label: &str, told: &mut Told) -> String {
    let request = hospital.request(referral(to.post, label));
    let sent = hospital.referrals().submit_referral(request).await.unwrap().into_inner();
    told.cases.push(sent.case_id);
    told.referrals.push(sent.referral_id.clone());
    sent.referral_id
}

/// Every list page by page, for every filter and page size, and everything else that there is to ask for.
async fn answers(viewer: &Caller, told: &Told) -> Vec<Vec<u8>> {
    let mut all = everything(viewer, told).await;
    for state in FILTERS {
        for page_size in SIZES {
            let mut page_token = String::new();
            loop {
                let list = intake::ListReferralsRequest {
                    state: state.to_owned(),
                    page_size,
                    page_token,
                    ..Default::default()
                };
                let answer = viewer.referrals().list_referrals(viewer.request(list)).await;
                page_token = answer.as_ref().map(|a| a.get_ref().next_page_token.clone()).unwrap_or_default();
                all.push(bytes(answer));
                if page_token.is_empty() {
                    break;
                }
            }
        }
    }
    all
}

async fn listed(viewer: &Caller, state: &str, page_size: i32) -> intake::ListReferralsResponse {
    let list = intake::ListReferralsRequest { state: state.to_owned(), page_size, ..Default::default() };
    viewer.referrals().list_referrals(viewer.request(list)).await.unwrap().into_inner()
}

async fn decline(who: &Caller, referral_id: &str) {
    let decline = intake::DeclineReferralRequest {
        referral_id: referral_id.to_owned(),
        decline_reason: "no_nurse".to_owned(),
        ..Default::default()
    };
    who.referrals().decline_referral(who.request(decline)).await.unwrap();
}

async fn acknowledge(who: &Caller, referral_id: &str) {
    let seen =
        intake::AcknowledgeReferralRequest { referral_id: referral_id.to_owned(), ..Default::default() };
    who.referrals().acknowledge_referral(who.request(seen)).await.unwrap();
}

async fn accept(who: &Caller, referral_id: &str) {
    let accept = intake::AcceptReferralRequest {
        referral_id: referral_id.to_owned(),
        first_contact_on: day(1),
        ..Default::default()
    };
    who.referrals().accept_referral(who.request(accept)).await.unwrap();
}

async fn reroute(who: &Caller, referral_id: &str, to: &Caller) {
    let reroute = intake::RerouteReferralRequest {
        referral_id: referral_id.to_owned(),
        to_post_id: to.post.to_string(),
        ..Default::default()
    };
    who.referrals().reroute_referral(who.request(reroute)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_post_that_declined_learns_nothing_of_what_became_of_the_referral() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let me = world.caller(&program, PROVIDER).await.unwrap();
    let other = world.caller(&program, OTHER_PROVIDER).await.unwrap();
    let mut told = Told::default();
    // Own parts before, between and after those that were declined, in every state that a receiver sees.
    sent(&hospital, &me, "kita_A", &mut told).await;
    let declined = [
        sent(&hospital, &me, "kita_B", &mut told).await,
        sent(&hospital, &me, "kita_C", &mut told).await,
        sent(&hospital, &me, "kita_D", &mut told).await,
    ];
    acknowledge(&me, &sent(&hospital, &me, "kita_E", &mut told).await).await;
    let also_declined = sent(&hospital, &me, "kita_F", &mut told).await;
    accept(&me, &sent(&hospital, &me, "kita_G", &mut told).await).await;
    for referral in declined.iter().chain([&also_declined]) {
        decline(&me, referral).await;
    }
    world.views_reach_the_log().await.unwrap();

    let before = answers(&me, &told).await;
    let listed_states: BTreeSet<String> =
        listed(&me, "", 50).await.referrals.into_iter().map(|referral| referral.state).collect();
    assert_eq!(listed_states.len(), 3, "{listed_states:?}");
    for state in ["submitted", "acknowledged", "accepted"] {
        let page = listed(&me, state, 1).await;
        assert_eq!((page.referrals.len(), page.next_page_token.as_str()), (1, ""), "{state}");
    }
    let unseen = async |what: &str| {
        world.views_reach_the_log().await.unwrap();
        assert!(answers(&me, &told).await == before, "the post that declined can tell that {what}");
    };
    for referral in declined.iter().chain([&also_declined]) {
        reroute(&hospital, referral, &other).await;
    }
    unseen("others were asked").await;
    for referral in &declined {
        acknowledge(&other, referral).await;
    }
    unseen("they have seen it").await;
    accept(&other, &declined[0]).await;
    decline(&other, &declined[1]).await;
    unseen("one accepted and one declined").await;
    let withdraw = intake::WithdrawReferralRequest {
        referral_id: declined[1].clone(),
        withdraw_reason: intake::WithdrawReason::FamilyWish.into(),
        ..Default::default()
    };
    hospital.referrals().withdraw_referral(hospital.request(withdraw)).await.unwrap();
    unseen("one was taken back").await;
}

/// What the viewer's timeline of the case holds of the submission: level, content and withheld classes.
async fn in_timeline(viewer: &Caller, case_id: &str) -> Option<(Option<Event>, Vec<i32>)> {
    let page = timeline::GetTimelineRequest { case_id: case_id.to_owned(), ..Default::default() };
    let page = viewer.timeline().get_timeline(viewer.request(page)).await.ok()?.into_inner();
    let item = page.items.into_iter().find(|item| item.r#type.ends_with(".ReferralSubmitted"))?;
    let event = item
        .event
        .map(|any| Event::decode("tasuki.intake.v1.ReferralSubmitted", &[any.value.as_slice()]).unwrap());
    Some((event, item.withheld_classes))
}

async fn one(viewer: &Caller, referral_id: &str) -> Option<intake::Referral> {
    let get = intake::GetReferralRequest { referral_id: referral_id.to_owned(), ..Default::default() };
    match viewer.referrals().get_referral(viewer.request(get)).await {
        Ok(found) => found.into_inner().referral,
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound);
            None
        }
    }
}

/// The submission is told alike by the timeline and by the referral itself.
async fn alike(what: &str, viewer: &Caller, told: &Told) -> intake::Referral {
    let (event, withheld) = in_timeline(viewer, &told.cases[0]).await.unwrap();
    let referral = one(viewer, &told.referrals[0]).await.unwrap_or_else(|| panic!("{what}: not found"));
    assert_eq!(event, referral.content.clone().map(Event::ReferralSubmitted), "{what}");
    assert_eq!(withheld, referral.withheld_classes, "{what}");
    referral
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_one_event_is_told_alike_wherever_it_is_read() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let ward = world.caller(&program, WARD).await.unwrap();
    let council = world.caller(&program, COUNCIL).await.unwrap();
    let me = world.caller(&program, PROVIDER).await.unwrap();
    let other = world.caller(&program, OTHER_PROVIDER).await.unwrap();
    let mut enquiry = referral(me.post, "kita_A");
    enquiry.facts.retain(|fact| fact.key == "care_procedures");
    enquiry.consent_at_source = Some(intake::ConsentAtSource { anonymous: true, ..Default::default() });
    let sent = hospital.referrals().submit_referral(hospital.request(enquiry)).await.unwrap().into_inner();
    let told =
        Told { cases: vec![sent.case_id], referrals: vec![sent.referral_id.clone()], ..Told::default() };
    let id = &sent.referral_id;
    world.views_reach_the_log().await.unwrap();

    for (what, viewer) in [("the sender", &hospital), ("who is asked", &me)] {
        let referral = alike(what, viewer, &told).await;
        assert_eq!(referral.state, "submitted", "{what}");
        assert!(!referral.content.unwrap().message.is_empty(), "{what}");
    }
    let of_the_ward = alike("the intake post", &ward, &told).await;
    assert!(!of_the_ward.content.unwrap().message.is_empty());
    assert_eq!(
        (of_the_ward.state.as_str(), of_the_ward.etag.as_str()),
        ("", ""),
        "it is not told of every step"
    );
    assert!(one(&other, id).await.is_none() && one(&council, id).await.is_none());

    let before = answers(&ward, &told).await;
    acknowledge(&me, id).await;
    world.views_reach_the_log().await.unwrap();
    assert!(answers(&ward, &told).await == before, "the intake post can tell that it was acknowledged");

    decline(&me, id).await;
    reroute(&hospital, id, &other).await;
    world.views_reach_the_log().await.unwrap();
    let kept = alike("who declined", &me, &told).await;
    assert_eq!((kept.state.as_str(), kept.to_post_id.as_str(), kept.etag.as_str()), ("", "", ""));
    let content = kept.content.unwrap();
    assert_eq!((&content.referral_id, content.message.as_str(), content.facts.len()), (id, "", 0));
    let taken_on = one(&other, id).await.unwrap();
    assert_eq!(taken_on.state, "submitted");
    assert!(!taken_on.content.unwrap().message.is_empty(), "whoever it is sent on to reads what was sent");
}
