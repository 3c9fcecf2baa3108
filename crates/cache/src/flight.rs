//! Single flight: those who miss the same key at the same time share one load.
//!
//! The first one leads; the others wait for its landing. A leader that goes away without landing
//! (its request was cancelled, its load panicked) wakes the others, one of which leads next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

/// How a flight ended.
#[derive(Clone, Debug)]
pub enum Landing {
    /// It has a value, known to be true as of a moment.
    Value {
        /// The value is at least as new as this.
        as_of: Instant,
        /// The value, or that there is none.
        value: Option<Bytes>,
    },
    /// Its load failed.
    Failed,
    /// Its leader went away before the load was done.
    Abandoned,
}

type Board = Arc<Mutex<HashMap<String, watch::Receiver<Option<Landing>>>>>;

/// The loads under way in this process, by key.
#[derive(Debug, Default)]
pub struct Flights {
    board: Board,
}

/// Whether to load or to wait.
#[derive(Debug)]
pub enum Boarding {
    /// Nobody loads this key: the caller does.
    Lead(Lead),
    /// Somebody loads this key.
    Join(Seat),
}

/// The duty to load.
#[derive(Debug)]
pub struct Lead {
    board: Board,
    key: String,
    began: Instant,
    tower: watch::Sender<Option<Landing>>,
}

/// A seat in a flight that another leads.
#[derive(Debug)]
pub struct Seat {
    flight: watch::Receiver<Option<Landing>>,
}

impl Flights {
    /// Joins the flight for `key`, or begins one.
    #[must_use]
    pub fn board(&self, key: &str) -> Boarding {
        let mut board = lock(&self.board);
        if let Some(flight) = board.get(key) {
            return Boarding::Join(Seat {
                flight: flight.clone(),
            });
        }
        let (tower, flight) = watch::channel(None);
        board.insert(key.to_owned(), flight);
        Boarding::Lead(Lead {
            board: self.board.clone(),
            key: key.to_owned(),
            began: Instant::now(),
            tower,
        })
    }
}

impl Lead {
    /// When the flight began; its load began later than that.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Gives everybody the value.
    pub fn land(self, as_of: Instant, value: Option<Bytes>) {
        self.tower
            .send_replace(Some(Landing::Value { as_of, value }));
    }

    /// Tells everybody that the load failed.
    pub fn fail(self) {
        self.tower.send_replace(Some(Landing::Failed));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        lock(&self.board).remove(&self.key);
    }
}

impl Seat {
    /// Waits until the flight has ended. The caller bounds the wait.
    pub async fn landing(mut self) -> Landing {
        match self.flight.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone().unwrap_or(Landing::Abandoned),
            Err(_) => Landing::Abandoned,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_abandoned_flight_wakes_those_who_wait_and_the_next_one_leads() {
        let flights = Flights::default();
        let Boarding::Lead(lead) = flights.board("k") else {
            panic!("nobody was there")
        };
        let Boarding::Join(seat) = flights.board("k") else {
            panic!("somebody was there")
        };
        drop(lead);
        assert!(matches!(seat.landing().await, Landing::Abandoned));
        assert!(matches!(flights.board("k"), Boarding::Lead(_)));
    }

    #[tokio::test]
    async fn a_landing_reaches_those_who_joined_and_nobody_else() {
        let flights = Flights::default();
        let Boarding::Lead(lead) = flights.board("k") else {
            panic!("nobody was there")
        };
        let Boarding::Join(seat) = flights.board("k") else {
            panic!("somebody was there")
        };
        let Boarding::Lead(_other) = flights.board("other") else {
            panic!("nobody was there")
        };
        lead.land(Instant::now(), Some(Bytes::from_static(b"v")));
        let Landing::Value { value, .. } = seat.landing().await else {
            panic!("it landed")
        };
        assert_eq!(value.as_deref(), Some(b"v".as_slice()));
        assert!(matches!(flights.board("k"), Boarding::Lead(_)));
    }
}
