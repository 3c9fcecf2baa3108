//! The sentinels of Redis, asked directly and often whom they name.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::select_all;
use redis::IntoConnectionInfo;
use redis::aio::MultiplexedConnection;

use crate::stack::Stack;

/// The sentinels.
pub const SENTINELS: [&str; 3] = ["sentinel-1", "sentinel-2", "sentinel-3"];

/// How often each is asked: by so much earlier it may have named another.
const EVERY: Duration = Duration::from_millis(50);

/// Connections to all of them, which must run.
pub async fn connections(stack: &Stack) -> anyhow::Result<Vec<MultiplexedConnection>> {
    let file = std::env::var("REDIS_PASSWORD_FILE")
        .unwrap_or_else(|_| "/run/secrets/redis/redis_password".to_owned());
    let password = std::fs::read_to_string(&file)
        .with_context(|| format!("the password of Redis in {file}"))?;
    let mut connections = Vec::new();
    for name in SENTINELS {
        let state = stack.project.one(name).await?.state().await?;
        let address = state.address.with_context(|| format!("{name} is away"))?;
        let address = format!("redis://{address}:26379").into_connection_info()?;
        let settings = address.redis_settings().clone();
        let address = address.set_redis_settings(settings.set_password(password.trim()));
        let client = redis::Client::open(address)?;
        connections.push(client.get_multiplexed_async_connection().await?);
    }
    Ok(connections)
}

/// Waits until one of them names another primary than the one at this address; tells when it was
/// asked that.
pub async fn name_another(
    sentinels: Vec<MultiplexedConnection>,
    old: &str,
    bound: Duration,
) -> anyhow::Result<Instant> {
    let asking = sentinels.into_iter();
    let asking = asking.map(|sentinel| Box::pin(names_another(sentinel, old, bound)));
    select_all(asking).await.0
}

async fn names_another(
    mut sentinel: MultiplexedConnection,
    old: &str,
    bound: Duration,
) -> anyhow::Result<Instant> {
    let began = Instant::now();
    while began.elapsed() < bound {
        let asked = Instant::now();
        let mut ask = redis::cmd("SENTINEL");
        let ask = ask.arg("GET-MASTER-ADDR-BY-NAME").arg("boxoffice");
        let answer: Result<Vec<String>, _> = ask.query_async(&mut sentinel).await;
        // Host and port.
        if let Ok(named) = answer
            && named.first().is_some_and(|host| host != old)
        {
            return Ok(asked);
        }
        tokio::time::sleep(EVERY).await;
    }
    bail!("no sentinel named another primary within {bound:?}")
}
