//! The settings of the process.

use service::database::DatabaseSettings;
use service::{Key, Listeners};

use crate::ticket_code::TicketKey;

/// Seats, holds, orders, tickets and the ledger of the box office.
#[derive(Debug, clap::Parser)]
#[command(name = "booking", version)]
pub struct Settings {
    #[command(flatten)]
    pub(crate) listeners: Listeners,
    #[command(flatten)]
    pub(crate) database: DatabaseSettings,
    /// Host name of the door to the standbys of the database.
    #[arg(long, env = "STANDBYS_HOST")]
    pub(crate) standbys_host: String,
    /// Port of that door.
    #[arg(long, env = "STANDBYS_PORT", default_value_t = 5433)]
    pub(crate) standbys_port: u16,
    /// How long a hold lasts, in seconds.
    #[arg(long, env = "HOLD_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) hold_seconds: u16,
    /// How many seats of an event an account may keep at a time without having paid: in holds, and in
    /// orders whose payment is under way or was declined.
    #[arg(long, env = "SEATS_PER_ACCOUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(10..=20_000))]
    pub(crate) seats_per_account: u16,
    /// File with the Ed25519 public key of tickets, in hexadecimal.
    #[arg(long, env = "TICKET_PUBLIC_KEY_FILE")]
    pub(crate) ticket_public_key_file: TicketKey,
    /// File with the key by which Nginx is known.
    #[arg(long, env = "NGINX_KEY_FILE")]
    pub(crate) nginx_key_file: Key,
    /// File with the key of the catalogue, which puts seats on sale.
    #[arg(long, env = "CATALOG_KEY_FILE")]
    pub(crate) catalog_key_file: Key,
    /// File with the key of the checkers, who read the books.
    #[arg(long, env = "CROWD_KEY_FILE")]
    pub(crate) crowd_key_file: Key,
}

impl service::Settings for Settings {
    fn listeners(&self) -> &Listeners {
        &self.listeners
    }
}
