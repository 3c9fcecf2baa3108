//! Who had the processors' time while something was measured: that shows what limits it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;
use futures_util::future::try_join_all;

use crate::stack::Stack;

/// Parts named, at most: those that had most.
const NAMED: usize = 5;

/// A part that had less than one in a hundred is not named.
const LEAST: f64 = 0.01;

/// Seconds of processors, by who had them.
#[derive(Clone, Debug, Default)]
pub struct Processors {
    /// By service, and this program with its children.
    parts: BTreeMap<String, f64>,
    idle: f64,
    /// What the machine's host gave to others.
    stolen: f64,
    all: f64,
}

impl Processors {
    /// What was had since each container, and the machine, started.
    ///
    /// # Errors
    /// The engine does not answer, or the system does not say.
    pub async fn read(stack: &Stack) -> anyhow::Result<Self> {
        let containers = stack.project.all().await?;
        let seconds = containers.iter().map(|one| stack.processor_seconds(one));
        let mut parts = BTreeMap::new();
        for (container, seconds) in containers.iter().zip(try_join_all(seconds).await?) {
            *parts.entry(container.service.clone()).or_default() += seconds;
        }
        parts.insert("this program".to_owned(), own_seconds()?);
        let machine = std::fs::read_to_string("/proc/stat")?;
        let line = machine.lines().next().context("/proc/stat is empty")?;
        // user, nice, system, idle, iowait, irq, softirq, steal
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        anyhow::ensure!(ticks.len() == 8, "/proc/stat says {line}");
        Ok(Self {
            parts,
            idle: (ticks[3] + ticks[4]) / TICKS,
            stolen: ticks[7] / TICKS,
            all: ticks.iter().sum::<f64>() / TICKS,
        })
    }

    /// Adds what was had from `earlier` until `later`.
    pub fn add_between(&mut self, earlier: &Self, later: &Self) {
        for (part, seconds) in &later.parts {
            let before = earlier.parts.get(part).copied().unwrap_or_default();
            *self.parts.entry(part.clone()).or_default() += (seconds - before).max(0.0);
        }
        self.idle += later.idle - earlier.idle;
        self.stolen += later.stolen - earlier.stolen;
        self.all += later.all - earlier.all;
    }
}

impl fmt::Display for Processors {
    /// Hundredths of all the time, the largest first; then who was not named, and nobody.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |seconds: f64| 100.0 * seconds / self.all.max(f64::MIN_POSITIVE);
        let mut parts: Vec<_> = self.parts.iter().collect();
        parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let mut named = self.idle + self.stolen;
        for (part, seconds) in parts.into_iter().take(NAMED) {
            if *seconds >= LEAST * self.all {
                write!(out, "{part} {:.0} %, ", share(*seconds))?;
                named += seconds;
            }
        }
        let others = share((self.all - named).max(0.0));
        write!(out, "others {others:.0} %, ")?;
        if self.stolen >= LEAST * self.all {
            write!(out, "other machines {:.0} %, ", share(self.stolen))?;
        }
        write!(out, "nobody {:.0} %", share(self.idle))
    }
}

/// Linux counts in hundredths of a second whatever its own clock does (`USER_HZ`).
const TICKS: f64 = 100.0;

/// What this process had, and its children that ended.
fn own_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, may have blanks in it. The twelfth field after it is the time in user
    // mode, followed by that in the kernel and both of the children (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(4);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_name_the_largest_first_and_add_up() {
        let at = |queue: f64, program: f64, idle: f64, all: f64| Processors {
            parts: [("queue", queue), ("this program", program), ("idler", 0.0)]
                .map(|(part, seconds)| (part.to_owned(), seconds))
                .into(),
            idle,
            stolen: 0.0,
            all,
        };
        let mut had = Processors::default();
        had.add_between(&at(10.0, 1.0, 5.0, 100.0), &at(15.0, 3.0, 6.0, 110.0));
        assert_eq!(
            had.to_string(),
            "queue 50 %, this program 20 %, others 20 %, nobody 10 %"
        );
    }

    #[test]
    fn this_program_takes_time() {
        let before = own_seconds().unwrap();
        assert!(own_seconds().unwrap() >= before);
    }
}
