//! Claims about referrals that go from post to post: what the header says, and how the referral stands now.

use std::collections::BTreeSet;

use tasuki_contract::event::v1::{CircleChange, Effects, Header, ItemChange, ItemKind};
use tasuki_contract::{Event, intake::v1 as intake};
use tasuki_domain::case::CaseState;
use tasuki_domain::identity::Doubt;
use tasuki_domain::ids::{CaseId, ReferralId};
use tasuki_domain::referral::{ReferralState, Stage};
use tasuki_domain::visibility::Level;

use super::*;
use crate::Access;

const CASE: CaseId = CaseId(Uuid::from_u128(10));
const REFERRAL: ReferralId = ReferralId(Uuid::from_u128(11));
const SENDER: PostId = PostId(Uuid::from_u128(12));
const OTHER: PostId = PostId(Uuid::from_u128(13));

/// The header of an event about the referral, with these parties, of which it asks one.
fn header(event: &Event, parties: &[PostId], asks: Option<PostId>) -> Header {
    let item = ItemChange {
        kind: ItemKind::ItemReferral.into(),
        item_id: REFERRAL.to_string(),
        case_id: CASE.to_string(),
        ..ItemChange::default()
    };
    let asked = asks.map(|post| CircleChange {
        case_id: CASE.to_string(),
        post_id: post.to_string(),
        relation: Relation::Asked.into(),
        ends: false,
    });
    Header {
        r#type: event.rule().type_name.to_owned(),
        data_class: event.rule().class.into(),
        agency_id: Uuid::from_u128(99).to_string(),
        effects: Some(Effects {
            party_post_ids: parties.iter().map(PostId::to_string).collect(),
            circle: asked.into_iter().collect(),
            items: vec![item],
            ..Effects::default()
        }),
        ..Header::default()
    }
}

fn submission(parties: &[PostId], asks: PostId) -> Header {
    header(&Event::ReferralSubmitted(Default::default()), parties, Some(asks))
}

/// A case in which the referral lies before `receiver`, at that stage, after the others declined it.
fn case(circle: Circle, receiver: PostId, stage: Stage, decliners: &[PostId]) -> CaseState {
    let referral = ReferralState {
        case: CASE,
        submission: Uuid::from_u128(14),
        submitted_at: Default::default(),
        sender: SENDER,
        receiver,
        stage,
        brought_in: false,
        decliners: decliners.iter().copied().collect(),
        duties: BTreeSet::new(),
        revision: 1,
    };
    CaseState { circle, referrals: [(REFERRAL, referral)].into(), ..CaseState::default() }
}

fn asked_circle() -> Circle {
    Standing::AskedParty.circle("visiting_nurse_station").0
}

fn levels(case: &CaseState, header: &Header) -> (Level, Level) {
    let me = viewer("visiting_nurse_station");
    let access = Access::of_case(&me, case, rules(), TODAY);
    let lens = access.event_of(header);
    assert_eq!(lens.is_told(), lens.level() > Level::None);
    (lens.level(), lens.fact_level("birth_date"))
}

#[test]
fn who_is_asked_reads_what_was_sent_until_it_declines_or_it_is_taken_back() {
    let sent = submission(&[SENDER, ME], ME);
    for stage in [Stage::Submitted, Stage::Acknowledged, Stage::Accepted] {
        assert_eq!(levels(&case(asked_circle(), ME, stage, &[]), &sent), (Level::Full, Level::Full));
    }
    // Something else still asks the post in the same case.
    let (gone, own) = (Level::None, Level::Own);
    assert_eq!(levels(&case(asked_circle(), ME, Stage::NeedsRouting, &[ME]), &sent), (own, gone));
    assert_eq!(levels(&case(asked_circle(), OTHER, Stage::Accepted, &[ME]), &sent), (own, gone));
    assert_eq!(levels(&case(asked_circle(), ME, Stage::Closed, &[]), &sent), (own, gone));
    // Nothing asks it any more.
    assert_eq!(levels(&case(circle(&[], []), OTHER, Stage::Submitted, &[ME]), &sent), (own, gone));
}

#[test]
fn what_was_sent_is_the_own_part_of_whoever_it_was_sent_on_to_and_other_answers_are_not() {
    let now_mine = case(asked_circle(), ME, Stage::Submitted, &[OTHER]);
    assert_eq!(levels(&now_mine, &submission(&[SENDER, OTHER], OTHER)), (Level::Full, Level::Full));
    let declined = Event::ReferralDeclined(intake::ReferralDeclined::default());
    let not_mine = header(&declined, &[SENDER, OTHER], None);
    assert_eq!(levels(&now_mine, &not_mine), (Level::None, Level::None));
    let never_mine = case(asked_circle(), OTHER, Stage::Submitted, &[]);
    assert_eq!(levels(&never_mine, &submission(&[SENDER, OTHER], OTHER)).0, Level::None);
}

#[test]
fn a_party_that_was_never_asked_keeps_its_own_part_wherever_the_referral_stands() {
    let sent = submission(&[SENDER, OTHER, ME], OTHER);
    let member = || circle(&[Relation::Ward], []);
    for (receiver, stage, decliners) in
        [(OTHER, Stage::Submitted, vec![]), (OTHER, Stage::NeedsRouting, vec![OTHER])]
    {
        assert_eq!(levels(&case(member(), receiver, stage, &decliners), &sent).0, Level::Full);
    }
}

#[test]
fn where_nobody_says_how_a_referral_stands_who_was_asked_keeps_its_open_fields() {
    let (me, circle) = (viewer("visiting_nurse_station"), asked_circle());
    let access = Access::new(&me, &circle, rules(), TODAY);
    let lens = access.event_of(&submission(&[SENDER, ME], ME));
    assert_eq!((lens.level(), lens.fact_level("birth_date")), (Level::Own, Level::None));
    let elsewhere = CaseState { circle: circle.clone(), ..CaseState::default() };
    assert_eq!(levels(&elsewhere, &submission(&[SENDER, ME], ME)).0, Level::Own);
}

#[test]
fn who_read_referrals_by_table_and_grant_still_does_after_declining_one() {
    let me = viewer("mcc_coordinator_office");
    let circle = circle(&[Relation::Lead], [grant(Recipient::Post(ME), PERSONAL)]);
    let case = case(circle, OTHER, Stage::Submitted, &[ME]);
    let access = Access::of_case(&me, &case, rules(), TODAY);
    assert_eq!(access.event_of(&submission(&[SENDER, ME], ME)).level(), Level::Full);
}

#[test]
fn another_post_of_the_agency_that_recorded_an_event_is_not_told_of_it() {
    let me = viewer("hospital");
    let case = case(circle(&[], []), OTHER, Stage::Submitted, &[]);
    let sent = Header { agency_id: MY_AGENCY.to_string(), ..submission(&[SENDER, OTHER], OTHER) };
    let access = Access::of_case(&me, &case, rules(), TODAY);
    let lens = access.event_of(&sent);
    assert!(!lens.is_told() && lens.level() == Level::Full);
}

#[test]
fn who_was_offered_a_hand_off_reads_the_offer_until_it_declines_or_it_is_given_up() {
    use tasuki_domain::handoff::{HandoffState, Stage};
    use tasuki_domain::ids::HandoffId;
    let id = HandoffId(Uuid::from_u128(15));
    let at = |stage, declined| HandoffState {
        case: CASE,
        kind: Default::default(),
        outgoing: SENDER,
        incoming: ME,
        proposer: SENDER,
        stage,
        declined,
        full_contacts: 0,
        confirmed: BTreeSet::new(),
        adopted: BTreeSet::new(),
        revision: 1,
    };
    let mut offered = header(&Event::HandoffOffered(Default::default()), &[SENDER, ME], Some(ME));
    let item = &mut offered.effects.as_mut().unwrap().items[0];
    item.kind = ItemKind::ItemHandoff.into();
    item.item_id = id.to_string();
    // Something else still asks the post in the same case.
    let level = |handoff: HandoffState| {
        let case =
            CaseState { circle: asked_circle(), handoffs: [(id, handoff)].into(), ..CaseState::default() };
        levels(&case, &offered).0
    };
    for stage in [Stage::Offered, Stage::Agreed, Stage::Accompanied, Stage::Completed] {
        assert_eq!(level(at(stage, false)), Level::Full);
    }
    assert_eq!(level(at(Stage::Proposed, true)), Level::Own);
    assert_eq!(level(at(Stage::Cancelled, true)), Level::Own);
    assert_eq!(level(at(Stage::Cancelled, false)), Level::Own);
}

#[test]
fn while_it_is_in_doubt_whose_case_it_is_only_insiders_stand_in_it() {
    let me = viewer("visiting_nurse_station");
    let (circle, _) = Standing::MemberWithGrant.circle("visiting_nurse_station");
    let insiders = |all: &[PostId]| Some(Doubt { insiders: all.iter().copied().collect() });
    let told = |doubt| {
        let case = CaseState { circle: circle.clone(), doubt, ..CaseState::default() };
        let access = Access::of_case(&me, &case, InForce::standard(), TODAY);
        (access.in_circle(), access.class_level(DataClass::CareProcedure) > Level::None)
    };
    assert_eq!(told(None), (true, true));
    assert_eq!(told(insiders(&[me.post])), (true, true));
    // Whatever brought it in meanwhile.
    assert_eq!(told(insiders(&[SENDER])), (false, false));
}
