//! A small box office: an event, its seats, orders with their outbox rows, and a bank.

use std::sync::Arc;
use std::time::Duration;

use messages::bank::Balance;
use messages::outbox::{Destination, Kind, Pointer, VERSION};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::bank::Bank;
use worker::payments::{Payments, Settled};
use worker::tasks::settle::Settle;
use worker::tasks::status::Statuses;

pub const FINE: &str = "4242424242424242";
pub const DECLINED: &str = "4000000000000002";
pub const FAILS_ONCE: &str = "4000000000000119";
pub const ANSWER_LOST_ONCE: &str = "4000000000000127";
pub const PRICE: i64 = 4500;
const KEY: &str = "a key of the bank";

pub struct World {
    pub pool: PgPool,
    /// The same database under the role of the back office: it may do what it is granted.
    pub office: PgPool,
    pub bank: Arc<Bank>,
    pub event: Uuid,
    pub url: String,
    books: std::path::PathBuf,
}

/// An order and the rows that were written for it.
pub struct Ordered {
    pub id: Uuid,
    pub charge: Pointer,
}

impl World {
    /// An event with ten seats whose organiser is paid to `account`.
    pub async fn new(pool: PgPool, account: &str) -> Self {
        let file = std::env::temp_dir().join(format!("bank-{}.sqlite", Uuid::now_v7()));
        let books = bank::Books::open(&file).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = bank::router(books, KEY);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let bank = Arc::new(Bank::new(&url, KEY, CancellationToken::new()).unwrap());
        let event = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO events (id, organiser_id, title, venue, starts_at, currency,
                payout_account, seating)
            VALUES ($1, $2, 'Gala', 'Hall', now() + interval '1 day', 'EUR', $3, '[]')",
        )
        .bind(event)
        .bind(Uuid::now_v7())
        .bind(account)
        .execute(&pool)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO seats (event_id, section, row_name, number, rank, price_minor)
            SELECT $1, 'Stalls', '1', number, number, $2 FROM generate_series(1, 10) AS number",
        )
        .bind(event)
        .bind(PRICE)
        .execute(&pool)
        .await
        .unwrap();
        let office = PgPoolOptions::new()
            .max_connections(5)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::query("SET ROLE worker").execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with((*pool.connect_options()).clone());
        Self {
            pool,
            office,
            bank,
            event,
            url,
            books: file,
        }
    }

    pub fn payments(&self) -> Payments {
        Payments::new(
            self.pool.clone(),
            self.bank.clone(),
            Duration::from_secs(120),
            CancellationToken::new(),
        )
    }

    pub fn settle(&self) -> Settle {
        self.settle_with(self.bank.clone())
    }

    /// What asks another bank, or asks with another key.
    pub fn settle_at(&self, url: &str, key: &str) -> Settle {
        self.settle_with(Arc::new(
            Bank::new(url, key, CancellationToken::new()).unwrap(),
        ))
    }

    fn settle_with(&self, bank: Arc<Bank>) -> Settle {
        let period = Duration::from_secs(60);
        Settle::new(self.office.clone(), bank, Statuses::default(), period)
    }

    /// What `booking` does for an order of one seat.
    pub async fn order(&self, card: &str) -> Ordered {
        let (hold, order) = (Uuid::now_v7(), Uuid::now_v7());
        let mut tx = self.pool.begin().await.unwrap();
        let seat: i64 = sqlx::query_scalar(
            "SELECT id FROM seats WHERE event_id = $1 AND order_id IS NULL ORDER BY rank LIMIT 1
            FOR UPDATE SKIP LOCKED",
        )
        .bind(self.event)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO holds (id, customer_id, event_id, state, total_minor, expires_at)
            VALUES ($1, $2, $3, 'ordered', $4, now() + interval '2 minutes')",
        )
        .bind(hold)
        .bind(Uuid::now_v7())
        .bind(self.event)
        .bind(PRICE)
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO orders (id, customer_id, event_id, hold_id, total_minor, currency, card)
            VALUES ($1, $2, $3, $4, $5, 'EUR', $6)",
        )
        .bind(order)
        .bind(Uuid::now_v7())
        .bind(self.event)
        .bind(hold)
        .bind(PRICE)
        .bind(card)
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query("INSERT INTO order_seats (order_id, seat_id, price_minor) VALUES ($1, $2, $3)")
            .bind(order)
            .bind(seat)
            .bind(PRICE)
            .execute(&mut *tx)
            .await
            .unwrap();
        sqlx::query("UPDATE seats SET order_id = $1 WHERE id = $2")
            .bind(order)
            .bind(seat)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let charge = self.append(order, Kind::Charge).await;
        Ordered { id: order, charge }
    }

    /// Appends a payment row for an order; its message.
    pub async fn append(&self, order: Uuid, kind: Kind) -> Pointer {
        let mut tx = self.pool.begin().await.unwrap();
        outbox::append(&mut tx, Destination::Payments, order, kind, None)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.last(Destination::Payments, order).await.unwrap()
    }

    /// The message of the newest row of an order.
    pub async fn last(&self, destination: Destination, order: Uuid) -> Option<Pointer> {
        let (row_id, sequence, kind): (Uuid, i64, String) = sqlx::query_as(
            "SELECT id, sequence, kind FROM outbox WHERE destination = $1 AND group_id = $2
            ORDER BY sequence DESC LIMIT 1",
        )
        .bind(destination.as_str())
        .bind(order)
        .fetch_optional(&self.pool)
        .await
        .unwrap()?;
        let kind = match kind.as_str() {
            "charge" => Kind::Charge,
            "refund" => Kind::Refund,
            _ => Kind::RenderTickets,
        };
        let (group_id, send) = (order, 1);
        Some(Pointer {
            version: VERSION,
            row_id,
            group_id,
            sequence,
            kind,
            send,
            traceparent: None,
        })
    }

    /// What `booking` does when a pending order is cancelled.
    pub async fn request_cancel(&self, order: Uuid) -> Pointer {
        sqlx::query("UPDATE orders SET cancel_requested = true WHERE id = $1")
            .bind(order)
            .execute(&self.pool)
            .await
            .unwrap();
        self.append(order, Kind::Refund).await
    }

    /// An order that is paid.
    pub async fn paid_order(&self) -> Uuid {
        let order = self.order(FINE).await;
        let settled = self.payments().settle(&order.charge).await.unwrap();
        assert_eq!(settled, Settled::Done);
        order.id
    }

    pub async fn state(&self, order: Uuid) -> String {
        self.one("SELECT state FROM orders WHERE id = $1", order)
            .await
    }

    /// One value of a query about one id.
    pub async fn one<T>(&self, query: &'static str, id: Uuid) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(query)
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn seats_of(&self, order: Uuid) -> i64 {
        self.one("SELECT count(*) FROM seats WHERE order_id = $1", order)
            .await
    }

    /// What the ledger says the bank has, with the check that it sums to nothing.
    pub async fn ledger(&self) -> i64 {
        let (sum, bank): (i64, i64) = sqlx::query_as(
            "SELECT coalesce(sum(amount_minor), 0)::bigint,
                coalesce(sum(amount_minor) FILTER (WHERE account = 'bank'), 0)::bigint
            FROM ledger_entries",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!(sum, 0);
        bank
    }

    /// What the bank's own books say.
    pub async fn books(&self) -> Balance {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        let answer = http
            .get(format!("{}/v1/balance?currency=EUR", self.url))
            .bearer_auth(KEY);
        answer
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// The ledger and the bank's books agree.
    pub async fn assert_agreement(&self) {
        let books = self.books().await;
        let bank = books.charged_minor - books.refunded_minor - books.paid_out_minor;
        assert_eq!(self.ledger().await, bank);
    }
}

/// The present value of a metric of this process, which all tests share.
pub fn metric(series: &str) -> f64 {
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&prometheus::gather())
        .unwrap();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

impl Drop for World {
    fn drop(&mut self) {
        for end in ["sqlite", "sqlite-shm", "sqlite-wal"] {
            let _ = std::fs::remove_file(self.books.with_extension(end));
        }
    }
}
