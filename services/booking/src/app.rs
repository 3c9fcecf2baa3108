//! What every handler may use.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;

use crate::overview::Overview;
use crate::ticket_code::TicketKey;

/// The state behind the routes.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// The database.
    pub pool: PgPool,
    /// Where the public seat overview is read.
    pub overview: Arc<Overview>,
    /// How long a hold lasts.
    pub hold_for: Duration,
    /// Most seats of an event that an account may keep at a time without having paid.
    pub seats_per_account: u16,
    /// Tells true tickets from forged ones.
    pub ticket_key: TicketKey,
}
