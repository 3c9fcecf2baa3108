//! A small run in which every promise held. The tests of the checkers and of their callers break
//! one promise in it at a time. One order is paid; one is paid and its ticket was admitted; one was
//! cancelled after it was paid; one hold was released; one payout was made.

#![allow(clippy::unwrap_used)] // the sample looks up only what it wrote itself

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use messages::audit::{
    Audit, AuditedHold, AuditedOrder, AuditedRow, AuditedSeat, AuditedSettlement, AuditedTask,
    AuditedTerm, AuditedTicket, AuditedTransaction, Ledger, Outbox,
};
use messages::bank::{Balance, Kind, Movement, Outcome};
use serde_json::json;
use uuid::Uuid;

use super::Ending;
use client::history::{self, Record};
use client::{Answer, Ask, Hold, Operation, Order, OrderState, PricedSeat, SeatName, booking};

const PRICE: i64 = 4_500;

/// A good run.
#[derive(Debug)]
pub struct Sample {
    /// What the customers' attempts came to.
    pub history: Vec<Record>,
    /// What is there afterwards.
    pub ending: Ending,
    /// The order that is paid and whose ticket is valid.
    pub paid: Uuid,
    /// The order that is paid and whose ticket was admitted.
    pub admitted: Uuid,
    /// The order that was cancelled.
    pub cancelled: Uuid,
    /// The hold that was released.
    pub released: Uuid,
    began: DateTime<Utc>,
    clock: i64,
    event: Uuid,
}

impl Sample {
    /// The run before a test changes it.
    #[must_use]
    pub fn good() -> Self {
        let began = Utc::now() - TimeDelta::seconds(600);
        let nobody = Uuid::nil();
        let mut sample = Self {
            history: Vec::new(),
            ending: Ending::default(),
            paid: nobody,
            admitted: nobody,
            cancelled: nobody,
            released: nobody,
            began,
            clock: 0,
            event: Uuid::now_v7(),
        };
        sample.ending.audit = Some(Audit {
            event_id: sample.event,
            read_at: began + TimeDelta::seconds(500),
            ..Audit::default()
        });
        sample.ending.books = Some(Vec::new());
        sample.ending.events.insert(sample.event);
        let event = sample.event;
        let ask = Ask::post(Operation::PublishEvent, "/publish").about(event);
        let view = json!({"id": event, "title": "t", "starts_at": began});
        sample.answer(nobody, &ask, 200, view);
        for number in 1..=4 {
            let seat = AuditedSeat {
                id: number,
                section: "Stalls".to_owned(),
                row: "1".to_owned(),
                number: i32::try_from(number).unwrap(),
                price_minor: PRICE,
                hold_id: None,
                held_until: None,
                order_id: None,
            };
            sample.audit().seats.push(seat);
        }
        sample.paid = sample.buy(1, OrderState::Paid);
        sample.admitted = sample.buy(2, OrderState::Paid);
        sample.cancelled = sample.buy(3, OrderState::Cancelled);
        sample.released = sample.give_back(4);
        let ticket = &mut sample.audit().tickets[1];
        ticket.state = "admitted".to_owned();
        ticket.admitted_at = Some(began);
        let admission = json!({"ticket_id": ticket.id, "admitted_at": began});
        sample.answer(
            nobody,
            &booking::scan("scan-1".to_owned(), "code"),
            200,
            admission,
        );
        sample.settle();
        sample
    }

    /// `booking`'s rows.
    pub fn audit(&mut self) -> &mut Audit {
        self.ending.audit.as_mut().unwrap()
    }

    /// The row of an order.
    pub fn audit_order(&mut self, id: Uuid) -> &mut AuditedOrder {
        self.audit()
            .orders
            .iter_mut()
            .find(|order| order.id == id)
            .unwrap()
    }

    /// The row of a hold.
    pub fn audit_hold(&mut self, id: Uuid) -> &mut AuditedHold {
        self.audit()
            .holds
            .iter_mut()
            .find(|hold| hold.id == id)
            .unwrap()
    }

    /// The first record of `operation` once more, asked after everything else and answered with
    /// the same, as a repetition is.
    pub fn repeat(&mut self, operation: Operation) -> &mut Record {
        self.clock += 1;
        let mut records = self.history.iter();
        let mut again = records
            .find(|record| record.operation == operation)
            .unwrap()
            .clone();
        let later = self.now() - again.asked_at;
        again.asked_at += later;
        again.answered_at += later;
        again.attempt += 1;
        if let history::Outcome::Answered { replayed, .. } = &mut again.outcome {
            *replayed = true;
        }
        self.history.push(again);
        self.history.last_mut().unwrap()
    }

    /// A customer looks at an order and sees it in `state`.
    pub fn look(&mut self, id: Uuid, state: OrderState) {
        let mut order = self.ending.order(id).unwrap().clone();
        order.state = state;
        order.cancel_requested = matches!(state, OrderState::Cancelled);
        let actor = self.audit_order(id).customer_id;
        let ask = Ask::get(Operation::ReadOrder, "/order").about(id);
        self.answer(actor, &ask, 200, serde_json::to_value(order).unwrap());
    }

    fn now(&self) -> DateTime<Utc> {
        self.began + TimeDelta::seconds(self.clock)
    }

    fn answer(&mut self, actor: Uuid, ask: &Ask, status: u16, body: serde_json::Value) {
        self.clock += 1;
        let answer = Answer {
            status,
            body,
            ..Answer::default()
        };
        let elapsed = Duration::from_millis(20);
        self.history
            .push(Record::new(actor, ask, 0, self.now(), elapsed, &Ok(answer)));
    }

    /// A new customer holds a seat.
    fn hold(&mut self, seat_id: i64, becomes: &str) -> (Uuid, Hold) {
        let customer = Uuid::now_v7();
        self.ending.accounts.insert(customer);
        let me = json!({"id": customer, "email": "a@example.org", "role": "customer"});
        self.answer(customer, &Ask::get(Operation::ReadAccount, "/me"), 200, me);
        let name = SeatName {
            section: "Stalls".to_owned(),
            row: "1".to_owned(),
            number: i32::try_from(seat_id).unwrap(),
        };
        let hold = Hold {
            id: Uuid::now_v7(),
            event_id: self.event,
            state: "active".to_owned(),
            seats: vec![PricedSeat {
                name,
                price_minor: PRICE,
            }],
            total_minor: PRICE,
            expires_at: self.now() + TimeDelta::seconds(120),
        };
        let wanted = booking::Wanted::Best(1);
        let ask = booking::place_hold(format!("hold-{seat_id}"), self.event, &wanted);
        self.answer(customer, &ask, 201, serde_json::to_value(&hold).unwrap());
        let created_at = self.now();
        self.audit().holds.push(AuditedHold {
            id: hold.id,
            customer_id: customer,
            state: becomes.to_owned(),
            total_minor: PRICE,
            expires_at: hold.expires_at,
            created_at,
            seat_ids: vec![seat_id],
        });
        (customer, hold)
    }

    fn give_back(&mut self, seat_id: i64) -> Uuid {
        let (customer, hold) = self.hold(seat_id, "released");
        let ask = Ask::delete(Operation::ReleaseHold, "/hold").about(hold.id);
        self.answer(customer, &ask, 204, serde_json::Value::Null);
        hold.id
    }

    fn buy(&mut self, seat_id: i64, ends: OrderState) -> Uuid {
        let (customer, hold) = self.hold(seat_id, "ordered");
        let (hold_id, id) = (hold.id, Uuid::now_v7());
        let mut order = Order {
            id,
            event_id: self.event,
            hold_id,
            state: OrderState::Pending,
            cancel_requested: false,
            needs_attention: false,
            attempt: 1,
            seats: hold.seats,
            total_minor: PRICE,
            payment_due_at: None,
        };
        let ask = booking::place_order(format!("order-{seat_id}"), hold_id, "4242424242424242");
        self.answer(customer, &ask, 202, serde_json::to_value(&order).unwrap());
        let created_at = self.now();
        self.audit().orders.push(AuditedOrder {
            id,
            customer_id: customer,
            hold_id,
            state: ends,
            cancel_requested: ends == OrderState::Cancelled,
            attempt: 1,
            total_minor: PRICE,
            charge_id: Some(Uuid::now_v7()),
            created_at,
            seat_ids: vec![seat_id],
        });
        self.book(Kind::Charge, id, format!("charge-{id}-1"));
        self.deliver(id, 1, "charge");
        order.state = OrderState::Paid;
        self.ending.orders.push(order.clone());
        self.look(id, OrderState::Paid);
        self.audit().tickets.push(AuditedTicket {
            id: Uuid::now_v7(),
            order_id: id,
            seat_id,
            state: "valid".to_owned(),
            rendered: true,
            admitted_at: None,
        });
        if ends == OrderState::Cancelled {
            self.cancel(customer, order);
        } else {
            self.audit()
                .seats
                .iter_mut()
                .find(|s| s.id == seat_id)
                .unwrap()
                .order_id = Some(id);
        }
        id
    }

    fn cancel(&mut self, customer: Uuid, mut order: Order) {
        let id = order.id;
        order.state = OrderState::Cancelling;
        order.cancel_requested = true;
        let ask = booking::cancel_order(format!("cancel-{id}"), id);
        self.answer(customer, &ask, 202, serde_json::to_value(&order).unwrap());
        self.book(Kind::Refund, id, format!("refund-{id}"));
        self.deliver(id, 2, "refund");
        order.state = OrderState::Cancelled;
        *self.ending.orders.last_mut().unwrap() = order;
        self.audit().tickets.last_mut().unwrap().state = "cancelled".to_owned();
        self.look(id, OrderState::Cancelled);
    }

    fn book(&mut self, kind: Kind, reference: Uuid, key: String) {
        let created_at = self.now();
        let (name, sign) = match kind {
            Kind::Charge => ("charge", 1),
            Kind::Refund => ("refund", -1),
            Kind::Payout => ("payout", -1),
        };
        let payout = kind == Kind::Payout;
        self.audit().ledger.push(AuditedTransaction {
            cause: key.clone(),
            kind: name.to_owned(),
            order_id: (!payout).then_some(reference),
            settlement_id: payout.then_some(reference),
            bank_minor: sign * PRICE,
            organiser_minor: -sign * PRICE,
            fence_token: payout.then_some(2),
            created_at,
        });
        self.ending.books.as_mut().unwrap().push(Movement {
            id: Uuid::now_v7(),
            kind,
            key,
            outcome: Outcome::Succeeded,
            amount_minor: PRICE,
            currency: "EUR".to_owned(),
            reference,
            created_at,
        });
    }

    fn deliver(&mut self, group_id: Uuid, sequence: i64, kind: &str) {
        let at = Some(self.now());
        self.audit().outbox.push(AuditedRow {
            id: Uuid::now_v7(),
            destination: "payments".to_owned(),
            group_id,
            sequence,
            kind: kind.to_owned(),
            sends: 1,
            sent_at: at,
            fence_token: Some(1),
            delivered_at: at,
            dead_at: None,
        });
    }

    /// Two terms; the second leader pays one settlement out.
    fn settle(&mut self) {
        let (first, second) = (self.began, self.now());
        for (token, minted_at) in [(1, first), (2, second)] {
            let holder = format!("worker-{token}");
            self.audit().terms.push(AuditedTerm {
                token,
                holder,
                minted_at,
            });
        }
        self.clock += 1;
        let now = self.now();
        let id = Uuid::now_v7();
        self.audit().settlements.push(AuditedSettlement {
            id,
            period: 7,
            amount_minor: PRICE,
            state: "paid".to_owned(),
            fence_token: 2,
            paid_fence_token: Some(2),
            created_at: now,
            paid_at: Some(now),
        });
        self.book(Kind::Payout, id, id.to_string());
        let task = "settle".to_owned();
        self.audit().tasks.push(AuditedTask {
            task,
            fence_token: 2,
            runs: 1,
            last_effect_at: Some(now),
        });
        self.ending.outbox = Some(Outbox {
            undelivered: 0,
            dead: 0,
            oldest_seconds: 0.0,
        });
        self.ending.ledger = Some(Ledger {
            sum_minor: 0,
            bank_minor: PRICE,
            charged_minor: 3 * PRICE,
            refunded_minor: PRICE,
            paid_out_minor: PRICE,
            closed_minor: 0,
            owed_minor: PRICE,
            due_minor: 0,
        });
        self.ending.balance = Some(Balance {
            charged_minor: 3 * PRICE,
            refunded_minor: PRICE,
            paid_out_minor: PRICE,
        });
    }
}
