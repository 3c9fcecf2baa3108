//! `GET /internal/audit/{event_id}`: an event's books, for checkers of the promises.
//!
//! Transaction `audit_event`, repeatable read: its statements read several tables that have to fit
//! together, so they see one snapshot. They may take longer than those of the public door.

use axum::extract::State;
use messages::audit::{
    Audit, AuditedHold, AuditedOrder, AuditedRow, AuditedSeat, AuditedSettlement, AuditedTask,
    AuditedTerm, AuditedTicket, AuditedTransaction, OrderState,
};
use problem::Problem;
use problem::extract::{Json, Path};
use transaction::Isolation;
use uuid::Uuid;

use crate::LONG_STATEMENT;
use crate::app::App;
use crate::routes::answers;

/// Read an event's books.
#[utoipa::path(
    get,
    path = "/internal/audit/{event_id}",
    tag = "internal",
    params(("event_id" = Uuid, Path, description = "The event")),
    responses(
        answers::Internal,
        (status = 200, description = "Its books", body = Audit),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn read(
    State(app): State<App>,
    Path(event_id): Path<Uuid>,
) -> Result<Json<Audit>, Problem> {
    transaction::run(
        &app.pool,
        "audit_event",
        Isolation::RepeatableRead,
        |mut tx| async move {
            tx.statement_timeout(LONG_STATEMENT).await?;
            let orders = sqlx::query!(
                r#"SELECT id, customer_id, hold_id, state, cancel_requested, attempt, total_minor,
                charge_id, created_at, ARRAY(
                    SELECT seat_id FROM order_seats WHERE order_id = orders.id ORDER BY seat_id
                ) AS "seat_ids!"
            FROM orders WHERE event_id = $1 ORDER BY id"#,
                event_id
            )
            .try_map(|row| {
                let state = row.state.parse::<OrderState>();
                Ok(AuditedOrder {
                    id: row.id,
                    customer_id: row.customer_id,
                    hold_id: row.hold_id,
                    state: state.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                    cancel_requested: row.cancel_requested,
                    attempt: row.attempt,
                    total_minor: row.total_minor,
                    charge_id: row.charge_id,
                    created_at: row.created_at,
                    seat_ids: row.seat_ids,
                })
            })
            .fetch_all(&mut *tx)
            .await?;
            let seats = sqlx::query_as!(
            AuditedSeat,
            "SELECT id, section, row_name AS row, number, price_minor, hold_id, held_until, order_id
            FROM seats WHERE event_id = $1 ORDER BY rank",
            event_id
        )
            .fetch_all(&mut *tx)
            .await?;
            if seats.is_empty() {
                return Err(Problem::not_found("no such event is on sale"));
            }
            let tickets = sqlx::query_as!(
                AuditedTicket,
                r#"SELECT tickets.id, order_id, seat_id, tickets.state,
                pdf IS NOT NULL AS "rendered!", admitted_at
            FROM orders JOIN tickets ON order_id = orders.id
            WHERE event_id = $1 ORDER BY tickets.id"#,
                event_id
            )
            .fetch_all(&mut *tx)
            .await?;
            let settlements = sqlx::query_as!(
                AuditedSettlement,
                "SELECT id, period, amount_minor, state, fence_token, paid_fence_token,
                    created_at, paid_at
                FROM settlements WHERE event_id = $1 ORDER BY period, id",
                event_id
            )
            .fetch_all(&mut *tx)
            .await?;
            let holds = sqlx::query_as!(
                AuditedHold,
                r#"SELECT id, customer_id, state, total_minor, expires_at, created_at, ARRAY(
                    SELECT seat_id FROM hold_seats WHERE hold_id = holds.id ORDER BY seat_id
                ) AS "seat_ids!"
                FROM holds WHERE event_id = $1 ORDER BY id"#,
                event_id
            )
            .fetch_all(&mut *tx)
            .await?;
            let ledger = sqlx::query_as!(
                AuditedTransaction,
                r#"SELECT cause, kind, order_id, settlement_id,
                    coalesce(sum(amount_minor) FILTER (WHERE account = 'bank'), 0)::bigint
                        AS "bank_minor!",
                    coalesce(sum(amount_minor) FILTER (WHERE account = 'organiser'), 0)::bigint
                        AS "organiser_minor!",
                    fence_token, created_at
                FROM ledger_transactions JOIN ledger_entries ON transaction_id = id
                WHERE ledger_transactions.event_id = $1 GROUP BY id ORDER BY created_at, id"#,
                event_id
            )
            .fetch_all(&mut *tx)
            .await?;
            let outbox = sqlx::query_as!(
                AuditedRow,
                "SELECT outbox.id, destination, group_id, sequence, kind, sends, sent_at,
                    fence_token, delivered_at, dead_at
                FROM orders JOIN outbox ON group_id = orders.id
                WHERE event_id = $1 ORDER BY destination, group_id, sequence",
                event_id
            )
            .fetch_all(&mut *tx)
            .await?;
            let terms = sqlx::query_as!(
                AuditedTerm,
                "SELECT token, holder, minted_at FROM leader_terms ORDER BY token DESC LIMIT 1000"
            )
            .fetch_all(&mut *tx)
            .await?;
            let tasks = sqlx::query_as!(
                AuditedTask,
                "SELECT task, fence_token, runs, last_effect_at FROM leader_tasks ORDER BY task"
            )
            .fetch_all(&mut *tx)
            .await?;
            let read_at = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "read_at!""#)
                .fetch_one(&mut *tx)
                .await?;
            tx.done(Json(Audit {
                event_id,
                read_at,
                orders,
                holds,
                seats,
                tickets,
                settlements,
                ledger,
                outbox,
                terms,
                tasks,
            }))
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use messages::audit::Audit;
    use sqlx::PgPool;
    use uuid::Uuid;

    use crate::fixture::{Fixture, who};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn the_books_name_every_order_seat_and_ticket(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 4).await;
        let ann = who("customer");
        let order = house.order(&ann, 2).await;
        let tickets = house.pay(order.id).await;
        let held = house.hold(&ann, 1).await;
        let path = format!("/internal/audit/{}", house.event_id);
        let books: Audit = house.internal(&path).await.expect(200);
        assert_eq!(books.seats.len(), 4);
        assert_eq!(books.orders.len(), 1);
        assert_eq!(
            books.orders[0].seat_ids,
            [books.seats[0].id, books.seats[1].id]
        );
        assert_eq!(books.seats[0].order_id, Some(order.id));
        assert_eq!(books.seats[2].hold_id, Some(held.id));
        assert_eq!(books.holds.len(), 2);
        assert_eq!(books.holds[1].seat_ids, [books.seats[2].id]);
        assert!(books.outbox.iter().any(|row| row.group_id == order.id));
        assert!(books.read_at > books.holds[1].created_at);
        assert_eq!(
            books
                .tickets
                .iter()
                .map(|ticket| ticket.id)
                .collect::<Vec<_>>(),
            tickets
        );
        let unknown = format!("/internal/audit/{}", Uuid::now_v7());
        assert_eq!(house.internal(&unknown).await.status, 404);
    }
}
