//! Terms follow one another: resignation, stop, work that lingers, minting that fails.

use std::time::Duration;

use tokio::time::Instant;

use crate::stand::{Book, Candidate, LONG_LEASE, Manner, SLACK, endpoints, fresh, seat};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn of_three_candidates_at_most_one_leads_and_tokens_grow() {
    let (election, book) = (fresh(), Book::default());
    let manner = Manner {
        terms_of: SECOND / 10,
        ..Manner::default()
    };
    let mut candidates = Vec::new();
    for name in ["one", "two", "three"] {
        candidates.push(Candidate::stands(name, election, &endpoints(), &book, manner).await);
    }
    book.begun(15, 20 * SECOND).await;
    for candidate in &candidates {
        candidate.stop.cancel();
    }
    for candidate in candidates {
        candidate.run.await.unwrap().unwrap();
    }
    book.check();
    let mut names: Vec<_> = book.terms().into_iter().map(|led| led.by).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 1, "the seat goes round: {names:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_stop_hands_over_without_waiting_for_the_lease() {
    let (election, book) = (fresh(), Book::default());
    let manner = Manner {
        lease: LONG_LEASE,
        ..Manner::default()
    };
    let stand =
        async |name: &str| Candidate::stands(name, election, &endpoints(), &book, manner).await;
    let mut leading = stand("0").await;
    book.begun(1, 5 * SECOND).await;
    for round in 1..=5 {
        let next = stand(&round.to_string()).await;
        tokio::time::sleep(SECOND / 2).await;
        let stopped = Instant::now();
        leading.stop.cancel();
        let led = book.begun(round + 1, 2 * SECOND).await;
        println!("handed over in {:?}", led.from - stopped);
        let ended = tokio::time::timeout(SLACK * 2 * SECOND, leading.run).await;
        ended.expect("it returns soon").unwrap().unwrap();
        leading = next;
    }
    book.check();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn work_that_lingers_neither_delays_the_hand_over_nor_is_cancelled() {
    let (election, book) = (fresh(), Book::default());
    let prompt = Manner {
        lease: LONG_LEASE,
        ..Manner::default()
    };
    let lingering = Manner {
        linger: 4 * SECOND,
        ..prompt
    };
    let slow = Candidate::stands("slow", election, &endpoints(), &book, lingering).await;
    book.begun(1, 5 * SECOND).await;
    let _next = Candidate::stands("next", election, &endpoints(), &book, prompt).await;
    tokio::time::sleep(SECOND / 2).await;
    let stopped = Instant::now();
    slow.stop.cancel();
    let next = book.begun(2, 2 * SECOND).await;
    println!("handed over in {:?}", next.from - stopped);
    slow.run.await.unwrap().unwrap();
    let returned = book.terms()[0]
        .returned
        .expect("the work went on to its end");
    assert!(returned > next.from);
    book.check();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn everyone_sees_who_leads_with_which_token_and_since_when() {
    let (election, book) = (fresh(), Book::default());
    let manner = Manner::default();
    let began = chrono::Utc::now();
    let leads = Candidate::stands("leads", election, &endpoints(), &book, manner).await;
    let led = book.begun(1, 5 * SECOND).await;
    let waits = Candidate::stands("waits", election, &endpoints(), &book, manner).await;
    for candidate in [&leads, &waits] {
        let mut observed = candidate.election.observed();
        let seen = tokio::time::timeout(SLACK * 2 * SECOND, observed.wait_for(Option::is_some));
        let seen = seen.await.unwrap().unwrap().clone().unwrap();
        assert_eq!((seen.name.as_str(), seen.token), ("leads", led.token));
        assert!(
            (began..chrono::Utc::now()).contains(&seen.since),
            "{seen:?}"
        );
    }
    leads.stop.cancel();
    let mut observed = waits.election.observed();
    let follower = observed.wait_for(|leader| leader.as_ref().is_some_and(|it| it.name == "waits"));
    let follower = tokio::time::timeout(SLACK * 2 * SECOND, follower)
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert!(follower.unwrap().token > led.token);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn who_cannot_mint_in_time_gives_the_seat_to_another() {
    let (election, book) = (fresh(), Book::default());
    let never = Manner {
        minting: 600 * SECOND,
        ..Manner::default()
    };
    let _barren = Candidate::stands("barren", election, &endpoints(), &book, never).await;
    tokio::time::sleep(SECOND / 2).await;
    let able = Candidate::stands("able", election, &endpoints(), &book, Manner::default()).await;
    assert_eq!(book.begun(1, 15 * SECOND).await.by, able.name);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn who_lost_the_seat_while_minting_never_leads() {
    let (election, book) = (fresh(), Book::default());
    // Long enough to find the seat taken, and less than half a lease, which minting may take.
    let slow = Manner {
        lease: 20 * SECOND,
        minting: 5 * SECOND,
        ..Manner::default()
    };
    let slow = Candidate::stands("slow", election, &endpoints(), &book, slow).await;
    let mut etcd = crate::stand::etcd().await;
    let until = Instant::now() + SLACK * 3 * SECOND;
    while etcd
        .get(seat(election), None)
        .await
        .unwrap()
        .kvs()
        .is_empty()
    {
        assert!(
            Instant::now() < until,
            "the seat is taken before the token is minted"
        );
        tokio::time::sleep(SECOND / 100).await;
    }
    etcd.delete(seat(election), None).await.unwrap();
    let led = book.begun(1, 20 * SECOND).await;
    assert_eq!(led.token, 2, "the first token was never led with");
    assert!(slow.term().may_act());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_refused_leader_resigns_and_another_leads() {
    let (election, book) = (fresh(), Book::default());
    let manner = Manner {
        lease: LONG_LEASE,
        ..Manner::default()
    };
    let first = Candidate::stands("first", election, &endpoints(), &book, manner).await;
    let led = book.begun(1, 5 * SECOND).await;
    first.term().refused();
    assert!(!first.term().may_act());
    // Sooner than its lease would have run out.
    let next = book.begun(2, 2 * SECOND).await;
    assert!(next.token > led.token);
    book.check();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_stop_ends_a_campaign_at_once() {
    let (election, book) = (fresh(), Book::default());
    let manner = Manner {
        lease: LONG_LEASE,
        ..Manner::default()
    };
    let _leads = Candidate::stands("leads", election, &endpoints(), &book, manner).await;
    book.begun(1, 5 * SECOND).await;
    let waits = Candidate::stands("waits", election, &endpoints(), &book, manner).await;
    // Nobody listens at port 9, the discard service's.
    let nobody = ["http://127.0.0.1:9".to_owned()];
    let alone = Candidate::stands("alone", election, &nobody, &book, manner).await;
    tokio::time::sleep(SECOND).await;
    for candidate in [waits, alone] {
        candidate.stop.cancel();
        let ended = tokio::time::timeout(SLACK * SECOND, candidate.run).await;
        ended.expect("a campaign ends at once").unwrap().unwrap();
    }
}
