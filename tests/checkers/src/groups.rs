//! Rows and records grouped by what they share, such as an order, a period or a seat.
//!
//! A group breaks a promise in one of two ways: it has more than one member where the promise
//! allows one ([`duplicates`]), or its members are out of order ([`consecutive`]).

use std::collections::BTreeMap;

use serde::Serialize;

use super::Violation;

/// Groups values by key. A group keeps the order of `pairs`.
pub(crate) fn by_key<K: Ord, T>(pairs: impl IntoIterator<Item = (K, T)>) -> BTreeMap<K, Vec<T>> {
    let mut groups: BTreeMap<K, Vec<T>> = BTreeMap::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// A violation for each key that has more than one value, shown by all of them. `what` words it
/// from the key and the number of values.
pub(crate) fn duplicates<K: Ord, T: Serialize>(
    pairs: impl IntoIterator<Item = (K, T)>,
    what: impl Fn(K, usize) -> String,
) -> Vec<Violation> {
    by_key(pairs)
        .into_iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|(key, values)| Violation::new(what(key, values.len())).shown_by_all(values))
        .collect()
}

/// Sorts values by `position` and judges each with the one after it.
pub(crate) fn consecutive<T, P: Ord>(
    mut values: Vec<T>,
    position: impl Fn(&T) -> P,
    judge: impl Fn(&T, &T) -> Option<Violation>,
) -> Vec<Violation> {
    values.sort_by_key(position);
    let pairs = values.iter().zip(values.iter().skip(1));
    pairs
        .filter_map(|(before, after)| judge(before, after))
        .collect()
}
