//! Whether two statements are about one child: a verdict for a person to look at, never a decision.
//!
//! It asks nothing but whether values are equal, so it works on tokens as well as on what they are tokens of.

use crate::names::named_enum;

use super::person::{ClueKind, Values};

named_enum! {
    /// How like each other two statements are.
    pub enum Verdict {
        /// Nothing speaks for one child.
        Nothing = "none",
        /// Something does, and much speaks against it: twins, or two children of one day.
        Possible = "possible",
        /// A person must look before anything is shown to others.
        Likely = "likely",
        /// A number of one person, and nothing that contradicts it. A person confirms all the same.
        Certain = "certain",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Same,
    Differs,
    Unknown,
}

/// Compares two statements. Symmetric.
///
/// Children of one birth never come out [`Certain`](Verdict::Certain), whatever their numbers say: one surname and
/// another given name, another order of birth, or an order of birth at all.
pub fn compare<T: Ord>(one: &Values<T>, other: &Values<T>) -> Verdict {
    use ClueKind::{GivenBirth, Household, Identifier, NameBirth, OrderBirth, Place, SurnameBirth};
    use Match::{Differs, Same, Unknown};
    let of = |kind: ClueKind| match (one.get(&kind), other.get(&kind)) {
        (Some(a), Some(b)) if a.is_disjoint(b) => Differs,
        (Some(_), Some(_)) => Same,
        _ => Unknown,
    };
    let (surname, given) = (of(SurnameBirth), of(GivenBirth));
    let siblings = of(OrderBirth) == Differs || (surname == Same && given == Differs);
    let multiple = one.contains_key(&OrderBirth) || other.contains_key(&OrderBirth);
    // Another reading, or another day: a mistake in writing, or another child.
    let contradicted = of(NameBirth) == Differs && given != Same;
    let home = of(Place) == Same || of(Household) == Same;

    if of(Identifier) == Same {
        let plain = !(siblings || multiple || contradicted);
        return if plain { Verdict::Certain } else { Verdict::Likely };
    }
    let same_name = of(NameBirth) == Same;
    // A surname changes by marriage, divorce, adoption; a given name comes after the birth.
    let renamed = given == Same && home;
    let not_named_yet = surname == Same && given == Unknown && home;
    if !siblings && (same_name || renamed || not_named_yet) {
        return Verdict::Likely;
    }
    if same_name || surname == Same || given == Same || home { Verdict::Possible } else { Verdict::Nothing }
}
