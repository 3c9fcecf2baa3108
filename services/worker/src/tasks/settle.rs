//! Settles with organisers: once a period and event, one payout at the bank.
//!
//! A fenced transaction first records event, period and the frozen amount; then the bank is asked,
//! with no transaction open, under the settlement's id as key; a second fenced transaction marks it
//! paid. A payout under way cannot be fenced, but whoever asks for it again, this leader or the
//! next, asks with the same key: it is made once. A refund after the first transaction goes into
//! the next period, and so does what is owed beyond the most that the bank moves at once.
//!
//! A payout that the bank refuses for good is recorded as refused: the money stays owed, and after a
//! while a later period asks for it anew, under a key of its own.
//!
//! Payouts run beside the task's loop, a few at a time. They are not cancelled when the term ends:
//! whether what they write is still wanted is decided by the token.

mod metrics;
mod payout;
mod refusals;

pub use refusals::stopped;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leader::Term;
use messages::bank::MOST_MINOR;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use transaction::Isolation;
use uuid::Uuid;

use super::status::Statuses;
use super::{Failure, Task};
use crate::bank::Bank;
use crate::fence;

/// Most payouts under way at once.
const PAYOUTS: usize = 4;
/// The pause between looks for due settlements.
const PAUSE: Duration = Duration::from_secs(1);
/// Most settlements recorded in one transaction.
const BATCH: i64 = 500;
/// The task's name.
const NAME: &str = "settle";

/// Settlement with organisers. Clones are the same.
#[derive(Clone, Debug)]
pub struct Settle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    bank: Arc<Bank>,
    statuses: Statuses,
    period: Duration,
    payouts: Arc<Semaphore>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The token and the period that settlements were last recorded for.
    recorded: Option<(i64, i64)>,
    /// Settlements whose payout is under way, or waits to be tried again.
    under_way: HashSet<Uuid>,
}

impl Settle {
    /// Settles each `period`.
    #[must_use]
    pub fn new(pool: PgPool, bank: Arc<Bank>, statuses: Statuses, period: Duration) -> Self {
        metrics::show();
        Self(Arc::new(Inner {
            pool,
            bank,
            statuses,
            period,
            payouts: Arc::new(Semaphore::new(PAYOUTS)),
            memory: Mutex::default(),
        }))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the present period.
    fn period(&self) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        i64::try_from(now / self.0.period.as_secs().max(1)).unwrap_or(i64::MAX)
    }

    /// Records what is owed to the organiser of each event, if `period` has none recorded yet for
    /// it, under the term's token. Answers how many settlements were recorded.
    ///
    /// # Errors
    /// Refused by the token, or the database failed.
    pub async fn record(&self, token: i64, period: i64) -> Result<usize, Failure> {
        // Read committed: what is owed is read by one statement, so from one snapshot; what is
        // recorded as due is taken off it, so a payout that ends meanwhile changes nothing. The
        // unique key of event and period keeps a second record out.
        transaction::run(
            &self.0.pool,
            "settle record",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                let owed = sqlx::query!(
                    r#"SELECT events.id, events.currency, events.payout_account,
                    least(owed.amount - coalesce(due.amount, 0), $2::bigint)::bigint AS "amount!"
                FROM (SELECT event_id, -sum(amount_minor) AS amount
                      FROM ledger_entries WHERE account = 'organiser'
                      GROUP BY event_id HAVING sum(amount_minor) < 0) owed
                JOIN events ON events.id = owed.event_id
                LEFT JOIN (SELECT event_id, sum(amount_minor) AS amount
                      FROM settlements WHERE state = 'due'
                      GROUP BY event_id) due ON due.event_id = events.id
                LEFT JOIN settlement_refusals refused ON refused.event_id = events.id
                WHERE owed.amount > coalesce(due.amount, 0)
                    AND NOT EXISTS (SELECT FROM settlements
                        WHERE settlements.event_id = events.id AND period = $1)
                    AND (refused.last_at IS NULL
                        OR refused.last_at < clock_timestamp() - make_interval(secs =>
                            CASE WHEN refused.in_a_row < $3 THEN $4::float8 ELSE $5 END))
                ORDER BY events.id LIMIT $6"#,
                    period,
                    MOST_MINOR,
                    refusals::IN_A_ROW,
                    refusals::PAUSE.as_secs_f64(),
                    refusals::LONG_PAUSE.as_secs_f64(),
                    BATCH,
                )
                .fetch_all(&mut *tx)
                .await?;
                for event in &owed {
                    sqlx::query!(
                        "INSERT INTO settlements
                        (id, event_id, period, amount_minor, currency, account, fence_token)
                    VALUES ($1, $2, $3, $4, $5, $6, $7)
                    ON CONFLICT (event_id, period) DO NOTHING",
                        Uuid::now_v7(),
                        event.id,
                        period,
                        event.amount,
                        event.currency,
                        event.payout_account,
                        token,
                    )
                    .execute(&mut *tx)
                    .await?;
                }
                if !owed.is_empty() {
                    fence::store(&mut tx, NAME, token).await?;
                }
                tx.done::<_, Failure>(owed.len())
            },
        )
        .await
    }
}

impl Task for Settle {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, term: &Term) -> Result<Duration, Failure> {
        let now = (term.token(), self.period());
        if self.memory().recorded != Some(now) {
            let recorded = self.record(now.0, now.1).await?;
            if recorded > 0 {
                tracing::info!(
                    settle.period = now.1,
                    settlements = recorded,
                    "settlements recorded"
                );
            }
            if i64::try_from(recorded).unwrap_or(i64::MAX) < BATCH {
                self.memory().recorded = Some(now);
            }
        }
        self.begin_payouts(term).await?;
        Ok(PAUSE)
    }
}
