//! The ledger: double entry, one transaction for each cause.
//!
//! Accounts are `bank` (what the provider holds for us) and `organiser` (what we owe the organiser
//! of the event). The database keeps each transaction's sum at zero, and its unique causes keep a
//! second effect of the same cause out whatever else goes wrong.

use sqlx::PgConnection;
use uuid::Uuid;

/// Which way the money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From a customer to us: `bank` grows.
    Charge,
    /// Back to a customer: `bank` shrinks.
    Refund,
    /// To an organiser: `bank` shrinks.
    Payout,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Payout => "payout",
        }
    }

    fn parse(text: &str) -> Result<Self, sqlx::Error> {
        [Self::Charge, Self::Refund, Self::Payout]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| sqlx::Error::Decode(format!("no kind of posting: {text}").into()))
    }

    /// The amount with the sign that it has in the account `bank`, and back.
    fn signed(self, amount_minor: i64) -> i64 {
        match self {
            Self::Charge => amount_minor,
            Self::Refund | Self::Payout => -amount_minor,
        }
    }
}

/// What is to be written down.
#[derive(Clone, Debug)]
pub struct Posting<'a> {
    /// Which way the money went.
    pub kind: Kind,
    /// The event it is about.
    pub event: Uuid,
    /// The order it is about, of charges and refunds.
    pub order: Option<Uuid>,
    /// The settlement it is about, of payouts.
    pub settlement: Option<Uuid>,
    /// Why; unique.
    pub cause: &'a str,
    /// The token of the leader that wrote it, of payouts.
    pub fence_token: Option<i64>,
    /// How much, more than nothing.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: &'a str,
}

/// Writes a ledger transaction with its two entries.
///
/// # Errors
/// The database was away, or refused: the cause was written down before, or the amount is nothing.
pub async fn record(tx: &mut PgConnection, posting: Posting<'_>) -> Result<(), sqlx::Error> {
    let to_bank = posting.kind.signed(posting.amount_minor);
    sqlx::query!(
        "WITH written AS (
            INSERT INTO ledger_transactions
                (id, kind, event_id, order_id, settlement_id, cause, fence_token)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            RETURNING id
        )
        INSERT INTO ledger_entries (transaction_id, account, event_id, amount_minor, currency)
        SELECT written.id, entry.account, $3, entry.amount_minor, $9
        FROM written, (VALUES ('bank', $8::bigint), ('organiser', -$8::bigint))
            AS entry (account, amount_minor)",
        Uuid::now_v7(),
        posting.kind.as_str(),
        posting.event,
        posting.order,
        posting.settlement,
        posting.cause,
        posting.fence_token,
        to_bank,
        posting.currency,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts one transaction for each kind in the place of up to `most` of an event's; whether more may
/// be left. Each kind keeps its sum, whoever looks when: what was put there before is taken in
/// again, so that one of each kind is left in the end.
///
/// # Errors
/// The database was away.
pub async fn close(tx: &mut PgConnection, event: Uuid, most: i64) -> Result<bool, sqlx::Error> {
    let part = sqlx::query_scalar!(
        "SELECT id FROM ledger_transactions WHERE event_id = $1
        ORDER BY cause LIKE 'closing-%' DESC LIMIT $2",
        event,
        most,
    )
    .fetch_all(&mut *tx)
    .await?;
    let sums = sqlx::query!(
        r#"SELECT kind, currency, sum(amount_minor)::bigint AS "bank_minor!"
        FROM ledger_transactions
        JOIN ledger_entries ON transaction_id = ledger_transactions.id
        WHERE ledger_transactions.id = ANY ($1) AND account = 'bank'
        GROUP BY kind, currency"#,
        &part,
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!("DELETE FROM ledger_transactions WHERE id = ANY ($1)", &part)
        .execute(&mut *tx)
        .await?;
    for sum in sums {
        let kind = Kind::parse(&sum.kind)?;
        let posting = Posting {
            kind,
            event,
            order: None,
            settlement: None,
            cause: &format!("closing-{}-{event}", sum.kind),
            fence_token: None,
            amount_minor: kind.signed(sum.bank_minor),
            currency: &sum.currency,
        };
        record(&mut *tx, posting).await?;
    }
    Ok(i64::try_from(part.len()).unwrap_or(i64::MAX) >= most)
}
