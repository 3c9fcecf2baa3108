//! The sandbox numbers: how the bank behaves is written in the number of the card or account.
//!
//! A refund behaves as the card of its charge does.

use std::time::Duration;

/// How long the bank stays silent where it never answers: longer than anybody should wait.
pub const SILENCE: Duration = Duration::from_secs(30);

/// What the bank does when it is asked about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// The money moves.
    Fine,
    /// The bank refuses for good.
    Declines,
    /// The first request of a key fails with 500 and has no effect.
    FailsOnce,
    /// The money moves, but the answer to the first request of a key gets lost: the connection
    /// hangs for [`SILENCE`].
    LosesAnswerOnce,
    /// The money moves after a while, also if the caller has hung up meanwhile.
    Slow(Duration),
    /// The connection hangs for [`SILENCE`] and there is no effect.
    NeverAnswers,
}

/// The sandbox numbers. Every other number is declined.
pub const NUMBERS: [(&str, Behaviour); 7] = [
    ("4242424242424242", Behaviour::Fine),
    ("4000000000000002", Behaviour::Declines),
    ("4000000000000119", Behaviour::FailsOnce),
    ("4000000000000127", Behaviour::LosesAnswerOnce),
    ("4000000000000259", Behaviour::Slow(Duration::from_secs(2))),
    ("4000000000000267", Behaviour::Slow(Duration::from_secs(8))),
    ("4000000000000341", Behaviour::NeverAnswers),
];

impl Behaviour {
    /// What the bank does with `number`.
    #[must_use]
    pub fn of(number: &str) -> Self {
        NUMBERS
            .iter()
            .find_map(|(known, behaviour)| (*known == number).then_some(*behaviour))
            .unwrap_or(Self::Declines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_means_nothing_is_declined() {
        assert_eq!(Behaviour::of("1234567812345678"), Behaviour::Declines);
        assert_eq!(Behaviour::of("4242424242424242"), Behaviour::Fine);
    }
}
