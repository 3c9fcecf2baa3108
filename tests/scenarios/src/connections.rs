//! An address that takes all connections that it can get and completes no request: other addresses
//! are served meanwhile, and everybody is soon after its end.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use crowd::visit::cards;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::deadline::{TRIES, generous};
use crate::stack::{Stack, eventually};

/// How many connections are opened at first: more than Nginx has for all addresses together.
const CONNECTIONS: &str = "4200";

/// How many an address may have, as `deploy/nginx/compose.yml` says, and some for all others.
const ALLOWED: u32 = 1024 + 500;

/// How long the attack lasts; then it ends by itself.
const ATTACK: Duration = Duration::from_secs(20);

/// By when a customer is served after its end.
const BOUND: Duration = Duration::from_secs(5);

/// Opens connections of four kinds, and more each second in the place of those that were closed:
/// one says nothing, the headers of one never end, the body of one never does, and one stays open
/// after its request. None is closed from this side before the end.
const ATTACKER: &str = r#"
import socket, sys, time
host, port, count, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
BEGIN = [
    b"",
    b"GET /api/catalog/events HTTP/1.1\r\nHost: edge\r\nX-Slow: ",
    b"POST /api/identity/sessions HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{",
    b"GET /api/catalog/events?limit=1 HTTP/1.1\r\nHost: edge\r\n\r\n",
]
end = time.monotonic() + seconds
made = []

def open_some(number):
    for _ in range(number):
        if time.monotonic() > end:
            return
        connection = socket.socket()
        made.append(connection)
        connection.settimeout(2)
        try:
            connection.connect((host, port))
            connection.sendall(BEGIN[len(made) % 4])
        except OSError:
            pass
        connection.setblocking(False)

open_some(count)
print("begun", len(made), flush=True)
while time.monotonic() < end:
    open_some(200)
    for number, connection in enumerate(made, 1):
        try:
            if number % 4 in (1, 2):
                connection.send(b"a")
        except OSError:
            pass
    time.sleep(1)
print("ended", len(made), flush=True)
"#;

/// The attack, under way.
struct Attack {
    program: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Attack {
    /// Begins it in a container of its own on this network.
    async fn begin(network: &str, host: &str, port: &str) -> anyhow::Result<Self> {
        let seconds = ATTACK.as_secs().to_string();
        let mut program = on_network(network)
            .args(["python3", "-c", ATTACKER, host, port, CONNECTIONS, &seconds])
            .stdout(Stdio::piped())
            .spawn()
            .context("docker is not there")?;
        let stdout = program.stdout.take().context("no output")?;
        let mut attack = Self {
            program,
            lines: BufReader::new(stdout).lines(),
        };
        attack.says("begun").await?;
        Ok(attack)
    }

    /// Waits for the line that begins with this word.
    async fn says(&mut self, word: &str) -> anyhow::Result<()> {
        let line = tokio::time::timeout(generous(2 * ATTACK), self.lines.next_line());
        let line = line.await.with_context(|| format!("never {word}"))??;
        let line = line.with_context(|| format!("it ended before it was {word}"))?;
        println!("the attack has {line} connections");
        ensure!(line.starts_with(word), "`{line}` in the place of {word}");
        Ok(())
    }

    fn is_under_way(&mut self) -> anyhow::Result<bool> {
        Ok(self.program.try_wait()?.is_none())
    }

    /// Waits until it has ended.
    async fn end(mut self) -> anyhow::Result<()> {
        self.says("ended").await?;
        let ended = tokio::time::timeout(generous(ATTACK), self.program.wait()).await??;
        ensure!(ended.success(), "{ended}");
        Ok(())
    }
}

/// `docker run` on this network, with room for as many connections as an attack makes.
fn on_network(network: &str) -> Command {
    let mut command = Command::new("docker");
    command
        .args(["run", "--rm", "--init", "--network", network])
        .args(["--ulimit", "nofile=16384:16384", "boxoffice/toolbox"])
        .kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn customers_buy_while_another_address_holds_thousands_of_connections_half_open()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(2 * TRIES, 1).await?;
    let network = stack.project.network("services");
    let mut bought = false;
    for _ in 0..TRIES {
        let mut attack = Attack::begin(&network, "nginx", "8080").await?;
        let open = open_connections(&stack).await?;
        ensure!(open <= ALLOWED, "{open} connections are open");
        let order = hall.order(0, cards::FINE).await?;
        let bound = Duration::from_secs(10);
        hall.until(0, order.id, OrderState::Paid, bound).await?;
        // On a busy machine the attack may be over before the order is paid.
        bought = attack.is_under_way()?;
        attack.end().await?;
        if bought {
            break;
        }
    }
    ensure!(bought, "no order was paid while an attack was under way");
    let nginx = stack.project.one("nginx").await?;
    eventually(BOUND, "Nginx passes its health check", async || {
        Ok(nginx.passes_its_check().await?.then_some(()))
    })
    .await?;
    hall.every_promise_held().await
}

/// Through the published port all customers of this machine have one address, that of the engine, and
/// so has the attack. What has to hold is that its end is the end of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn the_published_port_serves_soon_after_thousands_of_half_open_connections()
-> anyhow::Result<()> {
    Stack::ready().await?;
    let port = std::env::var("BOXOFFICE_PORT").context("BOXOFFICE_PORT")?;
    let address = format!("http://127.0.0.1:{port}/api/catalog/events?limit=1");
    let reads = async || {
        let curl = on_network("host")
            .args([
                "curl",
                "-sf",
                "--max-time",
                "4",
                "-o",
                "/dev/null",
                &address,
            ])
            .status();
        anyhow::Ok(curl.await?.success().then_some(()))
    };
    eventually(BOUND, "the published port serves", &reads).await?;
    Attack::begin("host", "127.0.0.1", &port)
        .await?
        .end()
        .await?;
    eventually(BOUND, "it serves after the attack", &reads).await
}

/// How many connections Nginx has with clients, whatever they are doing.
async fn open_connections(stack: &Stack) -> anyhow::Result<u32> {
    let lines = stack
        .scrape("http://nginx:8081/status", "Reading: ")
        .await?;
    let line = lines.first().context("Nginx does not say it")?;
    println!("{line}");
    let numbers = line
        .split_whitespace()
        .filter_map(|word| word.parse::<u32>().ok());
    Ok(numbers.sum())
}
