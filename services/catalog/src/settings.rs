//! Settings of the process.

use sentinel::Address;
use service::{Key, Secret};

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
    /// Address of each sentinel that knows where the Redis is that lasts, with commas in between.
    #[arg(
        long,
        env = "REDIS_SENTINELS",
        value_delimiter = ',',
        default_value = "sentinel-1:26379,sentinel-2:26379,sentinel-3:26379"
    )]
    pub redis_sentinels: Vec<Address>,
    /// What the sentinels call the Redis nodes that they watch.
    #[arg(long, env = "REDIS_NAME", default_value = "boxoffice")]
    pub redis_name: String,
    /// File with the password of the nodes and the sentinels.
    #[arg(long, env = "REDIS_PASSWORD_FILE")]
    pub redis_password_file: Secret,
    /// Address of booking's internal listener.
    #[arg(long, env = "BOOKING_URL", default_value = "http://booking:9000")]
    pub booking_url: String,
    /// File with the key by which booking knows the catalogue.
    #[arg(long, env = "BOOKING_KEY_FILE")]
    pub booking_key_file: Secret,
    /// File with the key by which Nginx is known.
    #[arg(long, env = "NGINX_KEY_FILE")]
    pub nginx_key_file: Key,
}

impl service::Settings for Settings {
    fn listeners(&self) -> &service::Listeners {
        &self.listeners
    }
}
