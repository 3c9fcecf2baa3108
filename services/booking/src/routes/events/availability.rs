//! `GET /api/booking/events/{event_id}/availability`: how many seats are left.
//!
//! A plain read of one statement, read committed, so the numbers fit together. It may be made on a
//! standby.

use axum::extract::State;
use axum::http::HeaderName;
use problem::Problem;
use problem::extract::{Json, Path};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::routes::answers;

/// How many seats are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Availability {
    /// The event.
    pub event_id: Uuid,
    /// ISO 4217 code of all prices.
    #[schema(example = "EUR")]
    pub currency: String,
    /// Seats that can be held.
    pub free: i64,
    /// Seats held for customers for a short time.
    pub held: i64,
    /// Seats in orders.
    pub sold: i64,
    /// The same, section by section.
    pub sections: Vec<SectionAvailability>,
}

/// How many seats of a section are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SectionAvailability {
    /// The section.
    #[schema(example = "Stalls")]
    pub name: String,
    /// Seats that can be held.
    pub free: i64,
    /// Seats held for customers for a short time.
    pub held: i64,
    /// Seats in orders.
    pub sold: i64,
    /// Price of a seat in minor units.
    #[schema(example = 4500)]
    pub price_minor: i64,
}

/// Count the seats of an event.
///
/// How many are free, held and sold, in all and section by section. It may be as old as `Age` says.
#[utoipa::path(
    get,
    path = "/api/booking/events/{event_id}/availability",
    operation_id = "read_availability",
    tag = "seats",
    params(("event_id" = Uuid, Path, description = "The `id` of an event of `list_events`")),
    responses(
        answers::Public,
        (status = 200, description = "How many seats are left", body = Availability,
            headers(("Age" = u32, description = "How old this may be, in seconds"))),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn availability(
    State(app): State<App>,
    Path(event_id): Path<Uuid>,
) -> Result<([(HeaderName, String); 1], Json<Availability>), Problem> {
    let seen = app
        .overview
        .read(|connection| Box::pin(count(connection, event_id)))
        .await?;
    let age = seen.age();
    Ok((age, Json(seen.found.ok_or_else(super::unknown)?)))
}

async fn count(
    connection: &mut PgConnection,
    event_id: Uuid,
) -> Result<Option<Availability>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT currency, section, min(price_minor) AS "price_minor!",
            count(*) FILTER (WHERE order_id IS NOT NULL) AS "sold!",
            count(*) FILTER (WHERE order_id IS NULL AND held_until > clock_timestamp()) AS "held!",
            count(*) AS "seats!"
        FROM events JOIN seats ON event_id = events.id
        WHERE events.id = $1 GROUP BY currency, section ORDER BY min(rank)"#,
        event_id
    )
    .fetch_all(connection)
    .await?;
    let Some(currency) = rows.first().map(|row| row.currency.clone()) else {
        return Ok(None);
    };
    let sections: Vec<_> = rows
        .into_iter()
        .map(|row| SectionAvailability {
            name: row.section,
            free: row.seats - row.sold - row.held,
            held: row.held,
            sold: row.sold,
            price_minor: row.price_minor,
        })
        .collect();
    Ok(Some(Availability {
        event_id,
        currency,
        free: sections.iter().map(|section| section.free).sum(),
        held: sections.iter().map(|section| section.held).sum(),
        sold: sections.iter().map(|section| section.sold).sum(),
        sections,
    }))
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;
    use uuid::Uuid;

    use super::Availability;
    use crate::fixture::{Fixture, who};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn every_seat_is_free_held_or_sold(pool: PgPool) {
        let house = Fixture::with_seats(pool, 2, 5).await;
        let ann = who("customer");
        house.order(&ann, 1).await;
        house.hold(&ann, 2).await;
        let lapsed = house.hold(&ann, 3).await;
        house.expire(lapsed.id).await;
        let path = format!("/api/booking/events/{}/availability", house.event_id);
        let left: Availability = house.get(&ann, &path).await.expect(200);
        assert_eq!((left.free, left.held, left.sold), (7, 2, 1));
        assert_eq!(left.sections.len(), 1);
        assert_eq!(
            (left.sections[0].free, left.sections[0].price_minor),
            (7, 4500)
        );

        let unknown = format!("/api/booking/events/{}/availability", Uuid::now_v7());
        assert_eq!(house.get(&ann, &unknown).await.status, 404);
    }
}
