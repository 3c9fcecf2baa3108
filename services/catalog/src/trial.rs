//! What the tests of the routes run on: the real parts, at the addresses that the environment
//! names, and a table of their own.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use chrono::{TimeDelta, Utc};
use http_body_util::BodyExt;
use messages::seating::Section;
use sentinel::Watched;
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

use crate::event::{Draft, to_the_second};
use crate::{Booking, Catalog, Events, Popularity, Reads, table};

const TABLE: &str = "catalog-tests";

/// How the problem begins that says that DynamoDB did not answer.
const UNANSWERED: &str = "the store of events does not answer";

fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: the tests need the real parts"))
}

fn secret(name: &str) -> String {
    std::fs::read_to_string(setting(name))
        .unwrap()
        .trim()
        .to_owned()
}

/// A replica of the service, without a process around it.
pub struct Trial {
    pub catalog: Arc<Catalog>,
    pub routes: Router,
}

/// Whose request it is.
#[derive(Clone, Copy)]
pub enum As {
    Nobody,
    Customer(Uuid),
    Organiser(Uuid),
}

impl Trial {
    pub async fn begin() -> Self {
        Self::with(&setting("CACHE_ADDRESS"), &setting("REDIS_SENTINELS")).await
    }

    /// With caches and counts elsewhere.
    pub async fn with(cache: &str, sentinels: &str) -> Self {
        let client = table::client(&setting("DYNAMODB_ENDPOINT"));
        for _ in 0..50 {
            if table::make(&client, TABLE).await.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let store = cache::Store::open(cache, &secret("CACHE_PASSWORD_FILE")).unwrap();
        store.ready(std::time::Duration::from_secs(1)).await;
        let sentinels = sentinels.split(',').map(|address| address.parse().unwrap());
        let popularity = Popularity::open(&Watched {
            sentinels: &sentinels.collect::<Vec<_>>(),
            name: "boxoffice",
            password: &secret("REDIS_PASSWORD_FILE"),
        });
        popularity.ready().await;
        let catalog = Arc::new(Catalog {
            events: Events::new(client, TABLE.to_owned()),
            reads: Reads::new(&store),
            popularity,
            booking: Booking::new("http://127.0.0.1:1", "a key").unwrap(),
        });
        Self {
            routes: crate::routes::public(catalog.clone()),
            catalog,
        }
    }

    pub async fn ask(&self, request: Request<Body>) -> (StatusCode, header::HeaderMap, String) {
        let answer: Response<Body> = self.routes.clone().oneshot(request).await.into_response();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            parts.status,
            parts.headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    /// Sends a request as a client would: again while DynamoDB does not answer, which on a busy
    /// machine it may not do within the limits of an operation.
    async fn repeat(&self, request: impl Fn() -> Request<Body>) -> (StatusCode, Value) {
        for _ in 0..40 {
            let (status, _, body) = self.ask(request()).await;
            let unanswered = status == StatusCode::SERVICE_UNAVAILABLE && body.contains(UNANSWERED);
            if !unanswered {
                return (status, serde_json::from_str(&body).unwrap_or(Value::Null));
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        panic!("DynamoDB did not answer for ten seconds");
    }

    pub async fn get(&self, path: &str, who: As) -> (StatusCode, Value) {
        self.repeat(|| request("GET", path, who).body(Body::empty()).unwrap())
            .await
    }

    /// Sends a draft; `headers` are an `Idempotency-Key` or `If-Match`.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        who: As,
        headers: &[(&str, &str)],
        draft: &Draft,
    ) -> (StatusCode, Value) {
        self.repeat(|| {
            let mut request =
                request(method, path, who).header(header::CONTENT_TYPE, "application/json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let body = serde_json::to_vec(draft).unwrap();
            request.body(Body::from(body)).unwrap()
        })
        .await
    }

    /// Creates a draft; tells its id.
    pub async fn create(&self, who: As, draft: &Draft) -> Uuid {
        let key = Uuid::now_v7().to_string();
        let headers = [("idempotency-key", key.as_str())];
        let (status, event) = self
            .send("POST", "/api/catalog/events", who, &headers, draft)
            .await;
        assert_eq!(status, StatusCode::CREATED, "{event}");
        event["id"].as_str().unwrap().parse().unwrap()
    }

    /// Puts an event on sale, as publishing does after booking has answered.
    pub async fn put_on_sale(&self, id: Uuid) {
        let event = self.catalog.events.get(id).await.unwrap().unwrap();
        crate::routes::publish_event::mark_on_sale(&self.catalog, event)
            .await
            .unwrap();
    }
}

pub fn request(method: &str, path: &str, who: As) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    let (id, role) = match who {
        As::Nobody => return request,
        As::Customer(id) => (id, "customer"),
        As::Organiser(id) => (id, "organiser"),
    };
    request
        .header("x-account-id", id.to_string())
        .header("x-account-role", role)
}

/// A good draft of an event a week ahead.
pub fn draft(city: &str) -> Draft {
    let section = |name: &str, rows, seats_per_row, price_minor| Section {
        name: name.to_owned(),
        rows,
        seats_per_row,
        price_minor,
    };
    Draft {
        title: "An evening of fado".to_owned(),
        description: "Two singers, one guitar.".to_owned(),
        city: city.to_owned(),
        venue: "Teatro".to_owned(),
        starts_at: to_the_second(Utc::now() + TimeDelta::days(7)),
        currency: "EUR".to_owned(),
        payout_account: "4242424242424242".to_owned(),
        sections: vec![
            section("Stalls", 10, 30, 4500),
            section("Balcony", 4, 20, 2500),
        ],
    }
}

/// A city of a test's own.
pub fn city() -> String {
    format!("City {}", Uuid::now_v7().simple())
}
