//! One customer: does what a visit chose, and keeps asking until each answer is definite.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::visit::{Cancel, Declined, Pick, Then, Visit, cards};
use client::booking::{self, Wanted};
use client::catalog::CITY;
use client::{Client, Failure, Hold, Order, OrderState};

/// How long a customer waits for the payment of an order.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What a visit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gained {
    /// Seats, paid for and kept.
    Seats,
    /// Nothing this time.
    Nothing,
    /// Nothing: the card was declined and no other was given, so the seats come back by themselves.
    Unpaid {
        /// When they do.
        back_at: DateTime<Utc>,
    },
    /// Nothing: there was nothing left.
    SoldOut,
}

/// A signed-in customer in front of one event.
#[derive(Clone, Debug)]
pub struct Customer {
    /// The signed-in client.
    pub client: Client,
    /// The event this customer wants to see.
    pub event_id: Uuid,
}

impl Customer {
    /// Does what the visit chose.
    ///
    /// # Errors
    /// A failure that the visit could not go on after. Refusals that belong to the trade (taken
    /// seats, an expired hold) are no failures.
    pub async fn visit(&self, visit: &Visit) -> Result<Gained, Failure> {
        if visit.browses {
            self.browse().await?;
        }
        let hold = match self.hold(visit.pick).await {
            Ok(hold) => hold,
            Err(failure) => return nothing_to_hold(failure),
        };
        match visit.then {
            Then::WalkAway => return Ok(Gained::Nothing),
            Then::Release => {
                self.client.release(hold.id).await?;
                return Ok(Gained::Nothing);
            }
            Then::Order => {}
        }
        let order = match self.order(&hold, visit).await {
            Ok(order) => order,
            Err(failure) => return too_late(failure),
        };
        if visit.cancel == Cancel::AtOnce {
            self.client.cancel(order.id).await?;
        }
        let mut order = self.settled(order.id).await?;
        if order.state == OrderState::Declined {
            order = self.after_decline(order, visit.declined).await?;
        }
        if let (OrderState::Declined, Some(back_at)) = (order.state, order.payment_due_at) {
            return Ok(Gained::Unpaid { back_at });
        }
        if order.state != OrderState::Paid {
            return Ok(Gained::Nothing);
        }
        if visit.fetches_tickets {
            self.fetch_tickets(order.id).await?;
        }
        if visit.cancel == Cancel::WhenPaid {
            self.client.cancel(order.id).await?;
            self.settled(order.id).await?;
            return Ok(Gained::Nothing);
        }
        Ok(Gained::Seats)
    }

    async fn browse(&self) -> Result<(), Failure> {
        self.client.events_in(CITY, 20).await?;
        self.client.event(self.event_id).await?;
        self.client.seat_map(self.event_id).await?;
        self.client.popular().await?;
        self.client.availability(self.event_id).await?;
        Ok(())
    }

    async fn hold(&self, pick: Pick) -> Result<Hold, Failure> {
        let wanted = match pick {
            Pick::Best(count) => Wanted::Best(count),
            Pick::Named { count, share } => {
                let page = self.client.seats(self.event_id).await?;
                let free: Vec<_> = page
                    .items
                    .into_iter()
                    .filter(|seat| seat.state == "free")
                    .collect();
                let count = usize::try_from(count).unwrap_or(1).min(free.len());
                if count == 0 {
                    Wanted::Best(1)
                } else {
                    #[allow(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        clippy::cast_precision_loss
                    )]
                    let from = ((free.len() - count) as f64 * share) as usize;
                    let seats = free.into_iter().skip(from).take(count);
                    Wanted::Named(seats.map(|seat| seat.name).collect())
                }
            }
        };
        self.client.hold(self.event_id, &wanted).await
    }

    async fn order(&self, hold: &Hold, visit: &Visit) -> Result<Order, Failure> {
        let ask = booking::place_order(self.client.next_key(), hold.id, visit.card);
        let order: Order = self.client.read(&ask).await?;
        if visit.repeats {
            self.client.insist(&ask).await?;
        }
        if visit.reuses_key {
            let other = json!({"hold_id": hold.id, "card": cards::NEVER_ANSWERS});
            // It must be refused; that it was is for the checker of keys to say.
            let _ = self.client.insist(&ask.clone().json(other)).await;
        }
        Ok(order)
    }

    /// Looks at an order until its payment is settled one way or the other, or patience ends.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn settled(&self, id: Uuid) -> Result<Order, Failure> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let order = self.client.read_order(id).await?;
            let waits = matches!(order.state, OrderState::Pending | OrderState::Cancelling);
            if !waits || began.elapsed() > PATIENCE {
                return Ok(order);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(1));
        }
    }

    async fn after_decline(&self, order: Order, choice: Declined) -> Result<Order, Failure> {
        let done = match choice {
            Declined::WalkAway => return Ok(order),
            Declined::NewCard => self.client.give_card(order.id, cards::FINE).await,
            Declined::Cancel => self.client.cancel(order.id).await,
        };
        match done {
            Ok(order) => self.settled(order.id).await,
            // It expired meanwhile.
            Err(failure) if failure.status() == Some(409) => self.client.read_order(order.id).await,
            Err(failure) => Err(failure),
        }
    }

    async fn fetch_tickets(&self, order_id: Uuid) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(15) {
            let tickets = self.client.tickets(order_id).await?;
            if let Some(ticket) = tickets.first()
                && tickets.iter().all(|ticket| ticket.pdf.is_some())
            {
                self.client.pdf(ticket.id).await?;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        Ok(())
    }
}

fn nothing_to_hold(failure: Failure) -> Result<Gained, Failure> {
    match failure.problem() {
        Some("sold-out") => Ok(Gained::SoldOut),
        Some("seats-taken" | "seats-busy" | "seat-limit-reached" | "busy") => Ok(Gained::Nothing),
        _ => Err(failure),
    }
}

fn too_late(failure: Failure) -> Result<Gained, Failure> {
    match failure.problem() {
        Some("hold-expired" | "hold-ordered" | "hold-released" | "busy") => Ok(Gained::Nothing),
        _ => Err(failure),
    }
}
