//! What one fault came to.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::recovery::{self, Measure, Sample};
use super::{Check, Moment, Pace, Probe};
use checkers::{Promise, Verdict};
use client::Operation;
use client::history::{Outcome, Record};

/// Most sentences that say how a promise was broken.
const MOST_SHOWN: usize = 5;

/// What stands for the sessions among the promises.
pub const SESSIONS: &str = "sessions";

/// Whether one thing was well again in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// What was asked for.
    pub probe: Probe,
    /// What ended the time, and what it was counted from.
    pub says: String,
    /// How long it took; nothing where it did not become well.
    pub seconds: Option<f64>,
    /// By when it had to be.
    pub bound: f64,
    /// Whether this is how the part that came back disturbed what was well without it.
    #[serde(default)]
    pub comes_back: bool,
}

/// The samples of a check's probe and when things happened, counted from the first probe.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// What came of the requests.
    pub samples: &'a [Sample],
    /// When the fault was made.
    pub fault: Duration,
    /// What the time is counted from; nothing where that did not come.
    pub from: Option<Duration>,
    /// The last moment at which something was asked that counts.
    pub until: Duration,
}

impl Checked {
    /// Judges the samples of a check's probe.
    #[must_use]
    pub fn judge(check: &Check, pace: &Pace, window: &Window) -> Self {
        let samples = window.samples;
        let waiting = window
            .from
            .map_or(0, |from| recovery::waiting_at(samples, from));
        let waits = check.measure.waits();
        let took = window.from.and_then(|from| {
            let refused = waits && recovery::refused_meanwhile(samples, window.fault, from);
            let took = recovery::well_again(check.measure, samples, from, window.until);
            took.filter(|_| !refused)
        });
        Self {
            probe: check.probe,
            says: format!("{}{}", check.probe.says(), since(check)),
            seconds: took.map(|took| took.as_secs_f64()),
            bound: (check.bound)(pace, waiting).as_secs_f64(),
            comes_back: false,
        }
    }

    /// The same check once more when the part comes back, where all had to be well without it:
    /// nothing else is looked at after it is back.
    #[must_use]
    pub fn judge_return(check: &Check, pace: &Pace, window: &Window) -> Option<Self> {
        let goes_on = matches!(check.measure, Measure::GoodInARow | Measure::LongestGap);
        let applies = check.from == Moment::Fault && goes_on;
        applies.then(|| Self {
            says: format!("{}, while the part comes back", check.probe.says()),
            comes_back: true,
            ..Self::judge(check, pace, window)
        })
    }

    /// Whether the bound was kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.seconds.is_some_and(|took| took <= self.bound)
    }
}

fn since(check: &Check) -> String {
    let what = match check.measure {
        Measure::GoodInARow => "",
        Measure::FirstThatWaited => ", the first that waited",
        Measure::AllThatWaited => ", all that waited",
        Measure::LongestGap => ", the longest time without",
        Measure::SlowestAnswer => ", the slowest answer",
    };
    let from = match check.from {
        Moment::Fault => "",
        Moment::Led => ", after another leads",
        Moment::Restored => ", after it is back",
        Moment::Healthy(_) => ", after it is healthy",
    };
    format!("{what}{from}")
}

/// What customers saw from the fault until all was well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Attempts.
    pub requests: u64,
    /// Attempts that were refused, by status and kind of problem. What belongs to the trade, such
    /// as a seat that somebody else was quicker to hold, is not among them.
    pub refused: BTreeMap<String, u64>,
    /// Attempts without an answer.
    pub no_answer: u64,
    /// The longest that somebody waited for an answer, or for nothing, in seconds.
    pub slowest: f64,
    /// Visits that were broken off although the customer insisted.
    pub broken_off: u64,
}

impl Seen {
    /// Counts what was asked since `since`.
    #[must_use]
    pub fn count(records: &[Record], since: DateTime<Utc>) -> Self {
        let mut seen = Self::default();
        // What was on its way when the fault came counts as well.
        for record in records.iter().filter(|one| one.answered_at >= since) {
            seen.requests += 1;
            seen.slowest = seen.slowest.max(record.elapsed().as_secs_f64());
            match record.outcome {
                Outcome::Unknown { .. } => seen.no_answer += 1,
                Outcome::Answered { status: 404, .. } if !is_own(record.operation) => {}
                Outcome::Answered {
                    status: 200..300 | 409 | 410 | 422,
                    ..
                } => {}
                Outcome::Answered { .. } => {
                    *seen.refused.entry(record.outcome_name()).or_default() += 1;
                }
            }
        }
        seen
    }

    /// What no fault excuses: something else than an honest 503, or 429, and a customer who
    /// insisted in vain.
    #[must_use]
    pub fn wrongs(&self) -> Vec<String> {
        let excused = |name: &str| name.starts_with("503 ") || name.starts_with("429 ");
        let refused = self.refused.iter().filter(|(name, _)| !excused(name));
        let mut wrongs: Vec<_> = refused
            .map(|(name, count)| format!("{count} answers were {name}"))
            .collect();
        if self.broken_off > 0 {
            wrongs.push(format!("{} visits were broken off", self.broken_off));
        }
        wrongs
    }

    /// In a line.
    #[must_use]
    pub fn says(&self) -> String {
        let mut parts = vec![format!("{} requests", self.requests)];
        parts.extend(
            self.refused
                .iter()
                .map(|(name, count)| format!("{count} × {name}")),
        );
        if self.no_answer > 0 {
            parts.push(format!("{} × no answer", self.no_answer));
        }
        if self.broken_off > 0 {
            parts.push(format!("{} visits broken off", self.broken_off));
        }
        parts.push(format!("slowest {:.1} s", self.slowest));
        parts.join(", ")
    }
}

/// Whether customers ask this only of an order or a hold that they were told they have.
fn is_own(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::PlaceOrder | Operation::ReadOrder | Operation::CancelOrder | Operation::GiveCard
    )
}

/// What one fault came to, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The state of the tree that was measured, as Git names it; empty where nobody said.
    #[serde(default)]
    pub tree: String,
    /// What the schedule was drawn from.
    pub seed: u64,
    /// What it was drawn among.
    pub among: String,
    /// Its number in the schedule.
    pub number: u32,
    /// The line of the table.
    pub row: String,
    /// The fault, or both.
    pub fault: String,
    /// On which containers.
    pub struck: Vec<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// How long it lasted, in seconds.
    pub lasted: f64,
    /// What customers saw.
    pub seen: Seen,
    /// Whether it was well again in time.
    pub checks: Vec<Checked>,
    /// How long after it was undone every container was well, in seconds.
    pub healed: Option<f64>,
    /// Promise by promise, by number, and `sessions`: `held`, `broken`, `not checked`.
    pub promises: BTreeMap<String, String>,
    /// How promises were broken, and why something could not be found out.
    pub wrongs: Vec<String>,
}

impl Finding {
    /// Whether every bound was kept and every promise held.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.bounds_kept() && self.promises_held() && self.healed.is_some()
    }

    /// Whether every bound was kept.
    #[must_use]
    pub fn bounds_kept(&self) -> bool {
        self.checks.iter().all(Checked::kept)
    }

    /// Whether every promise was checked and held, and nothing else is wrong.
    #[must_use]
    pub fn promises_held(&self) -> bool {
        let mut words = self.promises.values();
        !self.promises.is_empty() && words.all(|word| word == "held") && self.wrongs.is_empty()
    }

    /// Writes down what became of the sessions.
    pub fn judged_sessions(&mut self, wrongs: Vec<String>) {
        let word = if wrongs.is_empty() { "held" } else { "broken" };
        self.promises.insert(SESSIONS.to_owned(), word.to_owned());
        self.wrongs.extend(wrongs);
    }

    /// Writes down what the checkers found.
    pub fn judged(&mut self, verdicts: &[(Promise, Verdict)]) {
        for (promise, verdict) in verdicts {
            let number = promise.number.to_string();
            self.promises.insert(number, verdict.words().to_owned());
            match verdict {
                Verdict::Broken(violations) => {
                    let shown = violations.iter().take(MOST_SHOWN);
                    self.wrongs.extend(shown.map(|violation| {
                        format!("{}. {}: {}", promise.number, promise.says, violation.what)
                    }));
                }
                Verdict::NotChecked(why) => {
                    let line = format!(
                        "{}. {} was not checked: {why}",
                        promise.number, promise.says
                    );
                    self.wrongs.push(line);
                }
                Verdict::Held | Verdict::NotAsked(_) => {}
            }
        }
    }
}

#[cfg(test)]
pub(super) mod sample {
    use super::*;

    /// A finding of this row, well again after `seconds`.
    pub fn finding(number: u32, row: &str, seconds: Option<f64>) -> Finding {
        Finding {
            tree: "abc".to_owned(),
            seed: 7,
            among: String::new(),
            number,
            row: row.to_owned(),
            fault: "kill:bank".to_owned(),
            struck: vec!["bank-1".to_owned()],
            at: Utc::now(),
            lasted: 5.0,
            seen: Seen::default(),
            checks: vec![Checked {
                probe: Probe::Order,
                says: "an order, paid".to_owned(),
                seconds,
                bound: 10.0,
                comes_back: false,
            }],
            healed: Some(3.0),
            promises: [("1".to_owned(), "held".to_owned())].into(),
            wrongs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use client::{Answer, Ask};

    fn record(asked_at: DateTime<Utc>, outcome: Result<(u16, &str), &str>) -> Record {
        let ask = Ask::get(Operation::ReadOrder, "/x");
        let outcome = match outcome {
            Ok((status, problem)) => Ok(Answer {
                status,
                body: json!({"type": format!("/problems/{problem}")}),
                ..Answer::default()
            }),
            Err(reason) => Err(reason.to_owned()),
        };
        let elapsed = Duration::from_millis(1_500);
        Record::new(Uuid::nil(), &ask, 0, asked_at, elapsed, &outcome)
    }

    #[test]
    fn customers_saw_what_was_refused_or_lost_and_not_what_belongs_to_the_trade() {
        let at = Utc::now();
        let before = at - TimeDelta::seconds(2);
        let records = [
            record(before, Ok((503, "unavailable"))),
            record(at, Ok((200, ""))),
            record(at, Ok((409, "sold-out"))),
            record(at, Ok((503, "unavailable"))),
            record(at, Err("refused")),
        ];
        let seen = Seen::count(&records, at);
        assert_eq!(
            seen.says(),
            "4 requests, 1 × 503 unavailable, 1 × no answer, slowest 1.5 s"
        );
        assert!(seen.wrongs().is_empty());
        let records = [
            record(at, Ok((500, "internal"))),
            record(at, Ok((503, "x"))),
            record(at, Ok((404, "not-found"))),
        ];
        let mut seen = Seen::count(&records, at);
        seen.broken_off = 2;
        let wrongs = [
            "1 answers were 404 not-found",
            "1 answers were 500 internal",
            "2 visits were broken off",
        ];
        assert_eq!(seen.wrongs(), wrongs);
    }

    #[test]
    fn what_is_counted_from_another_leader_is_not_kept_where_none_led() {
        let sample = |second| Sample {
            asked: Duration::from_secs(second),
            answered: Duration::from_secs(second),
            came: recovery::Came::Good,
        };
        let samples: Vec<_> = (0..20).map(sample).collect();
        for measure in [Measure::GoodInARow, Measure::LongestGap] {
            let check = Check {
                probe: Probe::Hold,
                from: Moment::Led,
                measure,
                bound: |_, _| Duration::from_secs(3),
            };
            let kept = |from| {
                let window = Window {
                    samples: &samples,
                    fault: Duration::from_secs(1),
                    from,
                    until: Duration::from_secs(19),
                };
                Checked::judge(&check, &Pace::default(), &window).kept()
            };
            assert!(kept(Some(Duration::from_secs(2))));
            assert!(!kept(None));
        }
    }

    #[test]
    fn a_finding_is_good_if_bounds_were_kept_and_all_promises_held() {
        let good = sample::finding(0, "bank", Some(9.9));
        assert!(good.is_good());
        for bad in [
            sample::finding(0, "bank", Some(10.1)),
            sample::finding(0, "bank", None),
            Finding {
                healed: None,
                ..good.clone()
            },
            Finding {
                wrongs: vec!["a session came back".to_owned()],
                ..good.clone()
            },
            Finding {
                promises: [("1".to_owned(), "not checked".to_owned())].into(),
                ..good.clone()
            },
            Finding {
                promises: BTreeMap::new(),
                ..good
            },
        ] {
            assert!(!bad.is_good(), "{bad:?}");
        }
    }
}
