//! Connections with bounds, and which failures mean that the other side is lost.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, ServerErrorKind,
};

use crate::Address;

/// How long connecting may take, the password included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// Most questions on their way on one connection; more wait for their turn, within their time.
const MOST_IN_FLIGHT: usize = 512;

/// Connects, or gives up within [`CONNECT_TIMEOUT`]; an answer takes `answer_within` at most.
pub(crate) async fn connect(
    address: &Address,
    password: &str,
    answer_within: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let info = ConnectionAddr::Tcp(address.host.clone(), address.port)
        .into_connection_info()?
        .set_redis_settings(RedisConnectionInfo::default().set_password(password));
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(answer_within))
        .set_pipeline_buffer_size(MOST_IN_FLIGHT)
        .set_concurrency_limit(MOST_IN_FLIGHT);
    let client = Client::open(info)?;
    // Around all of it: looking up a name has no time-out of its own.
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    match tokio::time::timeout(2 * CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(RedisError::from(std::io::Error::from(
            std::io::ErrorKind::TimedOut,
        ))),
    }
}

/// Whether a failure means that this is no primary, or none that answers. What remains are
/// questions that were refused, such as a write while too few replicas follow (`NOREPLICAS`).
pub(crate) fn is_lost(error: &RedisError) -> bool {
    let says_so = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown
        )
    );
    says_so || error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}
