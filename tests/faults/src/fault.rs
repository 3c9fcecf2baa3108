//! A fault as a value: what is done to whom, and for how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Target;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SIGKILL; started again afterwards.
    Kill,
    /// SIGKILL, and started again at once, before anybody has noticed.
    Restart,
    /// Frozen, with its connections left open; woken afterwards.
    Pause,
    /// SIGTERM; started again afterwards.
    Stop,
    /// Taken off the network while it runs on; put back afterwards.
    Cut,
    /// Frozen for a moment over and over, so that all it is asked for takes longer.
    Slow,
    /// A planned switchover: the part is asked to hand its role over. Nothing to undo.
    Switch,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Kill,
        Self::Restart,
        Self::Pause,
        Self::Stop,
        Self::Cut,
        Self::Slow,
        Self::Switch,
    ];

    /// The name, as it stands in `FAULTS=` and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::Slow => "slow",
            Self::Switch => "switch",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("no kind of fault is called {text}"))
    }
}

/// A fault: its text is `kind:target`, such as `kill:postgres-primary`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// On whom.
    pub target: Target,
    /// What.
    pub kind: Kind,
    /// Which of several containers with that role: taken by the remainder of their number.
    pub which: u32,
    /// Until it is undone.
    pub lasts: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.kind, self.target))
    }
}

/// The text of a fault of this kind on this target.
#[must_use]
pub fn name(kind: Kind, target: Target) -> String {
    format!("{}:{target}", kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_a_stable_name_and_survives_being_written() {
        let fault = Fault {
            target: Target::RedisPrimary,
            kind: Kind::Pause,
            which: 1,
            lasts: Duration::from_millis(12_500),
        };
        assert_eq!(fault.to_string(), "pause:redis-primary");
        let text = serde_json::to_string(&fault).unwrap();
        assert!(text.contains(r#""target":"redis-primary","kind":"pause""#));
        assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), fault);
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }
}
