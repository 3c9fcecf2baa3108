//! A box office for tests: the real routes on a real database, and a seating.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use messages::account::{ACCOUNT_ID, ACCOUNT_ROLE, Account};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

use crate::app::App;
use crate::holds::Hold;
use crate::orders::Order;
use crate::overview::Overview;
use crate::{routes, ticket_code};

/// What an account may keep of an event without having paid.
pub const SEATS_PER_ACCOUNT: u16 = 50;

/// The routes, the database behind them, and an event on sale.
pub struct Fixture {
    pub pool: PgPool,
    pub event_id: Uuid,
    pub organiser: Account,
    public: Router,
    internal: Router,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body, of an answer with this status.
    #[track_caller]
    pub fn expect<T: DeserializeOwned>(&self, status: u16) -> T {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Kind and field of the problem.
    #[track_caller]
    pub fn problem(&self) -> (String, Option<String>) {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{body}"
        );
        let kind = body["type"]
            .as_str()
            .unwrap()
            .trim_start_matches("/problems/")
            .to_owned();
        (kind, body["field"].as_str().map(str::to_owned))
    }
}

/// Somebody new.
pub fn who(role: &str) -> Account {
    Account {
        id: Uuid::now_v7(),
        role: role.parse().unwrap(),
    }
}

/// A seating of one section called `Stalls`.
pub fn seating(organiser_id: Uuid, rows: u32, seats_per_row: u32) -> Value {
    json!({
        "organiser_id": organiser_id,
        "title": "An evening",
        "venue": "The hall",
        "starts_at": "2999-01-01T19:00:00Z",
        "currency": "EUR",
        "payout_account": "4242424242424242",
        "sections": [
            {"name": "Stalls", "rows": rows, "seats_per_row": seats_per_row, "price_minor": 4500},
        ],
    })
}

/// The overview of a database that has no standby but itself.
fn overview_of(pool: &PgPool) -> Arc<Overview> {
    let options = pool.connect_options();
    let overview = Overview::new(pool.clone(), options.get_host(), options.get_port());
    Arc::new(overview)
}

impl Fixture {
    /// Nothing is on sale.
    pub fn empty(pool: PgPool) -> Self {
        let app = App {
            overview: overview_of(&pool),
            pool: pool.clone(),
            hold_for: Duration::from_secs(120),
            seats_per_account: SEATS_PER_ACCOUNT,
            ticket_key: ticket_code::tests::key(),
        };
        Self {
            pool,
            event_id: Uuid::now_v7(),
            organiser: who("organiser"),
            public: routes::public(app.clone()),
            internal: routes::seating(app.clone()).merge(routes::books(app)),
        }
    }

    /// An event with this many seats is on sale.
    pub async fn with_seats(pool: PgPool, rows: u32, seats_per_row: u32) -> Self {
        let house = Self::empty(pool);
        let body = seating(house.organiser.id, rows, seats_per_row);
        let answer = house
            .put(&format!("/internal/events/{}", house.event_id), &body)
            .await;
        assert_eq!(answer.status, 201);
        house
    }

    async fn ask(
        &self,
        router: &Router,
        request: axum::http::request::Builder,
        body: Body,
    ) -> Answer {
        let response = router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    fn from(account: &Account, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(ACCOUNT_ID, account.id.to_string())
            .header(ACCOUNT_ROLE, account.role.as_str())
            .header("content-type", "application/json")
    }

    pub async fn get(&self, account: &Account, path: &str) -> Answer {
        self.ask(
            &self.public,
            Self::from(account, Method::GET, path),
            Body::empty(),
        )
        .await
    }

    pub async fn delete(&self, account: &Account, path: &str) -> Answer {
        self.ask(
            &self.public,
            Self::from(account, Method::DELETE, path),
            Body::empty(),
        )
        .await
    }

    pub async fn post(&self, account: &Account, path: &str, key: &str, body: &Value) -> Answer {
        let request = Self::from(account, Method::POST, path)
            .header("idempotency-key", key)
            .header(
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            );
        self.ask(&self.public, request, Body::from(body.to_string()))
            .await
    }

    /// Asks the internal door.
    pub async fn internal(&self, path: &str) -> Answer {
        self.ask(&self.internal, Request::get(path), Body::empty())
            .await
    }

    /// Puts something at the internal door.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        let request = Request::put(path).header("content-type", "application/json");
        self.ask(&self.internal, request, Body::from(body.to_string()))
            .await
    }

    /// Asks for the best seats with a new key.
    pub async fn try_hold(&self, account: &Account, count: usize) -> Answer {
        let body = json!({"event_id": self.event_id, "best": {"count": count}});
        self.post(
            account,
            "/api/booking/holds",
            &Uuid::now_v7().to_string(),
            &body,
        )
        .await
    }

    /// Holds the best seats.
    pub async fn hold(&self, account: &Account, count: usize) -> Hold {
        self.try_hold(account, count).await.expect(201)
    }

    /// Orders a hold with a new key.
    pub async fn try_order(&self, account: &Account, hold_id: Uuid) -> Answer {
        let body = json!({"hold_id": hold_id, "card": "4242424242424242"});
        self.post(
            account,
            "/api/booking/orders",
            &Uuid::now_v7().to_string(),
            &body,
        )
        .await
    }

    /// Holds and orders the best seats.
    pub async fn order(&self, account: &Account, count: usize) -> Order {
        let hold = self.hold(account, count).await;
        self.try_order(account, hold.id).await.expect(202)
    }

    /// Cancels an order with a new key.
    pub async fn cancel(&self, account: &Account, order_id: Uuid) -> Answer {
        let path = format!("/api/booking/orders/{order_id}/cancel");
        self.post(account, &path, &Uuid::now_v7().to_string(), &json!({}))
            .await
    }

    /// Lets a hold's time be over.
    pub async fn expire(&self, hold_id: Uuid) {
        for change in [
            "UPDATE holds SET expires_at = clock_timestamp() WHERE id = $1",
            "UPDATE seats SET held_until = clock_timestamp() WHERE hold_id = $1",
        ] {
            sqlx::query(change)
                .bind(hold_id)
                .execute(&self.pool)
                .await
                .unwrap();
        }
    }

    /// Lets the event begin, so many milliseconds from now.
    pub async fn begin(&self, in_ms: f64) {
        sqlx::query(
            "UPDATE events SET starts_at = clock_timestamp() + $1 * interval '1 millisecond'",
        )
        .bind(in_ms)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// The back office: the bank said no.
    pub async fn decline(&self, order_id: Uuid) {
        sqlx::query(
            "UPDATE orders SET state = 'declined',
                payment_due_at = clock_timestamp() + interval '1 minute' WHERE id = $1",
        )
        .bind(order_id)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// The back office: the order is paid. Gives the serials of its tickets, in the seats' order.
    pub async fn pay(&self, order_id: Uuid) -> Vec<Uuid> {
        sqlx::query("UPDATE orders SET state = 'paid', charge_id = id WHERE id = $1")
            .bind(order_id)
            .execute(&self.pool)
            .await
            .unwrap();
        let seats: Vec<i64> = sqlx::query_scalar(
            "SELECT seat_id FROM order_seats WHERE order_id = $1 ORDER BY seat_id",
        )
        .bind(order_id)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let mut serials = Vec::new();
        for seat in seats {
            let serial = Uuid::now_v7();
            sqlx::query("INSERT INTO tickets (id, order_id, seat_id) VALUES ($1, $2, $3)")
                .bind(serial)
                .bind(order_id)
                .bind(seat)
                .execute(&self.pool)
                .await
                .unwrap();
            serials.push(serial);
        }
        serials
    }

    /// The back office: the ticket is rendered.
    pub async fn render(&self, ticket_id: Uuid, pdf: &[u8]) {
        sqlx::query("UPDATE tickets SET code = $2, pdf = $3 WHERE id = $1")
            .bind(ticket_id)
            .bind(ticket_code::tests::sign(ticket_id, self.event_id))
            .bind(pdf)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// What the outbox asks for an order, in the group's order.
    pub async fn outbox_kinds(&self, order_id: Uuid) -> Vec<String> {
        sqlx::query_scalar("SELECT kind FROM outbox WHERE group_id = $1 ORDER BY sequence")
            .bind(order_id)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}
