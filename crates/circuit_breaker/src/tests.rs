use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const OPTIONS: Options = Options {
    failures: 5,
    open_for: Duration::from_secs(2),
};

fn breaker() -> Breaker {
    let shown = prometheus::IntGauge::new("circuit", "circuit").unwrap();
    Breaker::new("test", OPTIONS, shown)
}

fn shown(breaker: &Breaker) -> i64 {
    breaker.0.shown.get()
}

/// Fails so often, each time under another key; tells whether the last failure opened the circuit.
fn fail(breaker: &Breaker, times: usize) -> bool {
    let mut opened = false;
    for key in 0..times {
        opened = breaker.permit_for(&key.to_string()).unwrap().failed();
    }
    opened
}

async fn while_open() {
    tokio::time::advance(2 * OPTIONS.open_for).await;
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_failures_in_a_row_only() {
    let breaker = breaker();
    assert!(!fail(&breaker, OPTIONS.failures - 1));
    breaker.permit().unwrap().answered();
    assert!(!fail(&breaker, OPTIONS.failures - 1));
    breaker.permit().unwrap().answered();
    assert!(fail(&breaker, OPTIONS.failures), "whose failure it was");
    assert!(breaker.permit().is_none() && breaker.permit_for("a").is_none());
    assert_eq!(shown(&breaker), 1);
}

#[tokio::test(start_paused = true)]
async fn one_key_alone_never_opens_it_and_what_has_no_key_counts_each_time() {
    let breaker = breaker();
    for _ in 0..3 * OPTIONS.failures {
        let permit = breaker.permit_for("a card that never answers");
        assert!(!permit.unwrap().failed());
    }
    assert_eq!(shown(&breaker), 0);
    for _ in 0..OPTIONS.failures - 1 {
        breaker.permit().unwrap().failed();
    }
    assert_eq!(shown(&breaker), 1, "with the one under a key");
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_says_nothing_of_the_part() {
    let breaker = breaker();
    for _ in 0..3 * OPTIONS.failures {
        assert!(breaker.permit().is_some());
    }
    assert_eq!(shown(&breaker), 0);
    fail(&breaker, OPTIONS.failures - 1);
    assert!(breaker.permit().is_some());
    assert!(breaker.permit().unwrap().failed(), "still in a row");
}

#[tokio::test(start_paused = true)]
async fn it_opens_at_once_when_the_part_is_away() {
    let breaker = breaker();
    breaker.permit_for("a").unwrap().away();
    assert!(breaker.permit_for("b").is_none());
    assert_eq!(shown(&breaker), 1);
}

#[tokio::test(start_paused = true)]
async fn one_tries_after_a_while_and_decides_for_all() {
    let breaker = breaker();
    assert!(breaker.trial().is_none(), "nothing to try while closed");
    fail(&breaker, OPTIONS.failures);
    assert!(breaker.trial().is_none(), "not at once");
    while_open().await;
    let trial = breaker.trial().unwrap();
    assert!(breaker.trial().is_none(), "one at a time");
    assert!(breaker.permit().is_none(), "a trial under way is no answer");
    drop(trial);
    assert!(breaker.trial().is_none(), "it failed: open again");
    while_open().await;
    breaker.trial().unwrap().answered();
    breaker.permit_for("a").unwrap().answered();
    breaker.permit_for("b").unwrap().answered();
    assert_eq!(shown(&breaker), 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_answered_meanwhile_closes_it_and_a_late_trial_changes_nothing() {
    let breaker = breaker();
    let slow = breaker.permit_for("slow").unwrap();
    breaker.permit().unwrap().away();
    while_open().await;
    let trial = breaker.trial();
    slow.answered();
    drop(trial);
    breaker.permit().unwrap().answered();
    assert_eq!(shown(&breaker), 0);
}

#[tokio::test(start_paused = true)]
async fn it_is_watched_until_the_part_is_back_and_no_longer() {
    let breaker = breaker();
    fail(&breaker, OPTIONS.failures);
    let began = Instant::now();
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let is_back = move || {
        let tries = counted.fetch_add(1, Ordering::Relaxed) + 1;
        std::future::ready(tries == 3)
    };
    breaker.watch(is_back).await.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    let each = OPTIONS.open_for * 3 / 2 + OPTIONS.open_for / 4;
    let took = began.elapsed();
    let expected = 3 * OPTIONS.open_for..3 * each + Duration::from_millis(100);
    assert!(expected.contains(&took), "{took:?}");
    assert!(breaker.permit().is_some());
    assert_eq!(shown(&breaker), 0);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_panics_is_not_answered_and_the_next_one_follows() {
    let breaker = breaker();
    fail(&breaker, OPTIONS.failures);
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let is_back = move || {
        let tries = counted.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(tries > 1, "before it asks");
        async move {
            assert!(tries > 2, "while it asks");
            true
        }
    };
    breaker.watch(is_back).await.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert!(breaker.permit().is_some());
    assert_eq!(shown(&breaker), 0);
}
