//! `DELETE /api/booking/holds/{id}`: give the seats back before the hold's time is over.
//!
//! Transaction `release_hold`, read committed: the hold is locked before its state is judged. It is
//! idempotent by nature: a hold that is over stays over.

use axum::extract::State;
use axum::http::StatusCode;
use messages::account::Account;
use problem::Problem;
use problem::extract::Path;
use transaction::Isolation;
use uuid::Uuid;

use crate::app::App;
use crate::holds::State as HoldState;
use crate::routes::answers;

/// Give the seats of a hold back.
///
/// Before its time is over. A hold that is over stays over, so a repetition is answered the same.
#[utoipa::path(
    delete,
    path = "/api/booking/holds/{id}",
    operation_id = "release_hold",
    tag = "holds",
    params(("id" = Uuid, Path, description = "The `id` of a hold of yours")),
    security(("session" = [])),
    responses(
        answers::Read,
        (status = 204, description = "The hold is over"),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "hold-ordered: cancel the order instead; busy (with Retry-After)", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn release(
    State(app): State<App>,
    account: Account,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    transaction::run(
        &app.pool,
        "release_hold",
        Isolation::ReadCommitted,
        |mut tx| async move {
            let state = sqlx::query_scalar!(
                r#"SELECT state AS "state: HoldState" FROM holds
            WHERE id = $1 AND customer_id = $2 FOR UPDATE"#,
                id,
                account.id
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(super::unknown)?;
            match state {
                HoldState::Active => {
                    // Only the seats that still carry the hold: after its time is over another
                    // customer's hold may have taken them.
                    sqlx::query!(
                        "WITH released AS (UPDATE holds SET state = 'released' WHERE id = $1)
                    UPDATE seats SET hold_id = NULL, held_until = NULL FROM hold_seats
                    WHERE hold_seats.hold_id = $1 AND seats.id = hold_seats.seat_id
                        AND seats.hold_id = $1",
                        id
                    )
                    .execute(&mut *tx)
                    .await?;
                }
                HoldState::Released | HoldState::Expired => {}
                HoldState::Ordered => {
                    return Err(Problem::conflict(
                        "hold-ordered",
                        "The hold became an order",
                        "the seats are in an order now; cancel that instead",
                    ));
                }
            }
            tx.done(StatusCode::NO_CONTENT)
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use crate::fixture::{Fixture, who};
    use crate::holds::{Hold, State};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn a_released_hold_frees_its_seats_and_stays_released(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 2).await;
        let (ann, bob) = (who("customer"), who("customer"));
        let hold = house.hold(&ann, 2).await;
        let path = format!("/api/booking/holds/{}", hold.id);
        assert_eq!(house.delete(&bob, &path).await.status, 404);
        assert_eq!(house.delete(&ann, &path).await.status, 204);
        assert_eq!(
            house.get(&ann, &path).await.expect::<Hold>(200).state,
            State::Released
        );
        house.hold(&bob, 2).await;
        assert_eq!(house.delete(&ann, &path).await.status, 204);
        assert_eq!(
            house.try_order(&ann, hold.id).await.problem().0,
            "hold-released"
        );
        assert_eq!(house.try_hold(&ann, 1).await.problem().0, "sold-out");
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn seats_that_another_hold_took_over_stay_with_it(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 2).await;
        let (ann, bob) = (who("customer"), who("customer"));
        let lapsed = house.hold(&ann, 2).await;
        house.expire(lapsed.id).await;
        let taken = house.hold(&bob, 1).await;
        let path = format!("/api/booking/holds/{}", lapsed.id);
        assert_eq!(house.delete(&ann, &path).await.status, 204);
        assert_eq!(house.try_order(&bob, taken.id).await.status, 202);
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn an_ordered_hold_cannot_be_released(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        let ann = who("customer");
        let order = house.order(&ann, 1).await;
        let path = format!("/api/booking/holds/{}", order.hold_id);
        assert_eq!(house.delete(&ann, &path).await.problem().0, "hold-ordered");
    }
}
