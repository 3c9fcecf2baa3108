//! A term: from when a leader may act until it may not.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::right::Right;

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The work returned, or a stop was asked for.
    Resigned,
    /// The right lapsed, or the seat was lost in etcd.
    Lost,
    /// A store refused the token.
    Refused,
}

impl End {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Resigned => "resigned",
            Self::Lost => "lost",
            Self::Refused => "refused",
        }
    }
}

/// The right to act as the leader, for a while. Clones are the same term.
#[derive(Clone, Debug)]
pub struct Term {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    token: i64,
    right: Mutex<Right>,
    over: CancellationToken,
    end: OnceLock<End>,
}

impl Term {
    pub(crate) fn begin(token: i64, right: Right) -> Self {
        let state = State {
            token,
            right: Mutex::new(right),
            over: CancellationToken::new(),
            end: OnceLock::new(),
        };
        Self {
            state: Arc::new(state),
        }
    }

    /// The fencing token: to be checked and stored in the transaction of every effect.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.state.token
    }

    /// Whether a new piece of work may be begun. Once false it stays false.
    #[must_use]
    pub fn may_act(&self) -> bool {
        let right = self.right();
        if !self.state.over.is_cancelled() && !right.holds(Instant::now()) {
            self.finish(End::Lost);
        }
        !self.state.over.is_cancelled()
    }

    /// Waits until the term has ended: its right lapsed, the seat was lost, a write was refused,
    /// or a stop was asked for.
    pub async fn ended(&self) {
        while self.may_act() {
            let until = self.right().until();
            tokio::select! {
                () = self.state.over.cancelled() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// To be called when a store refused the token: somebody else leads, so the term ends and the
    /// seat is given back.
    pub fn refused(&self) {
        self.finish(End::Refused);
    }

    /// Ends the term; the first reason stays.
    pub(crate) fn finish(&self, end: End) {
        self.state.end.get_or_init(|| end);
        self.state.over.cancel();
    }

    /// Why the term ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        self.state.end.get().copied()
    }

    /// A renewal that was sent at `sent` has been answered.
    pub(crate) fn renewed(&self, sent: Instant, span: Duration) {
        let mut right = self.right();
        match right.renewed(sent, span, Instant::now()) {
            Some(renewed) => *right = renewed,
            None => self.finish(End::Lost),
        }
    }

    fn right(&self) -> std::sync::MutexGuard<'_, Right> {
        self.state
            .right
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_millis(4500);

    fn term() -> Term {
        Term::begin(7, Right::from_renewal(Instant::now(), SPAN))
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_without_renewals_ends_by_its_own_clock() {
        let (term, began) = (term(), Instant::now());
        assert!(term.may_act());
        term.ended().await;
        assert!(began.elapsed() >= SPAN && began.elapsed() < SPAN + Duration::from_millis(10));
        assert!(!term.may_act());
        assert_eq!(term.end(), Some(End::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_prolongs_it_but_does_not_revive_it() {
        let term = term();
        tokio::time::advance(Duration::from_secs(3)).await;
        term.renewed(Instant::now(), SPAN);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(term.may_act());
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        term.renewed(sent, SPAN);
        assert!(
            !term.may_act(),
            "the answer came after the right had lapsed"
        );
        term.renewed(Instant::now(), SPAN);
        assert!(!term.may_act());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_term_ends_at_once_for_all_its_clones() {
        let term = term();
        let clone = term.clone();
        clone.refused();
        term.ended().await;
        assert!(!term.may_act());
        term.finish(End::Lost);
        assert_eq!(term.end(), Some(End::Refused), "the first reason stays");
    }
}
