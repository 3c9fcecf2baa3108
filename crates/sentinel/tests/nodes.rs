//! Real nodes and sentinels: `REDIS_SENTINELS` and `REDIS_PASSWORD_FILE`. They are left as they
//! were found; nodes are killed in the scenarios.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "../../cache/tests/road/mod.rs"]
#[allow(dead_code)] // here no road is opened again
mod road;

use std::time::{Duration, Instant};

use redis::{Role, pipe};
use road::Road;
use sentinel::{Address, CONFIRMED_TIMEOUT, Error, Primary, Readers, Watched};

/// How long a test waits for what should take a moment: it must never fail because the machine was busy.
const DEADLINE: Duration = Duration::from_secs(20);

fn real() -> Vec<Address> {
    let text = std::env::var("REDIS_SENTINELS").expect("REDIS_SENTINELS says where they are");
    text.split(',').map(|one| one.parse().unwrap()).collect()
}

fn at(sentinels: &[Address]) -> Primary {
    let file = std::env::var("REDIS_PASSWORD_FILE").expect("REDIS_PASSWORD_FILE names a file");
    let password = std::fs::read_to_string(file).unwrap();
    Primary::open(&Watched {
        sentinels,
        name: "boxoffice",
        password: password.trim(),
    })
}

async fn found(sentinels: &[Address]) -> Primary {
    let primary = at(sentinels);
    assert!(primary.ready(DEADLINE).await);
    primary
}

/// Questions one after another.
const QUESTIONS: u32 = 100;

async fn role(primary: &Primary) -> Role {
    let ask = pipe().cmd("ROLE").to_owned();
    primary.ask::<(Role,)>(&ask).await.unwrap().0
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn the_primary_is_found_and_has_replicas() {
    let Role::Primary { replicas, .. } = role(&found(&real()).await).await else {
        panic!("no primary");
    };
    assert_eq!(replicas.len(), 2);
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn what_was_confirmed_is_read_by_one_of_all_nodes_but_one() {
    let primary = found(&real()).await;
    let readers = Readers::beside(&primary);
    let key = format!("test:{}", uuid::Uuid::now_v7());
    let began = Instant::now();
    for value in 0..100_u32 {
        let mut write = pipe();
        write.cmd("SET").arg(&key).arg(value).arg("EX").arg(60);
        primary.confirm(write).await.unwrap();
        let read = pipe().cmd("GET").arg(&key).to_owned();
        let answers = loop {
            match readers.ask::<(Option<u32>,)>(&read, 2).await {
                Some(answers) => break answers,
                // Not connected to yet, or too busy to answer in time.
                None if began.elapsed() < DEADLINE => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                None => panic!("the nodes do not answer"),
            }
        };
        assert_eq!(answers.len(), 2);
        assert!(answers.contains(&(Some(value),)), "{value}: {answers:?}");
    }
    let delete = pipe().cmd("DEL").arg(&key).to_owned();
    primary.ask::<()>(&delete).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_late_confirmation_is_no_lost_primary_and_holds_up_no_later_one() {
    let primary = found(&real()).await;
    // Waits for more replicas than there are, as for some that are slow: three times as long as a
    // confirmation may take.
    let slow = 3 * CONFIRMED_TIMEOUT;
    let mut wait = pipe();
    wait.cmd("WAIT").arg(9).arg(slow.as_millis().to_string());
    let began = Instant::now();
    let late = primary.confirm(wait).await;
    assert!(matches!(late, Err(Error::Late)), "{late:?}");
    assert!(primary.is_there(), "reads would be refused");
    assert!(matches!(role(&primary).await, Role::Primary { .. }));

    let key = format!("test:{}", uuid::Uuid::now_v7());
    loop {
        let mut write = pipe();
        write.cmd("SET").arg(&key).arg(1).arg("EX").arg(60);
        match primary.confirm(write).await {
            Ok(_) => break,
            // Connecting anew takes a moment, and a busy machine may be late itself.
            Err(failure) => assert!(began.elapsed() < DEADLINE, "{failure}"),
        }
    }
    println!("confirmed again after {:?}, of {slow:?}", began.elapsed());
    assert!(primary.is_there());
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn more_answers_than_there_are_nodes_are_never_had() {
    let primary = found(&real()).await;
    let readers = Readers::beside(&primary);
    let ping = pipe().cmd("PING").to_owned();
    let began = Instant::now();
    while readers.ask::<(String,)>(&ping, 3).await.is_none() {
        assert!(began.elapsed() < DEADLINE, "not all nodes answer");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(readers.ask::<(String,)>(&ping, 4).await.is_none());
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn sentinels_that_are_dead_or_hang_cost_a_moment() {
    let road = Road::to(&real()[0].to_string()).await;
    road.block();
    let mut sentinels = vec![
        "127.0.0.1:1".parse().unwrap(),
        road.address().parse().unwrap(),
    ];
    sentinels.push(real()[1].clone());
    let began = Instant::now();
    let primary = found(&sentinels).await;
    println!("found after {:?}", began.elapsed());
    assert!(matches!(role(&primary).await, Role::Primary { .. }));
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_primary_stays_while_no_sentinel_answers() {
    let road = Road::to(&real()[0].to_string()).await;
    let primary = found(&[road.address().parse().unwrap()]).await;
    road.block();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert!(matches!(role(&primary).await, Role::Primary { .. }));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    road.open();
    assert!(matches!(role(&primary).await, Role::Primary { .. }));
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn without_a_primary_every_question_fails_at_once() {
    let primary = at(&["127.0.0.1:1".parse().unwrap()]);
    let readers = Readers::beside(&primary);
    let began = Instant::now();
    let ping = pipe().cmd("PING").to_owned();
    for _ in 0..QUESTIONS {
        let asked = primary.ask::<(String,)>(&ping).await;
        assert!(matches!(asked, Err(Error::Away)), "{asked:?}");
        let confirmed = primary.confirm(ping.clone()).await;
        assert!(matches!(confirmed, Err(Error::Away)), "{confirmed:?}");
        assert!(readers.ask::<(String,)>(&ping, 2).await.is_none());
    }
    // A question that waited for anything would take as long as a node may take to confirm a write.
    let most = CONFIRMED_TIMEOUT * QUESTIONS / 2;
    assert!(began.elapsed() < most, "{:?}", began.elapsed());
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_question_that_is_refused_does_not_send_the_primary_away() {
    let primary = found(&real()).await;
    let wrong = pipe().cmd("GET").to_owned();
    assert!(matches!(
        primary.ask::<()>(&wrong).await,
        Err(Error::Redis(_))
    ));
    assert!(primary.is_there());
}
