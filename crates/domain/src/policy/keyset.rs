//! A set of dictionary keys by their places, so that the policy is evaluated in a few words of memory.

use crate::dictionary::{self, Field};

const WORDS: usize = 4;

/// A set of keys of the field dictionary.
///
/// Shape: at most 256 keys; the dictionary has fewer, as a test says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySet([u64; WORDS]);

impl KeySet {
    /// The largest number of keys.
    pub const KEYS_MAX: usize = WORDS * 64;
    /// No key.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// The keys of the dictionary of which something holds.
    pub fn of(holds: impl Fn(&Field) -> bool) -> Self {
        let mut set = Self::EMPTY;
        for (place, field) in dictionary::all().iter().enumerate() {
            if holds(field) {
                set.insert(place);
            }
        }
        set
    }

    /// Every key of the dictionary.
    pub fn all() -> Self {
        Self::of(|_| true)
    }

    /// Adds the key at a place of the dictionary.
    pub fn insert(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    /// Takes out the key at a place of the dictionary.
    pub fn remove(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word &= !(1 << (place % 64));
        }
    }

    /// Whether the key at a place of the dictionary is in it.
    pub fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// Whether it has no key.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    /// The keys that are in both.
    pub fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// The keys that are in either.
    pub fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// The keys that are not in the other.
    pub fn without(self, other: Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// The places in it, in the order of the dictionary.
    pub fn places(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// The keys in it, in the order of the dictionary.
    pub fn keys(self) -> impl Iterator<Item = &'static str> {
        let all = dictionary::all();
        self.places().filter_map(|place| all.get(place).map(|field| field.key.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_fits_and_comes_back_in_its_order() {
        assert!(dictionary::all().len() <= KeySet::KEYS_MAX);
        let keys: Vec<&str> = KeySet::all().keys().collect();
        let order: Vec<&str> = dictionary::all().iter().map(|field| field.key.as_str()).collect();
        assert_eq!((keys.len(), keys), (KeySet::all().len(), order));
    }

    #[test]
    fn sets_are_combined_key_by_key() {
        let (mut a, mut b) = (KeySet::EMPTY, KeySet::EMPTY);
        a.insert(3);
        a.insert(70);
        b.insert(70);
        assert_eq!((a.and(b), a.without(b).places().collect::<Vec<_>>()), (b, vec![3]));
        assert_eq!(a.or(b), a);
        a.remove(3);
        assert!(a == b && b.has(70) && !b.has(3) && !b.is_empty() && KeySet::EMPTY.is_empty());
        // A place that no dictionary has is in no set.
        b.insert(KeySet::KEYS_MAX);
        assert!(!b.has(KeySet::KEYS_MAX) && b.len() == 1);
    }
}
