//! The cache against a real Redis (`CACHE_ADDRESS`, `CACHE_PASSWORD_FILE`), also behind a road
//! that can be closed.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod road;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cache::{Cache, Error, FENCE, OPERATION_TIMEOUT, Options, Store};
use road::Road;
use tokio::sync::Notify;

/// How long a test waits for what should take a second or two: it must never fail because the machine
/// was busy.
const DEADLINE: Duration = Duration::from_secs(20);

/// Reads one after another of a cache that does not answer, and how long they may take together: half of
/// what they would if each waited for it. They should take one time-out.
const READS: u32 = 100;
const MOST: Duration = OPERATION_TIMEOUT.saturating_mul(READS / 2);

fn address() -> String {
    std::env::var("CACHE_ADDRESS").expect("CACHE_ADDRESS says where Redis is")
}

async fn store_at(address: &str) -> Store {
    let file = std::env::var("CACHE_PASSWORD_FILE").expect("CACHE_PASSWORD_FILE names a file");
    let password = std::fs::read_to_string(file).unwrap();
    Store::open(address, password.trim()).unwrap()
}

async fn cache_with(options: Options) -> Arc<Cache> {
    let store = store_at(&address()).await;
    assert!(store.ready(DEADLINE).await);
    Arc::new(Cache::new("test", store, options))
}

async fn cache() -> Arc<Cache> {
    cache_with(Options {
        loads: 200,
        ..Options::default()
    })
    .await
}

fn key() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn text(value: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(value.as_bytes()))
}

/// Reads through the cache; `truth` is what a load finds.
async fn read(cache: &Cache, key: &str, truth: &'static str) -> Option<Bytes> {
    cache
        .get_or_load(key, async || Ok::<_, Infallible>(text(truth)))
        .await
        .unwrap()
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_hundred_misses_make_one_load() {
    let (cache, key) = (cache().await, key());
    let loads = Arc::new(AtomicU32::new(0));
    let reads = (0..100).map(|_| {
        let (cache, key, loads) = (cache.clone(), key.clone(), loads.clone());
        tokio::spawn(async move {
            let load = async || {
                loads.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok::<_, Infallible>(text("v"))
            };
            cache.get_or_load(&key, load).await.unwrap()
        })
    });
    for read in reads.collect::<Vec<_>>() {
        assert_eq!(read.await.unwrap(), text("v"));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn what_does_not_exist_is_remembered_for_a_short_time() {
    let options = Options {
        negative_ttl: Duration::from_secs(2),
        jitter: 0.0,
        ..Options::default()
    };
    let (cache, key) = (cache_with(options).await, key());
    let began = Instant::now();
    let nothing = cache
        .get_or_load(&key, async || Ok::<_, Infallible>(None))
        .await
        .unwrap();
    assert_eq!(nothing, None);
    let remembered = read(&cache, &key, "now there").await;
    // On a busy machine the time may be over by now.
    assert!(remembered.is_none() || began.elapsed() > options.negative_ttl);
    tokio::time::sleep(Duration::from_millis(2050)).await;
    assert_eq!(read(&cache, &key, "now there").await, text("now there"));
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn entries_run_out() {
    let options = Options {
        ttl: Duration::from_secs(2),
        jitter: 0.0,
        ..Options::default()
    };
    let (cache, key) = (cache_with(options).await, key());
    let began = Instant::now();
    assert_eq!(read(&cache, &key, "one").await, text("one"));
    let kept = read(&cache, &key, "two").await;
    // On a busy machine the time may be over by now.
    assert!(kept == text("one") || began.elapsed() > options.ttl);
    tokio::time::sleep(Duration::from_millis(2050)).await;
    assert_eq!(read(&cache, &key, "two").await, text("two"));
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_load_that_began_before_a_change_leaves_nothing_old_behind() {
    // Two caches with connections of their own stand for two processes.
    let (one, other, key) = (cache().await, cache().await, key());
    let (has_read, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = tokio::spawn({
        let (one, key) = (one.clone(), key.clone());
        let (has_read, go_on) = (has_read.clone(), go_on.clone());
        async move {
            let load = async || {
                has_read.notify_one();
                go_on.notified().await;
                Ok::<_, Infallible>(text("old"))
            };
            one.get_or_load(&key, load).await.unwrap()
        }
    });
    has_read.notified().await;
    other
        .changing(&key, async { Ok::<_, Infallible>(()) })
        .await
        .unwrap();
    // Who asks now, in the process of the slow load, joins it, and must not be given its value.
    let asked_after = tokio::spawn({
        let (one, key) = (one.clone(), key.clone());
        async move { read(&one, &key, "new").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    go_on.notify_one();
    assert_eq!(
        slow.await.unwrap(),
        text("old"),
        "it asked before the change"
    );
    assert_eq!(asked_after.await.unwrap(), text("new"));
    assert_eq!(read(&other, &key, "new").await, text("new"));
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_change_whose_process_dies_leaves_a_fence_and_no_old_value() {
    let (one, other, key) = (cache().await, cache().await, key());
    assert_eq!(read(&one, &key, "old").await, text("old"));
    // It dies in the middle of its change, with the fence in place.
    let changes = Arc::new(Notify::new());
    let dies = tokio::spawn({
        let (one, key, changes) = (one.clone(), key.clone(), changes.clone());
        async move {
            let change = async {
                changes.notify_one();
                std::future::pending::<Result<(), Infallible>>().await
            };
            one.changing(&key, change).await
        }
    });
    changes.notified().await;
    dies.abort();
    assert!(dies.await.is_err());
    assert_eq!(read(&other, &key, "new").await, text("new"));
    assert_eq!(
        read(&one, &key, "newer").await,
        text("newer"),
        "nothing is stored behind a fence"
    );
}

/// A change that has begun and hangs in the middle of its write, until it is aborted.
async fn hanging_change(cache: &Arc<Cache>, key: &str) -> tokio::task::JoinHandle<()> {
    let writes = Arc::new(Notify::new());
    let change = tokio::spawn({
        let (cache, key, writes) = (cache.clone(), key.to_owned(), writes.clone());
        async move {
            let write = async {
                writes.notify_one();
                std::future::pending::<Result<(), Infallible>>().await
            };
            let _ = cache.changing(&key, write).await;
        }
    });
    writes.notified().await;
    change
}

/// A change that finishes.
async fn change(cache: &Cache, key: &str) {
    let write = async { Ok::<_, Infallible>(()) };
    cache.changing(key, write).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_change_that_finishes_leaves_the_fence_of_another_that_overlaps_it() {
    let (one, other) = (cache().await, cache().await);
    // Whichever of the two placed its fence first.
    for hangs_first in [true, false] {
        let (key, began) = (key(), Instant::now());
        let hanging = if hangs_first {
            let hanging = hanging_change(&one, &key).await;
            change(&other, &key).await;
            hanging
        } else {
            let write = async { Ok::<_, Infallible>(hanging_change(&one, &key).await) };
            other.changing(&key, write).await.unwrap()
        };
        // The change that hangs has not written yet. Then it writes, and its process dies.
        assert_eq!(read(&other, &key, "old").await, text("old"));
        hanging.abort();
        assert!(hanging.await.is_err());
        let after = read(&other, &key, "new").await;
        // On a busy machine the fence may be over by now.
        assert!(
            after == text("new") || began.elapsed() > FENCE,
            "stored while a change was under way"
        );
    }
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_change_whose_outcome_is_unknown_has_its_fence_for_its_full_life_again() {
    let (one, other, key) = (cache().await, cache().await, key());
    let write = async {
        // The write outlasts its fence, and what it changes is read meanwhile.
        tokio::time::sleep(FENCE + Duration::from_millis(200)).await;
        assert_eq!(read(&other, &key, "old").await, text("old"));
        Err::<(), _>("no answer")
    };
    assert!(one.changing(&key, write).await.is_err());
    // It takes effect late.
    let failed = Instant::now();
    assert_eq!(read(&other, &key, "before").await, text("before"));
    let after = read(&other, &key, "after").await;
    // On a busy machine the fence may be over by now.
    assert!(
        after == text("after") || failed.elapsed() > FENCE,
        "stored although a write may be under way"
    );
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn values_are_stored_again_once_every_change_is_finished() {
    let (one, other, key) = (cache().await, cache().await, key());
    let overlapped = async {
        change(&other, &key).await;
        Ok::<_, Infallible>(())
    };
    one.changing(&key, overlapped).await.unwrap();
    let (began, loads) = (Instant::now(), AtomicU32::new(0));
    // A busy machine may find the cache too slow, but not each time.
    for reads in 1.. {
        let load = async || {
            loads.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(text("v"))
        };
        other.get_or_load(&key, load).await.unwrap();
        if loads.load(Ordering::SeqCst) < reads {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "never from the cache");
    }
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_cancelled_leader_does_not_hang_those_who_wait() {
    let (cache, key) = (cache().await, key());
    let loads = Arc::new(Notify::new());
    let leader = tokio::spawn({
        let (cache, key, loads) = (cache.clone(), key.clone(), loads.clone());
        async move {
            let load = async || {
                loads.notify_one();
                std::future::pending::<Result<Option<Bytes>, Infallible>>().await
            };
            cache.get_or_load(&key, load).await
        }
    });
    loads.notified().await;
    let follower = tokio::spawn({
        let (cache, key) = (cache.clone(), key.clone());
        async move { read(&cache, &key, "v").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    leader.abort();
    let value = tokio::time::timeout(DEADLINE, follower).await;
    assert_eq!(value.expect("it does not hang").unwrap(), text("v"));
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn those_who_wait_for_a_load_that_fails_fail_with_it() {
    let (cache, key) = (cache().await, key());
    let loads = Arc::new(Notify::new());
    let leader = tokio::spawn({
        let (cache, key, loads) = (cache.clone(), key.clone(), loads.clone());
        async move {
            let load = async || {
                loads.notify_one();
                tokio::time::sleep(Duration::from_millis(500)).await;
                Err::<Option<Bytes>, _>("down")
            };
            cache.get_or_load(&key, load).await
        }
    });
    loads.notified().await;
    let follower = cache
        .get_or_load(&key, async || Ok::<_, &str>(text("v")))
        .await;
    assert!(matches!(follower, Err(Error::Shared)), "{follower:?}");
    assert!(matches!(leader.await.unwrap(), Err(Error::Load("down"))));
    let again = cache
        .get_or_load(&key, async || Ok::<_, &str>(text("v")))
        .await
        .unwrap();
    assert_eq!(again, text("v"), "a failure is not remembered");
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_load_is_given_up_in_time() {
    let options = Options {
        load_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let (cache, key) = (cache_with(options).await, key());
    let load = async || std::future::pending::<Result<Option<Bytes>, Infallible>>().await;
    let outcome = cache.get_or_load(&key, load).await;
    assert!(matches!(outcome, Err(Error::Late)), "{outcome:?}");
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_cache_that_refuses_connections_costs_next_to_nothing() {
    let store = store_at("127.0.0.1:1").await;
    let cache = Cache::new("test", store, Options::default());
    let began = Instant::now();
    for _ in 0..READS {
        assert_eq!(read(&cache, "k", "v").await, text("v"));
    }
    assert!(began.elapsed() < MOST, "{:?}", began.elapsed());
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_cache_that_hangs_costs_one_time_out_and_is_used_again_when_it_is_back() {
    let road = Road::to(&address()).await;
    let store = store_at(&road.address()).await;
    assert!(store.ready(DEADLINE).await);
    let (cache, key) = (Cache::new("test", store.clone(), Options::default()), key());
    assert_eq!(read(&cache, &key, "one").await, text("one"));

    road.block();
    let began = Instant::now();
    for _ in 0..READS {
        assert_eq!(
            read(&cache, &key, "two").await,
            text("two"),
            "straight from the truth"
        );
    }
    assert!(began.elapsed() < MOST, "{:?}", began.elapsed());

    road.open();
    assert!(store.ready(DEADLINE).await);
    let opened = Instant::now();
    while read(&cache, &key, "three").await != text("one") {
        assert!(opened.elapsed() < DEADLINE, "from the cache again");
    }
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn what_changed_while_the_cache_was_away_is_deleted_before_the_cache_is_read_again() {
    let road = Road::to(&address()).await;
    let store = store_at(&road.address()).await;
    assert!(store.ready(DEADLINE).await);
    let (cache, key) = (Cache::new("test", store.clone(), Options::default()), key());
    assert_eq!(read(&cache, &key, "old").await, text("old"));
    road.block();
    cache
        .changing(&key, async { Ok::<_, Infallible>(()) })
        .await
        .unwrap();
    assert_eq!(read(&cache, &key, "new").await, text("new"));
    road.open();
    assert!(store.ready(DEADLINE).await);
    assert_eq!(read(&cache, &key, "newer").await, text("newer"));
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn fences_of_others_stay_where_more_changed_than_a_process_can_remember() {
    // A database of its own: nearly all of it is deleted.
    let database = "/5";
    let road = Road::to(&address()).await;
    let store = store_at(&(road.address() + database)).await;
    let others_store = store_at(&(address() + database)).await;
    assert!(store.ready(DEADLINE).await && others_store.ready(DEADLINE).await);
    let cache = Cache::new("test", store.clone(), Options::default());
    let other = Arc::new(Cache::new("test", others_store, Options::default()));
    let (changed, fenced) = (key(), key());
    assert_eq!(read(&cache, &changed, "old").await, text("old"));

    road.block();
    for number in 0..5_000 {
        change(&cache, &number.to_string()).await;
    }
    change(&cache, &changed).await;
    let began = Instant::now();
    let hanging = hanging_change(&other, &fenced).await;
    road.open();
    assert!(store.ready(DEADLINE).await);
    assert_eq!(read(&cache, &changed, "new").await, text("new"));
    assert_eq!(read(&cache, &fenced, "old").await, text("old"));
    hanging.abort();
    assert!(hanging.await.is_err());
    let after = read(&cache, &fenced, "new").await;
    // On a busy machine the fence may be over by now.
    assert!(
        after == text("new") || began.elapsed() > FENCE,
        "stored while a change was under way"
    );
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn straight_loads_are_limited() {
    let store = store_at("127.0.0.1:1").await;
    let options = Options {
        loads: 3,
        ..Options::default()
    };
    let cache = Arc::new(Cache::new("test", store, options));
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let reads = (0..30).map(|number| {
        let (cache, now, most) = (cache.clone(), now.clone(), most.clone());
        tokio::spawn(async move {
            let load = async || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(text("v"))
            };
            cache.get_or_load(&number.to_string(), load).await.unwrap()
        })
    });
    for read in reads.collect::<Vec<_>>() {
        assert_eq!(read.await.unwrap(), text("v"));
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}
