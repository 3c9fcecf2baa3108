//! Being inside is not being trusted: who reaches whom, and what a port answers to a caller that cannot
//! show who it is. What is right stands in two tables of `docs/operations.md`, which are read here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use client::internal::CALLER_KEY;
use faults::Beside;
use futures_util::future::try_join_all;
use reqwest::Method;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::deadline::{TRIES, generous};
use crate::stack::{Stack, answered};

/// How long a connection may take, in seconds. Most attempts are dropped on their way and use it up.
const CONNECTS_WITHIN: u32 = 2;

/// From how many parts at once others are tried.
const AT_ONCE: usize = 4;

/// How long a store may take to refuse.
const REFUSES_WITHIN: Duration = generous(Duration::from_secs(2));

/// A password or key is at least so long.
const SHORTEST_SECRET: usize = 16;

/// The part that is left out where its image cannot be pulled.
const OPTIONAL: &str = "grafana";

/// The rows of the table below this mark, a text for each cell.
fn table(mark: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let page = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (_, below) = page
        .split_once(&format!("<!-- {mark} -->\n"))
        .with_context(|| format!("the page has no table {mark}"))?;
    let lines = below.lines().skip_while(|line| line.is_empty());
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| -> Vec<String> {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    let rows: Vec<_> = rows.map(cells).collect();
    ensure!(!rows.is_empty(), "the table {mark} is empty");
    Ok(rows)
}

/// What stands between backticks.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The parts on each network.
fn networks() -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut networks = BTreeMap::new();
    for row in table("networks")? {
        let [network, parts, ..] = row.as_slice() else {
            bail!("a row without parts: {row:?}")
        };
        let network = code(network).next().context("a network without a name")?;
        let parts = code(parts).map(str::to_owned).collect();
        networks.insert(network.to_owned(), parts);
    }
    Ok(networks)
}

/// The first container of a service.
struct Part {
    service: String,
    /// Its address on each network.
    addresses: BTreeMap<String, String>,
    ports: Vec<u16>,
    beside: Beside,
}

/// All parts, each with a container beside it.
async fn parts(stack: &Stack) -> anyhow::Result<Vec<Part>> {
    let mut services = BTreeSet::new();
    for container in stack.project.all().await? {
        if !container.state().await?.runs_once {
            services.insert(container.service);
        }
    }
    let mut parts = Vec::new();
    for service in services {
        let container = stack.project.one(&service).await?;
        let beside = stack.project.beside(&container).await?;
        let of_project = stack.project.network("");
        let addresses = container.addresses().await?.into_iter();
        let addresses = addresses.map(|(network, address)| {
            let name = network.strip_prefix(&of_project).unwrap_or(&network);
            (name.to_owned(), address)
        });
        parts.push(Part {
            service,
            addresses: addresses.collect(),
            ports: beside.listening().await?,
            beside,
        });
    }
    Ok(parts)
}

/// What the page says of networks is so.
fn are_where_the_page_says(parts: &[Part]) -> anyhow::Result<()> {
    let networks = networks()?;
    let on_the_page: BTreeSet<&String> = networks.values().flatten().collect();
    let here: BTreeSet<&String> = parts.iter().map(|part| &part.service).collect();
    let missing: Vec<_> = on_the_page
        .difference(&here)
        .filter(|service| service.as_str() != OPTIONAL)
        .collect();
    ensure!(missing.is_empty(), "not in the stack: {missing:?}");
    for part in parts {
        let says = networks
            .iter()
            .filter(|(_, parts)| parts.contains(&part.service));
        let says: Vec<_> = says.map(|(network, _)| network).collect();
        let is: Vec<_> = part.addresses.keys().collect();
        ensure!(
            says == is,
            "{} is on {is:?}, and the page says {says:?}",
            part.service
        );
    }
    Ok(())
}

/// What is wrong with whom this part reaches.
async fn wrongs(from: &Part, parts: &[Part]) -> anyhow::Result<Vec<String>> {
    let mut near = BTreeMap::new();
    let mut far = BTreeMap::new();
    for to in parts.iter().filter(|to| to.service != from.service) {
        for (network, address) in &to.addresses {
            let targets = to.ports.iter().map(|port| format!("{address}:{port}"));
            let way = format!("{} on {network}", to.service);
            let shared = from.addresses.contains_key(network);
            let ways = if shared { &mut near } else { &mut far };
            ways.insert(way, targets.collect::<Vec<_>>());
        }
    }
    let mut wrongs = Vec::new();
    let targets: Vec<String> = near
        .values()
        .chain(far.values())
        .flatten()
        .cloned()
        .collect();
    let mut reached = from.beside.reaches(&targets, CONNECTS_WITHIN).await?;
    for (way, targets) in &far {
        if targets.iter().any(|target| reached.contains(target)) {
            wrongs.push(format!("{} reaches {way}", from.service));
        }
    }
    // That somebody is reached may take longer on a busy machine, and a port may have been closed in
    // between: one port of each is enough.
    near.retain(|_, targets| !targets.is_empty());
    for _ in 0..TRIES {
        near.retain(|_, targets| !targets.iter().any(|target| reached.contains(target)));
        if near.is_empty() {
            break;
        }
        let targets: Vec<String> = near.values().flatten().cloned().collect();
        reached = from
            .beside
            .reaches(&targets, CONNECTS_WITHIN * TRIES)
            .await?;
    }
    near.retain(|_, targets| !targets.iter().any(|target| reached.contains(target)));
    wrongs.extend(
        near.keys()
            .map(|way| format!("{} does not reach {way}", from.service)),
    );
    Ok(wrongs)
}

/// Tried from each part's own network namespace, on every address and every open port of every other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn a_part_reaches_those_that_it_shares_a_network_with_and_no_other() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let parts = parts(&stack).await?;
    let tried = async {
        are_where_the_page_says(&parts)?;
        let mut wrong = Vec::new();
        for some in parts.chunks(AT_ONCE) {
            let found = try_join_all(some.iter().map(|from| wrongs(from, &parts))).await?;
            wrong.extend(found.into_iter().flatten());
        }
        ensure!(wrong.is_empty(), "{wrong:#?}");
        anyhow::Ok(())
    };
    let tried = tried.await;
    for part in &parts {
        part.beside.remove().await?;
    }
    tried
}

/// What came of asking without proof, in the words of the page.
async fn outcome(stack: &Stack, asked: &str) -> anyhow::Result<String> {
    let (verb, target) = asked.split_once(' ').context("nothing is asked")?;
    match verb {
        "PING" => {
            let pong = async {
                let mut stream = TcpStream::connect(target).await?;
                stream.write_all(b"PING\r\n").await?;
                let mut said = [0; 64];
                let length = stream.read(&mut said).await?;
                anyhow::Ok(String::from_utf8_lossy(&said[..length]).into_owned())
            };
            let said = tokio::time::timeout(REFUSES_WITHIN, pong).await??;
            let kind = said.trim_start_matches('-').split_whitespace().next();
            Ok(kind.unwrap_or_default().to_owned())
        }
        "psql" => match PgConnection::connect(target).await {
            Ok(_) => Ok("let in".to_owned()),
            Err(error) => {
                let code = error.as_database_error().and_then(|error| error.code());
                Ok(code.with_context(|| error.to_string())?.into_owned())
            }
        },
        _ => {
            let method: Method = verb.parse()?;
            let mut request = stack.door.http().request(method.clone(), target);
            if method != Method::GET {
                request = request
                    .header("content-type", "application/json")
                    .body("{}");
            }
            // What Nginx says after its session check, and a key that nobody was given.
            let request = request
                .header("x-account-id", Uuid::now_v7().to_string())
                .header("x-account-role", "organiser")
                .header(CALLER_KEY, "0".repeat(48));
            Ok(answered(request).await?.status().as_u16().to_string())
        }
    }
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_caller_that_cannot_show_who_it_is_is_refused_by_every_part_that_asks()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let mut wrong = Vec::new();
    for row in table("proofs")? {
        let [asked, answer, ..] = row.as_slice() else {
            bail!("a row without an answer: {row:?}")
        };
        let asked = code(asked).next().context("nothing is asked")?;
        let answer = code(answer).next().context("no answer")?;
        let came = outcome(&stack, asked)
            .await
            .with_context(|| asked.to_owned())?;
        if came != answer {
            wrong.push(format!("{asked}: {came}, not {answer}"));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Passwords and keys of all processes.
fn secrets() -> anyhow::Result<BTreeMap<String, String>> {
    let mut secrets = BTreeMap::new();
    for folder in std::fs::read_dir("/run/secrets")? {
        for file in std::fs::read_dir(folder?.path())? {
            let path = file?.path();
            let text = std::fs::read_to_string(&path)?.trim().to_owned();
            if text.len() >= SHORTEST_SECRET {
                secrets.insert(path.display().to_string(), text);
            }
        }
    }
    Ok(secrets)
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn no_password_and_no_key_shows_in_a_list_of_processes_or_in_what_the_engine_tells()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let secrets = secrets()?;
    ensure!(secrets.len() > 20, "only {} secrets", secrets.len());
    let mut shown = Vec::new();
    for container in stack.project.all().await? {
        let mut told = container.described().await?;
        if !container.state().await?.runs_once {
            let processes = ["sh", "-c", "cat /proc/[0-9]*/cmdline"];
            let processes = container.run(&processes).await?.text;
            ensure!(!processes.is_empty(), "{} runs nothing", container.name());
            told.push_str(&processes);
        }
        let found = secrets.iter().filter(|(_, text)| told.contains(*text));
        shown.extend(found.map(|(file, _)| format!("{file} in {}", container.name())));
    }
    ensure!(shown.is_empty(), "{shown:#?}");
    Ok(())
}
