//! What one post may read of one case on one day, before any single event is looked at.
//!
//! Inputs are the viewer with its purpose, the circle, the policies in force and the day, nothing else: no content, no
//! clock. Both a relation and a grant are needed beyond an own part; a family needs no grant to read about its own
//! child. What follows for the keys of the dictionary is found once, when it is first asked for.

use std::borrow::Cow;
use std::sync::OnceLock;

use tasuki_contract::DataClass;
use tasuki_contract::event::v1::{Header, ItemChange, ItemKind, Relation};
use tasuki_domain::case::CaseState;
use tasuki_domain::circle::{Circle, Grant, Recipient};
use tasuki_domain::ids::{AgencyId, GrantId, HandoffId, PostId, ReferralId};
use tasuki_domain::policy::{InForce, KeySet, Policy};
use tasuki_domain::purpose::Purpose;
use tasuki_domain::visibility::{self, Condition, Level, ReaderGroup};

use crate::class::{self, PERSONAL};
use crate::event::{EventAccess, Part};
use crate::fact::Facts;

/// The event that holds what a referral asks, whoever it is sent on to.
const SUBMISSION: &str = "tasuki.intake.v1.ReferralSubmitted";

/// Who looks: a post, its agency, the kind of that agency, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The post.
    pub post: PostId,
    /// Its agency.
    pub agency: AgencyId,
    /// Kind of the agency, a code of the dictionary or `family`. An unknown kind reads its own part only.
    pub kind: String,
    /// For what it reads. [`Purpose::Any`] where it is asked what could stand in its feed, and nowhere else.
    pub purpose: Purpose,
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
    pub(crate) rules: InForce,
    day: i32,
    /// The day on which what is looked at was recorded; `None`: nothing that was recorded before counts.
    recorded: Option<i32>,
    /// Stands in the circle for more than being asked.
    pub(crate) member: bool,
    /// Is asked, and stands in the circle for nothing else.
    pub(crate) only_asked: bool,
    pub(crate) family: bool,
    /// A guardian from whom the child's address is kept.
    pub(crate) kept_away: bool,
    facts: OnceLock<Facts>,
}

impl<'a> Access<'a> {
    /// What the viewer may read of the case with this circle.
    ///
    /// Units: `day` is a day in Asia/Tokyo, counted from 1970-01-01. For what belongs to no case, an empty circle:
    /// then there are only own parts.
    pub fn new(viewer: &'a Viewer, circle: &'a Circle, rules: InForce, day: i32) -> Self {
        let group = viewer.group();
        let member = circle.is_member(viewer.post);
        let relations = circle.relations.get(&viewer.post);
        let is = |relation| relations.is_some_and(|all| all.contains(&relation));
        Self {
            viewer,
            group,
            circle,
            case: None,
            rules,
            day,
            recorded: None,
            member,
            only_asked: !member && is(Relation::Asked),
            // A relation alone makes no guardian: the agency must be a family too.
            family: is(Relation::Family) && group == Some(ReaderGroup::Fam),
            kept_away: is(Relation::KeptAway),
            facts: OnceLock::new(),
        }
    }

    /// The same, with the referrals and hand-offs of the case as they stand now: what [`Self::event_of`] needs beside
    /// the circle.
    ///
    /// While it is in doubt whose case this is, whoever was no insider when the doubt began stands outside, whatever
    /// brought it in.
    pub fn of_case(viewer: &'a Viewer, case: &'a CaseState, rules: InForce, day: i32) -> Self {
        let access = Self { case: Some(case), ..Self::new(viewer, &case.circle, rules, day) };
        match &case.doubt {
            Some(doubt) if !doubt.insiders.contains(&viewer.post) => {
                Self { member: false, only_asked: false, family: false, ..access }
            }
            _ => access,
        }
    }

    /// The policies that it was found by.
    pub fn rules(&self) -> &InForce {
        &self.rules
    }

    /// The same, to look at something that was recorded on a day in Tokyo, counted from 1970-01-01: a consent in its
    /// grace leaves to who had something under it what was recorded by its last day, and opens nothing newer.
    pub fn of_what_was_recorded_on(&self, recorded: i32) -> Cow<'_, Self> {
        if self.in_grace().next().is_none() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { recorded: Some(recorded), facts: OnceLock::new(), ..self.clone() })
    }

    /// Whether the viewer stands in the circle at all; who does not learns nothing of the case but its own parts.
    pub fn in_circle(&self) -> bool {
        self.member || self.only_asked
    }

    /// What a member reads of a class by table and grants, own parts aside.
    ///
    /// `None` for all but members, for `SEALED`, and for everything that is no personal class.
    pub fn class_level(&self, class: DataClass) -> Level {
        let (true, Some(in_tables)) = (self.member, class::in_tables(class)) else { return Level::None };
        // An own part is no level of the class: it must not become the existence that a purpose leaves.
        let apart = |level| if level == Level::Own { Level::None } else { level };
        let level =
            |policy: &Policy| apart(self.by_table(policy, class)).min(apart(self.most(policy, in_tables)));
        self.rules.all().map(level).min().unwrap_or(Level::None)
    }

    /// What the viewer reads of each key as a member, or of what is put before it.
    pub(crate) fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| if self.in_circle() { Facts::of(self) } else { Facts::default() })
    }

    /// What table and grants give, before relation and purpose.
    pub(crate) fn by_table(&self, policy: &Policy, class: DataClass) -> Level {
        let (Some(in_tables), Some(group)) = (class::in_tables(class), self.group) else {
            return Level::None;
        };
        if class == DataClass::Sealed || !self.allowed(class) {
            return Level::None;
        }
        let cell = policy.cell(in_tables, group);
        match cell.condition {
            Some(condition) if !self.holds(condition, class) => {
                // With a raised ceiling the level holds before the condition, without one nothing does.
                if cell.ceiling > cell.level { cell.level } else { Level::None }
            }
            _ => cell.ceiling,
        }
    }

    /// The most that relation, purpose and a kept address leave of a class.
    fn most(&self, policy: &Policy, class: visibility::DataClass) -> Level {
        if self.kept_away && policy.closed_by_address(class) {
            return Level::None;
        }
        let in_relation = self.relations().map(|relation| policy.in_relation(relation).level(class)).max();
        let for_purpose = policy.for_purpose(self.viewer.purpose).map(|caps| caps.level(class));
        in_relation.unwrap_or(Level::None).min(for_purpose.unwrap_or(Level::Full))
    }

    /// The relations that count: those of a member, else that of who is asked.
    pub(crate) fn relations(&self) -> impl Iterator<Item = Relation> {
        let member = self.member;
        let all = self.circle.relations.get(&self.viewer.post).into_iter().flatten().copied();
        all.filter(move |relation| (*relation == Relation::Asked) != member)
    }

    /// Grants that cover the viewer today, or leave it what it had: those that a read relies on.
    pub fn grants(&self) -> Vec<GrantId> {
        let mut all: Vec<GrantId> = self.covering().chain(self.in_grace()).map(|(id, _)| *id).collect();
        all.sort_unstable();
        all.dedup();
        all
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

    /// Classes that the card withholds in whole or in part, from viewer, circle, policy and day alone.
    pub fn withheld_classes(&self) -> Vec<DataClass> {
        let partly = class::of_keys(self.keys_named());
        let withheld = |c: &DataClass| self.class_level(*c) < Level::Full || partly.has(*c);
        PERSONAL.into_iter().filter(withheld).collect()
    }

    /// Those of [`withheld_classes`](Self::withheld_classes) of which the viewer can read something all the same: a
    /// summary, its own part, that there is something, or some key.
    pub fn partly_withheld_classes(&self) -> Vec<DataClass> {
        let mut classes = self.withheld_classes();
        let read = class::of_keys(if self.member { self.facts().summary } else { KeySet::EMPTY });
        classes.retain(|class| {
            *class != DataClass::Sealed
                && (self.class_level(*class) > Level::None || self.has_own_part(*class) || read.has(*class))
        });
        classes
    }

    /// Whether the table leaves the viewer the part that it is party to.
    pub fn has_own_part(&self, class: DataClass) -> bool {
        let (Some(in_tables), Some(group)) = (class::in_tables(class), self.group) else { return false };
        let own = |policy: &Policy| policy.cell(in_tables, group).level == Level::Own;
        self.in_circle() && self.rules.all().all(own)
    }

    /// Whether some grant allows the class.
    ///
    /// What is restricted needs a grant that names the post itself, from a family too.
    pub(crate) fn allowed(&self, class: DataClass) -> bool {
        let restricted = class == DataClass::Restricted;
        if self.family && !restricted {
            return true;
        }
        self.covering().any(|(_, g)| self.opens(g, class) && (!restricted || self.names_post(g)))
    }

    pub(crate) fn covering(&self) -> impl Iterator<Item = (&'a GrantId, &'a Grant)> {
        let (viewer, day) = (self.viewer, self.day);
        let kept = self.recorded.into_iter().flat_map(|recorded| {
            self.in_grace().filter(move |(_, g)| g.valid_to_day.is_some_and(|last| recorded <= last))
        });
        let in_force =
            move |(_, g): &(&GrantId, &Grant)| g.covers(viewer.post, viewer.agency, &viewer.kind, day);
        self.circle.grants.iter().filter(in_force).chain(kept)
    }

    /// Grants in their grace under which the viewer had something: it stood in the circle on their last day, and has
    /// since.
    fn in_grace(&self) -> impl Iterator<Item = (&'a GrantId, &'a Grant)> {
        let (viewer, day, case) = (self.viewer, self.day, self.case);
        let stood = move |g: &Grant| {
            case.zip(g.valid_to_day).is_some_and(|(case, last)| case.consents.stood_on(viewer.post, last))
        };
        self.circle.grants.iter().filter(move |(_, g)| {
            g.in_grace(day) && g.names(viewer.post, viewer.agency, &viewer.kind) && stood(g)
        })
    }

    /// Whether the viewer, whom the grant covers, reads the class under it.
    pub(crate) fn opens(&self, grant: &Grant, class: DataClass) -> bool {
        grant.opens(self.viewer.post, self.viewer.agency, &self.viewer.kind, class)
    }

    pub(crate) fn names_post(&self, grant: &Grant) -> bool {
        grant.recipients.contains(&Recipient::Post(self.viewer.post))
    }

    /// Whether the condition of a cell holds for a member with a grant.
    ///
    /// Hours and enrolment are not on record yet: who took the child up stands in for both. Decisions of a ward, a
    /// family's version of minutes and de-identified data do not exist yet, so nothing depends on them.
    pub(crate) fn holds(&self, condition: Condition, class: DataClass) -> bool {
        let granted = |named: fn(&Self, &Grant) -> bool| {
            self.covering().any(|(_, g)| self.opens(g, class) && named(self, g))
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
pub fn event_level(
    viewer: &Viewer,
    circle: &Circle,
    rules: InForce,
    day: i32,
    class: DataClass,
    is_party: bool,
) -> Level {
    Access::new(viewer, circle, rules, day).event(class, is_party, false).level()
}
