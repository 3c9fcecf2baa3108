//! What the catalogue asks of `booking`: to put an event's seats and prices on sale.

use std::time::Duration;

use axum::http::StatusCode;
use messages::seating::PutSeating;
use problem::Problem;
use uuid::Uuid;

/// A client of booking's internal listener.
#[derive(Clone, Debug)]
pub struct Booking {
    client: reqwest::Client,
    url: reqwest::Url,
}

impl Booking {
    /// Booking at `url`.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(4))
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_millis(500))
            .build()?;
        Ok(Self {
            client,
            url: url.parse()?,
        })
    }

    /// Puts the seats of the event `id` on sale. Asking again with the same seats changes nothing.
    ///
    /// # Errors
    /// 409 where booking has other seats for this event; 503 where it does not answer: then it may
    /// have put them on sale or not, and asking again finds out.
    pub async fn put_seating(&self, id: Uuid, seating: &PutSeating) -> Result<(), Problem> {
        let mut url = self.url.clone();
        url.set_path(&format!("/internal/events/{id}"));
        let answer = self.client.put(url).json(seating).send().await;
        let answer = answer.map_err(|error| Problem::unavailable("booking").cause(error))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT => Err(Problem::conflict(
                "seating-differs",
                "Booking has other seats for this event",
                "the event was put on sale with other seats before",
            )),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Problem::unavailable("booking").cause(format!("booking answered {status}")))
            }
            status => Err(Problem::internal(format!("booking answered {status}"))),
        }
    }
}
