//! `GET /api/booking/events/{event_id}/seats`: who sits where, page by page.
//!
//! A plain read of one statement, read committed: it locks nothing, may be made on a standby, and a
//! seat may be gone by the time somebody asks for it.

use axum::extract::State;
use axum::http::HeaderName;
use problem::Problem;
use problem::extract::{Json, Path, Query};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::routes::answers;
use crate::{cursor, text};

/// Which page.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Only seats of this section.
    #[param(min_length = 1, max_length = 40)]
    section: Option<String>,
    /// Most seats on the page; 100 where nothing is asked.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Whether a seat can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SeatState {
    /// It can be held.
    Free,
    /// It is held for a customer for a short time.
    Held,
    /// It is in an order.
    Sold,
}

/// A seat and whether it can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SeatOnSale {
    /// Section.
    #[schema(example = "Stalls")]
    pub section: String,
    /// Row within the section.
    #[schema(example = "3")]
    pub row: String,
    /// Number within the row.
    #[schema(example = 12)]
    pub number: i32,
    /// Price in minor units.
    #[schema(example = 4500)]
    pub price_minor: i64,
    /// Whether it can be had.
    pub state: SeatState,
}

/// A page of seats.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Seats {
    /// The seats, best first.
    pub items: Vec<SeatOnSale>,
    /// Pass as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// List the seats of an event, best first.
///
/// Each with its price, and whether it is free, held or sold. It may be as old as `Age` says, and a
/// seat may be taken by the time you ask for it.
#[utoipa::path(
    get,
    path = "/api/booking/events/{event_id}/seats",
    operation_id = "list_seats",
    tag = "seats",
    params(("event_id" = Uuid, Path, description = "The `id` of an event of `list_events`"), Page),
    responses(
        answers::Public,
        (status = 200, description = "A page of seats", body = Seats,
            headers(("Age" = u32, description = "How old this may be, in seconds"))),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
        (status = 422, description = "invalid-request", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn list_seats(
    State(app): State<App>,
    Path(event_id): Path<Uuid>,
    Query(page): Query<Page>,
) -> Result<([(HeaderName, String); 1], Json<Seats>), Problem> {
    let limit = cursor::limit(page.limit, 100, 500)?;
    if let Some(section) = &page.section {
        text::plain("section", section, 40)?;
    }
    let after = page
        .cursor
        .as_deref()
        .map(cursor::decode)
        .transpose()?
        .map(i32::from_be_bytes);
    let seen = app
        .overview
        .read(|connection| {
            let section = page.section.clone();
            Box::pin(find(connection, event_id, after, section, limit))
        })
        .await?;
    let age = seen.age();
    Ok((age, Json(seen.found.ok_or_else(super::unknown)?)))
}

async fn find(
    connection: &mut PgConnection,
    event_id: Uuid,
    after: Option<i32>,
    section: Option<String>,
    limit: i64,
) -> Result<Option<Seats>, sqlx::Error> {
    let mut rows = sqlx::query!(
        r#"SELECT section, row_name, number, price_minor, rank,
            CASE WHEN order_id IS NOT NULL THEN 'sold'
                WHEN held_until > clock_timestamp() THEN 'held'
                ELSE 'free' END AS "state!: SeatState"
        FROM seats
        WHERE event_id = $1 AND rank > $2 AND ($3::text IS NULL OR section = $3)
        ORDER BY rank LIMIT $4"#,
        event_id,
        after.unwrap_or(0),
        section.as_deref(),
        limit + 1
    )
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        // An event has seats, so nothing means no event, no such section, or the end of the list.
        let event = sqlx::query_scalar!("SELECT id FROM events WHERE id = $1", event_id)
            .fetch_optional(connection)
            .await?;
        if event.is_none() {
            return Ok(None);
        }
    }
    let next_cursor = cursor::page(&mut rows, limit, |row| row.rank.to_be_bytes());
    let items = rows
        .into_iter()
        .map(|row| SeatOnSale {
            section: row.section,
            row: row.row_name,
            number: row.number,
            price_minor: row.price_minor,
            state: row.state,
        })
        .collect();
    Ok(Some(Seats { items, next_cursor }))
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;
    use uuid::Uuid;

    use super::{SeatState, Seats};
    use crate::fixture::{Fixture, who};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn pages_hold_each_seat_once_and_show_what_can_be_had(pool: PgPool) {
        let house = Fixture::with_seats(pool, 2, 6).await;
        let ann = who("customer");
        house.order(&ann, 1).await;
        house.hold(&ann, 2).await;
        let mut seen = Vec::new();
        let base = format!("/api/booking/events/{}/seats?limit=5", house.event_id);
        let mut path = base.clone();
        loop {
            let page: Seats = house.get(&ann, &path).await.expect(200);
            assert!(page.items.len() <= 5);
            seen.extend(page.items);
            let Some(next) = page.next_cursor else { break };
            path = format!("{base}&cursor={next}");
        }
        let places: Vec<_> = seen
            .iter()
            .map(|seat| (seat.row.as_str(), seat.number))
            .collect();
        let expected: Vec<_> = ["1", "2"]
            .iter()
            .flat_map(|row| (1..=6).map(move |n| (*row, n)))
            .collect();
        assert_eq!(places, expected);
        let states: Vec<_> = seen.iter().map(|seat| seat.state).collect();
        assert_eq!(
            states[..4],
            [
                SeatState::Sold,
                SeatState::Held,
                SeatState::Held,
                SeatState::Free
            ]
        );

        let other = format!("/api/booking/events/{}/seats?section=Moon", house.event_id);
        assert!(
            house
                .get(&ann, &other)
                .await
                .expect::<Seats>(200)
                .items
                .is_empty()
        );
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn an_unknown_event_is_404_and_a_bad_page_is_named(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        let ann = who("customer");
        let unknown = format!("/api/booking/events/{}/seats", Uuid::now_v7());
        assert_eq!(house.get(&ann, &unknown).await.status, 404);
        assert_eq!(
            house.get(&ann, "/api/booking/events/x/seats").await.status,
            404
        );
        for (query, field) in [
            ("limit=501", "limit"),
            ("cursor=%00", "cursor"),
            ("section=%00", "section"),
        ] {
            let path = format!("/api/booking/events/{}/seats?{query}", house.event_id);
            let answer = house.get(&ann, &path).await;
            assert_eq!(answer.problem().1.as_deref(), Some(field), "{query}");
        }
    }
}
