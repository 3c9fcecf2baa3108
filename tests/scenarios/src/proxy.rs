//! A small TCP proxy that loses one answer: it hands everything on, but after the bytes that it
//! waits for have gone through and the other side has answered them, it cuts the connection
//! instead of handing the answer on. What was asked has taken effect, and nobody was told.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::task::AbortOnDropHandle;

use crate::deadline::generous;

/// How long the other side may take to answer what is to be cut.
const ANSWER_BOUND: Duration = generous(Duration::from_secs(5));

/// How an answer begins that says that nothing has taken effect: a service was not quick enough.
/// There is nothing to lose, so the proxy hands it on.
const REFUSED: &[u8] = b"HTTP/1.1 503";

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    armed: Arc<AtomicU32>,
    cut: Arc<AtomicU32>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy in front of `upstream` (`host:port`) that cuts the answer to a chunk in which
    /// `wanted` occurs, as often as it is armed for.
    pub async fn in_front_of(upstream: &str, wanted: &'static [u8]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        let address = SocketAddr::new(own_address(upstream).await?, listener.local_addr()?.port());
        let (armed, cut) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let lane = Lane {
            upstream: upstream.to_owned(),
            wanted,
            armed: armed.clone(),
            cut: cut.clone(),
        };
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(lane.clone().carry(client));
            }
        });
        Ok(Self {
            address,
            armed,
            cut,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// Where containers of the stack reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `times` answers will be lost.
    pub fn arm(&self, times: u32) {
        self.armed.store(times, Ordering::SeqCst);
    }

    /// Whether an answer is still to be lost.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::SeqCst) > 0
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> u32 {
        self.cut.load(Ordering::SeqCst)
    }
}

/// The address by which this machine reaches `upstream`, and so can be reached by its neighbours.
async fn own_address(upstream: &str) -> anyhow::Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket
        .connect(upstream)
        .await
        .with_context(|| format!("{upstream} is nowhere"))?;
    Ok(socket.local_addr()?.ip())
}

#[derive(Clone)]
struct Lane {
    upstream: String,
    wanted: &'static [u8],
    armed: Arc<AtomicU32>,
    cut: Arc<AtomicU32>,
}

impl Lane {
    async fn carry(self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(&self.upstream).await else {
            return;
        };
        let (mut from_client, mut from_server) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            tokio::select! {
                read = client.read(&mut from_client) => {
                    let Ok(read @ 1..) = read else { return };
                    let chunk = &from_client[..read];
                    let cuts = self.is_wanted(chunk) && self.take_one();
                    if server.write_all(chunk).await.is_err() {
                        return;
                    }
                    if cuts {
                        // The answer has come, so what was asked is done; nobody hears of it.
                        let answer = server.read(&mut from_server);
                        let answer = tokio::time::timeout(ANSWER_BOUND, answer).await;
                        let Ok(Ok(read @ 1..)) = answer else { return };
                        if !from_server[..read].starts_with(REFUSED) {
                            self.cut.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                        self.armed.fetch_add(1, Ordering::SeqCst);
                        if client.write_all(&from_server[..read]).await.is_err() {
                            return;
                        }
                    }
                }
                read = server.read(&mut from_server) => {
                    let Ok(read @ 1..) = read else { return };
                    if client.write_all(&from_server[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn is_wanted(&self, chunk: &[u8]) -> bool {
        chunk
            .windows(self.wanted.len())
            .any(|window| window == self.wanted)
    }

    fn take_one(&self) -> bool {
        self.armed
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |armed| {
                armed.checked_sub(1)
            })
            .is_ok()
    }
}
