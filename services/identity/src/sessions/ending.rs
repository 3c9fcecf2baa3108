//! How a session ended, where that is known: a token opens nothing any more, and its owner may ask why.
//!
//! An event that ends a session leaves its key in a sorted set, for a day and among the newest
//! [`MOST_KEPT`]. It is never asked whether a session is good. A session whose time was over leaves
//! nothing, and neither does one that never was.

use super::{ENDED, Sessions, Token};

/// Most ended sessions that are remembered: a few megabytes.
pub(super) const MOST_KEPT: u32 = 10_000;

/// What ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The account began as many newer ones as it may have.
    NewerSignIn,
    /// It was signed out.
    SignOut,
}

impl Ending {
    const ALL: [Self; 2] = [Self::NewerSignIn, Self::SignOut];

    /// Its name, which the scripts in `sessions.rs` and `deploy/nginx/conf/request.conf` know too.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NewerSignIn => "newer-sign-in",
            Self::SignOut => "sign-out",
        }
    }
}

impl Sessions {
    /// How a session ended; nothing where that is not known, or nobody can tell for now.
    pub(crate) async fn ending(&self, token: &Token) -> Option<Ending> {
        let mut ask = redis::pipe();
        for ending in Ending::ALL {
            let member = format!("{} {}", ending.as_str(), token.key());
            ask.cmd("ZSCORE").arg(ENDED).arg(member);
        }
        let when = self.primary.ask::<Vec<Option<f64>>>(&ask).await.ok()?;
        let mut endings = Ending::ALL.into_iter().zip(when);
        endings.find_map(|(ending, when)| when.map(|_| ending))
    }
}
