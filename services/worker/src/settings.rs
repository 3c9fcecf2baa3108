//! What the environment says.

use std::time::Duration;

use service::database::DatabaseSettings;
use service::{Key, Listeners, Secret};

/// The back office of booking: payments, tickets, the leader's tasks.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "worker", version)]
pub struct Settings {
    /// What every process has.
    #[command(flatten)]
    pub listeners: Listeners,
    /// `booking`'s database, with this process's own role.
    #[command(flatten)]
    pub database: DatabaseSettings,
    /// Where the queues are.
    #[arg(long, env = "SQS_ENDPOINT", default_value = "http://localstack:4566")]
    pub sqs_endpoint: String,
    /// The members of etcd, with commas between them.
    #[arg(long, env = "ETCD_ENDPOINTS", value_delimiter = ',', required = true)]
    pub etcd_endpoints: Vec<String>,
    /// Where `bank` is.
    #[arg(long, env = "BANK_URL", default_value = "http://bank:8080")]
    pub bank_url: String,
    /// File with the key that `bank` gave us.
    #[arg(long, env = "BANK_KEY_FILE")]
    pub bank_key_file: Secret,
    /// File with the seed of the key that signs tickets: 32 bytes as hexadecimal digits.
    #[arg(long, env = "TICKET_SIGNING_KEY_FILE")]
    pub ticket_signing_key_file: Secret,
    /// File with the key by which Nginx is known.
    #[arg(long, env = "NGINX_KEY_FILE")]
    pub nginx_key_file: Key,
    /// The leader's lease.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=60))]
    pub lease_seconds: u64,
    /// How often expired holds are released.
    #[arg(long, env = "SWEEP_SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub sweep_seconds: u64,
    /// The period of settlements with organisers.
    #[arg(long, env = "SETTLEMENT_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub settlement_seconds: u64,
    /// For how many hours after its start an event is kept, with its orders and tickets.
    #[arg(long, env = "EVENT_KEEP_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8760))]
    pub event_keep_hours: u64,
    /// How long a message stays invisible while it is worked on; work that takes longer prolongs
    /// it.
    #[arg(long, env = "VISIBILITY_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=600))]
    pub visibility_seconds: u64,
    /// How long a sent row may go undelivered until it is sent again.
    #[arg(long, env = "RESEND_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub resend_seconds: u64,
    /// How long after the first declined card of an order other cards may be given. The same setting
    /// as `booking`'s.
    #[arg(long, env = "HOLD_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub hold_seconds: u64,
}

impl Settings {
    /// The leader's lease.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    /// For how long after its start an event is kept.
    #[must_use]
    pub fn event_keep(&self) -> Duration {
        Duration::from_secs(self.event_keep_hours * 3600)
    }

    /// How long a message stays invisible.
    #[must_use]
    pub fn visibility(&self) -> Duration {
        Duration::from_secs(self.visibility_seconds)
    }
}

impl service::Settings for Settings {
    fn listeners(&self) -> &Listeners {
        &self.listeners
    }
}
