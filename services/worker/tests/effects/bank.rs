//! Banks that are away, hang or fail, and what is held against whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use messages::bank::{ChargeRequest, Kind, Movement, Outcome, PayoutRequest};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::bank::{Bank, Failure, OPEN_FOR};

use crate::world::{FINE, PRICE};

const BALANCE: &str = "/v1/balance";
const CHARGES: &str = "/v1/charges";

async fn served(router: Router) -> Bank {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Bank::new(&url, "a key of the bank", CancellationToken::new()).unwrap()
}

async fn charge(bank: &Bank, key: &str) -> Result<Movement, Failure> {
    let request = ChargeRequest {
        card: FINE.to_owned(),
        amount_minor: PRICE,
        currency: "EUR".to_owned(),
        reference: Uuid::nil(),
    };
    bank.charge(key, &request).await
}

async fn pay_out(bank: &Bank, key: &str) -> Result<Movement, Failure> {
    let request = PayoutRequest {
        account: FINE.to_owned(),
        amount_minor: PRICE,
        currency: "EUR".to_owned(),
        reference: Uuid::nil(),
    };
    bank.pay_out(key, &request).await
}

async fn charged() -> Json<Movement> {
    Json(Movement {
        id: Uuid::now_v7(),
        kind: Kind::Charge,
        key: String::new(),
        outcome: Outcome::Succeeded,
        amount_minor: PRICE,
        currency: "EUR".to_owned(),
        reference: Uuid::nil(),
        created_at: chrono::Utc::now(),
    })
}

async fn fails() -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

async fn hangs() {
    std::future::pending().await
}

async fn is_well() {}

#[tokio::test]
async fn a_bank_that_hangs_is_away_and_a_card_that_hangs_is_not() {
    let card = Router::new()
        .route(CHARGES, post(hangs))
        .route(BALANCE, get(is_well));
    let whole = Router::new()
        .route(CHARGES, post(hangs))
        .route(BALANCE, get(hangs));
    let (card, whole) = (served(card).await, served(whole).await);
    let (of_card, of_whole) = tokio::join!(charge(&card, "1"), charge(&whole, "1"));
    assert!(matches!(of_card, Err(Failure::Unknown(_))), "{of_card:?}");
    assert!(matches!(of_whole, Err(Failure::Away(_))), "{of_whole:?}");
}

#[tokio::test]
async fn a_bank_that_fails_at_a_call_is_not_away() {
    let call = Router::new()
        .route(CHARGES, post(fails))
        .route(BALANCE, get(is_well));
    let whole = Router::new()
        .route(CHARGES, post(fails))
        .route(BALANCE, get(fails));
    let failed = charge(&served(call).await, "1").await;
    assert!(matches!(failed, Err(Failure::Failed(_))), "{failed:?}");
    let failed = charge(&served(whole).await, "1").await;
    assert!(matches!(failed, Err(Failure::Away(_))), "{failed:?}");
}

#[tokio::test]
async fn payouts_that_fail_hold_up_no_charge() {
    let router = Router::new()
        .route("/v1/payouts", post(fails))
        .route(CHARGES, post(charged))
        .route(BALANCE, get(is_well));
    let bank = served(router).await;
    for key in 0..6 {
        assert!(pay_out(&bank, &key.to_string()).await.is_err());
    }
    let refused = pay_out(&bank, "6").await;
    assert!(matches!(refused, Err(Failure::Away(_))), "{refused:?}");
    charge(&bank, "7").await.unwrap();
}

/// A bank that is well or not, and counts who charges.
#[derive(Default)]
struct Moody {
    is_well: AtomicBool,
    charges: AtomicUsize,
}

impl Moody {
    fn status(&self) -> StatusCode {
        if self.is_well.load(Ordering::SeqCst) {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }

    async fn balance(State(moody): State<Arc<Self>>) -> StatusCode {
        moody.status()
    }

    async fn charge(State(moody): State<Arc<Self>>) -> (StatusCode, Json<Movement>) {
        moody.charges.fetch_add(1, Ordering::SeqCst);
        (moody.status(), charged().await)
    }
}

#[tokio::test]
async fn no_payment_is_the_trial_whether_the_bank_is_back() {
    let moody = Arc::new(Moody::default());
    let router = Router::new()
        .route(BALANCE, get(Moody::balance))
        .route(CHARGES, post(Moody::charge))
        .with_state(moody.clone());
    let bank = served(router).await;
    let longest = 2 * OPEN_FOR;
    for _ in 0..2 {
        let failed = charge(&bank, "1").await;
        assert!(matches!(failed, Err(Failure::Away(_))), "{failed:?}");
        tokio::time::sleep(longest).await;
    }
    let charges = || moody.charges.load(Ordering::SeqCst);
    assert_eq!(charges(), 1, "only until it was found away");

    moody.is_well.store(true, Ordering::SeqCst);
    let charged = async {
        while charge(&bank, "1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Generous: a busy machine makes the trial late.
    tokio::time::timeout(4 * longest, charged).await.unwrap();
    assert_eq!(charges(), 2);
}
