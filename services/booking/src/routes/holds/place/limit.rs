//! How many seats of an event an account may keep without having paid.
//!
//! Seats are kept in holds whose time is running, and in orders that are not paid yet: a hold that
//! becomes an order, or an order whose card is declined, frees nothing for the next hold. Only placing
//! a hold adds to the sum, so it is enough that the holds of one account for one event are placed one
//! after the other.

use problem::Problem;
use sqlx::PgConnection;
use uuid::Uuid;

use super::request::Wanted;
use super::take;

/// Takes the account's turn at the event until the transaction ends, and checks that it may keep what
/// is wanted beside what it keeps already. Waits for nobody.
///
/// # Errors
/// 409 where it would be too much, or another request of the account has the turn just now.
pub async fn keep(
    tx: &mut PgConnection,
    customer_id: Uuid,
    event_id: Uuid,
    wanted: &Wanted,
    most: u16,
) -> Result<(), Problem> {
    // A statement of its own: the next one sees what was committed before this lock was had. Two
    // accounts of the same hash only take turns where they need not.
    let has_turn = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_xact_lock(hashtextextended($1::uuid::text || $2::uuid::text, 0))
            AS "has_turn!""#,
        customer_id,
        event_id
    )
    .fetch_one(&mut *tx)
    .await?;
    if !has_turn {
        return Err(take::busy(
            "another request of this account holds seats of this event right now; try again",
        ));
    }
    let kept = sqlx::query_scalar!(
        r#"SELECT (
            SELECT count(*) FROM holds JOIN hold_seats ON hold_id = holds.id
            WHERE customer_id = $1 AND event_id = $2 AND state = 'active'
                AND expires_at > clock_timestamp()
        ) + (
            SELECT count(*) FROM orders JOIN order_seats ON order_id = orders.id
            WHERE customer_id = $1 AND event_id = $2 AND state IN ('pending', 'declined')
        ) AS "kept!""#,
        customer_id,
        event_id
    )
    .fetch_one(tx)
    .await?;
    if kept + wanted.count() <= i64::from(most) {
        return Ok(());
    }
    Err(Problem::conflict(
        "seat-limit-reached",
        "You keep as many seats as you may",
        format!(
            "an account keeps {most} seats of an event at most that it has not paid for; \
             it keeps {kept} and asked for {} more",
            wanted.count()
        ),
    )
    .field(wanted.count_field()))
}
