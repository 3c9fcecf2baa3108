use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use service::http::READ_TIMEOUT;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::*;

/// How long a test waits for what should be seen at once: it must never fail because the machine was
/// busy.
const DEADLINE: Duration = Duration::from_secs(20);

/// Reads where the node says that it has only the heartbeat's own row.
fn something(connection: &mut PgConnection) -> Reading<'_, bool> {
    Box::pin(async {
        sqlx::query_scalar("SELECT only_row FROM replication_heartbeat")
            .fetch_optional(connection)
            .await
    })
}

fn nothing(_: &mut PgConnection) -> Reading<'_, bool> {
    Box::pin(async { Ok(None) })
}

/// Nodes of which those that are `here` are this database, connected to already, and the others do
/// not answer.
async fn overview(pool: &PgPool, primary_here: bool, standbys_here: bool) -> Overview {
    let nowhere = pool.connect_options().as_ref().clone().port(1);
    let primary = if primary_here {
        pool.clone()
    } else {
        PgPoolOptions::new()
            .acquire_timeout(Duration::from_millis(300))
            .connect_lazy_with(nowhere)
    };
    let own = pool.connect_options();
    let port = if standbys_here { own.get_port() } else { 1 };
    let overview = Overview::new(primary, own.get_host(), port);
    // On a busy machine it takes longer to be let in than anybody is waited for.
    while standbys_here && overview.standbys.acquire().await.is_err() {}
    overview
}

/// What is seen, as soon as something is: on a busy machine a standby may answer too late.
async fn patiently(overview: &Overview) -> Seen<bool> {
    loop {
        if let Ok(seen) = overview.read(something).await {
            return seen;
        }
    }
}

/// What the primary has, as soon as it is seen: on a busy machine it may answer too late, and something
/// older is shown.
async fn of_primary(
    overview: &Overview,
    read: impl Fn(&mut PgConnection) -> Reading<'_, bool>,
) -> Option<bool> {
    let began = Instant::now();
    loop {
        match overview.read(&read).await {
            Ok(seen) if seen.age == Duration::ZERO => return seen.found,
            other => assert!(began.elapsed() < DEADLINE, "{other:?}"),
        }
        // A node that did not answer in time is left out for a while.
        tokio::time::sleep(AWAY_FOR / 4).await;
    }
}

/// Makes the last heartbeat so many seconds old.
async fn last_beat(pool: &PgPool, seconds: f64) {
    sqlx::query(
        "UPDATE replication_heartbeat SET beaten_at = clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(seconds)
    .execute(pool)
    .await
    .unwrap();
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_fresh_standby_is_read_and_the_primary_is_not_needed(pool: PgPool) {
    let overview = overview(&pool, false, true).await;
    last_beat(&pool, 1.2).await;
    let seen = patiently(&overview).await;
    assert_eq!(seen.found, Some(true));
    assert!(seen.age >= Duration::from_millis(1200), "{:?}", seen.age);
    assert_eq!(seen.age()[0].1, seen.age.as_secs().to_string());
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_standby_that_lags_is_passed_over(pool: PgPool) {
    let overview = overview(&pool, true, true).await;
    last_beat(&pool, 2.5).await;
    assert_eq!(of_primary(&overview, something).await, Some(true));
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn without_standbys_the_primary_is_read(pool: PgPool) {
    let overview = overview(&pool, true, false).await;
    for _ in 0..2 {
        assert_eq!(of_primary(&overview, something).await, Some(true));
    }
    // The mark lasts for a second, which a busy machine may have let pass.
    let began = Instant::now();
    while !overview.standbys_away.is_so() {
        assert!(began.elapsed() < DEADLINE, "the standbys are not marked");
        of_primary(&overview, something).await;
    }
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn what_a_standby_does_not_have_is_looked_for_on_the_primary(pool: PgPool) {
    let both = overview(&pool, true, true).await;
    last_beat(&pool, 0.0).await;
    assert_eq!(of_primary(&both, nothing).await, None);
    // Nobody can say that it is not there.
    let refused = overview(&pool, false, true)
        .await
        .read(nothing)
        .await
        .unwrap_err();
    assert_eq!(refused.status(), 503);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn without_a_primary_old_is_better_than_nothing_up_to_a_bound(pool: PgPool) {
    let away = overview(&pool, false, true).await;
    last_beat(&pool, 10.0).await;
    for _ in 0..2 {
        let seen = patiently(&away).await;
        assert_eq!(seen.found, Some(true));
        assert!((10..30).contains(&seen.age.as_secs()), "{:?}", seen.age);
    }
    last_beat(&pool, 31.0).await;
    let refused = away.read(something).await.unwrap_err();
    assert_eq!(refused.status(), 503);
}

/// Where nobody limits it, each connection of the pool is taken by a read.
#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn those_who_look_leave_the_primary_to_those_who_buy(pool: PgPool) {
    let overview = overview(&pool, true, false).await;
    let counts = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let look = || {
        overview.read(|connection| {
            let counts = counts.clone();
            Box::pin(async move {
                let (now, most) = &*counts;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let slept = sqlx::query("SELECT pg_sleep(0.1)").execute(connection);
                let slept = slept.await.map(|_| Some(true));
                now.fetch_sub(1, Ordering::SeqCst);
                slept
            })
        })
    };
    let limit = u32::try_from(MOST_ON_PRIMARY).unwrap();
    assert!(pool.options().get_max_connections() > limit);
    let seen = join_all((0..3 * limit).map(|_| look())).await;
    assert!(seen.iter().any(Result::is_ok));
    assert!(counts.1.load(Ordering::SeqCst) <= limit, "{counts:?}");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn who_gets_no_place_on_the_primary_does_not_take_it_for_away(pool: PgPool) {
    let overview = overview(&pool, true, false).await;
    let limit = u32::try_from(MOST_ON_PRIMARY).unwrap();
    let all = overview.places_on_primary.acquire_many(limit).await;
    let refused = overview.read(something).await.unwrap_err();
    assert_eq!(refused.status(), 503);
    assert!(!overview.primary_away.is_so());
    drop(all);
    assert_eq!(of_primary(&overview, something).await, Some(true));
}

#[test]
fn whoever_hangs_is_left_in_time_to_ask_the_others() {
    let all = STANDBYS_TIMEOUT + PRIMARY_TIMEOUT + STANDBYS_TIMEOUT;
    assert!(all < READ_TIMEOUT, "{all:?}");
}

/// A read that hangs the first time that it is made, and counts.
async fn read_once_too_long(overview: &Overview, reads: &Arc<AtomicU32>) -> bool {
    let seen = overview
        .read(|connection| {
            let reads = reads.clone();
            Box::pin(async move {
                if reads.fetch_add(1, Ordering::SeqCst) == 0 {
                    sqlx::query("SELECT pg_sleep(2)")
                        .execute(&mut *connection)
                        .await?;
                }
                something(connection).await
            })
        })
        .await;
    seen.is_ok_and(|seen| seen.found == Some(true) && seen.age == Duration::ZERO)
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_standby_that_hangs_after_it_told_its_age_is_left_for_the_primary(pool: PgPool) {
    let overview = overview(&pool, true, true).await;
    let started = Instant::now();
    loop {
        last_beat(&pool, 0.0).await;
        let reads = Arc::new(AtomicU32::new(0));
        let began = Instant::now();
        let seen = read_once_too_long(&overview, &reads).await;
        let took = began.elapsed();
        let next_waits = !overview.standbys_away.is_so();
        assert!(started.elapsed() < DEADLINE, "{took:?}, {next_waits}");
        // On a busy machine the standby may have told its age too late, and not been read on at all, or
        // all of it may have taken longer.
        let is_left = seen && reads.load(Ordering::SeqCst) == 2 && took < READ_TIMEOUT;
        if is_left && !next_waits {
            return;
        }
        tokio::time::sleep(AWAY_FOR).await;
    }
}
