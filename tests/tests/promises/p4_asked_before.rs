//! P4: what becomes of a referral after a post has declined it, or where a post is not told of it, changes no byte of
//! what that post gets: no page, token, count, state or etag.

use std::collections::BTreeSet;

use tasuki_contract::intake::v1 as intake;
use tasuki_tests::{Caller, World, referral};

use crate::PROGRAM;
use crate::received::{bytes, everything};
use crate::story::{Told, day};
use crate::who_reads::{HOSPITAL, OTHER_PROVIDER, PROVIDER};

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
