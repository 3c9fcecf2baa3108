//! Redis behind the caches: one multiplexed connection, a short time-out, and a memory of being
//! away.
//!
//! The first operation that fails marks the store as away. From then on every operation fails at
//! once, while one task in the background connects again; no request ever waits for that. Keys
//! whose deletion failed are deleted before the store counts as there again, so that this process
//! never reads what it could not take away.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, ToRedisArgs, Value, cmd};

use crate::entry::{self, Found};

/// How long one operation may take before the store counts as away. Paid once an outage, not once
/// a request; shorter, and a moment without a processor would pass for an outage.
pub const OPERATION_TIMEOUT: Duration = Duration::from_millis(100);
/// How long connecting, and what has to be done before the store is used again, may take.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Most keys that wait for their deletion; above it every entry is deleted instead.
const MOST_DOOMED: usize = 4096;
/// How many entries are looked through at once where every one is deleted.
const SCANNED: u32 = 1000;

/// Stores a value only where its own lease still stands: `KEYS[1]` the place, `ARGV` the lease,
/// the entry, its life in milliseconds.
const FILL: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

/// Most changes that one fence protects; the oldest gives way. Only changes that never finished
/// (their process died, their outcome is unknown) can add up to so many.
const MOST_OWNERS: u32 = 16;

/// Adds a change to the fence: `KEYS[1]` the place, `ARGV` the change's token, the fence's life in
/// milliseconds, the most bytes of a fence. What stood there and was no fence is overwritten.
const RAISE: &str = "local entry = redis.call('GET', KEYS[1])
if not entry or string.sub(entry, 1, 1) ~= 'F' then entry = 'F' end
entry = entry .. ARGV[1]
if #entry > tonumber(ARGV[3]) then entry = 'F' .. string.sub(entry, 10) end
redis.call('SET', KEYS[1], entry, 'PX', ARGV[2])
return 1";

/// Takes a change out of the fence: `KEYS[1]` the place, `ARGV[1]` the change's token. Whatever
/// stands there and is no fence of another change is deleted: it may be from before this change.
const LIFT: &str = "local entry = redis.call('GET', KEYS[1])
if not entry then return 0 end
local others = ''
if string.sub(entry, 1, 1) == 'F' then
    for at = 2, #entry, 8 do
        local token = string.sub(entry, at, at + 7)
        if token ~= ARGV[1] then others = others .. token end
    end
end
if others == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], 'F' .. others, 'KEEPTTL')
return 0";

/// Deletes what stands at `KEYS`, fences excepted: they protect changes of other processes, and
/// end by themselves.
const FORGET: &str = "for _, key in ipairs(KEYS) do
    local entry = redis.call('GET', key)
    if entry and string.sub(entry, 1, 1) ~= 'F' then redis.call('DEL', key) end
end
return 1";

/// The store does not answer for now.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the cache is away")]
pub struct Away;

/// A Redis that caches stand in. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

struct Inner {
    client: Client,
    state: Mutex<State>,
}

struct State {
    /// The connection, unless the store is away.
    connection: Option<MultiplexedConnection>,
    /// Which connection this is, so that a late failure of an earlier one does no harm.
    generation: u64,
    /// Keys that could not be deleted.
    doomed: HashSet<String>,
    /// More keys than can be remembered could not be deleted.
    all_doomed: bool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Store {
    /// A store on the Redis at `address` (host:port, or host:port/number for a database that is not
    /// the first). It begins away and connects in the background at once; has to be called within a
    /// Tokio runtime.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn open(address: &str, password: &str) -> Result<Self, RedisError> {
        use redis::IntoConnectionInfo;
        let info = format!("redis://{address}").into_connection_info()?;
        let settings = info.redis_settings().clone().set_password(password);
        let store = Self(Arc::new(Inner {
            client: Client::open(info.set_redis_settings(settings))?,
            state: Mutex::new(State {
                connection: None,
                generation: 0,
                doomed: HashSet::new(),
                all_doomed: false,
            }),
        }));
        tokio::spawn(come_back(Arc::downgrade(&store.0), Duration::ZERO));
        Ok(store)
    }

    /// Waits until the store is there, `at_most` so long; tells whether it is.
    pub async fn ready(&self, at_most: Duration) -> bool {
        let until = tokio::time::Instant::now() + at_most;
        while self.0.lock().connection.is_none() {
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Found, Away> {
        let mut get = cmd("GET");
        get.arg(key);
        self.run(get).await.map(found)
    }

    /// Places a lease unless something stands there; tells what stood there.
    pub(crate) async fn lease(&self, key: &str, token: u64, life: Duration) -> Result<Found, Away> {
        let mut set = cmd("SET");
        set.arg(key)
            .arg(entry::lease(token).as_slice())
            .arg("NX")
            .arg("GET");
        set.arg("PX").arg(milliseconds(life));
        self.run(set).await.map(found)
    }

    /// Stores a value if the lease still stands; tells whether it did.
    pub(crate) async fn fill(
        &self,
        key: &str,
        token: u64,
        value: Option<&Bytes>,
        life: Duration,
    ) -> Result<bool, Away> {
        let mut eval = cmd("EVAL");
        eval.arg(FILL)
            .arg(1)
            .arg(key)
            .arg(entry::lease(token).as_slice());
        eval.arg(entry::value(value)).arg(milliseconds(life));
        self.run(eval).await.map(|answer| answer == Value::Int(1))
    }

    /// Puts a fence in the place of whatever stands there, or adds this change to the fence that
    /// does; where that fails, the entry is deleted before the store is used again.
    pub(crate) async fn raise(&self, key: &str, token: u64, life: Duration) -> Result<(), Away> {
        let mut eval = cmd("EVAL");
        eval.arg(RAISE)
            .arg(1)
            .arg(key)
            .arg(entry::owner(token).as_slice());
        eval.arg(milliseconds(life)).arg(1 + 8 * MOST_OWNERS);
        self.run_or_doom(key, eval).await
    }

    /// Takes this change out of the fence, and deletes the entry unless the fence of another change
    /// stands there; where that fails, it is done before the store is used again.
    pub(crate) async fn lift(&self, key: &str, token: u64) -> Result<(), Away> {
        let mut eval = cmd("EVAL");
        eval.arg(LIFT)
            .arg(1)
            .arg(key)
            .arg(entry::owner(token).as_slice());
        self.run_or_doom(key, eval).await
    }

    async fn run_or_doom(&self, key: &str, command: Cmd) -> Result<(), Away> {
        let done = self.run(command).await.map(|_| ());
        if done.is_err() {
            let mut state = self.0.lock();
            if state.doomed.len() < MOST_DOOMED {
                state.doomed.insert(key.to_owned());
            } else {
                state.all_doomed = true;
            }
            // It may have come back between the failure and this line: send it away again, so
            // that the key is deleted first.
            let generation = state.generation;
            drop(state);
            self.lost(generation, "a deletion failed");
        }
        done
    }

    async fn run(&self, command: Cmd) -> Result<Value, Away> {
        let (mut connection, generation) = {
            let state = self.0.lock();
            (state.connection.clone().ok_or(Away)?, state.generation)
        };
        let asked = connection.send_packed_command(&command);
        match tokio::time::timeout(OPERATION_TIMEOUT, asked).await {
            Ok(Ok(Value::ServerError(error))) => {
                self.lost(generation, &RedisError::from(error).to_string());
                Err(Away)
            }
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.lost(generation, &error.to_string());
                Err(Away)
            }
            Err(_) => {
                self.lost(generation, "no answer in time");
                Err(Away)
            }
        }
    }

    fn lost(&self, generation: u64, reason: &str) {
        let mut state = self.0.lock();
        if state.generation != generation || state.connection.take().is_none() {
            return;
        }
        drop(state);
        tracing::warn!(error = reason, "the cache is away");
        tokio::spawn(come_back(Arc::downgrade(&self.0), FIRST_PAUSE));
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, and deletes what has to be deleted before anything is read.
    async fn connect(&self) -> Result<(), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(RECONNECT_TIMEOUT))
            .set_response_timeout(Some(RECONNECT_TIMEOUT))
            .set_pipeline_buffer_size(512);
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        cmd("PING").exec_async(&mut connection).await?;
        loop {
            let (doomed, all) = {
                let mut state = self.lock();
                if state.doomed.is_empty() && !state.all_doomed {
                    state.generation += 1;
                    state.connection = Some(connection);
                    return Ok(());
                }
                (
                    std::mem::take(&mut state.doomed),
                    std::mem::take(&mut state.all_doomed),
                )
            };
            let forgotten = if all {
                forget_all(&mut connection).await
            } else {
                let forget = forget(doomed.len(), &doomed);
                forget.exec_async(&mut connection).await
            };
            if let Err(error) = forgotten {
                let mut state = self.lock();
                state.doomed.extend(doomed);
                state.all_doomed |= all;
                return Err(error);
            }
        }
    }
}

/// Deletes what stands at so many keys, fences excepted.
fn forget(count: usize, keys: impl ToRedisArgs) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(FORGET).arg(count).arg(keys);
    eval
}

/// Deletes every entry that has stood there since before this began, fences excepted.
async fn forget_all(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut cursor = 0_u64;
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("COUNT").arg(SCANNED);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        let forget = forget(keys.len(), &keys);
        forget.exec_async(connection).await?;
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}

/// Connects until it succeeds or nobody uses the store any more.
async fn come_back(store: Weak<Inner>, mut pause: Duration) {
    let mut told = false;
    loop {
        tokio::time::sleep(pause).await;
        let Some(store) = store.upgrade() else { return };
        match store.connect().await {
            Ok(()) => {
                tracing::info!("the cache is there");
                return;
            }
            Err(error) if !told => {
                tracing::warn!(%error, "the cache cannot be reached");
                told = true;
            }
            Err(_) => {}
        }
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }
}

fn found(answer: Value) -> Found {
    match answer {
        Value::BulkString(entry) => Found::read(entry),
        _ => Found::Nothing,
    }
}

fn milliseconds(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}
