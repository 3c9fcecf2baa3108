//! `GET /internal/ledger`: what the ledger comes to.
//!
//! Transaction `read_ledger`, read committed, of one statement, so the numbers fit together; it may
//! take longer than those of the public door. Debits are positive: a charge debits `bank` and
//! credits `organiser`.

use axum::extract::State;
use messages::audit::Ledger;
use problem::Problem;
use problem::extract::{Json, Query};
use serde::Deserialize;
use transaction::Isolation;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::LONG_STATEMENT;
use crate::app::App;
use crate::routes::answers;

/// Which part of the ledger.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Part {
    /// Only this event.
    event_id: Option<Uuid>,
    /// Only this currency.
    currency: Option<String>,
}

/// Sum up the ledger.
#[utoipa::path(
    get,
    path = "/internal/ledger",
    tag = "internal",
    params(Part),
    responses(
        answers::Internal,
        (status = 200, description = "What the ledger comes to", body = Ledger),
        (status = 422, description = "invalid-request", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn read(
    State(app): State<App>,
    Query(part): Query<Part>,
) -> Result<Json<Ledger>, Problem> {
    if let Some(currency) = &part.currency {
        money::check("currency", currency)?;
    }
    let part = &part;
    transaction::run(
        &app.pool,
        "read_ledger",
        Isolation::ReadCommitted,
        |mut tx| async move {
            tx.statement_timeout(LONG_STATEMENT).await?;
            let ledger = sqlx::query_as!(
                Ledger,
                r#"SELECT coalesce(sum(amount_minor), 0)::bigint AS "sum_minor!",
            coalesce(sum(amount_minor) FILTER (WHERE account = 'bank'), 0)::bigint
                AS "bank_minor!",
            coalesce(sum(amount_minor) FILTER (WHERE account = 'bank' AND kind = 'charge'), 0)::bigint
                AS "charged_minor!",
            -coalesce(sum(amount_minor) FILTER (WHERE account = 'bank' AND kind = 'refund'), 0)::bigint
                AS "refunded_minor!",
            -coalesce(sum(amount_minor) FILTER (WHERE account = 'bank' AND kind = 'payout'), 0)::bigint
                AS "paid_out_minor!",
            coalesce(sum(amount_minor) FILTER (WHERE account = 'bank' AND kind = 'closing'), 0)::bigint
                AS "closed_minor!",
            -coalesce(sum(amount_minor) FILTER (WHERE account = 'organiser'), 0)::bigint
                AS "owed_minor!",
            (
                SELECT coalesce(sum(amount_minor), 0)::bigint FROM settlements
                WHERE state = 'due' AND ($1::uuid IS NULL OR event_id = $1)
                    AND ($2::text IS NULL OR currency = $2)
            ) AS "due_minor!"
        FROM ledger_entries
        JOIN ledger_transactions ON ledger_transactions.id = transaction_id
        WHERE ($1::uuid IS NULL OR ledger_entries.event_id = $1)
            AND ($2::text IS NULL OR currency = $2)"#,
                part.event_id,
                part.currency
            )
            .fetch_one(&mut *tx)
            .await?;
            tx.done::<_, Problem>(Json(ledger))
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;
    use uuid::Uuid;

    use super::Ledger;
    use crate::fixture::{Fixture, who};

    /// Writes a transaction with these amounts for bank and organiser.
    async fn write(house: &Fixture, kind: &str, amounts: [i64; 2]) -> Result<(), sqlx::Error> {
        let id = Uuid::now_v7();
        let mut tx = house.pool.begin().await?;
        sqlx::query(
            "INSERT INTO ledger_transactions (id, kind, event_id, cause) VALUES ($1, $2, $3, $4)",
        )
        .bind(id)
        .bind(kind)
        .bind(house.event_id)
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
        for (account, amount) in ["bank", "organiser"].into_iter().zip(amounts) {
            sqlx::query("INSERT INTO ledger_entries VALUES ($1, $2, $3, $4, 'EUR')")
                .bind(id)
                .bind(account)
                .bind(house.event_id)
                .bind(amount)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn the_numbers_fit_together(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        write(&house, "charge", [900, -900]).await.unwrap();
        write(&house, "charge", [100, -100]).await.unwrap();
        write(&house, "refund", [-100, 100]).await.unwrap();
        write(&house, "payout", [-300, 300]).await.unwrap();
        let expected = Ledger {
            sum_minor: 0,
            bank_minor: 600,
            charged_minor: 1000,
            refunded_minor: 100,
            paid_out_minor: 300,
            closed_minor: 0,
            owed_minor: 600,
            due_minor: 0,
        };
        for query in [
            String::new(),
            format!("?event_id={}&currency=EUR", house.event_id),
        ] {
            let answer = house.internal(&format!("/internal/ledger{query}")).await;
            assert_eq!(answer.expect::<Ledger>(200), expected);
        }
        let none: Ledger = house
            .internal("/internal/ledger?currency=CHF")
            .await
            .expect(200);
        assert_eq!((none.charged_minor, none.sum_minor), (0, 0));
        assert_eq!(
            house.get(&who("customer"), "/internal/ledger").await.status,
            404
        );
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn the_database_refuses_a_transaction_that_does_not_balance(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        let refused = |error: sqlx::Error| {
            let error = error.into_database_error().unwrap();
            assert_eq!(error.constraint(), Some("ledger_is_balanced"));
        };
        refused(write(&house, "charge", [900, -899]).await.unwrap_err());
        write(&house, "charge", [900, -900]).await.unwrap();
        for change in [
            "UPDATE ledger_entries SET amount_minor = 1 WHERE account = 'bank'",
            "DELETE FROM ledger_entries WHERE account = 'bank'",
        ] {
            refused(sqlx::query(change).execute(&house.pool).await.unwrap_err());
        }
        let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_entries")
            .fetch_one(&house.pool)
            .await
            .unwrap();
        assert_eq!(entries, 2);
    }
}
