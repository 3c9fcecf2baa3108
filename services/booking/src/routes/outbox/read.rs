//! `GET /internal/outbox`: what is on its way.
//!
//! A plain read of one statement, read committed.

use axum::extract::State;
use messages::audit::Outbox;
use problem::Problem;
use problem::extract::Json;

use crate::app::App;
use crate::routes::answers;

/// Count what is on its way.
#[utoipa::path(
    get,
    path = "/internal/outbox",
    tag = "internal",
    responses(
        answers::Internal,
        (status = 200, description = "What is on its way", body = Outbox),
    )
)]
pub async fn read(State(app): State<App>) -> Result<Json<Outbox>, Problem> {
    let outbox = sqlx::query_as!(
        Outbox,
        r#"SELECT count(*) FILTER (WHERE dead_at IS NULL) AS "undelivered!",
            count(dead_at) AS "dead!",
            coalesce(extract(epoch FROM clock_timestamp()
                - min(created_at) FILTER (WHERE dead_at IS NULL)), 0)::float8 AS "oldest_seconds!"
        FROM outbox WHERE delivered_at IS NULL"#
    )
    .fetch_one(&app.pool)
    .await?;
    Ok(Json(outbox))
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::Outbox;
    use crate::fixture::{Fixture, who};
    use crate::orders::Order;

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn rows_are_on_their_way_until_delivered_or_dead(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 3).await;
        let ann = who("customer");
        let dead = house.order(&ann, 1).await.id;
        house.order(&ann, 1).await;
        let before: Outbox = house.internal("/internal/outbox").await.expect(200);
        assert_eq!((before.undelivered, before.dead), (2, 0));
        assert!(before.oldest_seconds > 0.0);

        sqlx::query("UPDATE outbox SET dead_at = clock_timestamp() WHERE group_id = $1")
            .bind(dead)
            .execute(&house.pool)
            .await
            .unwrap();
        let path = format!("/api/booking/orders/{dead}");
        assert!(
            house
                .get(&ann, &path)
                .await
                .expect::<Order>(200)
                .needs_attention
        );
        sqlx::query("UPDATE outbox SET delivered_at = clock_timestamp() WHERE dead_at IS NULL")
            .execute(&house.pool)
            .await
            .unwrap();
        let after: Outbox = house.internal("/internal/outbox").await.expect(200);
        assert_eq!(
            after,
            Outbox {
                undelivered: 0,
                dead: 1,
                oldest_seconds: 0.0
            }
        );
    }
}
