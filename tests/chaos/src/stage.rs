//! The stack that is hurt, and what is asked beside it.

use std::time::Duration;

use anyhow::{Context, bail};

use super::Pace;
use checkers::Witnesses;
use client::Door;
use client::bank::Bank;
use client::internal::Internal;
use faults::{Project, Target};

/// How long the stack may take to be well again after a fault.
pub const HEAL_BOUND: Duration = Duration::from_secs(120);

/// A running stack.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its containers.
    pub project: Project,
    /// Nginx.
    pub door: Door,
    /// `booking`'s internal pages and `bank`'s books.
    pub witnesses: Witnesses,
    /// The settings that its workers run with.
    pub pace: Pace,
}

impl Stage {
    /// The stack that the environment names, as the toolbox sets it.
    ///
    /// # Errors
    /// None is named, or the one that is does not run.
    pub async fn from_environment() -> anyhow::Result<Self> {
        let setting = |name: &str| {
            std::env::var(name).with_context(|| {
                format!("{name} is not set: run `make chaos`, which joins a stack")
            })
        };
        let project = Project::named(&setting("BOXOFFICE_PROJECT")?).await?;
        if project.containers("nginx").await?.is_empty() {
            bail!("{} is not up: start it with `make up`", project.name());
        }
        let key_file = setting("BANK_KEY_FILE")?;
        let key = std::fs::read_to_string(&key_file)
            .with_context(|| format!("the bank's key in {key_file}"))?;
        let stage = Self {
            pace: pace(&project).await?,
            door: Door::at(&setting("BOXOFFICE_DOOR")?)?,
            witnesses: Witnesses {
                booking: Some(Internal::at(
                    &setting("BOOKING_URL")?,
                    &client::secret("crowd/booking_key")?,
                )?),
                bank: Some(Bank::at(&setting("BANK_URL")?, &key)?),
            },
            project,
        };
        Ok(stage)
    }

    /// Makes everything well that somebody left behind.
    ///
    /// # Errors
    /// It does not become well within a bound.
    pub async fn heal(&self) -> anyhow::Result<()> {
        self.project.heal(HEAL_BOUND).await
    }

    /// Refuses targets that this stack does not have.
    ///
    /// # Errors
    /// It lacks some.
    pub async fn has(&self, targets: &[Target]) -> anyhow::Result<()> {
        let lacks = self.project.lacks(targets).await?;
        if lacks.is_empty() {
            return Ok(());
        }
        let lacks: Vec<_> = lacks.into_iter().map(Target::as_str).collect();
        bail!(
            "{} has no {}: name other faults with FAULTS=",
            self.project.name(),
            lacks.join(", ")
        )
    }
}

/// As the workers are told, since bounds follow from it.
async fn pace(project: &Project) -> anyhow::Result<Pace> {
    let worker = project.one("worker").await?;
    let mut pace = Pace::default();
    for (name, of) in [
        ("LEASE_SECONDS", &mut pace.lease),
        ("VISIBILITY_SECONDS", &mut pace.visibility),
    ] {
        if let Some(told) = worker.setting(name).await? {
            let seconds: f64 = told
                .parse()
                .with_context(|| format!("{name} of {} is no number: {told}", worker.name()))?;
            *of = Duration::try_from_secs_f64(seconds)?;
        }
    }
    Ok(pace)
}
