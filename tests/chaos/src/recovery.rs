//! When it was well again, from what the probes were answered. Pure functions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So many good answers in a row are well.
pub const IN_A_ROW: usize = 10;

/// What ends the time until it is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The first of [`IN_A_ROW`] good answers, with no failure after it.
    GoodInARow,
    /// The first answer to what was waiting at the moment.
    FirstThatWaited,
    /// The last answer to what was waiting at the moment.
    AllThatWaited,
    /// The longest time from the moment on without a good answer.
    LongestGap,
    /// The longest time from a request to its answer, good or bad.
    SlowestAnswer,
}

impl Measure {
    /// Whether it measures requests that were accepted before the moment and had to wait.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::FirstThatWaited | Self::AllThatWaited)
    }
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Came {
    /// What was asked for, as soon as it can be expected.
    Good,
    /// What was asked for, but later than can be expected.
    Late,
    /// Something else, or nothing.
    Bad,
}

/// One request of a prober, by the time since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was asked.
    pub asked: Duration,
    /// When it was answered, or given up.
    pub answered: Duration,
    /// What came of it.
    pub came: Came,
}

/// How many requests were asked before `moment` and not answered then.
#[must_use]
pub fn waiting_at(samples: &[Sample], moment: Duration) -> usize {
    waited(samples, moment).count()
}

fn waited(samples: &[Sample], moment: Duration) -> impl Iterator<Item = &Sample> {
    samples
        .iter()
        .filter(move |one| one.asked < moment && one.answered > moment)
}

/// How long after `from` it was well again, looking at what was asked until `until`; nothing where
/// it was not.
#[must_use]
pub fn well_again(
    measure: Measure,
    samples: &[Sample],
    from: Duration,
    until: Duration,
) -> Option<Duration> {
    match measure {
        Measure::GoodInARow => good_in_a_row(samples, from, until),
        // Where nothing waited, nothing was accepted that could be answered: that is no success.
        Measure::FirstThatWaited => {
            let answered = waited(samples, from).filter(|one| one.came != Came::Bad);
            let first = answered.map(|one| one.answered).min();
            first.map(|first| first - from)
        }
        Measure::AllThatWaited => {
            let all_answered = waited(samples, from).all(|one| one.came != Came::Bad);
            let last = waited(samples, from).map(|one| one.answered).max();
            last.filter(|_| all_answered).map(|last| last - from)
        }
        Measure::LongestGap => longest_gap(samples, from, until),
        Measure::SlowestAnswer => {
            let asked = samples
                .iter()
                .filter(|one| one.asked >= from && one.asked <= until);
            asked.map(|one| one.answered - one.asked).max()
        }
    }
}

/// The longest time between good answers of what was asked until `until`, from `from` on; nothing
/// where the last answer is not a good one, for then the gap is not over.
fn longest_gap(samples: &[Sample], from: Duration, until: Duration) -> Option<Duration> {
    let asked = samples.iter().filter(|one| one.asked <= until);
    let answered: Vec<_> = asked.filter(|one| one.answered >= from).collect();
    let last = answered.iter().max_by_key(|one| one.answered)?;
    if last.came != Came::Good {
        return None;
    }
    let good = answered.iter().filter(|one| one.came == Came::Good);
    let mut moments: Vec<_> = good.map(|one| one.answered).chain([from]).collect();
    moments.sort();
    moments.windows(2).map(|pair| pair[1] - pair[0]).max()
}

/// Whether something that was asked from `fault` until `from` was refused: what has to wait must
/// have been accepted.
#[must_use]
pub fn refused_meanwhile(samples: &[Sample], fault: Duration, from: Duration) -> bool {
    let asked = samples
        .iter()
        .filter(|one| one.asked >= fault && one.asked < from);
    let mut answered = asked.filter(|one| one.answered <= from);
    answered.any(|one| one.came == Came::Bad)
}

/// In the order in which they were asked, so that one which failed only after a long time-out
/// stands where it belongs. The time is that of the first answer among the good ones: a request
/// that hung until the system was well again was asked early and proves nothing until it is
/// answered.
fn good_in_a_row(samples: &[Sample], from: Duration, until: Duration) -> Option<Duration> {
    let mut asked: Vec<_> = samples
        .iter()
        .filter(|one| one.asked >= from && one.asked <= until)
        .collect();
    asked.sort_by_key(|one| one.asked);
    let good = asked.iter().rev().take_while(|one| one.came == Came::Good);
    let answered: Vec<_> = good.map(|one| one.answered).collect();
    if answered.len() < IN_A_ROW {
        return None;
    }
    Some(answered.into_iter().min()?.saturating_sub(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn sample(asked: u64, answered: u64, came: Came) -> Sample {
        Sample {
            asked: ms(asked),
            answered: ms(answered),
            came,
        }
    }

    /// A request each quarter of a second from 1 s on, answered 10 ms later: bad until `well`.
    fn probes(well: u64) -> Vec<Sample> {
        (4..60)
            .map(|number| {
                let asked = number * 250;
                let came = if asked < well { Came::Bad } else { Came::Good };
                sample(asked, asked + 10, came)
            })
            .collect()
    }

    fn in_a_row(samples: &[Sample]) -> Option<Duration> {
        well_again(Measure::GoodInARow, samples, ms(1_000), ms(20_000))
    }

    #[test]
    fn it_is_well_at_the_first_of_ten_good_answers_in_a_row() {
        assert_eq!(in_a_row(&probes(3_000)), Some(ms(2_010)));
        assert_eq!(in_a_row(&probes(0)), Some(ms(10)));
    }

    #[test]
    fn nine_good_answers_are_not_enough() {
        let mut samples = probes(0);
        samples.truncate(9);
        assert_eq!(in_a_row(&samples), None);
    }

    #[test]
    fn a_late_failure_moves_the_time() {
        let mut samples = probes(3_000);
        samples.push(sample(6_100, 6_200, Came::Bad));
        assert_eq!(in_a_row(&samples), Some(ms(5_260)));
        // Also one that was asked early and given up late stands where it was asked.
        samples.push(sample(7_100, 19_000, Came::Late));
        assert_eq!(in_a_row(&samples), Some(ms(6_260)));
    }

    #[test]
    fn what_hung_until_it_was_well_counts_from_its_answer() {
        let mut samples = vec![
            sample(1_100, 8_000, Came::Good),
            sample(1_200, 8_050, Came::Good),
        ];
        samples.extend(
            probes(8_000)
                .into_iter()
                .filter(|one| one.asked >= ms(8_000)),
        );
        assert_eq!(in_a_row(&samples), Some(ms(7_000)));
    }

    #[test]
    fn one_slow_answer_among_quick_ones_costs_nothing() {
        let mut samples = probes(0);
        samples.push(sample(1_001, 4_000, Came::Good));
        assert_eq!(in_a_row(&samples), Some(ms(10)));
    }

    #[test]
    fn what_is_asked_outside_the_window_does_not_count() {
        let mut samples = probes(0);
        samples.push(sample(900, 30_000, Came::Bad));
        samples.push(sample(20_001, 20_002, Came::Bad));
        assert_eq!(in_a_row(&samples), Some(ms(10)));
    }

    #[test]
    fn what_waited_is_done_with_its_first_and_with_its_last_answer() {
        let samples = [
            sample(0, 900, Came::Good),
            sample(500, 4_000, Came::Late),
            sample(600, 2_000, Came::Late),
            sample(1_100, 1_200, Came::Good),
        ];
        let well = |measure, samples: &[Sample]| well_again(measure, samples, ms(1_000), ms(9_000));
        assert_eq!(waiting_at(&samples, ms(1_000)), 2);
        assert_eq!(well(Measure::FirstThatWaited, &samples), Some(ms(1_000)));
        assert_eq!(well(Measure::AllThatWaited, &samples), Some(ms(3_000)));
        assert_eq!(well(Measure::FirstThatWaited, &[]), None);
        assert_eq!(well(Measure::AllThatWaited, &[]), None);
        let mut samples = samples.to_vec();
        samples.push(sample(700, 5_000, Came::Bad));
        assert_eq!(well(Measure::AllThatWaited, &samples), None);
    }

    #[test]
    fn a_gap_lasts_from_one_good_answer_to_the_next() {
        let gap =
            |samples: &[Sample]| well_again(Measure::LongestGap, samples, ms(1_000), ms(20_000));
        assert_eq!(gap(&probes(0)), Some(ms(250)));
        assert_eq!(gap(&probes(3_000)), Some(ms(2_010)));
        // Good at first, then not any more for a while.
        let mut samples = probes(6_000);
        samples.extend(probes(0).into_iter().filter(|one| one.asked < ms(3_000)));
        assert_eq!(gap(&samples), Some(ms(6_010 - 2_760)));
        // It is not over.
        samples.push(sample(14_800, 14_900, Came::Bad));
        assert_eq!(gap(&samples), None);
    }

    #[test]
    fn the_slowest_answer_may_be_a_bad_one() {
        let mut samples = probes(0);
        samples.push(sample(2_100, 3_800, Came::Bad));
        samples.push(sample(900, 9_900, Came::Bad));
        let slowest = well_again(Measure::SlowestAnswer, &samples, ms(1_000), ms(20_000));
        assert_eq!(slowest, Some(ms(1_700)));
    }

    #[test]
    fn what_is_refused_while_it_should_wait_is_seen() {
        let mut samples = vec![sample(500, 4_000, Came::Late), sample(100, 200, Came::Bad)];
        assert!(!refused_meanwhile(&samples, ms(300), ms(1_000)));
        samples.push(sample(600, 700, Came::Bad));
        assert!(refused_meanwhile(&samples, ms(300), ms(1_000)));
        assert!(!refused_meanwhile(&samples, ms(650), ms(1_000)));
    }
}
