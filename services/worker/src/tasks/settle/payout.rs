//! Payouts of due settlements, also of those that a former leader recorded.

use std::time::Duration;

use leader::Term;
use messages::bank::{Outcome, PayoutRequest};
use reqwest::StatusCode;
use tokio::time::timeout;
use transaction::Isolation;
use uuid::Uuid;

use super::{NAME, Settle, metrics, refusals};
use crate::ledger::{self, Posting};
use crate::tasks::{Failure, RUN_LIMIT};
use crate::{bank, fence};

/// How long a payout waits that did not come about.
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// How often it is tried to record what the bank said, until the payout is asked for again.
const RECORD_ATTEMPTS: u32 = 5;
/// The pause between these attempts.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(300);
/// Most due settlements looked at in one run.
const LOOK_AT: i64 = 100;

/// A settlement whose payout is not recorded yet.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its id, the payout's key at the bank.
    pub id: Uuid,
    /// The event it is for.
    pub event_id: Uuid,
    /// How much.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The organiser's account.
    pub account: String,
}

/// That a payout is under way, until this is dropped: by a panic as well, or this process would
/// never try it again.
struct UnderWay {
    settle: Settle,
    id: Uuid,
}

impl UnderWay {
    fn begin(settle: &Settle, id: Uuid) -> Self {
        settle.memory().under_way.insert(id);
        Self {
            settle: settle.clone(),
            id,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.settle.memory().under_way.remove(&self.id);
    }
}

impl Settle {
    /// Begins the payouts of due settlements that are not under way, as many as may be at once.
    pub(super) async fn begin_payouts(&self, term: &Term) -> Result<(), Failure> {
        for due in self.due().await? {
            if !term.may_act() || self.memory().under_way.contains(&due.id) {
                continue;
            }
            let Ok(permit) = self.0.payouts.clone().try_acquire_owned() else {
                break;
            };
            let under_way = UnderWay::begin(self, due.id);
            let (settle, term) = (self.clone(), term.clone());
            tokio::spawn(async move {
                let _under_way = under_way;
                // It outlives the run, so it has a limit of its own.
                let tried = timeout(RUN_LIMIT, settle.pay_out(&due, term.token())).await;
                let tried = tried.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()).into()));
                drop(permit);
                if let Err(failure) = tried {
                    settle.failed(&due, &term, &failure);
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            });
        }
        Ok(())
    }

    /// The due settlements whose turn it is: first the oldest of those that were not tried yet,
    /// then those that were tried longest ago, so that none that fails stands in another's way.
    ///
    /// # Errors
    /// The database was away.
    pub async fn due(&self) -> Result<Vec<Due>, Failure> {
        Ok(sqlx::query_as!(
            Due,
            "SELECT id, event_id, amount_minor, currency, account FROM settlements
            WHERE state = 'due' ORDER BY tried_at NULLS FIRST, created_at LIMIT $1",
            LOOK_AT,
        )
        .fetch_all(&self.0.pool)
        .await?)
    }

    /// Asks the bank to pay and records what it said.
    ///
    /// # Errors
    /// The bank or the database failed, or the token was refused; the settlement stays due, and
    /// others have their turn first.
    pub async fn pay_out(&self, due: &Due, token: i64) -> Result<(), Failure> {
        let body = PayoutRequest {
            account: due.account.clone(),
            amount_minor: due.amount_minor,
            currency: due.currency.clone(),
            reference: due.id,
        };
        let outcome = match self.0.bank.pay_out(&due.id.to_string(), &body).await {
            Ok(movement) => movement.outcome,
            Err(bank::Failure::Refused(status, why)) if is_definite(status) => {
                tracing::warn!(settle.id = %due.id, error = %why, "the bank takes no such payout");
                Outcome::Declined
            }
            Err(failure) => {
                self.put_off(due, token).await?;
                return Err(failure.into());
            }
        };
        let mut attempt = 1;
        loop {
            // Recording it again is harmless, and a leader that was paused meanwhile may find its
            // connections dead: it is the token that decides about its write, not they.
            match self.record_payout(due, outcome, token).await {
                Err(Failure::Database(error)) if attempt < RECORD_ATTEMPTS => {
                    tracing::warn!(settle.id = %due.id, %error, "the payout is not recorded yet");
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                    attempt += 1;
                }
                recorded => return recorded,
            }
        }
    }

    /// Notes that a payout was tried and may be tried again.
    async fn put_off(&self, due: &Due, token: i64) -> Result<(), Failure> {
        // Read committed: one row, which the update locks.
        transaction::run(
            &self.0.pool,
            "settle put off",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                let put_off = sqlx::query!(
                    "UPDATE settlements SET tried_at = clock_timestamp()
                    WHERE id = $1 AND state = 'due'",
                    due.id,
                )
                .execute(&mut *tx)
                .await?
                .rows_affected();
                if put_off > 0 {
                    fence::store(&mut tx, NAME, token).await?;
                }
                tx.done::<_, Failure>(())
            },
        )
        .await
    }

    /// Records a payout under the term's token; one that is recorded already changes nothing.
    ///
    /// # Errors
    /// The token was refused, or the database failed.
    pub async fn record_payout(
        &self,
        due: &Due,
        outcome: Outcome,
        token: i64,
    ) -> Result<(), Failure> {
        let (state, paid) = match outcome {
            Outcome::Succeeded => ("paid", true),
            Outcome::Declined => ("refused", false),
        };
        // Read committed: the settlement's row is locked by the update that looks at its state.
        let refused = transaction::run(
            &self.0.pool,
            "settle payout",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                let recorded = sqlx::query!(
                    "UPDATE settlements SET state = $2, paid_fence_token = $3,
                    paid_at = CASE WHEN $4 THEN clock_timestamp() END,
                    tried_at = CASE WHEN $4 THEN tried_at ELSE clock_timestamp() END
                WHERE id = $1 AND state = 'due'",
                    due.id,
                    state,
                    token,
                    paid,
                )
                .execute(&mut *tx)
                .await?
                .rows_affected();
                let mut refused = 0;
                if recorded > 0 {
                    if paid {
                        let posting = Posting {
                            kind: ledger::Kind::Payout,
                            event: due.event_id,
                            order: None,
                            settlement: Some(due.id),
                            cause: &format!("payout-{}", due.id),
                            fence_token: Some(token),
                            amount_minor: due.amount_minor,
                            currency: &due.currency,
                        };
                        ledger::record(&mut tx, posting).await?;
                    } else {
                        refused = refusals::in_a_row(&mut tx, due.event_id).await?;
                    }
                    fence::store(&mut tx, NAME, token).await?;
                }
                tx.done::<_, Failure>((recorded > 0).then_some(refused))
            },
        )
        .await?;
        let Some(refused) = refused else {
            return Ok(());
        };
        metrics::recorded(state);
        tracing::info!(
            settle.id = %due.id, event.id = %due.event_id, settle.state = state, "settlement recorded"
        );
        if refused >= refusals::IN_A_ROW {
            tracing::error!(
                event.id = %due.event_id, settle.refused = refused,
                "the bank refuses to pay this organiser: asked again tomorrow"
            );
        }
        Ok(())
    }

    fn failed(&self, due: &Due, term: &Term, failure: &Failure) {
        metrics::failed(failure);
        self.0.statuses.failed_beside(NAME, &failure.to_string());
        if matches!(failure, Failure::Refused) {
            fence::refused(NAME, term.token());
            term.refused();
        } else {
            tracing::warn!(settle.id = %due.id, error = %failure, "the payout is not made yet");
        }
    }
}

/// Whether the bank refused the payout itself, so that the same again would be refused again. Who
/// asks may be unknown to it, or ask too much or too slowly: that says nothing of the payout.
fn is_definite(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use sqlx::PgPool;
    use tokio::task::JoinHandle;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::bank::Bank;
    use crate::tasks::status::Statuses;

    #[tokio::test]
    async fn a_payout_whose_try_panicked_is_no_longer_under_way() {
        // Nothing is asked of either.
        let pool = PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/nothing").unwrap();
        let bank = Bank::new("http://127.0.0.1:1", "no key", CancellationToken::new()).unwrap();
        let period = Duration::from_secs(60);
        let settle = Settle::new(pool, Arc::new(bank), Statuses::default(), period);

        let other = UnderWay::begin(&settle, Uuid::now_v7());
        let under_way = UnderWay::begin(&settle, Uuid::now_v7());
        let both = HashSet::from([other.id, under_way.id]);
        assert_eq!(settle.memory().under_way, both);
        let tried: JoinHandle<()> = tokio::spawn(async move {
            let _under_way = under_way;
            panic!("the try panics");
        });
        assert!(tried.await.unwrap_err().is_panic());
        assert_eq!(settle.memory().under_way, HashSet::from([other.id]));
    }
}
