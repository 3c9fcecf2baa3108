//! Taking seats: lock what is free, then hold what was locked.
//!
//! Free is what is neither sold nor held by a hold whose time is still running; the sweep of
//! expired holds only tidies. That is judged where the rows are locked, and again, by the clock,
//! in the statement that takes them. The same statement judges whether the event is still ahead: of
//! one that has begun it takes nothing.

use std::time::Duration;

use problem::Problem;
use sqlx::PgConnection;
use uuid::Uuid;

use super::request::{Best, Wanted};
use crate::holds::{Hold, State};
use crate::routes::events;
use crate::seats::{PricedSeat, Seat};

/// The kind of problem where seats are neither taken nor to be had at this moment.
pub const BUSY: &str = "seats-busy";

/// Why seats that are free could not be locked.
const OTHERS: &str = "the seats are free, but requests of others are at them right now; try again";

/// Locks the wanted seats, all of them or none; waits for nobody.
///
/// # Errors
/// 404 for an unknown event, 409 where it has begun or the seats are taken, sold out or in somebody
/// else's hands just now, 422 for a seat that the event does not have.
pub async fn lock(
    tx: &mut PgConnection,
    event_id: Uuid,
    wanted: &Wanted,
) -> Result<Vec<i64>, Problem> {
    match wanted {
        Wanted::Named(seats) => lock_named(tx, event_id, seats).await,
        Wanted::Best(best) => lock_best(tx, event_id, best).await,
    }
}

async fn lock_named(
    tx: &mut PgConnection,
    event_id: Uuid,
    seats: &[Seat],
) -> Result<Vec<i64>, Problem> {
    let sections: Vec<&str> = seats.iter().map(|seat| seat.section.as_str()).collect();
    let rows: Vec<&str> = seats.iter().map(|seat| seat.row.as_str()).collect();
    let numbers: Vec<i32> = seats.iter().map(|seat| seat.number).collect();
    let locked = sqlx::query_scalar!(
        "SELECT seats.id
        FROM unnest($2::text[], $3::text[], $4::integer[]) AS wanted (section, row_name, number)
        JOIN seats USING (section, row_name, number)
        WHERE event_id = $1 AND order_id IS NULL
            AND (held_until IS NULL OR held_until <= clock_timestamp())
        ORDER BY seats.id FOR UPDATE OF seats SKIP LOCKED",
        event_id,
        &sections as &[&str],
        &rows as &[&str],
        &numbers
    )
    .fetch_all(&mut *tx)
    .await?;
    if locked.len() == seats.len() {
        return Ok(locked);
    }
    // Why not? As committed; a row that is only locked still counts as free here.
    let found = sqlx::query!(
        r#"SELECT place AS "place!", seats.id IS NULL AS "missing!",
            coalesce(order_id IS NOT NULL OR held_until > clock_timestamp(), false) AS "taken!",
            (SELECT starts_at <= clock_timestamp() FROM events WHERE id = $1) AS event_began
        FROM unnest($2::text[], $3::text[], $4::integer[])
            WITH ORDINALITY AS wanted (section, row_name, number, place)
        LEFT JOIN seats ON event_id = $1 AND seats.section = wanted.section
            AND seats.row_name = wanted.row_name AND seats.number = wanted.number
        ORDER BY place"#,
        event_id,
        &sections as &[&str],
        &rows as &[&str],
        &numbers
    )
    .fetch_all(tx)
    .await?;
    ahead(found.first().and_then(|seat| seat.event_began))?;
    if let Some(seat) = found.iter().find(|seat| seat.missing) {
        return Err(Problem::invalid(
            format!("seats[{}]", seat.place - 1),
            "the event has no such seat",
        ));
    }
    let taken: Vec<String> = found
        .iter()
        .filter(|seat| seat.taken)
        .map(|seat| format!("seats[{}]", seat.place - 1))
        .collect();
    match taken.first() {
        Some(first) => Err(Problem::conflict(
            "seats-taken",
            "Seats are taken",
            format!("somebody else has {}", taken.join(", ")),
        )
        .field(first)),
        None => Err(busy(OTHERS)),
    }
}

async fn lock_best(
    tx: &mut PgConnection,
    event_id: Uuid,
    best: &Best,
) -> Result<Vec<i64>, Problem> {
    let locked = match &best.section {
        None => {
            sqlx::query_scalar!(
                "SELECT id FROM seats
                WHERE event_id = $1 AND order_id IS NULL
                    AND (held_until IS NULL OR held_until <= clock_timestamp())
                ORDER BY rank LIMIT $2 FOR UPDATE SKIP LOCKED",
                event_id,
                best.count
            )
            .fetch_all(&mut *tx)
            .await?
        }
        Some(section) => {
            sqlx::query_scalar!(
                "SELECT id FROM seats
                WHERE event_id = $1 AND section = $2 AND order_id IS NULL
                    AND (held_until IS NULL OR held_until <= clock_timestamp())
                ORDER BY rank LIMIT $3 FOR UPDATE SKIP LOCKED",
                event_id,
                section,
                best.count
            )
            .fetch_all(&mut *tx)
            .await?
        }
    };
    if i64::try_from(locked.len()) == Ok(best.count) {
        return Ok(locked);
    }
    // Too few, or enough that others have locked at this moment?
    let found = sqlx::query!(
        r#"SELECT (SELECT starts_at <= clock_timestamp() FROM events WHERE id = $1) AS event_began,
            $2::text IS NULL
                OR EXISTS (SELECT FROM seats WHERE event_id = $1 AND section = $2)
                AS "section_known!",
            (
                SELECT count(*) FROM (
                    SELECT FROM seats
                    WHERE event_id = $1 AND order_id IS NULL AND ($2::text IS NULL OR section = $2)
                        AND (held_until IS NULL OR held_until <= clock_timestamp())
                    LIMIT $3
                ) AS few
            ) AS "free!""#,
        event_id,
        best.section,
        best.count
    )
    .fetch_one(tx)
    .await?;
    ahead(found.event_began)?;
    if !found.section_known {
        Err(Problem::invalid(
            "best.section",
            "the event has no such section",
        ))
    } else if found.free < best.count {
        Err(Problem::conflict(
            "sold-out",
            "Sold out",
            format!(
                "{} seats are free, {} were asked for",
                found.free, best.count
            ),
        ))
    } else {
        Err(busy(OTHERS))
    }
}

/// Holds the locked seats for the customer.
///
/// # Errors
/// 409 where the event has begun; failures of the database.
pub async fn hold(
    tx: &mut PgConnection,
    customer_id: Uuid,
    event_id: Uuid,
    locked: &[i64],
    hold_for: Duration,
) -> Result<Hold, Problem> {
    let id = Uuid::now_v7();
    let rows = sqlx::query!(
        "WITH moment AS (
            SELECT clock_timestamp() + make_interval(secs => $5) AS until, currency
            FROM events WHERE id = $3 AND starts_at > clock_timestamp()
        ), taken AS (
            UPDATE seats SET hold_id = $1, held_until = until FROM moment
            WHERE seats.id = ANY ($4) AND order_id IS NULL
                AND (held_until IS NULL OR held_until <= clock_timestamp())
            RETURNING seats.id, section, row_name, number, rank, price_minor
        ), placed AS (
            INSERT INTO holds (id, customer_id, event_id, total_minor, expires_at)
            SELECT $1, $2, $3, (SELECT sum(price_minor) FROM taken), until FROM moment
            RETURNING total_minor, expires_at
        ), kept AS (
            INSERT INTO hold_seats (hold_id, seat_id, price_minor)
            SELECT $1, id, price_minor FROM taken
        )
        SELECT section, row_name, number, price_minor, total_minor, expires_at, currency
        FROM taken, placed, moment ORDER BY rank",
        id,
        customer_id,
        event_id,
        locked,
        hold_for.as_secs_f64()
    )
    .fetch_all(tx)
    .await?;
    let Some(first) = rows.first() else {
        return Err(events::began());
    };
    if rows.len() != locked.len() {
        return Err(Problem::internal(
            "seats that were free when locked are taken",
        ));
    }
    Ok(Hold {
        id,
        event_id,
        state: State::Active,
        total_minor: first.total_minor,
        currency: first.currency.clone(),
        expires_at: first.expires_at,
        seats: rows
            .into_iter()
            .map(|row| PricedSeat {
                section: row.section,
                row: row.row_name,
                number: row.number,
                price_minor: row.price_minor,
            })
            .collect(),
    })
}

/// Whether the event is there and has not begun.
fn ahead(event_began: Option<bool>) -> Result<(), Problem> {
    match event_began {
        None => Err(events::unknown()),
        Some(true) => Err(events::began()),
        Some(false) => Ok(()),
    }
}

/// 409 for what only a request that is in flight stands in the way of.
pub fn busy(why: &'static str) -> Problem {
    Problem::conflict(BUSY, "The seats are busy", why).retry_after(1)
}
