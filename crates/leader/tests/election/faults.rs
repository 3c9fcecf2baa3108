//! What happens to etcd, and to the way to it, while somebody leads.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::stand::{
    Book, Candidate, LONG_LEASE, Manner, SLACK, endpoints, etcd, fresh, lease_of, seat,
};
use crate::wire::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// With a lease that no test waits for.
const LONG: Manner = Manner {
    lease: LONG_LEASE,
    ..Manner::DEFAULT
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_lease_revoked_from_outside_ends_the_term() {
    let (election, book) = (fresh(), Book::default());
    let first = Candidate::stands("first", election, &endpoints(), &book, LONG).await;
    let led = book.begun(1, 5 * SECOND).await;
    let term = first.term();
    etcd()
        .await
        .lease_revoke(lease_of(election).await)
        .await
        .unwrap();
    timeout(SLACK * SECOND, term.ended())
        .await
        .expect("the loss is seen");
    assert!(!term.may_act());
    assert!(book.begun(2, 5 * SECOND).await.token > led.token);
    assert!(!term.may_act(), "an ended term stays ended");
    book.check();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_seat_deleted_from_outside_ends_the_term_although_its_lease_lives() {
    let (election, book) = (fresh(), Book::default());
    let first = Candidate::stands("first", election, &endpoints(), &book, LONG).await;
    book.begun(1, 5 * SECOND).await;
    let (term, lease) = (first.term(), lease_of(election).await);
    etcd().await.delete(seat(election), None).await.unwrap();
    timeout(SLACK * SECOND, term.ended())
        .await
        .expect("the loss is seen");
    book.begun(2, 5 * SECOND).await;
    book.check();
    let left = etcd()
        .await
        .lease_time_to_live(lease, None)
        .await
        .unwrap()
        .ttl();
    assert!(left <= 0, "the old lease is not left behind: {left} s");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn who_cannot_renew_stops_before_another_leads() {
    let (election, book) = (fresh(), Book::default());
    // So long that a busy machine does not lose it by itself.
    let manner = Manner {
        lease: 6 * SECOND,
        ..Manner::default()
    };
    let wire = Wire::to(&endpoints()[0]).await;
    let through = std::slice::from_ref(&wire.url);
    let cut = Candidate::stands("cut", election, through, &book, manner).await;
    book.begun(1, 5 * SECOND).await;
    let term = cut.term();
    let free = Candidate::stands("free", election, &endpoints(), &book, manner).await;
    tokio::time::sleep(2 * manner.lease).await;
    assert!(
        term.may_act(),
        "renewals keep a term for longer than a lease"
    );

    let frozen = Instant::now();
    wire.freeze();
    timeout(SLACK * manner.lease, term.ended())
        .await
        .expect("it ends by its own clock");
    let ended = frozen.elapsed();
    let next = book.begun(2, 10 * SECOND).await;
    println!(
        "ended {ended:?} and followed {:?} after the cut",
        next.from - frozen
    );
    assert_eq!(next.by, free.name);
    assert!(!term.may_act());

    // The way is free again: the former leader sees who leads, and stands again.
    wire.thaw();
    let mut observed = cut.election.observed();
    let seen = observed.wait_for(|leader| leader.as_ref().is_some_and(|it| it.name == "free"));
    timeout(SLACK * 5 * SECOND, seen)
        .await
        .expect("it sees the new leader")
        .unwrap();
    free.stop.cancel();
    assert_eq!(book.begun(3, 5 * SECOND).await.by, cut.name);
    book.check();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_member_that_hangs_costs_no_term_and_not_the_view() {
    let (election, book) = (fresh(), Book::default());
    let mut wires = Vec::new();
    for endpoint in endpoints() {
        wires.push(Wire::to(&endpoint).await);
    }
    assert!(
        wires.len() > 1,
        "this needs ETCD_ENDPOINTS with several members"
    );
    let through: Vec<_> = wires.iter().map(|wire| wire.url.clone()).collect();
    // So long that a busy machine does not lose it by itself.
    let manner = Manner {
        lease: 6 * SECOND,
        ..Manner::default()
    };
    let leads = Candidate::stands("leads", election, &through, &book, manner).await;
    book.begun(1, 5 * SECOND).await;
    for wire in &wires {
        wire.freeze();
        tokio::time::sleep(manner.lease + SECOND).await;
        assert!(leads.term().may_act());
        assert!(leads.election.observed().borrow().is_some());
        wire.thaw();
    }
    assert_eq!(book.terms().len(), 1);
    leads.stop.cancel();
    leads.run.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn all_of_etcd_away_and_back_is_survived() {
    let (election, book) = (fresh(), Book::default());
    // A call to etcd, such as that which gives the seat back, is given up after a fifth of the lease.
    let manner = Manner {
        lease: 10 * SECOND,
        linger: SECOND / 2,
        ..Manner::default()
    };
    let wire = Wire::to(&endpoints()[0]).await;
    let through = std::slice::from_ref(&wire.url);
    let one = Candidate::stands("one", election, through, &book, manner).await;
    book.begun(1, 5 * SECOND).await;
    let two = Candidate::stands("two", election, through, &book, manner).await;
    wire.freeze();
    timeout(SLACK * manner.lease, one.term().ended())
        .await
        .expect("it ends by its own clock");
    let ended = Instant::now();
    tokio::time::sleep(manner.lease + 2 * SECOND).await;
    assert_eq!(book.terms().len(), 1, "nobody leads without etcd");
    let returned = book.terms()[0].returned.expect("work in flight goes on");
    assert!(
        returned - ended < manner.lease / 5,
        "and not only when the seat was given back"
    );
    for candidate in [&one, &two] {
        let mut observed = candidate.election.observed();
        let nobody = timeout(SLACK * 2 * SECOND, observed.wait_for(Option::is_none));
        nobody.await.expect("who leads is not known").unwrap();
    }
    wire.thaw();
    book.begun(2, 6 * SECOND).await;
    book.check();
}
