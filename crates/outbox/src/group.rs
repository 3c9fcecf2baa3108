//! The rule of a group: only its lowest undelivered row may take effect, and a dead row blocks
//! those behind it.
//!
//! The facts come from the database, read or locked by [`delivery`](crate::delivery); the rule
//! itself is a pure function, so that it can be held against every history that one can think of.

/// What is known of a row when a message that points at it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its number within its group.
    pub sequence: i64,
    /// Its effect is recorded.
    pub delivered: bool,
    /// It ended in a dead-letter queue and was not redriven.
    pub dead: bool,
    /// The lowest number in the group whose effect is not recorded.
    pub lowest_undelivered: Option<i64>,
}

/// Why a message has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The row is no longer there: it was delivered and pruned.
    Gone,
    /// The row's effect is recorded.
    Delivered,
    /// The row is dead and waits to be redriven.
    Dead,
    /// Another row of the group comes first.
    NotLowest,
}

/// Whether the row may take effect now.
///
/// # Errors
/// Why it may not.
pub fn judge(facts: Facts) -> Result<(), Stale> {
    if facts.delivered {
        Err(Stale::Delivered)
    } else if facts.dead {
        Err(Stale::Dead)
    } else if facts.lowest_undelivered != Some(facts.sequence) {
        Err(Stale::NotLowest)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One thing that can happen to a group; numbers choose a row or a message.
    #[derive(Clone, Debug)]
    enum Step {
        Append,
        Relay,
        Arrive(usize),
        ArriveAndStay(usize),
        LoseTheQueue,
        Die(usize),
        Redrive,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Append),
            4 => Just(Step::Relay),
            4 => any::<usize>().prop_map(Step::Arrive),
            2 => any::<usize>().prop_map(Step::ArriveAndStay),
            1 => Just(Step::LoseTheQueue),
            1 => any::<usize>().prop_map(Step::Die),
            1 => Just(Step::Redrive),
        ]
    }

    #[derive(Default)]
    struct Model {
        /// For each row whether it is delivered and whether it is dead; its number is its place + 1.
        rows: Vec<(bool, bool)>,
        /// Messages on the queue, in no order at all: worse than any real queue.
        queue: Vec<i64>,
        effects: Vec<i64>,
    }

    impl Model {
        fn lowest(&self) -> Option<i64> {
            let place = self.rows.iter().position(|(delivered, _)| !delivered)?;
            i64::try_from(place + 1).ok()
        }

        fn arrive(&mut self, sequence: i64) {
            let row = &mut self.rows[usize::try_from(sequence).unwrap() - 1];
            let (delivered, dead) = *row;
            let facts = Facts {
                sequence,
                delivered,
                dead,
                lowest_undelivered: self.lowest(),
            };
            if judge(facts).is_ok() {
                self.rows[usize::try_from(sequence).unwrap() - 1].0 = true;
                self.effects.push(sequence);
            }
        }

        fn take(&mut self, step: &Step) {
            let count = self.queue.len();
            match step {
                Step::Append => self.rows.push((false, false)),
                Step::Relay => {
                    if let Some(lowest) = self.lowest()
                        && !self.rows[usize::try_from(lowest).unwrap() - 1].1
                    {
                        self.queue.push(lowest);
                    }
                }
                Step::Arrive(which) if count > 0 => {
                    let sequence = self.queue.swap_remove(which % count);
                    self.arrive(sequence);
                }
                Step::ArriveAndStay(which) if count > 0 => self.arrive(self.queue[which % count]),
                Step::LoseTheQueue => self.queue.clear(),
                Step::Die(which) if count > 0 => {
                    let sequence = self.queue.swap_remove(which % count);
                    let row = &mut self.rows[usize::try_from(sequence).unwrap() - 1];
                    row.1 = !row.0;
                }
                Step::Redrive => self.rows.iter_mut().for_each(|row| row.1 = false),
                Step::Arrive(_) | Step::ArriveAndStay(_) | Step::Die(_) => {}
            }
        }
    }

    proptest! {
        #[test]
        fn effects_come_once_and_in_order_and_none_is_forgotten(
            steps in prop::collection::vec(step(), 0..80)
        ) {
            let mut model = Model::default();
            for step in &steps {
                model.take(step);
                let expected: Vec<i64> = (1..).take(model.effects.len()).collect();
                prop_assert_eq!(&model.effects, &expected);
            }
            model.take(&Step::Redrive);
            for _ in 0..model.rows.len() {
                model.take(&Step::Relay);
                let last = model.queue.len().saturating_sub(1);
                model.take(&Step::ArriveAndStay(last));
            }
            prop_assert_eq!(model.effects.len(), model.rows.len());
        }
    }

    #[test]
    fn a_dead_row_blocks_those_behind_it() {
        let second = Facts {
            sequence: 2,
            delivered: false,
            dead: false,
            lowest_undelivered: Some(1),
        };
        assert_eq!(judge(second), Err(Stale::NotLowest));
    }
}
