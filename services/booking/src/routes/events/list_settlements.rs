//! `GET /api/booking/events/{event_id}/settlements`: what the organiser was and will be paid.
//!
//! A plain read of one statement, read committed. The list of an event is short: at most one line
//! for each period in which money moved; the newest thousand are shown.

use axum::extract::State;
use chrono::{DateTime, Utc};
use messages::account::Account;
use problem::Problem;
use problem::extract::{Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::routes::answers;

/// Where a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SettlementState {
    /// Recorded; the bank is being asked.
    Due,
    /// Paid out.
    Paid,
    /// The bank refused it for good; the money stays owed, and a later period asks for it anew.
    Refused,
}

/// The payout of a period.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Settlement {
    /// Its id.
    pub id: Uuid,
    /// Number of the period.
    pub period: i64,
    /// Amount in minor units.
    pub amount_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    pub currency: String,
    /// Where it stands.
    pub state: SettlementState,
    /// When the amount was frozen.
    pub created_at: DateTime<Utc>,
    /// When it was paid out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<DateTime<Utc>>,
}

/// The payouts of an event.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Settlements {
    /// Newest first.
    pub items: Vec<Settlement>,
}

/// List the payouts of your event, newest first.
///
/// One for each period in which money moved, the newest thousand. For the event's organiser.
#[utoipa::path(
    get,
    path = "/api/booking/events/{event_id}/settlements",
    operation_id = "list_settlements",
    tag = "settlements",
    params(("event_id" = Uuid, Path, description = "The `id` of an event of `list_events`")),
    security(("session" = [])),
    responses(
        answers::Read,
        (status = 200, description = "Its payouts", body = Settlements),
        (status = 403, description = "forbidden: only organisers", body = problem::Body, content_type = "application/problem+json"),
        (status = 404, description = "not-found: not your event", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn list_settlements(
    State(app): State<App>,
    account: Account,
    Path(event_id): Path<Uuid>,
) -> Result<Json<Settlements>, Problem> {
    let organiser = account.organiser()?;
    sqlx::query_scalar!(
        "SELECT id FROM events WHERE id = $1 AND organiser_id = $2",
        event_id,
        organiser.id
    )
    .fetch_optional(&app.pool)
    .await?
    .ok_or_else(|| Problem::not_found("you have no such event on sale"))?;
    let items = sqlx::query_as!(
        Settlement,
        r#"SELECT id, period, amount_minor, currency, state AS "state: SettlementState",
            created_at, paid_at
        FROM settlements WHERE event_id = $1 ORDER BY period DESC LIMIT 1000"#,
        event_id
    )
    .fetch_all(&app.pool)
    .await?;
    Ok(Json(Settlements { items }))
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;
    use uuid::Uuid;

    use super::{SettlementState, Settlements};
    use crate::fixture::{Fixture, who};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn only_the_organiser_of_the_event_sees_its_payouts(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        for period in [7_i64, 8] {
            sqlx::query(
                "INSERT INTO settlements
                    (id, event_id, period, amount_minor, currency, account, fence_token)
                VALUES ($1, $2, $3, 900, 'EUR', '4242424242424242', 1)",
            )
            .bind(Uuid::now_v7())
            .bind(house.event_id)
            .bind(period)
            .execute(&house.pool)
            .await
            .unwrap();
        }
        let path = format!("/api/booking/events/{}/settlements", house.event_id);
        let payouts: Settlements = house.get(&house.organiser, &path).await.expect(200);
        let periods: Vec<_> = payouts.items.iter().map(|payout| payout.period).collect();
        assert_eq!(periods, [8, 7]);
        assert_eq!(payouts.items[0].state, SettlementState::Due);
        assert_eq!(house.get(&who("organiser"), &path).await.status, 404);
        assert_eq!(house.get(&who("customer"), &path).await.status, 403);
    }
}
