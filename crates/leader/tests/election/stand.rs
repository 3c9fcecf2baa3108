//! Candidates that write down what happens to them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::Client;
use leader::{Election, Term};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub fn endpoints() -> Vec<String> {
    let text = std::env::var("ETCD_ENDPOINTS")
        .expect("ETCD_ENDPOINTS must name the etcd members to test against, separated by commas");
    text.split(',').map(str::to_owned).collect()
}

/// An election of its own for each test.
pub fn fresh() -> &'static str {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = chrono::Utc::now().timestamp_micros();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Box::leak(format!("test-{now}-{}-{number}", std::process::id()).into_boxed_str())
}

pub async fn etcd() -> Client {
    Client::connect(endpoints(), None).await.unwrap()
}

/// The key that is the seat.
pub fn seat(election: &str) -> String {
    format!("leader/{election}")
}

/// The lease that holds the seat.
pub async fn lease_of(election: &str) -> i64 {
    let answer = etcd().await.get(seat(election), None).await.unwrap();
    answer.kvs().first().expect("the seat is taken").lease()
}

/// A test waits this many times as long as it should take: it must never fail because the machine was
/// busy.
pub const SLACK: u32 = 4;

/// A lease that no test waits for: what happens sooner does not happen because it ran out.
pub const LONG_LEASE: Duration = Duration::from_secs(60);

/// A term, with its beginning as the leader's work saw it.
#[derive(Clone, Debug)]
pub struct Led {
    pub by: String,
    pub token: i64,
    pub from: Instant,
    /// Whether a former term might still act when this one began.
    pub overlaps: bool,
    /// When the work returned.
    pub returned: Option<Instant>,
    term: Term,
}

/// Tokens and terms of one election.
#[derive(Clone, Default)]
pub struct Book {
    last_token: Arc<AtomicI64>,
    terms: Arc<Mutex<Vec<Led>>>,
}

impl Book {
    pub fn terms(&self) -> Vec<Led> {
        self.terms.lock().unwrap().clone()
    }

    fn mint(&self) -> i64 {
        self.last_token.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn begin(&self, by: String, term: Term) -> usize {
        let mut terms = self.terms.lock().unwrap();
        // The right to act ends by the leader's own clock, also where a busy machine tells it late.
        let overlaps = terms.iter().any(|led| led.term.may_act());
        terms.push(Led {
            by,
            token: term.token(),
            from: Instant::now(),
            overlaps,
            returned: None,
            term,
        });
        terms.len() - 1
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Led, Instant)) {
        change(&mut self.terms.lock().unwrap()[index], Instant::now());
    }

    /// Waits until `count` terms have begun; the last of them. `within` is how long that should take;
    /// the deadline is generous.
    pub async fn begun(&self, count: usize, within: Duration) -> Led {
        let within = within * SLACK;
        let until = Instant::now() + within;
        loop {
            let terms = self.terms();
            if let Some(led) = terms.get(count - 1) {
                return led.clone();
            }
            assert!(Instant::now() < until, "after {within:?} only {terms:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The promise: terms follow one another in time, with growing tokens.
    pub fn check(&self) {
        for pair in self.terms().windows(2) {
            assert!(pair[0].token < pair[1].token, "tokens grow: {pair:?}");
            assert!(!pair[1].overlaps, "one leader at a time: {pair:?}");
        }
    }
}

/// How a candidate behaves.
#[derive(Clone, Copy)]
pub struct Manner {
    pub lease: Duration,
    /// After how long it resigns of its own accord.
    pub terms_of: Duration,
    /// For how long its work goes on after the term.
    pub linger: Duration,
    /// How long minting takes.
    pub minting: Duration,
}

impl Manner {
    pub const DEFAULT: Self = Self {
        lease: Duration::from_secs(3),
        terms_of: Duration::from_secs(3600),
        linger: Duration::ZERO,
        minting: Duration::ZERO,
    };
}

impl Default for Manner {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A candidate that stands until it is stopped or dropped.
pub struct Candidate {
    pub name: String,
    pub election: Arc<Election>,
    pub stop: CancellationToken,
    /// Its latest term.
    pub term: watch::Receiver<Option<Term>>,
    pub run: AbortOnDropHandle<anyhow::Result<()>>,
}

impl Candidate {
    pub async fn stands(
        name: &str,
        election: &'static str,
        endpoints: &[String],
        book: &Book,
        manner: Manner,
    ) -> Self {
        let name = name.to_owned();
        let election = Election::connect(endpoints, election, name.clone(), manner.lease);
        let election = Arc::new(election.await.unwrap());
        let stop = CancellationToken::new();
        let (sender, term) = watch::channel(None);
        let sender = Arc::new(sender);
        let mint = {
            let book = book.clone();
            move |_| {
                let book = book.clone();
                async move {
                    tokio::time::sleep(manner.minting).await;
                    Ok(book.mint())
                }
            }
        };
        let lead = {
            let (book, name) = (book.clone(), name.clone());
            move |term: Term| {
                let (book, name, sender) = (book.clone(), name.clone(), sender.clone());
                async move {
                    // Before the book says that the term has begun, so that a test finds it then.
                    sender.send_replace(Some(term.clone()));
                    let index = book.begin(name, term.clone());
                    let _ = tokio::time::timeout(manner.terms_of, term.ended()).await;
                    tokio::time::sleep(manner.linger).await;
                    book.note(index, |led, now| led.returned = Some(now));
                }
            }
        };
        let (campaign, stopped) = (election.clone(), stop.clone());
        let run = tokio::spawn(async move { campaign.run(stopped, mint, lead).await });
        Self {
            name,
            election,
            stop,
            term,
            run: AbortOnDropHandle::new(run),
        }
    }

    pub fn term(&self) -> Term {
        self.term.borrow().clone().expect("it has led")
    }
}
