//! What every handler may use.

use std::time::Duration;

use sqlx::PgPool;

use crate::ticket_code::TicketKey;

/// The state behind the routes.
#[derive(Clone, Debug)]
pub struct App {
    /// The database.
    pub pool: PgPool,
    /// How long a hold lasts.
    pub hold_for: Duration,
    /// Tells true tickets from forged ones.
    pub ticket_key: TicketKey,
}
