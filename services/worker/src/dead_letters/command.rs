//! `worker dead-letters list|show|redrive`: for people who run the box office.
//!
//! A dead row is redriven by clearing the dead marks of its whole group: the relay sends its lowest
//! row at once, and the leader deletes the old letter. A letter that points at no row is moved back
//! to its queue as it is. Rows are listed, shown and redriven while the queue is away, too: what is
//! dead stands in the database. The settings are those of the process, from the environment.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use messages::outbox::Destination;
use outbox::dead::{self, Dead};
use queue::{Queue, Received};
use service::database::{DatabaseSettings, takes_writes};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection};
use uuid::Uuid;

use super::LIMIT;
use super::strays::Strays;

/// Most rows that are read at once.
const MOST: u16 = 1000;

/// Lists, shows and redrives dead letters.
#[derive(Debug, Parser)]
#[command(name = "worker dead-letters")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// `booking`'s database.
    #[command(flatten)]
    database: DatabaseSettings,
    /// Where the queues are.
    #[arg(long, env = "SQS_ENDPOINT", default_value = "http://localstack:4566")]
    sqs_endpoint: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Dead rows, and letters that point at none: one a line.
    List {
        /// Only of this destination: payments or tickets.
        destination: Option<Destination>,
    },
    /// All that is known of one dead row or letter.
    Show {
        /// payments or tickets.
        destination: Destination,
        /// Id of the row, of its order, or of the message.
        id: Uuid,
    },
    /// Lets dead rows and letters have another try.
    Redrive {
        /// payments or tickets.
        destination: Destination,
        /// Id of the row, of its order, or of the message.
        #[arg(required_unless_present = "all")]
        id: Option<Uuid>,
        /// All of the destination.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

/// The command's `main`.
#[must_use]
pub fn run() -> ExitCode {
    // Without the word `dead-letters`.
    let arguments = Arguments::parse_from(std::env::args().skip(1));
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async { tokio::time::timeout(LIMIT, perform(arguments)).await });
    match done {
        Ok(Ok(text)) if std::io::stdout().write_all(text.as_bytes()).is_ok() => ExitCode::SUCCESS,
        Ok(Ok(_)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("no answer within {} s", LIMIT.as_secs());
            ExitCode::FAILURE
        }
    }
}

async fn perform(arguments: Arguments) -> anyhow::Result<String> {
    let mut database = connect(&arguments.database).await?;
    let client = queue::client(&arguments.sqs_endpoint);
    let strays = |destination: Destination| {
        let queue = |name| Queue::new(client.clone(), name);
        Strays::new(
            queue(destination.queue()),
            queue(destination.dead_letter_queue()),
        )
    };
    match arguments.action {
        Action::List { destination } => {
            let mut text = String::new();
            for one in Destination::ALL
                .into_iter()
                .filter(|one| destination.is_none_or(|d| d == *one))
            {
                for row in dead::list(&mut database, Some(one), None, MOST.into()).await? {
                    text.push_str(&line(&row));
                }
                match strays(one).list(None).await {
                    Ok(letters) => {
                        letters
                            .iter()
                            .for_each(|letter| text.push_str(&stray_line(one, letter)));
                    }
                    Err(error) => eprintln!("without the unreadable letters: {error:#}"),
                }
            }
            Ok(if text.is_empty() {
                "no dead letters\n".to_owned()
            } else {
                text
            })
        }
        Action::Show { destination, id } => {
            let rows = dead::list(&mut database, Some(destination), Some(id), MOST.into()).await?;
            if !rows.is_empty() {
                return Ok(rows.iter().map(|row| format!("{row:#?}\n")).collect());
            }
            let letters = strays(destination).list(Some(id)).await?;
            anyhow::ensure!(!letters.is_empty(), "no dead letter {id}");
            let letters = letters.iter().map(|letter| format!("{letter:#?}\n"));
            Ok(letters.collect())
        }
        Action::Redrive {
            destination, id, ..
        } => {
            let redriven = redrive(&mut database, destination, id).await?;
            // An id of a row or of an order is none of a message.
            let moved = if id.is_some() && redriven > 0 {
                0
            } else {
                let moved = strays(destination).redrive(id).await;
                moved.with_context(|| format!("{redriven} rows were redriven, then this"))?
            };
            if let Some(id) = id {
                anyhow::ensure!(
                    redriven + moved > 0,
                    "no dead letter {id} (any more: it may have been redriven)"
                );
            }
            Ok(format!(
                "redriven: {redriven} rows, {moved} unreadable letters\n"
            ))
        }
    }
}

async fn connect(settings: &DatabaseSettings) -> anyhow::Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&settings.database_host)
        .port(settings.database_port)
        .database(&settings.database_name)
        .username(&settings.database_user)
        .password(settings.database_password_file.reveal())
        .ssl_mode(PgSslMode::Disable)
        .options([("statement_timeout", "3s"), ("lock_timeout", "2s")]);
    let connected = async {
        let mut connection = options.connect().await?;
        takes_writes(&mut connection).await?;
        Ok::<_, sqlx::Error>(connection)
    };
    connected.await.context("the database does not answer")
}

/// Redrives all dead rows of a destination, or those of one row or order, however many there are.
async fn redrive(
    database: &mut PgConnection,
    destination: Destination,
    id: Option<Uuid>,
) -> anyhow::Result<u64> {
    let mut redriven = 0;
    loop {
        // What is redriven is dead no more, so these are others each time: also those that the
        // leader marked behind a dead row while that one was redriven.
        let rows = dead::list(&mut *database, Some(destination), id, MOST.into()).await?;
        if rows.is_empty() {
            return Ok(redriven);
        }
        for row in &rows {
            redriven += dead::redrive(&mut *database, row.id).await?;
        }
    }
}

fn line(row: &Dead) -> String {
    format!(
        "{}\t{}\torder {}\t{} #{}\tsent {} times\tdead since {}\n",
        row.destination.as_str(),
        row.id,
        row.group,
        row.kind.as_str(),
        row.sequence,
        row.sends,
        row.dead_at.to_rfc3339(),
    )
}

fn stray_line(destination: Destination, letter: &Received) -> String {
    let body: String = letter.body.chars().take(60).collect();
    format!(
        "{}\t{}\tunreadable: {body:?}\n",
        destination.as_str(),
        letter.message_id
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_redrive_needs_an_id_or_all() {
        Arguments::command().debug_assert();
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).map_err(|e| e.kind());
        let missing = clap::error::ErrorKind::MissingRequiredArgument;
        assert_eq!(parse("x redrive payments").unwrap_err(), missing);
        assert!(parse("x redrive nowhere --all").is_err());
    }
}
