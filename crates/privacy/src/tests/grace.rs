//! After its last day a consent leaves to who had something under it what there was, for as long as its text says, and
//! nothing newer to anybody.

use jiff::Timestamp;
use tasuki_contract::event::v1::{CircleChange, Effects, GrantChange, Header};
use tasuki_contract::{DataClass, Event};
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::Recorded;
use tasuki_domain::ids::CaseId;
use tasuki_domain::policy::InForce;

use super::*;
use crate::{Access, Level};

const CASE: CaseId = CaseId(Uuid::from_u128(7));
const LAST: i32 = TODAY;
const GRACE: i32 = 60;
const OTHER: PostId = PostId(Uuid::from_u128(8));

/// The case after effects on some days.
fn case(history: Vec<(i32, Effects)>) -> CaseState {
    let mut state = CaseState::default();
    for (day, effects) in history {
        let recorded = Recorded {
            header: Header { version: state.version + 1, effects: Some(effects), ..Header::default() },
            event: Event::ConsentActivated(Default::default()),
            recorded_at: Timestamp::from_second(i64::from(day) * 86_400).unwrap(),
        };
        state.evolve(CASE, &recorded);
    }
    state
}

fn stands(post: PostId, ends: bool) -> Effects {
    let relation = Relation::Receiver as i32;
    let change = CircleChange { case_id: CASE.into(), post_id: post.into(), relation, ends };
    Effects { circle: vec![change], ..Effects::default() }
}

fn granted(grace_days: i32) -> Effects {
    let grant = Grant {
        valid_to_day: Some(LAST),
        grace_days,
        ..grant(Recipient::Kind(kind_of(ReaderGroup::Vn).to_owned()), PERSONAL)
    };
    let change = GrantChange { case_id: CASE.into(), ..grant.to_change(GrantId(Uuid::from_u128(9))) };
    Effects { grants: vec![change], ..Effects::default() }
}

/// What the post reads on a day of something that was recorded on another.
fn level(state: &CaseState, post: PostId, day: i32, recorded: i32) -> Level {
    let viewer = Viewer { post, ..viewer(kind_of(ReaderGroup::Vn)) };
    let access = Access::of_case(&viewer, state, InForce::standard(), day);
    access.of_what_was_recorded_on(recorded).class_level(DataClass::Identity)
}

#[test]
fn who_had_something_keeps_it_for_the_grace_and_gets_nothing_newer() {
    let state = case(vec![(LAST - 9, stands(ME, false)), (LAST - 8, granted(GRACE))]);
    assert_eq!(level(&state, ME, LAST, LAST), Level::Full);
    for day in [LAST + 1, LAST + GRACE] {
        assert_eq!(level(&state, ME, day, LAST), Level::Full, "{day}");
        assert_eq!(level(&state, ME, day, LAST + 1), Level::None, "what came after its last day, on {day}");
        let viewer = viewer(kind_of(ReaderGroup::Vn));
        let access = Access::of_case(&viewer, &state, InForce::standard(), day);
        assert_eq!(access.class_level(DataClass::Identity), Level::None, "what stands now is new");
        assert!(
            access.withheld_classes().contains(&DataClass::Identity),
            "and it is said that it is withheld"
        );
        assert_eq!(access.grants().len(), 1, "the record names the consent that it was read under");
    }
    assert_eq!(level(&state, ME, LAST + GRACE + 1, LAST), Level::None, "then nothing");
}

#[test]
fn without_such_a_text_nothing_is_left_the_day_after() {
    let state = case(vec![(LAST - 9, stands(ME, false)), (LAST - 8, granted(0))]);
    assert_eq!(level(&state, ME, LAST, LAST), Level::Full);
    assert_eq!(level(&state, ME, LAST + 1, LAST), Level::None);
}

#[test]
fn the_grace_is_for_nobody_who_came_after_the_last_day() {
    let late = vec![(LAST - 8, granted(GRACE)), (LAST + 1, stands(OTHER, false))];
    assert_eq!(level(&case(late), OTHER, LAST + 2, LAST - 1), Level::None);
    let came_back = vec![
        (LAST - 9, stands(ME, false)),
        (LAST - 8, granted(GRACE)),
        (LAST + 1, stands(ME, true)),
        (LAST + 2, stands(ME, false)),
    ];
    assert_eq!(level(&case(came_back), ME, LAST + 3, LAST - 1), Level::None);
}

#[test]
fn what_was_taken_back_from_one_post_is_read_by_the_others_of_its_kind() {
    let mut effects = granted(GRACE);
    effects.grants[0].excepts = vec![tasuki_contract::event::v1::GrantExcept {
        recipient: Some(Recipient::Post(ME).to_proto()),
        classes: vec![DataClass::Identity as i32],
    }];
    let both = [(LAST - 9, stands(ME, false)), (LAST - 9, stands(OTHER, false)), (LAST - 8, effects)];
    let state = case(both.into());
    assert_eq!(level(&state, ME, LAST, LAST), Level::None);
    assert_eq!(level(&state, OTHER, LAST, LAST), Level::Full);
    assert_eq!(level(&state, ME, LAST + 1, LAST), Level::None, "nor in the grace");
}
