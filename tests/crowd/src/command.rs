//! The command line of `crowd`.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Plan, Progress, Report, background, demo, run, run_id};
use checkers::Witnesses;
use client::bank::Bank;
use client::internal::Internal;
use client::{Client, Door};

/// The crowd of Boxoffice: buys tickets, keeps the history of what it was answered, and checks in
/// the end that every promise was kept.
#[derive(Debug, Parser)]
#[command(name = "crowd", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A crowd that sells out a hall; exit code 1 when a promise is broken, or could not be
    /// checked although its witness was named
    Run(Run),
    /// Makes the demo accounts and the demo event where they are missing
    Demo {
        /// Address of Nginx
        #[arg(long, env = "DOOR_URL", default_value = "http://nginx:8080")]
        door: String,
    },
    /// What booking's ledger comes to, as JSON
    Ledger {
        /// Address of booking's internal listener
        #[arg(long, env = "BOOKING_URL", default_value = "http://booking:9000")]
        booking_internal: String,
        /// File with the key by which booking knows the crowd
        #[arg(long, env = "BOOKING_KEY_FILE")]
        booking_key_file: PathBuf,
    },
    /// A gentle crowd without an end, and the demo data (see `crowd background --help`)
    Background,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Address of Nginx
    #[arg(long, env = "DOOR_URL", default_value = "http://nginx:8080")]
    door: String,
    /// Customers
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    customers: u32,
    /// Seats of the hall
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    seats: u32,
    /// How long customers keep coming
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// What the customers' choices are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most visits at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    concurrency: u16,
    /// Address of the bank, to check its books
    #[arg(long, env = "BANK_URL")]
    bank: Option<String>,
    /// File with the bank's API key
    #[arg(long, env = "BANK_KEY_FILE", requires = "bank")]
    bank_key_file: Option<PathBuf>,
    /// Address of booking's internal listener, to check what it has
    #[arg(long, env = "BOOKING_URL")]
    booking_internal: Option<String>,
    /// File with the key by which booking knows the crowd
    #[arg(long, env = "BOOKING_KEY_FILE", requires = "booking_internal")]
    booking_key_file: Option<PathBuf>,
    /// File that the history is written to, as JSON lines
    #[arg(long)]
    history: Option<PathBuf>,
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    if matches!(
        std::env::args().nth(1).as_deref(),
        Some("background" | "health")
    ) {
        return service::run("crowd", background::start);
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("crowd: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Run(settings) => run_and_report(settings).await,
            Command::Demo { door } => make_demo(&door).await,
            Command::Ledger {
                booking_internal,
                booking_key_file,
            } => print_ledger(&booking_internal, &booking_key_file).await,
            Command::Background => Ok(ExitCode::SUCCESS),
        }
    });
    done.unwrap_or_else(|error| {
        eprintln!("crowd: {error:#}");
        ExitCode::from(2)
    })
}

async fn make_demo(door: &str) -> anyhow::Result<ExitCode> {
    let visitor = Client::visitor(
        Door::at(door)?,
        Arc::default(),
        format!("demo-{}", run_id()),
    );
    let event_id = demo::prepare(&visitor).await?;
    println!("demo event {event_id} is on sale");
    Ok(ExitCode::SUCCESS)
}

async fn print_ledger(address: &str, key_file: &Path) -> anyhow::Result<ExitCode> {
    let ledger = booking_at(address, key_file)?.ledger().await?;
    println!("{}", serde_json::to_string(&ledger)?);
    Ok(ExitCode::SUCCESS)
}

/// Booking's internal listener, with the key in this file.
fn booking_at(address: &str, key_file: &Path) -> anyhow::Result<Internal> {
    let key = std::fs::read_to_string(key_file)
        .with_context(|| format!("booking's key in {}", key_file.display()))?;
    Internal::at(address, &key)
}

async fn run_and_report(settings: Run) -> anyhow::Result<ExitCode> {
    let bank = match (&settings.bank, &settings.bank_key_file) {
        (Some(address), Some(file)) => {
            let key = std::fs::read_to_string(file)
                .with_context(|| format!("the bank's key in {}", file.display()))?;
            Some(Bank::at(address, &key)?)
        }
        (Some(_), None) => anyhow::bail!("--bank needs --bank-key-file"),
        (None, _) => None,
    };
    let booking = match (&settings.booking_internal, &settings.booking_key_file) {
        (Some(address), Some(file)) => Some(booking_at(address, file)?),
        (Some(_), None) => anyhow::bail!("--booking-internal needs --booking-key-file"),
        (None, _) => None,
    };
    let plan = Plan {
        customers: settings.customers,
        seats: settings.seats,
        time: Duration::from_secs(settings.seconds),
        seed: settings.seed,
        concurrency: settings.concurrency.into(),
        witnesses: Witnesses { booking, bank },
        payout_account: "4242424242424242".to_owned(),
    };
    let bar = Bar::new();
    let report = run(Door::at(&settings.door)?, &plan, &bar).await;
    bar.bar.finish_and_clear();
    let report = report?;
    print!("{}", report.text());
    write_history(&report, settings.history)?;
    Ok(ExitCode::from(report.exit_code()))
}

fn write_history(report: &Report, file: Option<PathBuf>) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let name = file.display().to_string();
    let out = std::fs::File::create(file).with_context(|| format!("cannot write {name}"))?;
    report
        .history
        .write_lines(BufWriter::new(out))
        .with_context(|| format!("cannot write {name}"))
}

/// How often a stage says how far it is where no bar shows it.
const NOTED_EVERY: Duration = Duration::from_secs(5);

/// A bar on standard error where that is a terminal, else a line a stage, and further ones while it
/// lasts.
struct Bar {
    bar: ProgressBar,
    /// When the last line was written.
    noted_at: Mutex<Instant>,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            noted_at: Mutex::new(Instant::now()),
        }
    }

    /// Whether a line is due; the next one is then due later.
    fn is_due(&self) -> bool {
        let mut noted_at = self.noted_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = noted_at.elapsed() >= NOTED_EVERY;
        if is_due {
            *noted_at = Instant::now();
        }
        is_due
    }
}

impl Progress for Bar {
    fn stage(&self, name: &str, steps: u64) {
        if self.bar.is_hidden() {
            eprintln!("{name}");
        }
        let template = if steps == 0 {
            "{spinner} {prefix} {elapsed} {msg}"
        } else {
            "{prefix} [{bar:30}] {pos}/{len} {elapsed} {msg}"
        };
        self.bar.reset();
        self.bar.set_length(steps);
        self.bar.set_message("");
        self.bar.set_prefix(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    fn step(&self) {
        self.bar.inc(1);
    }

    fn note(&self, text: &str) {
        if self.bar.is_hidden() && self.is_due() {
            eprintln!("  {text}");
        }
        self.bar.set_message(text.to_owned());
    }
}
