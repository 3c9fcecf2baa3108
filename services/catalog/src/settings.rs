//! Settings of the process.

use service::Secret;

/// Event documents: browse, search by city and date, read, see the seats; organisers create,
/// change and publish.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "catalog", version)]
pub struct Settings {
    #[command(flatten)]
    listeners: service::Listeners,
    /// Address of DynamoDB.
    #[arg(
        long,
        env = "DYNAMODB_ENDPOINT",
        default_value = "http://dynamodb:8000"
    )]
    pub dynamodb_endpoint: String,
    /// Name of the table, which is made where it is missing.
    #[arg(long, env = "DYNAMODB_TABLE", default_value = "catalog")]
    pub dynamodb_table: String,
    /// Address of the Redis that may be lost, host:port.
    #[arg(long, env = "CACHE_ADDRESS", default_value = "cache:6379")]
    pub cache_address: String,
    /// File with its password.
    #[arg(long, env = "CACHE_PASSWORD_FILE")]
    pub cache_password_file: Secret,
    /// Address of the Redis that lasts, host:port.
    #[arg(long, env = "REDIS_ADDRESS", default_value = "redis:6379")]
    pub redis_address: String,
    /// File with its password.
    #[arg(long, env = "REDIS_PASSWORD_FILE")]
    pub redis_password_file: Secret,
    /// Address of booking's internal listener.
    #[arg(long, env = "BOOKING_URL", default_value = "http://booking:9000")]
    pub booking_url: String,
}

impl service::Settings for Settings {
    fn listeners(&self) -> &service::Listeners {
        &self.listeners
    }
}
