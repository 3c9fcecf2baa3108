//! A small system of its own for a control: a scratch database on the test stack's Postgres, a
//! queue and an etcd of the stack's images, and processes on this machine. It goes away with the
//! value.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use checkers::{Ending, PROMISES, Verdict, Witnesses};
use client::bank::Bank;
use client::booking::{Wanted, place_hold, place_order};
use client::history::History;
use client::internal::{CALLER_KEY, Internal};
use client::{Ask, Budget, Client, Door, Failure, Hold, Order, Session};
use crowd::run_id;
use faults::{Container, Project};
use messages::audit::Audit;
use queue::Queue;
use serde_json::json;
use uuid::Uuid;

use crate::process::{Process, Setting, spawn, wait_for};
use crate::programs::Programs;
use crate::scratch::Scratch;

/// The system.
#[derive(Debug)]
pub struct System {
    programs: Programs,
    scratch: Scratch,
    folder: PathBuf,
    twins: Vec<Container>,
    /// What all its customers asked and were answered.
    pub history: Arc<History>,
    /// `booking`.
    pub booking: Process,
    /// `bank`, where it was asked for.
    pub bank: Option<Process>,
    /// The workers.
    pub workers: Vec<Process>,
    /// An event with [`SEATS`] seats.
    pub event_id: Uuid,
}

/// Seats of the event: one section of one row.
pub const SEATS: u32 = 60;

/// The bank's API key within a control.
const BANK_KEY: &str = "a key for one run of a control";

/// The key by which `booking` knows each of its callers within a control.
const KEY_OF_CALLERS: &str = "a key of all callers of a control";

impl System {
    /// Starts `booking` alone, with an event whose organiser is paid on `payout_account`.
    pub async fn start(programs: &Programs, payout_account: &str) -> anyhow::Result<Self> {
        Self::on(programs, Scratch::new().await?, payout_account).await
    }

    /// The same on a database that is there already.
    pub async fn on(
        programs: &Programs,
        scratch: Scratch,
        payout_account: &str,
    ) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("control-{}", run_id()));
        std::fs::create_dir_all(&folder)?;
        let [_, _, _, password] = scratch.parts()?;
        std::fs::write(folder.join("password"), password)?;
        std::fs::write(folder.join("bank_key"), BANK_KEY)?;
        std::fs::write(folder.join("key_of_callers"), KEY_OF_CALLERS)?;
        let booking = booking(programs, &scratch, &folder).await?;
        let event_id = Uuid::now_v7();
        let seating = json!({
            "organiser_id": Uuid::now_v7(),
            "title": "A control",
            "venue": "Workshop",
            "starts_at": chrono::Utc::now() + chrono::TimeDelta::days(1),
            "currency": "EUR",
            "payout_account": payout_account,
            "sections": [{"name": "Stalls", "rows": 1, "seats_per_row": SEATS, "price_minor": 1000}],
        });
        let address = format!("{}/internal/events/{event_id}", booking.internal);
        let http = client::http_client()?;
        let mut tries = 1;
        let put = loop {
            let put = http.put(&address).header(CALLER_KEY, KEY_OF_CALLERS);
            let put = put.json(&seating).send().await?;
            // On a busy machine a process that has just started may answer 503 at first.
            if put.status() != 503 || tries > 20 {
                break put;
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        ensure!(
            put.status().is_success(),
            "the event: {}",
            put.text().await?
        );
        Ok(Self {
            programs: programs.clone(),
            scratch,
            folder,
            twins: Vec::new(),
            history: Arc::default(),
            booking,
            bank: None,
            workers: Vec::new(),
            event_id,
        })
    }

    /// Ends `booking` and starts it anew on another server that has a copy of its database.
    pub async fn move_booking(&mut self, server: &str) -> anyhow::Result<()> {
        self.booking.end().await?;
        self.scratch = self.scratch.copy_on(server.to_owned());
        self.booking = booking(&self.programs, &self.scratch, &self.folder).await?;
        Ok(())
    }

    /// Starts `bank`, a queue, an etcd, and so many workers, who settle each `period`.
    pub async fn with_workers(&mut self, count: usize, period: Duration) -> anyhow::Result<()> {
        let project = std::env::var("BOXOFFICE_PROJECT").context("BOXOFFICE_PROJECT")?;
        let project = Project::named(&project).await?;
        twin(&project, "localstack", &[], &mut self.twins).await?;
        let alone = [
            ("ETCD_NAME", "twin"),
            ("ETCD_INITIAL_CLUSTER", "twin=http://127.0.0.1:2380"),
            ("ETCD_INITIAL_ADVERTISE_PEER_URLS", "http://127.0.0.1:2380"),
            ("ETCD_ADVERTISE_CLIENT_URLS", "http://127.0.0.1:2379"),
            ("ETCD_INITIAL_CLUSTER_TOKEN", "control"),
        ];
        let etcd = twin(&project, "etcd-1", &alone, &mut self.twins).await?;
        let etcd = etcd.state().await?.address;
        let etcd = etcd.context("the twin of etcd-1 has no address")?;
        let file = |name: &str| self.folder.join(name).display().to_string();
        let bank = spawn(
            &self.programs,
            "bank",
            &[
                ("BOOKS_FILE", file("books.sqlite")),
                ("API_KEY_FILE", file("bank_key")),
            ],
            &self.folder,
        )
        .await?;
        let sqs = self.sqs()?;
        wait_for(&format!("{sqs}/_localstack/init/ready"), "SUCCESSFUL").await?;
        let key = "/run/secrets/worker/ticket_signing_key".to_owned();
        let key = std::env::var("TICKET_SIGNING_KEY_FILE").unwrap_or(key);
        let mut settings = database_settings(&self.scratch, &self.folder)?;
        settings.extend([
            ("SQS_ENDPOINT", sqs),
            ("ETCD_ENDPOINTS", format!("http://{etcd}:2379")),
            ("BANK_URL", bank.public.clone()),
            ("BANK_KEY_FILE", file("bank_key")),
            ("TICKET_SIGNING_KEY_FILE", key),
            ("NGINX_KEY_FILE", file("key_of_callers")),
            ("LEASE_SECONDS", "2".to_owned()),
            ("SETTLEMENT_SECONDS", period.as_secs().to_string()),
        ]);
        self.bank = Some(bank);
        for _ in 0..count {
            let worker = spawn(&self.programs, "worker", &settings, &self.folder).await?;
            self.workers.push(worker);
        }
        Ok(())
    }

    /// A customer in front of `booking` itself.
    pub fn customer(&self) -> anyhow::Result<Client> {
        let door = Door::at(&self.booking.public)?;
        let session = Session {
            token: "none".to_owned(),
            account_id: Uuid::now_v7(),
        };
        let name = format!("control-{}", run_id());
        let budget = Budget {
            attempts: 20,
            time: Duration::from_secs(20),
        };
        Ok(Client::visitor(door, self.history.clone(), name)
            .with_session(session)
            .with_budget(budget))
    }

    /// What `booking` has of the event.
    pub async fn audit(&self) -> anyhow::Result<Audit> {
        Internal::at(&self.booking.internal, KEY_OF_CALLERS)?
            .audit(self.event_id)
            .await
    }

    /// What is there in the end, with the bank's books where there is a bank.
    pub async fn ending(&self) -> anyhow::Result<Ending> {
        let bank = self.bank.as_ref();
        let witnesses = Witnesses {
            booking: Some(Internal::at(&self.booking.internal, KEY_OF_CALLERS)?),
            bank: bank
                .map(|bank| Bank::at(&bank.public, BANK_KEY))
                .transpose()?,
        };
        Ok(Ending::read(self.event_id, &[], &witnesses).await)
    }

    /// What the checker of a promise says, by the promise's number.
    pub async fn verdict(&self, number: u8) -> anyhow::Result<Verdict> {
        let promise = PROMISES.iter().find(|promise| promise.number == number);
        let promise = promise.context("no such promise")?;
        Ok(promise.verdict(&self.history.records(), &self.ending().await?))
    }

    /// Waits until what `booking` has of the event is like this; whether it came within `bound`.
    pub async fn until(
        &self,
        bound: Duration,
        like_this: impl Fn(&Audit) -> bool,
    ) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            if like_this(&self.audit().await?) {
                return Ok(true);
            }
            if began.elapsed() > bound {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The queue of payments.
    pub fn payments(&self) -> anyhow::Result<Queue> {
        let name = messages::outbox::Destination::Payments.queue();
        Ok(Queue::new(queue::client(&self.sqs()?), name))
    }

    /// Kills the queue, which forgets everything, and starts it anew, which makes it empty.
    pub async fn lose_queue(&self) -> anyhow::Result<()> {
        let queue = self.twins.first().context("no queue was asked for")?;
        queue.kill().await?;
        queue.start().await?;
        let ready = format!("{}/_localstack/init/ready", self.sqs()?);
        wait_for(&ready, "SUCCESSFUL").await
    }

    /// The queue's address by name: one that is started anew may have another number.
    fn sqs(&self) -> anyhow::Result<String> {
        let queue = self.twins.first().context("no queue was asked for")?;
        Ok(format!("http://{}:4566", queue.host_name()))
    }

    /// Ends the processes and removes what they left.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for process in self
            .workers
            .iter_mut()
            .chain(&mut self.bank)
            .chain([&mut self.booking])
        {
            process.end().await?;
        }
        for twin in &self.twins {
            twin.remove().await?;
        }
        self.scratch.remove().await?;
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }
}

/// A purchase as far as the customer's part of it goes: a hold and an order of it.
pub async fn buy(
    client: &Client,
    event_id: Uuid,
    wanted: &Wanted,
    card: &str,
) -> Result<Order, Failure> {
    let ask = signed(client, place_hold(client.next_key(), event_id, wanted));
    let hold: Hold = client.read(&ask).await?;
    let ask = place_order(client.next_key(), hold.id, card);
    client.read(&signed(client, ask)).await
}

/// What Nginx would say after its session check.
pub fn signed(client: &Client, ask: Ask) -> Ask {
    ask.header(CALLER_KEY, KEY_OF_CALLERS)
        .header("x-account-id", client.account_id().to_string())
        .header("x-account-role", "customer")
}

async fn booking(programs: &Programs, scratch: &Scratch, folder: &Path) -> anyhow::Result<Process> {
    let key = "/run/secrets/booking/ticket_public_key".to_owned();
    let key = std::env::var("TICKET_PUBLIC_KEY_FILE").unwrap_or(key);
    let mut settings = database_settings(scratch, folder)?;
    settings.push(("TICKET_PUBLIC_KEY_FILE", key));
    let callers = folder.join("key_of_callers").display().to_string();
    for name in ["NGINX_KEY_FILE", "CATALOG_KEY_FILE", "CROWD_KEY_FILE"] {
        settings.push((name, callers.clone()));
    }
    spawn(programs, "booking", &settings, folder).await
}

fn database_settings(scratch: &Scratch, folder: &Path) -> anyhow::Result<Vec<Setting>> {
    let [host, port, user, _] = scratch.parts()?;
    Ok(vec![
        ("DATABASE_HOST", host.clone()),
        ("DATABASE_PORT", port.clone()),
        ("STANDBYS_HOST", host),
        ("STANDBYS_PORT", port),
        ("DATABASE_NAME", scratch.name().to_owned()),
        ("DATABASE_USER", user),
        (
            "DATABASE_PASSWORD_FILE",
            folder.join("password").display().to_string(),
        ),
    ])
}

/// Starts a twin of a service.
async fn twin(
    project: &Project,
    service: &str,
    variables: &[(&str, &str)],
    twins: &mut Vec<Container>,
) -> anyhow::Result<Container> {
    let original = project.one(service).await?;
    let twin = project.twin_of(&original, variables).await?;
    twins.push(twin.clone());
    Ok(twin)
}
