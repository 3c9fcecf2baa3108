use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Verifier};
use messages::outbox::Destination;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::tickets::code::key_from_hex;
use worker::tickets::{Failure, Fonts, Tickets};

use crate::world::{FINE, World};

fn tickets(pool: PgPool) -> Tickets {
    Tickets::new(
        pool,
        key_from_hex(&"2a".repeat(32)).unwrap(),
        Fonts::read().unwrap(),
        CancellationToken::new(),
    )
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_paid_order_gets_its_tickets_once(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let order = world.paid_order().await;
    let pointer = world.last(Destination::Tickets, order).await.unwrap();
    let tickets = tickets(pool.clone());
    let (one, two) = tokio::join!(tickets.render(&pointer), tickets.render(&pointer));
    let mut rendered = [one.unwrap(), two.unwrap()];
    rendered.sort();
    assert_eq!(rendered, [None, Some(1)]);
    assert_eq!(tickets.render(&pointer).await.unwrap(), None);

    let (id, code, pdf): (Uuid, String, Vec<u8>) =
        sqlx::query_as("SELECT id, code, pdf FROM tickets WHERE order_id = $1")
            .bind(order)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!(pdf.starts_with(b"%PDF-"));
    let code = URL_SAFE_NO_PAD.decode(code).unwrap();
    assert_eq!(&code[..16], id.as_bytes());
    assert_eq!(&code[16..32], world.event.as_bytes());
    let key = key_from_hex(&"2a".repeat(32)).unwrap().verifying_key();
    key.verify(&code[..32], &Signature::from_slice(&code[32..]).unwrap())
        .unwrap();
}

/// As after a failover, when the read before the transaction came from a node that was behind.
#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_row_whose_tickets_were_not_read_is_not_delivered(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let order = world.paid_order().await;
    let pointer = world.last(Destination::Tickets, order).await.unwrap();
    let hide = "UPDATE order_seats SET seat_id = seat_id + 1";
    sqlx::query(hide).execute(&pool).await.unwrap();
    let failure = tickets(pool.clone()).render(&pointer).await.unwrap_err();
    assert!(matches!(failure, Failure::StaleRead), "{failure}");
    let query = "SELECT delivered_at IS NULL FROM outbox WHERE id = $1";
    assert!(world.one::<bool>(query, pointer.row_id).await);
    let show = "UPDATE order_seats SET seat_id = seat_id - 1";
    sqlx::query(show).execute(&pool).await.unwrap();
    assert_eq!(
        tickets(pool.clone()).render(&pointer).await.unwrap(),
        Some(1)
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_cancelled_ticket_is_skipped_and_the_row_is_done(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let order = world.paid_order().await;
    sqlx::query("UPDATE tickets SET state = 'cancelled'")
        .execute(&pool)
        .await
        .unwrap();
    let pointer = world.last(Destination::Tickets, order).await.unwrap();
    assert_eq!(
        tickets(pool.clone()).render(&pointer).await.unwrap(),
        Some(0)
    );
    let query = "SELECT delivered_at IS NOT NULL FROM outbox WHERE id = $1";
    assert!(world.one::<bool>(query, pointer.row_id).await);
    let query = "SELECT pdf IS NULL FROM tickets WHERE order_id = $1";
    assert!(world.one::<bool>(query, order).await);
}
