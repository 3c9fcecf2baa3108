//! Requests at a steady pace, whether or not the earlier ones were answered, each asked once unless
//! its probe says otherwise.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::hall::Guests;
use super::recovery::{Came, Sample};
use client::booking::{Wanted, place_hold, place_order};
use client::{Ask, Budget, Client, Failure, Hold, Operation, Order, OrderState};
use crowd::visit::cards;

/// How many requests a second a prober makes.
pub const A_SECOND: f64 = 4.0;

/// Most requests of one prober at once. One that cannot be made because of this is a bad one.
const MOST_AT_ONCE: usize = 400;

/// After this long an order is given up.
const GIVEN_UP: Duration = Duration::from_secs(90);

/// One attempt, and one more.
const TWICE: Budget = Budget {
    attempts: 2,
    time: Duration::from_secs(10),
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// The event is read.
    Event,
    /// The account behind a session is read, which asks for the session to be checked.
    Session,
    /// The number of free seats is read.
    Availability,
    /// A seat is held, and given back.
    Hold,
    /// The same, and where that fails in a way that may pass, once more with the same key.
    HoldAgain,
    /// A seat is held, ordered and paid for.
    Order,
    /// The same with a card that takes two seconds, so that payments are always in hand.
    SlowPayment,
    /// Somebody signs in, and every other time out again.
    SignIn,
    /// An event is made and put on sale.
    Publish,
}

impl Probe {
    /// What is well when it succeeds.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::Event => "reading an event",
            Self::Session => "the session check",
            Self::Availability => "reading what is free",
            Self::Hold => "a hold",
            Self::HoldAgain => "a hold, asked for twice at most",
            Self::Order => "an order, paid",
            Self::SlowPayment => "payments in hand",
            Self::SignIn => "signing in",
            Self::Publish => "publishing an event",
        }
    }

    /// What costs the stack much is asked for less often.
    fn pause(self) -> Duration {
        let a_second = match self {
            Self::SignIn | Self::SlowPayment => A_SECOND / 2.0,
            Self::Publish => A_SECOND / 4.0,
            _ => A_SECOND,
        };
        Duration::from_secs_f64(1.0 / a_second)
    }

    /// Asks once; what came of it, and when it was answered.
    async fn ask(self, guests: &Guests, number: u64) -> (Came, Instant) {
        let client = guests.prober(number);
        let asked = Instant::now();
        let took = |succeeded: bool| succeeded.then(|| asked.elapsed());
        let took = match self {
            Self::Event => took(client.event(guests.event_id).await.is_ok()),
            Self::Session => took(client.me().await.is_ok()),
            Self::Availability => took(client.availability(guests.event_id).await.is_ok()),
            Self::Hold => hold(client, guests.event_id).await,
            Self::HoldAgain => {
                let client = client.clone().with_budget(TWICE);
                hold(&client, guests.event_id).await
            }
            Self::SignIn => took(guests.sessions.sign_in(number).await.is_ok()),
            Self::Publish => took(guests.publish().await.is_ok()),
            Self::Order => took(is_paid(client, guests.event_id, cards::FINE).await),
            Self::SlowPayment => took(is_paid(client, guests.event_id, cards::SLOW).await),
        };
        let came = match took {
            Some(took) if took <= self.promptly() => Came::Good,
            Some(_) => Came::Late,
            None => Came::Bad,
        };
        // A hold is given back after it was answered.
        (came, took.map_or_else(Instant::now, |took| asked + took))
    }

    /// An answer that takes longer is late.
    fn promptly(self) -> Duration {
        match self {
            // What is paid for, and what is made of many steps.
            Self::Order | Self::SlowPayment => Duration::from_secs(2),
            Self::HoldAgain | Self::Publish => Duration::from_secs(4),
            _ => Duration::from_millis(2_500),
        }
    }
}

async fn once<T: serde::de::DeserializeOwned>(client: &Client, ask: &Ask) -> Result<T, Failure> {
    client.ask_once(ask, 0).await?.read()
}

/// Holds a seat, tells how long that took, and gives it back: whether that could be done, and when,
/// is not what is asked.
async fn hold(client: &Client, event_id: Uuid) -> Option<Duration> {
    let asked = Instant::now();
    let hold = client.hold(event_id, &Wanted::Best(1)).await.ok()?;
    let took = asked.elapsed();
    let _ = client.release(hold.id).await;
    Some(took)
}

/// Whether a seat was held, ordered and paid for.
async fn is_paid(client: &Client, event_id: Uuid, card: &str) -> bool {
    let asked = Instant::now();
    let placed = async {
        let ask = place_hold(client.next_key(), event_id, &Wanted::Best(1));
        let hold: Hold = once(client, &ask).await?;
        once::<Order>(client, &place_order(client.next_key(), hold.id, card)).await
    };
    let Ok(placed) = placed.await else {
        return false;
    };
    let path = format!("/api/booking/orders/{}", placed.id);
    let ask = Ask::get(Operation::ReadOrder, path).about(placed.id);
    let mut pause = Duration::from_millis(60);
    while asked.elapsed() < GIVEN_UP {
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(Duration::from_secs(1));
        // A read that fails says nothing about the order.
        match once::<Order>(client, &ask).await.map(|order| order.state) {
            Ok(OrderState::Paid) => return true,
            Ok(OrderState::Pending) | Err(_) => {}
            Ok(_) => return false,
        }
    }
    false
}

/// A prober at work.
#[derive(Debug)]
pub struct Prober {
    asked: Arc<Mutex<Vec<Asked>>>,
    began: Instant,
    ends: CancellationToken,
    task: JoinHandle<()>,
}

/// A request, and when it was answered with what, once it is.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Duration,
    answered: Option<(Duration, Came)>,
}

/// One that is dropped asks nothing more.
impl Drop for Prober {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}

impl Prober {
    /// Asks from now on; times are counted from `began`.
    #[must_use]
    pub fn start(probe: Probe, guests: Arc<Guests>, began: Instant) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ends = CancellationToken::new();
        let task = tokio::spawn(keep_asking(
            probe,
            guests,
            began,
            asked.clone(),
            ends.clone(),
        ));
        Self {
            asked,
            began,
            ends,
            task,
        }
    }

    /// What came so far. A request that waits for its answer counts as a bad one until now.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.began.elapsed();
        let sample = |one: &Asked| {
            let (answered, came) = one.answered.unwrap_or((now, Came::Bad));
            Sample {
                asked: one.at,
                answered,
                came,
            }
        };
        asked.iter().map(sample).collect()
    }

    /// Asks nothing more and waits until all is answered or given up.
    pub async fn stop(&mut self) {
        self.ends.cancel();
        // It ends by itself: every request has a time-out.
        let _ = (&mut self.task).await;
    }
}

async fn keep_asking(
    probe: Probe,
    guests: Arc<Guests>,
    began: Instant,
    all: Arc<Mutex<Vec<Asked>>>,
    ends: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut ticks = tokio::time::interval(probe.pause());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut asking = JoinSet::new();
    for number in 0.. {
        tokio::select! {
            () = ends.cancelled() => break,
            _ = ticks.tick() => {}
        }
        while asking.try_join_next().is_some() {}
        let place = {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Asked {
                at: began.elapsed(),
                answered: None,
            });
            all.len() - 1
        };
        let (guests, all, permits) = (guests.clone(), all.clone(), permits.clone());
        asking.spawn(async move {
            let (came, answered) = match permits.try_acquire() {
                Ok(_permit) => probe.ask(&guests, number).await,
                Err(_) => (Came::Bad, Instant::now()),
            };
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all[place].answered = Some((answered.saturating_duration_since(began), came));
        });
    }
    while asking.join_next().await.is_some() {}
}
