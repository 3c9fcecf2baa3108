//! A listener that takes connections until the process drains.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};

use crate::Process;

/// How long a listener that is about to close waits for one more connection. The kernel completes
/// connections by itself and queues them; closing the socket resets those that are still in the
/// queue, with the requests that they already carry.
const QUEUE_EMPTY_AFTER: Duration = Duration::from_millis(20);

/// A listener that closes as soon as the process drains and its queue of connections is empty.
///
/// A proxy whose connection is refused asks another replica, even with a POST: no request was sent.
/// A connection that is accepted and closed before its first request is a lost request instead. So
/// the listener closes first, and the connections that it took end [`GRACE`](crate::lifecycle::GRACE)
/// later.
pub(crate) struct DrainingListener {
    open: Option<TcpListener>,
    process: Process,
}

impl DrainingListener {
    pub(crate) fn new(listener: TcpListener, process: Process) -> Self {
        Self {
            open: Some(listener),
            process,
        }
    }
}

impl Listener for DrainingListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    /// The next connection; never ends once the listener is closed.
    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        if let Some(listener) = &mut self.open {
            tokio::select! {
                connection = Listener::accept(listener) => return connection,
                () = self.process.draining() => {}
            }
            let queued = tokio::time::timeout(QUEUE_EMPTY_AFTER, Listener::accept(listener));
            if let Ok(connection) = queued.await {
                return connection;
            }
            self.open = None;
        }
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.open {
            Some(listener) => listener.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_drains_takes_the_queued_connections_and_refuses_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let process = Process::new();
        let mut listener = DrainingListener::new(listener, process.clone());
        let mut queued = Vec::new();
        for _ in 0..3 {
            queued.push(TcpStream::connect(address).await.unwrap());
        }
        process.drain();
        for connection in &queued {
            let (_, from) = listener.accept().await;
            assert_eq!(from, connection.local_addr().unwrap());
        }
        let takes = tokio::spawn(async move {
            loop {
                listener.accept().await;
            }
        });
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), refused)
            .await
            .unwrap();
        takes.abort();
    }
}
