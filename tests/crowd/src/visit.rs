//! What a customer chooses on one visit, drawn from the seed, the customer's number and the
//! number of the visit, and from nothing else.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Sandbox cards, by what they do.
pub mod cards {
    /// Pays.
    pub const FINE: &str = "4242424242424242";
    /// Is declined.
    pub const DECLINED: &str = "4000000000000002";
    /// Fails the first time it is asked, without effect.
    pub const FAILS_ONCE: &str = "4000000000000119";
    /// Pays, but the first answer is lost.
    pub const ANSWER_LOST: &str = "4000000000000127";
    /// Pays after two seconds.
    pub const SLOW: &str = "4000000000000259";
    /// Pays after eight seconds.
    pub const VERY_SLOW: &str = "4000000000000267";
    /// Never answers.
    pub const NEVER_ANSWERS: &str = "4000000000000341";
}

/// Which seats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pick {
    /// The best so many.
    Best(u32),
    /// So many beside one another in the list of free seats, from this share of it on.
    Named {
        /// How many.
        count: u32,
        /// Where in the list, from 0 to 1.
        share: f64,
    },
}

/// What follows the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// An order.
    Order,
    /// It is given back.
    Release,
    /// Nothing: it expires.
    WalkAway,
}

/// What follows a declined card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// Another card, which pays.
    NewCard,
    /// The order is cancelled.
    Cancel,
    /// Nothing: the order expires.
    WalkAway,
}

/// Whether the order is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// No.
    Never,
    /// At once, so that it races the payment.
    AtOnce,
    /// After it was paid.
    WhenPaid,
}

/// One visit.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// How long the customer waits before.
    pub pause: Duration,
    /// Whether the list, the event, its seat map and what is popular are looked at.
    pub browses: bool,
    /// Which seats are wanted.
    pub pick: Pick,
    /// What follows the hold.
    pub then: Then,
    /// The card that pays.
    pub card: &'static str,
    /// What follows if it is declined.
    pub declined: Declined,
    /// Whether the order is cancelled.
    pub cancel: Cancel,
    /// Whether the order is sent once more with the same key, as after a lost answer.
    pub repeats: bool,
    /// Whether the key is sent once more with another body.
    pub reuses_key: bool,
    /// Whether tickets and a PDF are fetched.
    pub fetches_tickets: bool,
}

impl Visit {
    /// The choices of visit `number` of customer `customer` in a run with this seed.
    #[must_use]
    pub fn draw(seed: u64, customer: u32, number: u32) -> Self {
        let mut rng = StdRng::seed_from_u64(mixed(seed, customer, number));
        // Every choice is drawn, used or not, so that one never shifts another.
        let count = rng.random_range(1..=4);
        let share = rng.random_range(0.0..1.0);
        let named = rng.random_bool(0.3);
        Self {
            pause: Duration::from_millis(rng.random_range(0..400)),
            browses: rng.random_bool(0.3),
            pick: if named {
                Pick::Named { count, share }
            } else {
                Pick::Best(count)
            },
            then: weighted(
                &mut rng,
                &[(92, Then::Order), (5, Then::Release), (3, Then::WalkAway)],
            ),
            card: weighted(
                &mut rng,
                &[
                    (80, cards::FINE),
                    (10, cards::DECLINED),
                    (4, cards::FAILS_ONCE),
                    (3, cards::SLOW),
                    (3, cards::ANSWER_LOST),
                ],
            ),
            declined: weighted(
                &mut rng,
                &[
                    (70, Declined::NewCard),
                    (25, Declined::Cancel),
                    (5, Declined::WalkAway),
                ],
            ),
            cancel: weighted(
                &mut rng,
                &[
                    (84, Cancel::Never),
                    (8, Cancel::AtOnce),
                    (8, Cancel::WhenPaid),
                ],
            ),
            repeats: rng.random_bool(0.1),
            reuses_key: rng.random_bool(0.05),
            fetches_tickets: rng.random_bool(0.2),
        }
    }
}

/// One of the choices, each as often as its weight says.
#[must_use]
pub fn weighted<T: Copy>(rng: &mut StdRng, choices: &[(u32, T)]) -> T {
    let sum: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut drawn = rng.random_range(0..sum);
    for (weight, choice) in choices {
        if drawn < *weight {
            return *choice;
        }
        drawn -= weight;
    }
    choices[0].1
}

/// Spreads seed, customer and visit over all bits (the finaliser of SplitMix64).
#[must_use]
pub fn mixed(seed: u64, customer: u32, number: u32) -> u64 {
    let mut bits = seed ^ (u64::from(customer) << 32 | u64::from(number));
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(seed: u64) -> Vec<Visit> {
        (0..200)
            .flat_map(|c| (0..3).map(move |n| Visit::draw(seed, c, n)))
            .collect()
    }

    #[test]
    fn the_seed_repeats_the_choices_and_another_seed_changes_them() {
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
    }

    #[test]
    fn every_kind_of_choice_turns_up() {
        let visits = all(1);
        assert!(visits.iter().any(|v| v.then == Then::WalkAway));
        assert!(visits.iter().any(|v| v.then == Then::Release));
        assert!(visits.iter().any(|v| v.cancel == Cancel::AtOnce));
        assert!(visits.iter().any(|v| v.cancel == Cancel::WhenPaid));
        assert!(visits.iter().any(|v| v.reuses_key));
        for card in [
            cards::DECLINED,
            cards::FAILS_ONCE,
            cards::SLOW,
            cards::ANSWER_LOST,
        ] {
            assert!(visits.iter().any(|v| v.card == card), "{card}");
        }
    }
}
