//! A bank with books in a temporary file, asked through its router.

use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use crate::books::Books;
use crate::clearing::Bank;

const API_KEY: &str = "the key of the tests";

/// A bank of a test's own; its file goes when it does.
pub(super) struct TestBank {
    pub(super) router: Router,
    pub(super) folder: PathBuf,
    pub(super) stop: CancellationToken,
}

impl TestBank {
    pub(super) async fn open() -> Self {
        let folder = std::env::temp_dir().join(format!("bank-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        Self::open_in(folder).await
    }

    async fn open_in(folder: PathBuf) -> Self {
        let books = Books::open(&folder.join("books.sqlite")).await.unwrap();
        let stop = CancellationToken::new();
        let router = crate::routes::router(Bank::new(books, API_KEY, stop.clone()));
        Self {
            router,
            folder,
            stop,
        }
    }

    /// A bank that finds what a kill at this moment would leave: the files as they are now.
    pub(super) async fn after_a_kill(&self) -> Self {
        let folder = std::env::temp_dir().join(format!("bank-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        for file in ["books.sqlite", "books.sqlite-wal"] {
            std::fs::copy(self.folder.join(file), folder.join(file)).unwrap();
        }
        Self::open_in(folder).await
    }

    pub(super) async fn post(&self, path: &str, key: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {API_KEY}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    pub(super) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {API_KEY}"))
            .body(Body::empty())
            .unwrap();
        self.send(request).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    /// Charges a card for a new order.
    pub(super) async fn charge(&self, key: &str, card: &str, amount: i64) -> (StatusCode, Value) {
        self.post("/v1/charges", key, &charge(card, amount)).await
    }

    /// How many movements stand in the books.
    pub(super) async fn movements(&self) -> usize {
        let (_, books) = self.get("/v1/movements?limit=500").await;
        books["items"].as_array().unwrap().len()
    }
}

impl Drop for TestBank {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(super) fn charge(card: &str, amount: i64) -> Value {
    json!({
        "card": card, "amount_minor": amount, "currency": "EUR",
        "reference": "0193b3a0-0000-7000-8000-000000000001",
    })
}
