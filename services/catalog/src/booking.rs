//! What the catalogue asks of `booking`: to put an event's seats and prices on sale.
//!
//! It asks a replica that has just said that it is ready, if there is one. One that hangs would take
//! the request and never answer, and nobody stands in between who would try another.
//!
//! While `booking` does not answer, or says that it cannot, nobody waits for it: after failures with
//! several events the circuit opens, and one task looks whether it is ready again. Failures with one
//! event count once, for its hall may just be too large for a busy moment.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use circuit_breaker::{Breaker, Options};
use messages::seating::{PUT_TIMEOUT, PutSeating};
use problem::Problem;
use serde::Deserialize;
use service::callers;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::metrics;

/// How long it may take to find a replica that is ready. Where it takes longer any one is asked.
pub const CHOICE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long booking may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// How long it may take to answer: a little longer than it allows itself. With the choice and the
/// changes of the document it is less than publishing may take.
pub const ANSWER_TIMEOUT: Duration = PUT_TIMEOUT.saturating_add(Duration::from_millis(50));

/// How long it may take to say that it is ready after it was not.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// So many events in a row whose seats could not be put open the circuit, for half a second or up to
/// half as long again.
const CIRCUIT: Options = Options {
    failures: 3,
    open_for: Duration::from_millis(500),
};

/// A client of booking's internal listener.
#[derive(Clone, Debug)]
pub struct Booking {
    client: reqwest::Client,
    url: reqwest::Url,
    /// Name and port, by which its replicas are found.
    name: String,
    circuit: Breaker,
}

/// What a problem says of its kind.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

impl Booking {
    /// Booking at `url`, which knows the catalogue by this key.
    ///
    /// # Errors
    /// The address or the key cannot be read.
    pub fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let mut key = HeaderValue::from_str(key).context("the key is no header")?;
        key.set_sensitive(true);
        let name = HeaderName::from_static(callers::CALLER_KEY);
        let client = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([(name, key)]))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_millis(500))
            .build()?;
        let url: reqwest::Url = url.parse()?;
        let host = url.host_str().context("booking has no host")?;
        let port = url.port_or_known_default().context("booking has no port")?;
        Ok(Self {
            client,
            name: format!("{host}:{port}"),
            url,
            circuit: Breaker::new("booking", CIRCUIT, metrics::booking_circuit()),
        })
    }

    /// Puts the seats of the event `id` on sale. Asking again with the same seats changes nothing.
    ///
    /// # Errors
    /// 409 where booking has other seats for this event; 503 where it does not answer: then it may
    /// have put them on sale or not, and asking again finds out. 503 as well, at once and with
    /// nothing sent, where it is known to be away.
    pub async fn put_seating(&self, id: Uuid, seating: &PutSeating) -> Result<(), Problem> {
        let key = id.to_string();
        let Some(permit) = self.circuit.permit_for(&key) else {
            return Err(away());
        };
        let replica = self.ready(CHOICE_TIMEOUT).await;
        let url = self.at(replica, &format!("/internal/events/{id}"));
        let answer = self.client.put(url).json(seating).send().await;
        let is_away = match &answer {
            Ok(answer) => answer.status().is_server_error(),
            Err(_) => true,
        };
        if !is_away {
            permit.answered();
        } else if permit.failed() {
            self.watch();
        }
        let answer = answer.map_err(|error| away().cause(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::CONFLICT {
            let told = answer.json::<Kind>().await;
            // Otherwise another one is at the same event: it is busy.
            return match told {
                Ok(told) if told.kind == "/problems/seating-differs" => Err(differs()),
                Ok(told) => Err(away().cause(format!("booking answered 409, {}", told.kind))),
                Err(error) => Err(away().cause(error)),
            };
        }
        let told = format!("booking answered {status}");
        if is_away || status == StatusCode::TOO_MANY_REQUESTS {
            Err(away().cause(told))
        } else {
            Err(Problem::internal(told))
        }
    }

    /// The address of `path` at this replica, or at any one.
    fn at(&self, replica: Option<SocketAddr>, path: &str) -> reqwest::Url {
        let mut url = self.url.clone();
        url.set_path(path);
        if let Some(replica) = replica {
            // They fail where there is no host, and here is one.
            let _ = url.set_ip_host(replica.ip());
            let _ = url.set_port(Some(replica.port()));
        }
        url
    }

    /// Looks, beside all requests, until booking is ready again.
    fn watch(&self) {
        let booking = self.clone();
        self.circuit.watch(move || {
            let booking = booking.clone();
            async move { booking.ready(PROBE_TIMEOUT).await.is_some() }
        });
    }

    /// A replica that says `within` this time that it is ready.
    async fn ready(&self, within: Duration) -> Option<SocketAddr> {
        let ready = async {
            let replicas = lookup_host(&self.name).await.ok()?;
            self.first_ready(replicas).await
        };
        timeout(within, ready).await.ok()?
    }

    /// The first of these replicas that says that it is ready. All are asked at once.
    async fn first_ready(&self, replicas: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
        let mut asked = JoinSet::new();
        for replica in replicas {
            let asking = self.client.get(self.at(Some(replica), "/readyz")).send();
            asked.spawn(async move {
                let answer = asking.await;
                let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
                is_ready.then_some(replica)
            });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok(Some(replica)) = answer {
                return Some(replica);
            }
        }
        None
    }
}

/// 503: booking does not answer, or is not asked because it did not a moment ago.
fn away() -> Problem {
    Problem::unavailable("booking")
}

/// 409: nothing will put these seats on sale.
fn differs() -> Problem {
    Problem::conflict(
        "seating-differs",
        "Booking has other seats for this event",
        "the event was put on sale with other seats before",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::extract::State;
    use axum::response::{IntoResponse, Response};
    use axum::routing::{get, put};
    use service::Key;

    use super::*;
    use crate::event::Event;
    use crate::trial;

    const KEY: &str = "the catalogue's";

    /// A booking that can be told what to answer, and counts who puts seats on sale.
    #[derive(Default)]
    struct Moody {
        status: AtomicUsize,
        puts: AtomicUsize,
    }

    impl Moody {
        fn answers(&self, status: StatusCode) {
            self.status.store(status.as_u16().into(), Ordering::SeqCst);
        }

        fn status(&self) -> StatusCode {
            let status = self.status.load(Ordering::SeqCst);
            StatusCode::from_u16(status.try_into().unwrap()).unwrap()
        }

        async fn put(State(moody): State<Arc<Self>>) -> Response {
            moody.puts.fetch_add(1, Ordering::SeqCst);
            match moody.status() {
                StatusCode::CONFLICT => Problem::conflict("busy", "busy", "busy").into_response(),
                status => status.into_response(),
            }
        }

        async fn ready(State(moody): State<Arc<Self>>) -> StatusCode {
            moody.status()
        }
    }

    async fn moody(status: StatusCode) -> (Arc<Moody>, Booking) {
        let moody = Arc::new(Moody::default());
        moody.answers(status);
        let routes = Router::new()
            .route("/internal/events/{id}", put(Moody::put))
            .with_state(moody.clone());
        let ready = Router::new()
            .route("/readyz", get(Moody::ready))
            .with_state(moody.clone());
        let routes = callers::only(&Key::new(KEY), routes).merge(ready);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (moody, Booking::new(&url, KEY).unwrap())
    }

    /// Puts the seats of an event of its own on sale; tells the status of a refusal.
    async fn put_one(booking: &Booking) -> Result<(), StatusCode> {
        let event = Event::create(Uuid::now_v7(), trial::draft("Faro"));
        let put = booking.put_seating(event.id, &event.seating()).await;
        put.map_err(|refused| refused.status())
    }

    #[tokio::test]
    async fn a_booking_that_is_busy_with_the_event_has_no_other_seats_for_it() {
        let (_, booking) = moody(StatusCode::CONFLICT).await;
        for _ in 0..2 * CIRCUIT.failures {
            let refused = put_one(&booking).await;
            assert_eq!(refused, Err(StatusCode::SERVICE_UNAVAILABLE));
        }
        assert!(!booking.circuit.is_open(), "it answered");
    }

    #[tokio::test]
    async fn a_booking_that_is_away_is_not_asked_until_it_is_ready() {
        let (moody, booking) = moody(StatusCode::SERVICE_UNAVAILABLE).await;
        for _ in 0..2 * CIRCUIT.failures {
            let refused = put_one(&booking).await;
            assert_eq!(refused, Err(StatusCode::SERVICE_UNAVAILABLE));
        }
        assert_eq!(moody.puts.load(Ordering::SeqCst), CIRCUIT.failures);
        moody.answers(StatusCode::OK);
        let back = async {
            while put_one(&booking).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let bound = Duration::from_secs(40);
        tokio::time::timeout(bound, back).await.unwrap();
        assert_eq!(moody.puts.load(Ordering::SeqCst), CIRCUIT.failures + 1);
    }

    #[tokio::test]
    async fn a_replica_that_hangs_is_not_chosen() {
        let (_, booking) = moody(StatusCode::OK).await;
        // Generous for a busy machine, and sooner than a replica that hangs is given up.
        let bound = ANSWER_TIMEOUT / 2;
        let well = booking.ready(bound).await.unwrap();
        // The kernel takes connections to it, and nobody reads them.
        let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hangs = hanging.local_addr().unwrap();
        for replicas in [[hangs, well], [well, hangs]] {
            let chosen = booking.first_ready(replicas.into_iter());
            let chosen = timeout(bound, chosen).await.unwrap();
            assert_eq!(chosen, Some(well));
        }
    }
}
