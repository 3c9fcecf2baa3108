//! Seats, holds, orders, tickets, the door of the hall.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Admission, Ask, Availability, Client, Failure, Hold, ListedSeat, Operation, Order, Page,
    SeatName, SettlementView, Ticket, WorkerStatus,
};

/// What a hold is asked for.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// These seats.
    Named(Vec<SeatName>),
    /// The best so many.
    Best(u32),
}

impl Wanted {
    /// The body of the request.
    #[must_use]
    pub fn body(&self, event_id: Uuid) -> Value {
        match self {
            Self::Named(seats) => json!({"event_id": event_id, "seats": seats}),
            Self::Best(count) => json!({"event_id": event_id, "best": {"count": count}}),
        }
    }
}

/// The request for a hold.
#[must_use]
pub fn place_hold(key: String, event_id: Uuid, wanted: &Wanted) -> Ask {
    Ask::post(Operation::PlaceHold, "/api/booking/holds")
        .key(key)
        .json(wanted.body(event_id))
}

/// The request for an order.
#[must_use]
pub fn place_order(key: String, hold_id: Uuid, card: &str) -> Ask {
    Ask::post(Operation::PlaceOrder, "/api/booking/orders")
        .about(hold_id)
        .key(key)
        .json(json!({"hold_id": hold_id, "card": card}))
}

/// The request to cancel an order.
#[must_use]
pub fn cancel_order(key: String, id: Uuid) -> Ask {
    let path = format!("/api/booking/orders/{id}/cancel");
    Ask::post(Operation::CancelOrder, path).about(id).key(key)
}

/// The request to pay an order with another card.
#[must_use]
pub fn give_card(key: String, id: Uuid, card: &str) -> Ask {
    let path = format!("/api/booking/orders/{id}/card");
    Ask::post(Operation::GiveCard, path)
        .about(id)
        .key(key)
        .json(json!({"card": card}))
}

/// The request to let a ticket in.
#[must_use]
pub fn scan(key: String, code: &str) -> Ask {
    Ask::post(Operation::Scan, "/api/booking/scans")
        .key(key)
        .json(json!({"code": code}))
}

impl Client {
    /// How many seats are left.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn availability(&self, event_id: Uuid) -> Result<Availability, Failure> {
        let path = format!("/api/booking/events/{event_id}/availability");
        self.read(&Ask::get(Operation::ReadAvailability, path).about(event_id))
            .await
    }

    /// The first 500 seats and where they stand.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn seats(&self, event_id: Uuid) -> Result<Page<ListedSeat>, Failure> {
        let path = format!("/api/booking/events/{event_id}/seats?limit=500");
        self.read(&Ask::get(Operation::ReadSeats, path).about(event_id))
            .await
    }

    /// Holds seats.
    ///
    /// # Errors
    /// A refusal (409 `seats-taken`, `sold-out`, `seat-limit-reached`), or no answer.
    pub async fn hold(&self, event_id: Uuid, wanted: &Wanted) -> Result<Hold, Failure> {
        self.read(&place_hold(self.next_key(), event_id, wanted))
            .await
    }

    /// A hold.
    ///
    /// # Errors
    /// A refusal (404), or no answer.
    pub async fn read_hold(&self, id: Uuid) -> Result<Hold, Failure> {
        let path = format!("/api/booking/holds/{id}");
        self.read(&Ask::get(Operation::ReadHold, path).about(id))
            .await
    }

    /// Gives a hold back.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn release(&self, id: Uuid) -> Result<(), Failure> {
        let path = format!("/api/booking/holds/{id}");
        self.insist(&Ask::delete(Operation::ReleaseHold, path).about(id))
            .await
            .map(drop)
    }

    /// Orders what is held.
    ///
    /// # Errors
    /// A refusal (409 `hold-expired`, 404), or no answer.
    pub async fn order(&self, hold_id: Uuid, card: &str) -> Result<Order, Failure> {
        self.read(&place_order(self.next_key(), hold_id, card))
            .await
    }

    /// An order.
    ///
    /// # Errors
    /// A refusal (404), or no answer.
    pub async fn read_order(&self, id: Uuid) -> Result<Order, Failure> {
        let path = format!("/api/booking/orders/{id}");
        self.read(&Ask::get(Operation::ReadOrder, path).about(id))
            .await
    }

    /// A page of the customer's orders, newest first.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn orders(&self, cursor: Option<&str>) -> Result<Page<Order>, Failure> {
        let cursor = cursor
            .map(|cursor| format!("&cursor={cursor}"))
            .unwrap_or_default();
        let path = format!("/api/booking/orders?limit=100{cursor}");
        self.read(&Ask::get(Operation::ListOrders, path)).await
    }

    /// Cancels an order.
    ///
    /// # Errors
    /// A refusal (409 `ticket-admitted`, `order-final`), or no answer.
    pub async fn cancel(&self, id: Uuid) -> Result<Order, Failure> {
        self.read(&cancel_order(self.next_key(), id)).await
    }

    /// Pays a declined order with another card.
    ///
    /// # Errors
    /// A refusal (409 `order-not-declined`), or no answer.
    pub async fn give_card(&self, id: Uuid, card: &str) -> Result<Order, Failure> {
        self.read(&give_card(self.next_key(), id, card)).await
    }

    /// An order's tickets.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn tickets(&self, order_id: Uuid) -> Result<Vec<Ticket>, Failure> {
        let path = format!("/api/booking/orders/{order_id}/tickets");
        let page: Page<Ticket> = self
            .read(&Ask::get(Operation::ReadTickets, path).about(order_id))
            .await?;
        Ok(page.items)
    }

    /// A ticket's PDF; tells its media type and length.
    ///
    /// # Errors
    /// A refusal (404 until it is rendered, 410 once cancelled), or no answer.
    pub async fn pdf(&self, ticket_id: Uuid) -> Result<(String, usize), Failure> {
        let path = format!("/api/booking/tickets/{ticket_id}/pdf");
        let answer = self
            .insist(&Ask::get(Operation::ReadPdf, path).about(ticket_id))
            .await?;
        Ok((answer.content_type, answer.length))
    }

    /// Lets a ticket in.
    ///
    /// # Errors
    /// A refusal (409, 422 `ticket-forged`, 404), or no answer.
    pub async fn scan(&self, code: &str) -> Result<Admission, Failure> {
        self.read(&scan(self.next_key(), code)).await
    }

    /// What the organiser of an event was paid.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn settlements(&self, event_id: Uuid) -> Result<Vec<SettlementView>, Failure> {
        let path = format!("/api/booking/events/{event_id}/settlements");
        let page: Page<SettlementView> = self
            .read(&Ask::get(Operation::ReadSettlements, path).about(event_id))
            .await?;
        Ok(page.items)
    }

    /// What one of the workers says about itself and the leader.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn worker_status(&self) -> Result<WorkerStatus, Failure> {
        self.read(&Ask::get(Operation::ReadWorkers, "/api/worker/status"))
            .await
    }
}
