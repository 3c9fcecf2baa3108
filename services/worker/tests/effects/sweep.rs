use std::time::Duration;

use sqlx::PgPool;
use worker::fence;
use worker::tasks::sweep::{Released, Sweep};

use crate::world::{DECLINED, FINE, World};

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn expired_holds_and_unpaid_orders_free_their_seats_and_others_stay(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let declined = world.order(DECLINED).await;
    world.payments().settle(&declined.charge).await.unwrap();
    let pending = world.order(FINE).await;
    sqlx::raw_sql(
        "INSERT INTO holds (id, customer_id, event_id, total_minor, expires_at)
            SELECT hold::uuid, gen_random_uuid(), events.id, 1, now() + expires
            FROM events, (VALUES
                ('00000000-0000-0000-0000-000000000001', interval '-1 s'),
                ('00000000-0000-0000-0000-000000000002', interval '1 h')) AS v (hold, expires);
        UPDATE seats SET hold_id = ('00000000-0000-0000-0000-00000000000' || number - 8)::uuid,
            held_until = now() WHERE number IN (9, 10);
        INSERT INTO hold_seats SELECT hold_id, id, price_minor FROM seats WHERE number IN (9, 10);
        -- The seat that was taken over when the first hold's time was over.
        INSERT INTO hold_seats SELECT '00000000-0000-0000-0000-000000000001', id, price_minor
            FROM seats WHERE number = 10;",
    )
    .execute(&pool)
    .await
    .unwrap();
    let token = fence::mint(&pool, "a").await.unwrap();
    let sweep = Sweep::new(world.office.clone(), Duration::from_secs(1));
    assert_eq!(
        sweep.release(token).await.unwrap(),
        Released {
            holds: 1,
            orders: 0
        }
    );
    let held: Vec<i32> = sqlx::query_scalar("SELECT number FROM seats WHERE hold_id IS NOT NULL")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(held, [10]);

    sqlx::query("UPDATE orders SET payment_due_at = now() WHERE state = 'declined'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        sweep.release(token).await.unwrap(),
        Released {
            holds: 0,
            orders: 1
        }
    );
    assert_eq!(world.state(declined.id).await, "expired");
    assert_eq!(world.seats_of(declined.id).await, 0);
    assert_eq!(world.state(pending.id).await, "pending");
    assert_eq!(world.seats_of(pending.id).await, 1);
}
