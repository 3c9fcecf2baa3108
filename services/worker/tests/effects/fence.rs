use std::time::Duration;

use chrono::DateTime;
use leader::{Election, Term};
use messages::bank::Outcome;
use messages::outbox::Destination;
use outbox::relay::Pace;
use queue::Queue;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;
use worker::fence;
use worker::tasks::Failure;
use worker::tasks::dead_letters::DeadLetters;
use worker::tasks::gauges::Gauges;
use worker::tasks::prune::Prune;
use worker::tasks::relay::Relay;
use worker::tasks::sweep::Sweep;

use crate::world::{FINE, PRICE, World, metric};

async fn changes(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM leader_tasks) + (SELECT count(*) FROM settlements)
            + (SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL)
            + (SELECT count(*) FROM holds WHERE state = 'expired')",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// The token that a task stored last, and with how many effects it stored one.
async fn stored(pool: &PgPool, task: &'static str) -> (i64, i64) {
    sqlx::query_as("SELECT fence_token, runs FROM leader_tasks WHERE task = $1")
        .bind(task)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn tokens_only_grow_and_every_term_is_kept(pool: PgPool) {
    for expected in 1..=5 {
        assert_eq!(fence::mint(&pool, "a").await.unwrap(), expected);
    }
    let terms: i64 = sqlx::query_scalar("SELECT count(*) FROM leader_terms WHERE holder = 'a'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(terms, 5);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn an_effect_and_the_mint_of_a_greater_token_come_one_after_the_other(pool: PgPool) {
    let a_while = Duration::from_millis(300);
    let old = fence::mint(&pool, "old").await.unwrap();
    let mut effect = pool.begin().await.unwrap();
    fence::check(&mut effect, old).await.unwrap();
    let minting = tokio::spawn({
        let pool = pool.clone();
        async move { fence::mint(&pool, "new").await }
    });
    tokio::time::sleep(a_while).await;
    assert!(!minting.is_finished(), "the effect is finished first");
    effect.commit().await.unwrap();
    let new = minting.await.unwrap().unwrap();
    assert!(new > old);

    let mut mint = pool.begin().await.unwrap();
    sqlx::query("UPDATE leader_fence SET token = token + 1")
        .execute(&mut *mint)
        .await
        .unwrap();
    let checking = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut connection = pool.acquire().await.unwrap();
            fence::check(&mut connection, new).await
        }
    });
    tokio::time::sleep(a_while).await;
    assert!(!checking.is_finished(), "nobody knows yet who leads");
    mint.commit().await.unwrap();
    let late = checking.await.unwrap();
    assert!(matches!(late, Err(fence::Failure::Refused)), "{late:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn an_older_token_is_refused_and_changes_nothing(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    world.paid_order().await;
    let order = world.order(FINE).await;
    sqlx::query("UPDATE holds SET state = 'active', expires_at = now() - interval '1 s'")
        .execute(&pool)
        .await
        .unwrap();
    let old = fence::mint(&pool, "old").await.unwrap();
    let new = fence::mint(&pool, "new").await.unwrap();
    let before = changes(&pool).await;

    let sweep = Sweep::new(pool.clone(), Duration::from_secs(1));
    assert!(matches!(sweep.release(old).await, Err(Failure::Refused)));
    assert!(matches!(
        world.settle().record(old, 1).await,
        Err(Failure::Refused)
    ));
    let dead_letters = DeadLetters::new(pool.clone(), vec![]);
    let letters = [(order.charge.row_id, 1)];
    assert!(matches!(
        dead_letters.mark(old, &letters).await,
        Err(Failure::Refused)
    ));
    assert!(matches!(
        Prune::new(pool.clone(), Duration::ZERO).rows(old).await,
        Err(Failure::Refused)
    ));
    assert_eq!(changes(&pool).await, before);

    assert!(sweep.release(new).await.is_ok());
    assert!(world.settle().record(new, 1).await.is_ok());
    assert!(changes(&pool).await > before);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_send_that_failed_is_taken_back_under_the_token_and_not_by_an_older_leader(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let row = world.order(FINE).await.charge.row_id;
    let sent = "SELECT sent_at IS NOT NULL FROM outbox WHERE id = $1";
    let resend = Duration::from_secs(10);
    // Marking and taking back ask the database only.
    let nobody = Queue::new(queue::client("http://127.0.0.1:9"), "nobody");
    let relay = Relay::new(world.office.clone(), nobody, Destination::Payments, resend);
    let pace = Pace {
        resend,
        queue_created_at: DateTime::UNIX_EPOCH,
        former_since: None,
    };
    let old = fence::mint(&pool, "old").await.unwrap();
    let marked = relay.mark(old, pace).await.unwrap();
    assert_eq!(stored(&pool, "relay-payments").await, (old, 1));
    relay.take_back(old, &[&marked[0]]).await.unwrap();
    assert!(!world.one::<bool>(sent, row).await);
    assert_eq!(stored(&pool, "relay-payments").await, (old, 2));

    // It sends once more, and is paused before it can write down that this failed, too.
    let marked = relay.mark(old, pace).await.unwrap();
    fence::mint(&pool, "new").await.unwrap();
    let late = relay.take_back(old, &[&marked[0]]).await;
    assert!(matches!(late, Err(Failure::Refused)), "{late:?}");
    assert!(world.one::<bool>(sent, row).await);
    let late = relay.mark(old, pace).await;
    assert!(matches!(late, Err(Failure::Refused)), "{late:?}");
    assert_eq!(stored(&pool, "relay-payments").await, (old, 3));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_payout_that_failed_is_put_off_under_the_token_and_not_by_an_older_leader(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    world.paid_order().await;
    let tried = "SELECT tried_at IS NOT NULL FROM settlements WHERE id = $1";
    let settle = world.settle_at("http://127.0.0.1:1", "a key of the bank");
    let old = fence::mint(&pool, "old").await.unwrap();
    settle.record(old, 1).await.unwrap();
    let due = settle.due().await.unwrap().remove(0);

    let new = fence::mint(&pool, "new").await.unwrap();
    let late = settle.pay_out(&due, old).await;
    assert!(matches!(late, Err(Failure::Refused)), "{late:?}");
    assert!(!world.one::<bool>(tried, due.id).await);
    assert_eq!(stored(&pool, "settle").await, (old, 1));

    let failed = settle.pay_out(&due, new).await;
    assert!(matches!(failed, Err(Failure::Bank(_))), "{failed:?}");
    assert!(world.one::<bool>(tried, due.id).await);
    assert_eq!(stored(&pool, "settle").await, (new, 2));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_leader_that_wakes_up_late_is_refused_and_its_payout_is_made_once(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    world.paid_order().await;
    let settle = world.settle();
    let old = fence::mint(&pool, "old").await.unwrap();
    assert_eq!(settle.record(old, 1).await.unwrap(), 1);
    let due = settle.due().await.unwrap().remove(0);

    // The old leader asks the bank, and is paused before it can write down what the bank said.
    let request = messages::bank::PayoutRequest {
        account: due.account.clone(),
        amount_minor: due.amount_minor,
        currency: due.currency.clone(),
        reference: due.id,
    };
    let movement = world
        .bank
        .pay_out(&due.id.to_string(), &request)
        .await
        .unwrap();
    let new = fence::mint(&pool, "new").await.unwrap();
    let late = settle.record_payout(&due, movement.outcome, old).await;
    assert!(matches!(late, Err(Failure::Refused)), "{late:?}");
    assert_eq!(settle.due().await.unwrap().len(), 1);
    assert_eq!(world.ledger().await, PRICE);

    settle.pay_out(&due, new).await.unwrap();
    assert!(settle.due().await.unwrap().is_empty());
    assert_eq!(
        (world.ledger().await, world.books().await.paid_out_minor),
        (0, PRICE)
    );
    // Woken once more, it still changes nothing.
    assert!(matches!(
        settle.record_payout(&due, movement.outcome, old).await,
        Err(Failure::Refused)
    ));
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_repeated_answer_of_the_bank_is_recorded_once(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    world.paid_order().await;
    let settle = world.settle();
    let token = fence::mint(&pool, "a").await.unwrap();
    settle.record(token, 1).await.unwrap();
    let due = settle.due().await.unwrap().remove(0);
    for _ in 0..3 {
        let again = settle.record_payout(&due, Outcome::Succeeded, token).await;
        again.unwrap();
    }
    assert_eq!(world.ledger().await, 0);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn the_last_effect_is_shown_and_a_run_without_one_is_none(pool: PgPool) {
    let series = |task| format!("leader_task_last_effect_timestamp_seconds{{task=\"{task}\"}}");
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let sweep = Sweep::new(world.office.clone(), Duration::from_secs(1));
    let gauges = Gauges::new(world.office.clone(), vec![]);
    world.order(FINE).await;
    sweep.release(token).await.unwrap();
    gauges.show_tasks().await.unwrap();
    assert_eq!(metric(&series("sweep")), 0.0, "there was nothing to sweep");

    sqlx::query("UPDATE holds SET state = 'active', expires_at = now() - interval '1 s'")
        .execute(&pool)
        .await
        .unwrap();
    sweep.release(token).await.unwrap();
    sqlx::query("UPDATE leader_tasks SET last_effect_at = to_timestamp(1234567)")
        .execute(&pool)
        .await
        .unwrap();
    gauges.show_tasks().await.unwrap();
    assert_eq!(metric(&series("sweep")), 1_234_567.0);
}

/// The term of a leader who was elected in an etcd that knows of no other: an election of its own
/// is all that it ever reads there, as if its data had been wiped. Leads until dropped.
async fn elected(pool: &PgPool, holder: &str) -> (Term, AbortOnDropHandle<()>) {
    let endpoints: Vec<_> = std::env::var("ETCD_ENDPOINTS")
        .unwrap()
        .split(',')
        .map(str::to_owned)
        .collect();
    let name: &'static str = Box::leak(format!("test-{}", Uuid::now_v7()).into_boxed_str());
    // So long that a busy machine does not lose it.
    let lease = Duration::from_secs(60);
    let election = Election::connect(&endpoints, name, holder.to_owned(), lease)
        .await
        .unwrap();
    let (pool, (begun, mut terms)) = (pool.clone(), mpsc::channel(1));
    let leads = tokio::spawn(async move {
        let (pool, begun) = (&pool, &begun);
        let mint = |holder: String| async move { Ok(fence::mint(pool, &holder).await?) };
        let lead = |term: Term| async move {
            let _ = begun.send(term.clone()).await;
            term.ended().await;
        };
        let _ = election.run(CancellationToken::new(), mint, lead).await;
    });
    let term = tokio::time::timeout(lease, terms.recv()).await;
    (term.unwrap().unwrap(), AbortOnDropHandle::new(leads))
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn tokens_grow_and_fence_also_when_etcd_has_forgotten_every_leader(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let sweep = Sweep::new(world.office.clone(), Duration::from_secs(1));
    let mut former: Vec<(Term, _)> = Vec::new();
    for holder in ["first", "second", "third"] {
        let (term, leads) = elected(&world.office, holder).await;
        let token: i64 = sqlx::query_scalar("SELECT token FROM leader_fence WHERE holder = $1")
            .bind(holder)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(
            term.token(),
            token,
            "it leads with what the database minted"
        );
        for (old, _) in &former {
            assert!(
                old.may_act(),
                "nothing in etcd tells it that it was overtaken"
            );
            assert!(old.token() < token);
            let late = sweep.release(old.token()).await;
            assert!(matches!(late, Err(Failure::Refused)), "{late:?}");
        }
        sweep.release(token).await.unwrap();
        former.push((term, leads));
    }
}
