//! What one post may read of one case on one day, before any single event is looked at.
//!
//! Inputs are the viewer, the circle and the day, nothing else: no content, no clock. Both a relation and a grant are
//! needed beyond an own part; a family needs no grant to read about its own child.

use std::sync::OnceLock;

use tasuki_contract::DataClass;
use tasuki_contract::event::v1::{Header, ItemChange, ItemKind, Relation};
use tasuki_domain::case::CaseState;
use tasuki_domain::circle::{Circle, Grant, Recipient};
use tasuki_domain::ids::{AgencyId, GrantId, HandoffId, PostId, ReferralId};
use tasuki_domain::visibility::{self, Condition, Level, ReaderGroup};

use crate::class::{self, PERSONAL};
use crate::event::{EventAccess, Part};

/// The event that holds what a referral asks, whoever it is sent on to.
const SUBMISSION: &str = "tasuki.intake.v1.ReferralSubmitted";

/// Who looks: a post, its agency, and the kind of that agency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The post.
    pub post: PostId,
    /// Its agency.
    pub agency: AgencyId,
    /// Kind of the agency, a code of the dictionary or `family`. An unknown kind reads its own part only.
    pub kind: String,
}

impl Viewer {
    /// The group as which the viewer reads; `None` reads its own part only.
    pub fn group(&self) -> Option<ReaderGroup> {
        visibility::reader_group(&self.kind)
    }
}

/// What a viewer may read of a case on a day.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    pub(crate) viewer: &'a Viewer,
    pub(crate) group: Option<ReaderGroup>,
    circle: &'a Circle,
    /// The case as it stands now, for its referrals and hand-offs; `None` where nobody has said.
    case: Option<&'a CaseState>,
    day: i32,
    /// Stands in the circle for more than being asked.
    pub(crate) member: bool,
    /// Is asked, and stands in the circle for nothing else.
    pub(crate) only_asked: bool,
    family: bool,
    pub(crate) partly_withheld: OnceLock<Vec<DataClass>>,
}

impl<'a> Access<'a> {
    /// What the viewer may read of the case with this circle.
    ///
    /// Units: `day` is a day in Asia/Tokyo, counted from 1970-01-01. For what belongs to no case, an empty circle:
    /// then there are only own parts.
    pub fn new(viewer: &'a Viewer, circle: &'a Circle, day: i32) -> Self {
        let group = viewer.group();
        let member = circle.is_member(viewer.post);
        let is = |relation| circle.relations.get(&viewer.post).is_some_and(|all| all.contains(&relation));
        Self {
            viewer,
            group,
            circle,
            case: None,
            day,
            member,
            only_asked: !member && circle.has(viewer.post),
            // A relation alone makes no guardian: the agency must be a family too.
            family: is(Relation::Family) && group == Some(ReaderGroup::Fam),
            partly_withheld: OnceLock::new(),
        }
    }

    /// The same, with the referrals and hand-offs of the case as they stand now: what [`Self::event_of`] needs beside
    /// the circle.
    ///
    /// While it is in doubt whose case this is, whoever was no insider when the doubt began stands outside, whatever
    /// brought it in.
    pub fn of_case(viewer: &'a Viewer, case: &'a CaseState, day: i32) -> Self {
        let access = Self { case: Some(case), ..Self::new(viewer, &case.circle, day) };
        match &case.doubt {
            Some(doubt) if !doubt.insiders.contains(&viewer.post) => {
                Self { member: false, only_asked: false, family: false, ..access }
            }
            _ => access,
        }
    }

    /// Whether the viewer stands in the circle at all; who does not learns nothing of the case but its own parts.
    pub fn in_circle(&self) -> bool {
        self.member || self.only_asked
    }

    /// What a member reads of a class by table and grants, own parts aside.
    ///
    /// `None` for all but members, for `SEALED`, and for everything that is no personal class.
    pub fn class_level(&self, class: DataClass) -> Level {
        let (true, Some(group)) = (self.member, self.group) else { return Level::None };
        let Some(cell) = class::cell(class, group) else { return Level::None };
        if class == DataClass::Sealed || !self.allowed(class, None) {
            return Level::None;
        }
        let level = match cell.condition {
            Some(condition) if !self.holds(condition, class) => {
                // With a raised ceiling the level holds before the condition, without one nothing does.
                if cell.ceiling > cell.level { cell.level } else { Level::None }
            }
            _ => cell.ceiling,
        };
        if level == Level::Own { Level::None } else { level }
    }

    /// Grants that cover the viewer today: those that a read relies on.
    pub fn grants(&self) -> Vec<GrantId> {
        self.covering().map(|(id, _)| *id).collect()
    }

    /// The lens for an event of this class.
    ///
    /// `is_party`: the event names the viewer's post as party. `is_author`: the viewer's agency recorded it.
    pub fn event(&self, class: DataClass, is_party: bool, is_author: bool) -> EventAccess<'_> {
        let part = match is_party {
            true => Part::Whole,
            false => Part::None,
        };
        EventAccess::new(self, class, part, is_author)
    }

    /// The lens for the event of this header: the one answer for a timeline, a feed, a card and a single referral.
    ///
    /// Beside what the header says, the present counts for referrals and hand-offs, on [`Self::of_case`]:
    ///
    /// * Whoever the header names has it as its own part, an intake post too that reads nothing else of the case.
    /// * Who was asked by the event and has declined, or before whom it was taken back, keeps the event and its open
    ///   fields: that it was asked, by whom and what for is its own history. What was sealed for it goes, even
    ///   while something else is before it in the same case.
    /// * A submission is the own part of whoever it was sent on to, too.
    ///
    /// Where nobody has said how referrals and hand-offs stand, who was asked keeps its open fields only.
    pub fn event_of(&self, header: &Header) -> EventAccess<'_> {
        let me = self.viewer.post;
        let effects = header.effects.iter();
        let named = effects.clone().flat_map(|e| &e.party_post_ids).any(|id| PostId::trusted(id) == me);
        let asks_me = effects.clone().flat_map(|e| &e.circle).any(|change| {
            !change.ends && change.relation() == Relation::Asked && PostId::trusted(&change.post_id) == me
        });
        let class = header.data_class();
        let referral = class == DataClass::ReferralState;
        let asking = referral || class == DataClass::Handoff;
        let before_me = asking && effects.flat_map(|e| &e.items).any(|item| self.is_before_me(item));
        let part = match named {
            true if asking && asks_me && !before_me => Part::Open,
            true => Part::Whole,
            false if referral && before_me && SUBMISSION == header.r#type => Part::Whole,
            false => Part::None,
        };
        let is_author = AgencyId::trusted(&header.agency_id) == self.viewer.agency;
        EventAccess::new(self, class, part, is_author)
    }

    fn is_before_me(&self, item: &ItemChange) -> bool {
        let (Some(case), me) = (self.case, self.viewer.post) else { return false };
        match item.kind() {
            ItemKind::ItemReferral => {
                let found = case.referrals.get(&ReferralId::trusted(&item.item_id));
                found.is_some_and(|referral| referral.is_before(me))
            }
            ItemKind::ItemHandoff => {
                let found = case.handoffs.get(&HandoffId::trusted(&item.item_id));
                found.is_some_and(|handoff| handoff.is_before(me))
            }
            _ => false,
        }
    }

    /// Classes that the card withholds in whole or in part, from viewer, circle and day alone.
    pub fn withheld_classes(&self) -> Vec<DataClass> {
        let partly = self.classes_with_withheld_keys();
        let withheld = |c: &DataClass| self.class_level(*c) < Level::Full || partly.contains(c);
        PERSONAL.into_iter().filter(withheld).collect()
    }

    /// Those of [`withheld_classes`](Self::withheld_classes) of which the viewer can read something all the same: a
    /// summary, its own part, that there is something, or some key.
    pub fn partly_withheld_classes(&self) -> Vec<DataClass> {
        let mut classes = self.withheld_classes();
        classes.retain(|class| {
            *class != DataClass::Sealed
                && (self.class_level(*class) > Level::None
                    || self.has_own_part(*class)
                    || self.reads_a_key_of(*class))
        });
        classes
    }

    /// Whether the table leaves the viewer the part that it is party to.
    fn has_own_part(&self, class: DataClass) -> bool {
        let cell = self.group.and_then(|group| class::cell(class, group));
        self.in_circle() && cell.is_some_and(|cell| cell.level == Level::Own)
    }

    /// Whether some grant allows the class, and the key of it where one is given.
    ///
    /// What is restricted needs a grant that names the post itself, from a family too.
    pub(crate) fn allowed(&self, class: DataClass, key: Option<&str>) -> bool {
        let restricted = class == DataClass::Restricted;
        if self.family && !restricted {
            return true;
        }
        self.covering().any(|(_, grant)| {
            grant.classes.contains(&class)
                && !key.is_some_and(|k| grant.excluded_keys.contains(k))
                && (!restricted || self.names_post(grant))
        })
    }

    /// Whether a grant that allows class and key names the viewer's post.
    pub(crate) fn allowed_by_name(&self, class: DataClass, key: &str) -> bool {
        self.covering().any(|(_, grant)| {
            grant.classes.contains(&class) && !grant.excluded_keys.contains(key) && self.names_post(grant)
        })
    }

    fn covering(&self) -> impl Iterator<Item = (&'a GrantId, &'a Grant)> {
        let (viewer, day) = (self.viewer, self.day);
        self.circle
            .grants
            .iter()
            .filter(move |(_, g)| g.covers(viewer.post, viewer.agency, &viewer.kind, day))
    }

    fn names_post(&self, grant: &Grant) -> bool {
        grant.recipients.contains(&Recipient::Post(self.viewer.post))
    }

    /// Whether the condition of a cell holds for a member with a grant.
    ///
    /// Hours and enrolment are not on record yet: who took the child up stands in for both. Decisions of a ward, a
    /// family's version of minutes and de-identified data do not exist yet, so nothing depends on them.
    fn holds(&self, condition: Condition, class: DataClass) -> bool {
        let granted = |named: fn(&Self, &Grant) -> bool| {
            self.covering().any(|(_, g)| g.classes.contains(&class) && named(self, g))
        };
        match condition {
            Condition::AfterSubmit | Condition::OwnHours | Condition::Enrolled => self.member,
            Condition::NamedPosts => granted(Self::names_post),
            Condition::Consented => granted(|me, g| {
                me.names_post(g) || g.recipients.contains(&Recipient::Agency(me.viewer.agency))
            }),
            // Own parts only, and being party decides those.
            Condition::Attended => true,
            Condition::FamilyVersion | Condition::WardDecision | Condition::DeIdentified => false,
        }
    }
}

/// How much a viewer learns of an event: whether it stands in the viewer's feed, and in which form.
///
/// [`Level::None`]: not at all. [`Level::Existence`]: that it happened. [`Level::Own`]: its open fields, to a post that
/// was asked and is asked no more. Units: `day` as in [`Access::new`]. The event's author is not considered here: it
/// is party or member like anybody else, and [`EventAccess`] gives it its own words back.
pub fn event_level(viewer: &Viewer, circle: &Circle, day: i32, class: DataClass, is_party: bool) -> Level {
    Access::new(viewer, circle, day).event(class, is_party, false).level()
}
