//! The check of a session: whose is it?
//!
//! The primary knows. Without one, while it hangs or a replica takes its place, signed-in
//! customers go on buying, so the check is made on the nodes that are left. None of them is to be
//! trusted alone: it may lack what was written last, and the session that it shows may have been
//! signed out. What makes it safe:
//!
//! - A sign-out is answered after the primary **and** a replica have it, so two nodes lack the
//!   session for good. All nodes but one are asked ([`sentinel::Readers`]), so at least one of the
//!   two is among those who answer, whoever has become the primary meanwhile.
//! - So a session counts only if **every** answer has it. An answered sign-out is never undone.
//! - Where one lacks it, it may have been signed out, be over, never have been, or have begun a
//!   moment ago and not be everywhere yet. Nobody can tell, so the answer is 503 and not 401,
//!   which would send an honest customer away.
//! - Where fewer answer than are needed, the answer is 503 too. At least [`FEWEST`] are needed
//!   whatever the sentinels know: just after their own start they do not know all nodes yet.
//!
//! Nobody waits for a primary that is known to be away: the first question that it leaves
//! unanswered sends it away for all that follow. In the moment of the switch itself the sentinels
//! close the connections to all nodes, so a check that nobody answered is made anew shortly after,
//! [`TRIES`] times in all. All of it ends after [`QUESTION_TIMEOUT`], for which Nginx waits.

use std::sync::LazyLock;
use std::time::Duration;

use messages::account::{Account, Role};
use problem::Problem;
use prometheus::{IntCounterVec, register_int_counter_vec};
use uuid::Uuid;

use super::{Sessions, Token, away, no_session};

/// The longest that one check takes.
pub(crate) const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a check is tried that nobody answered, and how long it is before the next time.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// How many nodes have to answer at least where there is no primary.
pub(super) const FEWEST: usize = 2;

static CHECKS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "identity_session_checks_total",
        "Session checks by who answered: the primary, the nodes that are left without one, or none.",
        &["source"]
    )
    .expect("metric names are unique");
    metric
});

/// Shows every counter from the start, at nothing.
pub(crate) fn start_metrics() {
    for source in ["primary", "replicas", "none"] {
        let _ = CHECKS.with_label_values(&[source]);
    }
}

/// What stands under a token's key: account and role, or nothing.
type Found = (Option<String>, Option<String>);

impl Sessions {
    /// Whose session it is; 401 where there is none, 503 where nobody can tell.
    pub(crate) async fn account(&self, token: &Token) -> Result<Account, Problem> {
        let (source, account) =
            match tokio::time::timeout(QUESTION_TIMEOUT, self.check(token)).await {
                Ok((source, account)) => (source, account),
                Err(_) => ("none", Err(away())),
            };
        CHECKS.with_label_values(&[source]).inc();
        account
    }

    async fn check(&self, token: &Token) -> (&'static str, Result<Account, Problem>) {
        for tries in 1..=TRIES {
            if let Ok((found,)) = self.primary.ask::<(Found,)>(&question(token)).await {
                let account = account(found);
                let account = account.and_then(|account| account.ok_or_else(no_session));
                return ("primary", account);
            }
            if let Some(answers) = self.ask_without_primary(token).await {
                let account = agreed(answers);
                let source = if account.is_ok() { "replicas" } else { "none" };
                return (source, account);
            }
            if tries < TRIES {
                tokio::time::sleep(PAUSE).await;
            }
        }
        ("none", Err(away()))
    }

    /// What all nodes but one say.
    async fn ask_without_primary(&self, token: &Token) -> Option<Vec<(Found,)>> {
        self.readers.ask(&question(token), FEWEST).await
    }
}

/// Whose session it is, where all have it; 503 where they do not.
fn agreed(answers: Vec<(Found,)>) -> Result<Account, Problem> {
    let mut agreed = None;
    for (found,) in answers {
        agreed = Some(account(found)?.ok_or_else(away)?);
    }
    agreed.ok_or_else(away)
}

fn question(token: &Token) -> redis::Pipeline {
    let mut ask = redis::pipe();
    ask.cmd("HMGET")
        .arg(token.key())
        .arg("account_id")
        .arg("role");
    ask
}

fn account(found: Found) -> Result<Option<Account>, Problem> {
    let (Some(id), Some(role)) = found else {
        return Ok(None);
    };
    let id = Uuid::parse_str(&id).map_err(Problem::internal)?;
    let role: Role = role
        .parse()
        .map_err(|()| Problem::internal("a session has an unknown role"))?;
    Ok(Some(Account { id, role }))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::routes::testing::{sessions, some_client};

    async fn real() -> Sessions {
        let sessions = sessions(&std::env::var("REDIS_SENTINELS").unwrap());
        assert!(sessions.ready().await, "no primary of Redis was found");
        sessions
    }

    fn somebody() -> Account {
        Account {
            id: Uuid::now_v7(),
            role: Role::Customer,
        }
    }

    async fn check_without_primary(sessions: &Sessions, token: &Token) -> Result<Account, Problem> {
        let answers = sessions.ask_without_primary(token).await;
        agreed(answers.ok_or_else(away)?)
    }

    /// The check without a primary, once the nodes are connected to and have what was written.
    async fn settled(sessions: &Sessions, token: &Token) -> Result<Account, Problem> {
        let began = Instant::now();
        loop {
            let checked = check_without_primary(sessions, token).await;
            if checked.is_ok() || began.elapsed() > Duration::from_secs(20) {
                return checked;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn without_a_primary_a_session_counts_and_one_that_was_signed_out_does_not() {
        let sessions = real().await;
        let account = somebody();
        let (token, _) = sessions.begin(account, some_client()).await.unwrap();
        let (other, _) = sessions.begin(account, some_client()).await.unwrap();
        assert_eq!(settled(&sessions, &token).await.unwrap().id, account.id);
        assert_eq!(settled(&sessions, &other).await.unwrap().id, account.id);
        // From the moment of the answer on, not from some time later.
        sessions.end(&token).await.unwrap();
        let refused = check_without_primary(&sessions, &token).await.unwrap_err();
        assert_eq!(refused.status(), 503, "nobody can tell why it is not there");
        assert!(settled(&sessions, &other).await.is_ok());
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn a_sign_out_is_seen_without_a_primary_as_soon_as_it_is_answered() {
        let sessions = real().await;
        let account = somebody();
        for _ in 0..50 {
            let (token, _) = sessions.begin(account, some_client()).await.unwrap();
            sessions.end(&token).await.unwrap();
            assert!(check_without_primary(&sessions, &token).await.is_err());
        }
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn where_no_node_can_be_asked_a_check_is_given_up_in_time() {
        let sessions = sessions("127.0.0.1:1");
        let began = Instant::now();
        let refused = sessions.account(&Token::random()).await.unwrap_err();
        assert_eq!(refused.status(), 503);
        // Generous: it must never fail because the machine was busy.
        assert!(
            began.elapsed() < 4 * QUESTION_TIMEOUT,
            "{:?}",
            began.elapsed()
        );
    }
}
