//! The program itself: killed, its answers survive; stopped, it hangs nobody.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a test waits: it must never fail because the machine was busy.
const DEADLINE: Duration = Duration::from_secs(40);

struct Running {
    child: Child,
    url: String,
    internal: String,
}

impl Running {
    async fn start(folder: &Path) -> Self {
        let [public, internal] = [(), ()].map(|()| {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .to_string()
        });
        let child = Command::new(env!("CARGO_BIN_EXE_bank"))
            .env("HTTP_LISTEN", &public)
            .env("INTERNAL_LISTEN", &internal)
            .env("BOOKS_FILE", folder.join("books.sqlite"))
            .env("API_KEY_FILE", folder.join("api_key"))
            .env("LOG", "warn")
            .spawn()
            .unwrap();
        let running = Self {
            child,
            url: format!("http://{public}"),
            internal: format!("http://{internal}"),
        };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let ready = client()
                .get(format!("{}/readyz", running.internal))
                .send()
                .await;
            if ready.is_ok_and(|answer| answer.status() == 200) {
                return running;
            }
            assert!(Instant::now() < deadline, "the bank does not get ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has a request to answer beside this question.
    async fn is_asked(&self) {
        let deadline = Instant::now() + DEADLINE;
        let metrics = async || {
            let answer = client().get(format!("{}/metrics", self.internal));
            answer.send().await.unwrap().text().await.unwrap()
        };
        while !metrics().await.contains("http_server_active_requests 2") {
            assert!(Instant::now() < deadline, "the bank is not asked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends SIGTERM, waits for the end, and tells how long that took.
    async fn stop(mut self) -> Duration {
        let started = Instant::now();
        let pid = self.child.id().to_string();
        assert!(
            Command::new("sh")
                .args(["-c", &format!("kill -s TERM {pid}")])
                .status()
                .unwrap()
                .success()
        );
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return started.elapsed();
            }
            assert!(started.elapsed() < DEADLINE, "the bank does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn charge(url: &str, key: &str, card: &str) -> reqwest::Result<(u16, Value)> {
    let answer = client()
        .post(format!("{url}/v1/charges"))
        .bearer_auth("the key of the tests")
        .header("idempotency-key", key)
        .json(&json!({
            "card": card, "amount_minor": 4500, "currency": "EUR",
            "reference": "0193b3a0-0000-7000-8000-000000000001",
        }))
        .send()
        .await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(DEADLINE)
        .build()
        .unwrap()
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bank-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("api_key"), "the key of the tests\n").unwrap();
    folder
}

#[tokio::test]
async fn answers_survive_a_kill() {
    let folder = folder();
    let mut bank = Running::start(&folder).await;
    let mut answers = Vec::new();
    for key in ["a", "b", "c"] {
        answers.push(charge(&bank.url, key, "4242424242424242").await.unwrap());
    }
    bank.child.kill().unwrap();
    bank.child.wait().unwrap();
    let bank = Running::start(&folder).await;
    for (key, answer) in ["a", "b", "c"].iter().zip(answers) {
        assert_eq!(
            charge(&bank.url, key, "4242424242424242").await.unwrap(),
            answer
        );
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_charge_of_eight_seconds_is_answered() {
    let folder = folder();
    let bank = Running::start(&folder).await;
    let (status, made) = charge(&bank.url, "a", "4000000000000267").await.unwrap();
    assert_eq!(
        (status, &made["outcome"]),
        (200, &json!("succeeded")),
        "{made}"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_stop_ends_silence_with_503_and_holds_up_nothing() {
    let folder = folder();
    let bank = Running::start(&folder).await;
    let url = bank.url.clone();
    let hung = tokio::spawn(async move { charge(&url, "a", "4000000000000341").await });
    bank.is_asked().await;
    println!("stopped after {:?}", bank.stop().await);
    // A stop that waited for the silence to end would drop the connection.
    assert_eq!(hung.await.unwrap().unwrap().0, 503);
    std::fs::remove_dir_all(folder).unwrap();
}
