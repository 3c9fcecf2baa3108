//! One fault from beginning to end: all is well, the fault is made, it is undone, all is well
//! again, and the hall that was sold meanwhile is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::Utc;
use futures_util::future::{join_all, try_join_all};

use super::finding::Window;
use super::hall::Guests;
use super::probe::Prober;
use super::recovery::{Came, IN_A_ROW, Measure, well_again};
use super::stage::HEAL_BOUND;
use super::{Check, Checked, Finding, Moment, Probe, Seen, Stage, Step};
use client::Client;
use client::history::History;
use faults::{Container, Made, Target};

/// How long all must be well before a fault.
const BEFORE: Duration = Duration::from_secs(5);

/// How long that may take to come about.
const CALM_BOUND: Duration = Duration::from_secs(30);

/// What was asked longer ago than this should be answered: only that says how things stand.
const ANSWERED: Duration = Duration::from_secs(3);

/// How much longer than its bound something that must be well is waited for, so that the report
/// can say how long it took instead.
const BEYOND: Duration = Duration::from_secs(30);

/// Most visits that were broken off of which it is told how.
const MOST_TOLD: usize = 3;

/// The backlog that is thought of while waiting for it: more than one outage makes.
const BACKLOG: usize = 60;

/// When things happened, counted from the first probe.
#[derive(Clone, Debug)]
struct Times {
    fault: Duration,
    /// Another node of Postgres leads, where one does and a check asks for it.
    led: Option<Duration>,
    /// Undoing begins.
    undo: Duration,
    restored: Duration,
    healthy: BTreeMap<Target, Duration>,
    /// Until when what was asked was looked at when everything was found well again.
    settled: Duration,
}

impl Times {
    /// When a moment came; nothing where no other node led.
    fn of(&self, moment: Moment) -> Option<Duration> {
        match moment {
            Moment::Fault => Some(self.fault),
            Moment::Led => self.led,
            Moment::Restored => Some(self.restored),
            // A role that nobody struck was well all the time.
            Moment::Healthy(target) => {
                Some(self.healthy.get(&target).copied().unwrap_or(self.restored))
            }
        }
    }
}

type Probers = BTreeMap<Probe, Prober>;

/// Makes the faults of a step and finds out what came of them. Everything is undone afterwards,
/// whatever happens. Somebody signs in and out beside every fault, so that sessions are always
/// judged.
///
/// # Errors
/// The stack was not well before, or the fault could not be made or undone.
pub async fn play(stage: &Stage, step: &Step, seed: u64, among: &str) -> anyhow::Result<Finding> {
    stage.heal().await.context("not well before the fault")?;
    let guests = Guests::come(stage).await.context("no hall")?;
    let began = Instant::now();
    // Two checks may look at the same requests.
    let mut asked: BTreeSet<Probe> = step.row.checks.iter().map(|check| check.probe).collect();
    asked.insert(Probe::SignIn);
    let mut probers: Probers = asked
        .into_iter()
        .map(|probe| (probe, Prober::start(probe, guests.clone(), began)))
        .collect();
    let buying = guests.buy(seed ^ u64::from(step.number));
    let done = hurt(stage, step, &probers, began).await;
    if done.is_err() {
        stage.heal().await?;
    }
    join_all(probers.values_mut().map(Prober::stop)).await;
    let broken_off = buying.go_home().await;
    let hurt = done?;

    let mut finding = Finding {
        tree: String::new(),
        seed,
        among: among.to_owned(),
        number: step.number,
        row: step.row.name.to_owned(),
        fault: step.name(),
        struck: hurt.struck,
        at: hurt.at,
        lasted: (hurt.times.undo - hurt.times.fault).as_secs_f64(),
        seen: guests.history.look(|records| Seen::count(records, hurt.at)),
        checks: checked(stage, step, &probers, &hurt.times),
        healed: None,
        promises: BTreeMap::new(),
        wrongs: Vec::new(),
    };
    finding.seen.broken_off = broken_off.len() as u64;
    finding.wrongs.extend(finding.seen.wrongs());
    finding
        .wrongs
        .extend(broken_off.into_iter().take(MOST_TOLD));
    match hurt.healed {
        Ok(after) => finding.healed = Some(after.as_secs_f64()),
        Err(error) => finding.wrongs.push(format!("{error:#}")),
    }
    judge(stage, &guests, &mut finding).await;
    Ok(finding)
}

/// What was done, and when.
struct Hurt {
    struck: Vec<String>,
    at: chrono::DateTime<Utc>,
    times: Times,
    /// From the beginning of undoing until all containers were well.
    healed: anyhow::Result<Duration>,
}

async fn hurt(
    stage: &Stage,
    step: &Step,
    probers: &Probers,
    began: Instant,
) -> anyhow::Result<Hurt> {
    calm(probers, began).await?;
    let at = Utc::now();
    let strikes = step.faults.iter().map(|fault| stage.project.strike(fault));
    let made = try_join_all(strikes).await?;
    let targets = step.faults.iter().map(|fault| fault.target);
    let struck: Vec<(Target, Vec<Container>)> = targets
        .zip(made.iter().map(|made| made.struck().to_vec()))
        .collect();
    let fault = made.iter().map(|made| made.at).min().unwrap_or(began) - began;
    let ((), led) = tokio::join!(
        tokio::time::sleep(step.lasts()),
        another_leads(stage, step, &struck, began),
    );
    let undo = began.elapsed();
    try_join_all(made.into_iter().map(Made::undo)).await?;
    let restored = began.elapsed();
    let healthy = join_all(struck.iter().map(|(_, struck)| healthy(struck, began))).await;
    let targets = struck.iter().map(|(target, _)| *target);
    let mut times = Times {
        fault,
        led,
        undo,
        restored,
        healthy: targets
            .zip(healthy)
            .filter_map(|(of, at)| Some((of, at?)))
            .collect(),
        settled: Duration::MAX,
    };
    times.settled = until_well(stage, step, probers, &times, began).await;
    let healed = stage.heal().await.context("not well after the fault");
    Ok(Hurt {
        struck: struck
            .iter()
            .flat_map(|(_, struck)| struck)
            .map(Container::name)
            .collect(),
        at,
        times,
        healed: healed.map(|()| began.elapsed() - undo),
    })
}

/// Waits until every probe had ten good answers in a row.
async fn calm(probers: &Probers, began: Instant) -> anyhow::Result<()> {
    tokio::time::sleep(BEFORE).await;
    loop {
        let restless = probers.iter().filter(|(_, prober)| !is_calm(prober, began));
        let restless: Vec<_> = restless.map(|(probe, _)| probe.says()).collect();
        if restless.is_empty() {
            return Ok(());
        }
        ensure!(
            began.elapsed() < CALM_BOUND,
            "not well before the fault, within {CALM_BOUND:?}: {}",
            restless.join(", ")
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Whether the newest answers are not bad. A payment that takes two seconds by itself is late.
fn is_calm(prober: &Prober, began: Instant) -> bool {
    let until = began.elapsed().saturating_sub(ANSWERED);
    let mut samples = prober.samples();
    samples.retain(|one| one.asked <= until);
    samples.sort_by_key(|one| one.asked);
    let good = samples.iter().rev().take_while(|one| one.came != Came::Bad);
    good.count() >= IN_A_ROW
}

/// When Patroni on a node that was not struck says that it leads, counted from `began`; nothing where
/// none does while the fault lasts, or no check asks for it.
async fn another_leads(
    stage: &Stage,
    step: &Step,
    struck: &[(Target, Vec<Container>)],
    began: Instant,
) -> Option<Duration> {
    let asks = |check: &Check| check.from == Moment::Led;
    if !step.row.checks.iter().any(asks) {
        return None;
    }
    let mut others = Vec::new();
    for service in Target::PostgresPrimary.services() {
        others.extend(stage.project.containers(service).await.ok()?);
    }
    let is_struck = |node: &Container| {
        let mut all = struck.iter().flat_map(|(_, struck)| struck);
        all.any(|one| one.service == node.service)
    };
    others.retain(|node| !is_struck(node));
    let looking = async {
        loop {
            for node in &others {
                if matches!(node.leads_postgres().await, Ok(true)) {
                    return began.elapsed();
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(step.lasts(), looking).await.ok()
}

/// When one of them says that it is well, counted from `began`; nothing where none does within
/// [`HEAL_BOUND`]. Healing, which follows, says who does not.
async fn healthy(struck: &[Container], began: Instant) -> Option<Duration> {
    let since = Instant::now();
    while since.elapsed() < HEAL_BOUND {
        for container in struck {
            if matches!(container.is_well().await, Ok(true)) {
                return Some(began.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

/// Waits for everything that must be well after the part is back, and long enough for what comes
/// back to disturb something. Tells until when what was asked had been looked at then.
async fn until_well(
    stage: &Stage,
    step: &Step,
    probers: &Probers,
    times: &Times,
    began: Instant,
) -> Duration {
    // What had to be well without the part must be so once more when it comes back.
    let from = |check: &Check| match check.from {
        Moment::Fault | Moment::Led => times.undo,
        moment => times.of(moment).unwrap_or(times.undo),
    };
    let after =
        |check: &&Check| check.from != Moment::Fault || check.measure == Measure::GoodInARow;
    let bounds = step
        .row
        .checks
        .iter()
        .filter(after)
        .map(|check| from(check) + (check.bound)(&stage.pace, BACKLOG) + BEYOND);
    let last = bounds.max().unwrap_or_default();
    tokio::time::sleep(BEFORE).await;
    while began.elapsed() < last {
        let until = began.elapsed().saturating_sub(ANSWERED);
        let is_well = |check: &Check| {
            let samples = probers.get(&check.probe).map(Prober::samples);
            let samples = samples.unwrap_or_default();
            well_again(check.measure, &samples, from(check), until).is_some()
        };
        if step.row.checks.iter().filter(after).all(is_well) {
            return until;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Duration::MAX
}

fn checked(stage: &Stage, step: &Step, probers: &Probers, times: &Times) -> Vec<Checked> {
    let mut checked = Vec::new();
    for check in step.row.checks {
        let samples = probers.get(&check.probe).map(Prober::samples);
        let samples = samples.unwrap_or_default();
        let window = Window {
            samples: &samples,
            fault: times.fault,
            from: times.of(check.from),
            until: match check.from {
                Moment::Fault | Moment::Led => times.undo,
                Moment::Restored | Moment::Healthy(_) => Duration::MAX,
            },
        };
        checked.push(Checked::judge(check, &stage.pace, &window));
        let after = Window {
            from: Some(times.undo),
            until: times.settled,
            ..window
        };
        checked.extend(Checked::judge_return(check, &stage.pace, &after));
    }
    checked
}

async fn judge(stage: &Stage, guests: &Arc<Guests>, finding: &mut Finding) {
    finding.judged(&guests.judge(stage).await);
    let quiet = Arc::new(History::passing(|_| {}));
    let quiet = Client::visitor(stage.door.clone(), quiet, "quiet");
    let records = guests.history.records();
    finding.judged_sessions(guests.sessions.wrongs(&quiet, &records).await);
    if guests.history.dropped() > 0 {
        finding.wrongs.push("the history is incomplete".to_owned());
    }
}
