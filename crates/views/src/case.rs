//! One case in the fold: its circle, its events by reference, and how far each post has seen which class.
//!
//! Whether a post that is no party sees an event depends on the event's class alone (and on circle and day). So what a
//! post got of a class is always a beginning of that class's events, and one number says where it ends: `seen`. It
//! counts only while the class is closed to the post; while it is open, the post has got everything.

use std::collections::BTreeMap;

use tasuki_contract::DataClass;
use tasuki_domain::circle::Circle;
use tasuki_domain::ids::PostId;
use tasuki_privacy::{Access, Level, PERSONAL};
use uuid::Uuid;

use crate::posts::Posts;

/// Numbers of data classes are below this.
pub(crate) const CLASSES: usize = DataClass::Sealed as usize + 1;

/// An event of the case that a feed may hold.
#[derive(Clone, Debug)]
pub(crate) struct CaseEvent {
    pub position: u64,
    pub event_id: Uuid,
    /// The hash of the event by itself.
    pub commitment: [u8; 32],
    pub class: DataClass,
    /// They got it when it happened, whatever they may see otherwise.
    pub parties: Box<[PostId]>,
}

/// What one post sees of the case beyond its own parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Open classes: bit 1 << class.
    pub open: u32,
    /// Of a closed class: how many of the case's events there were when it closed.
    pub seen: [u32; CLASSES],
}

impl Sight {
    fn close(&mut self, classes: u32, end: u32) {
        for (class, seen) in self.seen.iter_mut().enumerate() {
            if classes >> class & 1 == 1 {
                *seen = end;
            }
        }
        self.open &= !classes;
    }

    /// The first event that may be missing of the classes.
    fn missing_from(&self, classes: u32) -> usize {
        let of = (0..CLASSES).filter(|class| classes >> class & 1 == 1);
        of.map(|class| self.seen[class] as usize).min().unwrap_or(usize::MAX)
    }
}

/// When somebody looked who sees which classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The day in Tokyo.
    pub day: i32,
    /// The place in the log.
    pub position: u64,
}

/// One case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    /// Six-digit code of the municipality whose policy holds; empty before the case is open.
    pub municipality: String,
    pub circle: Circle,
    pub events: Vec<CaseEvent>,
    /// Of every post that ever saw anything of the case.
    pub sights: BTreeMap<PostId, Sight>,
    /// When `sights` was found; `None`: nothing has disclosed anything yet.
    pub checked: Option<Checked>,
    /// The last day on which the same is found without any event.
    holds_through: Option<i32>,
}

impl Case {
    /// A case as it was stored.
    pub(crate) fn stored(
        municipality: String,
        circle: Circle,
        events: Vec<CaseEvent>,
        sights: BTreeMap<PostId, Sight>,
        checked: Option<Checked>,
    ) -> Self {
        let mut case = Self { municipality, circle, events, sights, checked, holds_through: None };
        case.holds_through = checked.and_then(|checked| case.next_end(checked.day));
        case
    }

    /// Whether a grant has ended since somebody looked, or a post of the circle reads as somebody else or under another
    /// policy.
    pub(crate) fn is_outdated(&self, day: i32, posts: &Posts) -> bool {
        let Some(checked) = self.checked else { return false };
        self.holds_through.is_some_and(|last| day > last)
            || posts.any_changed(&self.municipality, self.circle.relations.keys(), checked.position)
    }

    /// Finds again who sees which classes; gives earlier events to those who see them now and never got them, in the
    /// order of the log. Returns the posts whose sight changed.
    pub(crate) fn look_again(
        &mut self,
        now: Checked,
        posts: &Posts,
        mut give: impl FnMut(PostId, &CaseEvent),
    ) -> Vec<PostId> {
        let end = self.events.len() as u32;
        let mut changed = Vec::new();
        for (post, sight) in &mut self.sights {
            if sight.open != 0 && !self.circle.has(*post) {
                sight.close(sight.open, end);
                changed.push(*post);
            }
        }
        for post in self.circle.relations.keys() {
            let open = open_classes(*post, &self.municipality, &self.circle, now.day, posts);
            let was = self.sights.get(post).map_or(0, |sight| sight.open);
            if open == was {
                continue;
            }
            let sight = self.sights.entry(*post).or_default();
            sight.close(was & !open, end);
            let opened = open & !was;
            for (index, event) in self.events.iter().enumerate().skip(sight.missing_from(opened)) {
                let class = event.class as usize;
                let missing = opened >> class & 1 == 1 && index >= sight.seen[class] as usize;
                if missing && !event.parties.contains(post) {
                    give(*post, event);
                }
            }
            sight.open = open;
            changed.push(*post);
        }
        self.checked = Some(now);
        self.holds_through = self.next_end(now.day);
        changed
    }

    /// The posts to whom a class is open.
    pub(crate) fn readers(&self, class: DataClass) -> impl Iterator<Item = PostId> + '_ {
        let open = move |sight: &Sight| sight.open >> class as u32 & 1 == 1;
        self.sights.iter().filter(move |(_, sight)| open(sight)).map(|(post, _)| *post)
    }

    /// The last day of the grant that ends next.
    fn next_end(&self, day: i32) -> Option<i32> {
        self.circle.grants.values().filter_map(|g| g.valid_to_day).filter(|last| *last >= day).min()
    }
}

fn open_classes(post: PostId, municipality: &str, circle: &Circle, day: i32, posts: &Posts) -> u32 {
    if !circle.is_member(post) {
        return 0;
    }
    let viewer = posts.viewer(post);
    let access = Access::new(&viewer, circle, posts.rules(municipality, post), day);
    let seen = |class: &&DataClass| access.event(**class, false, false).level() > Level::None;
    PERSONAL.iter().filter(seen).fold(0, |open, class| open | 1 << *class as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_bit() {
        assert!(PERSONAL.iter().all(|class| (*class as usize) < CLASSES && CLASSES <= 32));
    }
}
