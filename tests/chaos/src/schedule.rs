//! Which faults are made, drawn from a seed: the same seed, filter and settings give the same
//! faults, and the fault of a number does not depend on those before it, so that a run which was
//! broken off goes on with the next number.

use std::time::Duration;

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Lasts, Pace, ROWS, Row};
use crowd::visit;
use faults::{Fault, Kind, Target, name};

/// How much longer than its bound a fault lasts at least, so that ten good answers fit in.
const PAST_THE_BOUND: Duration = Duration::from_secs(5);

/// What is made at once, and what comes after it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number in the schedule, from 0.
    pub number: u32,
    /// The line of the table.
    pub row: &'static Row,
    /// One fault, or two.
    pub faults: Vec<Fault>,
    /// Until the next one, once all is well.
    pub rest: Duration,
}

impl Step {
    /// How long the faults last.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        let lasts = self.faults.iter().map(|fault| fault.lasts);
        lasts.max().unwrap_or_default()
    }

    /// The names of its faults, joined by `+`.
    #[must_use]
    pub fn name(&self) -> String {
        let names: Vec<_> = self.faults.iter().map(ToString::to_string).collect();
        names.join("+")
    }
}

/// Which faults may be made: words that each name a row, a fault (`kill:bank`), two at once
/// (`kill:etcd-leader+kill:leading-worker`), a kind or a target. No word allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Vec<String>);

impl Filter {
    /// Reads words that are parted by spaces or commas.
    ///
    /// # Errors
    /// A word names nothing.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let filter = Self(words.map(str::to_owned).collect());
        for word in &filter.0 {
            let named = ROWS
                .iter()
                .any(|row| row.faults.iter().any(|faults| names(word, row, faults)));
            ensure!(
                named,
                "no fault is called {word}: docs/failover.md lists them"
            );
        }
        Ok(filter)
    }

    fn allows(&self, row: &Row, faults: &[(Kind, Target)]) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| names(word, row, faults))
    }

    /// The words, as they are kept.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.join(" ")
    }
}

fn names(word: &str, row: &Row, faults: &[(Kind, Target)]) -> bool {
    let alone = |(kind, target): &(Kind, Target)| {
        word == kind.as_str() || word == target.as_str() || word == name(*kind, *target)
    };
    word == row.name || word == joined(faults) || (faults.len() == 1 && faults.iter().all(alone))
}

/// The name of what is made at once.
#[must_use]
pub fn joined(faults: &[(Kind, Target)]) -> String {
    let names: Vec<_> = faults.iter().map(|(kind, of)| name(*kind, *of)).collect();
    names.join("+")
}

/// A row with those of its faults that may be made.
type Allowed = (&'static Row, Vec<&'static [(Kind, Target)]>);

/// The faults of a seed.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What they are drawn from.
    pub seed: u64,
    pace: Pace,
    allowed: Vec<Allowed>,
    in_turn: bool,
}

impl Schedule {
    /// The faults of this seed that the filter allows, rows drawn by their weights.
    #[must_use]
    pub fn drawn(seed: u64, filter: &Filter, pace: Pace) -> Self {
        let allowed = ROWS
            .iter()
            .map(|row| {
                let faults = row.faults.iter().copied();
                (
                    row,
                    faults
                        .filter(|faults| filter.allows(row, faults))
                        .collect::<Vec<_>>(),
                )
            })
            .filter(|(_, faults)| !faults.is_empty())
            .collect();
        Self {
            seed,
            pace,
            allowed,
            in_turn: false,
        }
    }

    /// The same faults, but each row in its turn instead of drawn: so many rounds measure each row
    /// so often.
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        self.in_turn = true;
        self
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.allowed.len()
    }

    /// The targets that may be struck.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let faults = self.allowed.iter().flat_map(|(_, faults)| faults);
        let mut targets: Vec<_> = faults.copied().flatten().map(|(_, of)| *of).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// The faults of this number.
    #[must_use]
    pub fn step(&self, number: u32) -> Step {
        let mut rng = StdRng::seed_from_u64(visit::mixed(self.seed, u32::MAX, number));
        // Every choice is drawn, used or not, so that one never shifts another.
        let weights = (0..).zip(&self.allowed);
        let weights: Vec<_> = weights.map(|(at, (row, _))| (row.weight, at)).collect();
        let drawn: usize = visit::weighted(&mut rng, &weights);
        let which = rng.random_range(0.0..1.0);
        let share = rng.random_range(0.0..1.0);
        let rest = Duration::from_millis(rng.random_range(1_000..5_000));
        let (row, faults) = if self.in_turn {
            let number = usize::try_from(number).unwrap_or_default();
            let (row, faults) = &self.allowed[number % self.allowed.len()];
            (*row, faults[number / self.allowed.len() % faults.len()])
        } else {
            let (row, faults) = &self.allowed[drawn];
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let chosen = (faults.len() as f64 * which) as usize;
            (*row, faults[chosen])
        };
        let lasts = self.lasts(row, share);
        let faults = faults.iter().map(|(kind, target)| Fault {
            target: *target,
            kind: *kind,
            which: rng.random_range(0..6),
            lasts,
        });
        Step {
            number,
            row,
            faults: faults.collect(),
            rest,
        }
    }

    fn lasts(&self, row: &Row, share: f64) -> Duration {
        let seconds = match row.lasts {
            Lasts::PastTheBound => {
                let bound = row.bound_from_the_fault(&self.pace) + PAST_THE_BOUND;
                bound.as_secs_f64() + 5.0 * share
            }
            Lasts::Seconds(least, most) => {
                let (least, most) = (least as f64, most as f64);
                least + (most - least) * share
            }
        };
        Duration::from_millis((seconds * 1000.0).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn schedule(seed: u64, words: &str) -> Schedule {
        Schedule::drawn(seed, &Filter::parse(words).unwrap(), Pace::default())
    }

    fn told(schedule: &Schedule, count: u32) -> Vec<String> {
        let steps = (0..count).map(|number| schedule.step(number));
        steps
            .map(|step| format!("{:?} {:?}", step.faults, step.rest))
            .collect()
    }

    #[test]
    fn the_seed_repeats_the_faults_and_another_seed_changes_them() {
        assert_eq!(told(&schedule(7, ""), 300), told(&schedule(7, ""), 300));
        assert_ne!(told(&schedule(7, ""), 300), told(&schedule(8, ""), 300));
    }

    #[test]
    fn every_fault_of_the_table_turns_up_and_rows_by_their_weights() {
        let schedule = schedule(1, "");
        let steps: Vec<_> = (0..5_000).map(|number| schedule.step(number)).collect();
        let drawn: BTreeSet<_> = steps.iter().map(Step::name).collect();
        let all = ROWS.iter().flat_map(|row| row.faults);
        let all: BTreeSet<_> = all.map(|faults| joined(faults)).collect();
        assert_eq!(drawn, all);

        let mut often = BTreeMap::new();
        for step in &steps {
            *often.entry(step.row.name).or_insert(0_u32) += 1;
        }
        let weights: u32 = ROWS.iter().map(|row| row.weight).sum();
        for row in ROWS {
            let expected = f64::from(row.weight * 5_000) / f64::from(weights);
            let share = f64::from(often[row.name]) / expected;
            assert!((0.75..1.25).contains(&share), "{}: {share}", row.name);
        }
    }

    #[test]
    fn a_fault_that_the_system_survives_by_itself_outlasts_its_bound() {
        let schedule = schedule(1, "");
        for number in 0..1_000 {
            let step = schedule.step(number);
            if matches!(step.row.lasts, Lasts::PastTheBound) {
                let bound = step.row.bound_from_the_fault(&Pace::default());
                assert!(step.lasts() >= bound + PAST_THE_BOUND, "{step:?}");
            }
        }
    }

    #[test]
    fn a_filter_names_rows_faults_kinds_and_targets() {
        let only = |words| {
            let schedule = schedule(3, words);
            let steps = (0..200).map(|number| schedule.step(number).name());
            steps
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(only("leader-stopped"), ["stop:leading-worker"]);
        assert_eq!(only("kill:bank, pause:cache"), ["kill:bank", "pause:cache"]);
        assert_eq!(only("haproxy").len(), 5);
        assert!(only("slow").iter().all(|name| name.starts_with("slow:")));
        let pair = "kill:etcd-leader+kill:leading-worker";
        assert_eq!(only(pair), [pair]);
        // A target's name is that target alone.
        assert!(only("etcd-leader").iter().all(|name| !name.contains('+')));
        assert!(Filter::parse("kill:everybody").is_err());
    }

    #[test]
    fn in_turn_each_row_comes_once_a_round_and_its_faults_take_turns() {
        let schedule = schedule(1, "").in_turn();
        let rounds: u32 = 12;
        let rows = u32::try_from(schedule.rows()).unwrap();
        let mut often: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
        for number in 0..rounds * rows {
            let step = schedule.step(number);
            *often
                .entry(step.row.name)
                .or_default()
                .entry(step.name())
                .or_default() += 1;
        }
        assert!(
            often
                .values()
                .all(|row| row.values().sum::<u32>() == rounds)
        );
        assert_eq!(often["replica"].len(), 11);
        assert!(often["leader"].values().all(|count| *count == 4));
    }
}
