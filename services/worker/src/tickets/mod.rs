//! The consumer of `tickets`: renders an order's tickets, each a PDF with a signed QR code.
//!
//! Rendering is work for the processor, so it runs on the blocking pool and outside of any
//! transaction. Then one transaction locks the order, skips what was cancelled meanwhile, and
//! stores PDFs, codes and the delivery mark together.
//!
//! What this promises: a paid ticket gets its PDF once, a cancelled one none. What it leaves to
//! others: letting people in with it (`booking`).

pub mod code;
mod fonts;
mod lines;
mod metrics;
mod page;
mod qr;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use messages::outbox::{Kind, Pointer, VERSION};
use outbox::delivery::{self, Row};
use queue::Outcome;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use transaction::Isolation;
use uuid::Uuid;

use crate::patience::{self, Patience};
use code::SigningKey;
pub use fonts::Fonts;

/// Why tickets could not be rendered this time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database refused or was away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A ticket of the order is not among those that were rendered.
    #[error("the tickets were read before all of them were there")]
    StaleRead,
    /// The rendering itself failed.
    #[error("rendering failed: {0}")]
    Rendering(String),
    /// What stands in the database does not fit together.
    #[error("inconsistent: {0}")]
    Inconsistent(&'static str),
}

impl Patience for Failure {
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Database(error) => error.patience(),
            Self::StaleRead => Some(patience::BUSY),
            Self::Rendering(_) | Self::Inconsistent(_) => None,
        }
    }
}

/// What is printed on a ticket.
#[derive(Clone, Debug)]
pub struct Print {
    ticket: Uuid,
    event: Uuid,
    title: String,
    venue: String,
    starts_at: DateTime<Utc>,
    section: String,
    row_name: String,
    number: i32,
    price_minor: i64,
    currency: String,
}

/// A rendered ticket.
#[derive(Debug)]
struct Rendered {
    ticket: Uuid,
    code: String,
    pdf: Vec<u8>,
}

/// What renders tickets.
#[derive(Clone, Debug)]
pub struct Tickets {
    pool: PgPool,
    key: Arc<SigningKey>,
    fonts: Fonts,
    stop: CancellationToken,
}

impl Tickets {
    /// Renders tickets of the database of `pool`, signed with `key`, in these `fonts`; waits for
    /// nothing once `stop` is asked for.
    #[must_use]
    pub fn new(pool: PgPool, key: SigningKey, fonts: Fonts, stop: CancellationToken) -> Self {
        metrics::RENDERED.inc_by(0);
        metrics::SECONDS.get_sample_count();
        Self {
            pool,
            key: Arc::new(key),
            fonts,
            stop,
        }
    }

    /// Takes one message.
    pub async fn consume(&self, pointer: &Pointer) -> Outcome {
        if pointer.version != VERSION || pointer.kind != Kind::RenderTickets {
            tracing::error!(message = ?pointer, "a message that does not belong here");
            return Outcome::Retry;
        }
        match patience::while_away(&self.stop, || self.render(pointer)).await {
            Ok(Some(count)) => {
                metrics::RENDERED.inc_by(count);
                tracing::debug!(order.id = %pointer.group_id, tickets = count, "tickets rendered");
                Outcome::Done
            }
            Ok(None) => Outcome::Stale,
            Err(failure) => {
                tracing::warn!(error = %failure, "the tickets are not rendered yet");
                Outcome::Retry
            }
        }
    }

    /// Renders and stores the tickets that a row asks for; how many, or `None` for a stale row.
    ///
    /// # Errors
    /// See [`Failure`]; the message may be taken again.
    pub async fn render(&self, pointer: &Pointer) -> Result<Option<u64>, Failure> {
        let Ok(row) = delivery::look(&self.pool, pointer.row_id).await? else {
            return Ok(None);
        };
        let prints = self.prints(row.group).await?;
        let (key, fonts) = (self.key.clone(), self.fonts.clone());
        let rendered = tokio::task::spawn_blocking(move || {
            prints
                .iter()
                .map(|print| render(print, &key, &fonts))
                .collect::<Result<Vec<_>, _>>()
        })
        .await
        .map_err(|error| Failure::Rendering(error.to_string()))??;
        self.store(row, rendered).await
    }

    /// The tickets of an order that are good and not rendered yet.
    async fn prints(&self, order: Uuid) -> Result<Vec<Print>, sqlx::Error> {
        sqlx::query_as!(
            Print,
            "SELECT tickets.id AS ticket, events.id AS event, title, venue, starts_at, section,
                row_name, number, order_seats.price_minor, currency
            FROM tickets
            JOIN order_seats USING (order_id, seat_id)
            JOIN seats ON seats.id = tickets.seat_id
            JOIN events ON events.id = seats.event_id
            WHERE tickets.order_id = $1 AND tickets.state <> 'cancelled' AND tickets.pdf IS NULL
            ORDER BY seats.rank",
            order,
        )
        .fetch_all(&self.pool)
        .await
    }

    async fn store(&self, row: Row, rendered: Vec<Rendered>) -> Result<Option<u64>, Failure> {
        let (mut ids, mut codes, mut pdfs) = (Vec::new(), Vec::new(), Vec::new());
        for ticket in rendered {
            ids.push(ticket.ticket);
            codes.push(ticket.code);
            pdfs.push(ticket.pdf);
        }
        let (ids, codes, pdfs) = (&ids, &codes, &pdfs);
        // Read committed: the order and the outbox row are locked before anything is decided.
        let stored = transaction::run(
            &self.pool,
            "store tickets",
            Isolation::ReadCommitted,
            |mut tx| async move {
                sqlx::query!("SELECT id FROM orders WHERE id = $1 FOR UPDATE", row.group)
                    .fetch_optional(&mut *tx)
                    .await?
                    .ok_or(Failure::Inconsistent("a row without its order"))?;
                if delivery::lock(&mut tx, row.id).await?.is_err() {
                    return tx.done(None);
                }
                let stored = sqlx::query!(
                    "UPDATE tickets SET code = rendered.code, pdf = rendered.pdf
                    FROM unnest($1::uuid[], $2::text[], $3::bytea[])
                        AS rendered (id, code, pdf)
                    WHERE tickets.id = rendered.id AND tickets.state <> 'cancelled'",
                    ids,
                    codes,
                    pdfs,
                )
                .execute(&mut *tx)
                .await?
                .rows_affected();
                // The tickets were read before this transaction, on another connection: after a
                // failover that may have been a node that was behind.
                let missing = sqlx::query_scalar!(
                    r#"SELECT EXISTS (
                        SELECT FROM tickets
                        WHERE order_id = $1 AND state <> 'cancelled' AND pdf IS NULL
                    ) AS "exists!""#,
                    row.group,
                )
                .fetch_one(&mut *tx)
                .await?;
                if missing {
                    return Err(Failure::StaleRead);
                }
                let delivered = delivery::deliver(&mut tx, &row).await?;
                tx.done::<_, Failure>(Some((stored, delivered)))
            },
        )
        .await?;
        Ok(stored.map(|(stored, delivered)| {
            delivered.observe();
            stored
        }))
    }
}

fn render(print: &Print, key: &SigningKey, fonts: &Fonts) -> Result<Rendered, Failure> {
    let _timer = metrics::SECONDS.start_timer();
    let code = code::sign(print.ticket, print.event, key);
    let symbol = qr::Symbol::of(&code).map_err(|error| Failure::Rendering(error.to_string()))?;
    let pdf = page::draw(print, &symbol, fonts)?;
    Ok(Rendered {
        ticket: print.ticket,
        code,
        pdf,
    })
}
