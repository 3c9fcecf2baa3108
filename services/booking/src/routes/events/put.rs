//! `PUT /internal/events/{id}`: put an event's seats on sale; `catalog` asks for it.
//!
//! Transaction `put_seating`, read committed: the insert of the event's row waits for another one
//! of the same event and then finds it, so event and seats are made once, together. It is
//! idempotent by its content and needs no key. All seats of a hall are one statement, which may take
//! longer than those of the public door. Names are stored as they are told: `catalog`, which spells
//! them, may tell them again word for word.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::Datelike;
use messages::seating::{MAX_SEATS, PUT_TIMEOUT, PutSeating};
use problem::Problem;
use problem::extract::{Json, Path};
use sqlx::PgConnection;
use transaction::Isolation;
use uuid::Uuid;

use crate::app::App;
use crate::routes::answers;
use crate::{LONG_STATEMENT, text};

/// Put an event's seats on sale.
#[utoipa::path(
    put,
    path = "/internal/events/{id}",
    tag = "internal",
    params(("id" = Uuid, Path, description = "The event")),
    request_body = PutSeating,
    responses(
        answers::InternalWrite,
        (status = 200, description = "This seating was put before"),
        (status = 201, description = "The seats are on sale"),
        (status = 409, description = "seating-differs; busy (with Retry-After)", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn put(
    State(app): State<App>,
    Path(id): Path<Uuid>,
    Json(seating): Json<PutSeating>,
) -> Result<StatusCode, Problem> {
    check(&seating)?;
    tokio::time::timeout(PUT_TIMEOUT, put_on_sale(&app, id, &seating))
        .await
        .unwrap_or_else(|_| Err(Problem::unavailable("the database")))
}

async fn put_on_sale(app: &App, id: Uuid, seating: &PutSeating) -> Result<StatusCode, Problem> {
    let document = &serde_json::to_value(seating).map_err(Problem::internal)?;
    transaction::run(
        &app.pool,
        "put_seating",
        Isolation::ReadCommitted,
        |mut tx| async move {
            tx.statement_timeout(LONG_STATEMENT).await?;
            let inserted = sqlx::query!(
                "INSERT INTO events
                (id, organiser_id, title, venue, starts_at, currency, payout_account, seating)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                id,
                seating.organiser_id,
                seating.title,
                seating.venue,
                seating.starts_at,
                seating.currency,
                seating.payout_account,
                document
            )
            .execute(&mut *tx)
            .await?;
            if inserted.rows_affected() == 1 {
                insert_seats(&mut tx, id, seating).await?;
                return tx.done(StatusCode::CREATED);
            }
            let same = sqlx::query_scalar!(
                r#"SELECT seating = $2 AS "same!" FROM events WHERE id = $1"#,
                id,
                document
            )
            .fetch_one(&mut *tx)
            .await?;
            if same {
                tx.done(StatusCode::OK)
            } else {
                Err(Problem::conflict(
                    "seating-differs",
                    "The event is on sale with another seating",
                    "seats and prices cannot change once an event is on sale",
                ))
            }
        },
    )
    .await
}

/// Inserts the seats, ranked section by section, row by row.
async fn insert_seats(
    tx: &mut PgConnection,
    event_id: Uuid,
    seating: &PutSeating,
) -> Result<(), sqlx::Error> {
    let mut names = Vec::new();
    let mut rows = Vec::new();
    let mut seats_per_row = Vec::new();
    let mut prices = Vec::new();
    for section in &seating.sections {
        names.push(section.name.as_str());
        rows.push(i64::from(section.rows));
        seats_per_row.push(i64::from(section.seats_per_row));
        prices.push(section.price_minor);
    }
    sqlx::query!(
        "INSERT INTO seats (event_id, section, row_name, number, rank, price_minor)
        SELECT $1, name, seat_row::text, seat_number,
            row_number() OVER (ORDER BY place, seat_row, seat_number), price_minor
        FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
            WITH ORDINALITY AS section (name, row_count, seats_per_row, price_minor, place),
            generate_series(1, row_count) AS seat_row,
            generate_series(1, seats_per_row) AS seat_number
        ORDER BY place, seat_row, seat_number",
        event_id,
        &names as &[&str],
        &rows,
        &seats_per_row,
        &prices
    )
    .execute(tx)
    .await?;
    Ok(())
}

fn check(seating: &PutSeating) -> Result<(), Problem> {
    text::line("title", &seating.title, 200)?;
    text::line("venue", &seating.venue, 200)?;
    text::sandbox_number("payout_account", &seating.payout_account)?;
    money::check("currency", &seating.currency)?;
    if !(2000..=9999).contains(&seating.starts_at.year()) {
        return Err(Problem::invalid(
            "starts_at",
            "the year is within 2000 to 9999",
        ));
    }
    let mut names = HashSet::new();
    let mut seats = 0_u64;
    for (place, section) in seating.sections.iter().enumerate() {
        let field = |name: &str| format!("sections[{place}].{name}");
        text::line(field("name"), &section.name, 40)?;
        if !names.insert(::text::key(&section.name)) {
            return Err(Problem::invalid(
                field("name"),
                "two sections have this name",
            ));
        }
        if !(1..=200).contains(&section.rows) {
            return Err(Problem::invalid(
                field("rows"),
                "a section has 1 to 200 rows",
            ));
        }
        if !(1..=200).contains(&section.seats_per_row) {
            return Err(Problem::invalid(
                field("seats_per_row"),
                "a row has 1 to 200 seats",
            ));
        }
        if !(1..=100_000_000).contains(&section.price_minor) {
            return Err(Problem::invalid(
                field("price_minor"),
                "a price is 1 to 100000000",
            ));
        }
        seats += u64::from(section.rows) * u64::from(section.seats_per_row);
    }
    if (1..=u64::from(MAX_SEATS)).contains(&seats) {
        Ok(())
    } else {
        Err(Problem::invalid(
            "sections",
            format!("an event has 1 to {MAX_SEATS} seats"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use uuid::Uuid;

    use crate::LONG_STATEMENT;
    use crate::fixture::{Fixture, seating};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn the_same_seating_again_changes_nothing_and_another_is_refused(pool: PgPool) {
        let house = Fixture::empty(pool);
        let path = format!("/internal/events/{}", Uuid::now_v7());
        let body = seating(Uuid::now_v7(), 3, 4);
        assert_eq!(house.put(&path, &body).await.status, 201);
        assert_eq!(house.put(&path, &body).await.status, 200);
        let mut other = body;
        other["sections"][0]["price_minor"] = json!(1);
        assert_eq!(
            house.put(&path, &other).await.problem().0,
            "seating-differs"
        );
        let seats: i64 = sqlx::query_scalar("SELECT count(*) FROM seats")
            .fetch_one(&house.pool)
            .await
            .unwrap();
        assert_eq!(seats, 12);
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn put_in_parallel_it_is_made_once(pool: PgPool) {
        let house = Fixture::empty(pool);
        let path = format!("/internal/events/{}", Uuid::now_v7());
        let body = seating(Uuid::now_v7(), 10, 50);
        let puts = (0..4).map(|_| house.put(&path, &body));
        let mut statuses: Vec<u16> = futures_util::future::join_all(puts)
            .await
            .iter()
            .map(|answer| answer.status)
            .collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 201]);
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn the_largest_hall_is_made_within_the_statement_timeout(pool: PgPool) {
        let house = Fixture::empty(pool);
        let mut body = seating(Uuid::now_v7(), 100, 200);
        let path = format!("/internal/events/{}", Uuid::now_v7());
        // Postgres cancels a statement that takes longer. A busy machine may be that slow, but not each
        // time.
        let mut made = 503;
        for _ in 0..4 {
            if made == 503 {
                let started = std::time::Instant::now();
                made = house.put(&path, &body).await.status;
                println!(
                    "{made} after {:?}, of {LONG_STATEMENT:?}",
                    started.elapsed()
                );
            }
        }
        assert_eq!(made, 201);
        body["sections"][0]["rows"] = json!(101);
        let other = format!("/internal/events/{}", Uuid::now_v7());
        assert_eq!(
            house.put(&other, &body).await.problem().1.as_deref(),
            Some("sections")
        );
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn a_broken_rule_is_named(pool: PgPool) {
        let house = Fixture::empty(pool);
        let path = format!("/internal/events/{}", Uuid::now_v7());
        let cases: [(&str, Value, &str); 13] = [
            ("/title", json!("a\u{0}"), "title"),
            ("/title", json!("a\u{202e}b"), "title"),
            ("/venue", json!("\u{200b}"), "venue"),
            ("/currency", json!("eur"), "currency"),
            ("/currency", json!("ZZZ"), "currency"),
            ("/payout_account", json!("1"), "payout_account"),
            ("/starts_at", json!("1999-01-01T00:00:00Z"), "starts_at"),
            ("/sections", json!([]), "sections"),
            ("/sections/0/name", json!(""), "sections[0].name"),
            ("/sections/0/name", json!("\u{2066}S"), "sections[0].name"),
            ("/sections/0/rows", json!(0), "sections[0].rows"),
            (
                "/sections/0/seats_per_row",
                json!(201),
                "sections[0].seats_per_row",
            ),
            (
                "/sections/0/price_minor",
                json!(0),
                "sections[0].price_minor",
            ),
        ];
        for (pointer, value, field) in cases {
            let mut body = seating(Uuid::now_v7(), 1, 1);
            *body.pointer_mut(pointer).unwrap() = value;
            let answer = house.put(&path, &body).await;
            assert_eq!(
                (answer.status, answer.problem().1.as_deref()),
                (422, Some(field))
            );
        }
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn two_sections_that_read_the_same_are_one(pool: PgPool) {
        let house = Fixture::empty(pool);
        let path = format!("/internal/events/{}", Uuid::now_v7());
        for (one, other) in [("S", "S "), ("Café", "Cafe\u{301}"), ("S", "s\u{200b}")] {
            let mut body = seating(Uuid::now_v7(), 1, 1);
            body["sections"][0]["name"] = json!(one);
            let mut twin = body["sections"][0].clone();
            twin["name"] = json!(other);
            body["sections"].as_array_mut().unwrap().push(twin);
            let answer = house.put(&path, &body).await;
            assert_eq!(
                (answer.status, answer.problem().1.as_deref()),
                (422, Some("sections[1].name"))
            );
        }
    }
}
