//! The API page, used as a person uses it, in a headless browser: what its examples send works, and
//! a ticket can be bought by clicking.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::deadline::{TRIES, generous};
use crate::stack::{Stack, eventually};

/// Where the browser is driven; each lane of the tests has a network of its own.
const DRIVER: &str = "http://127.0.0.1:9515";

/// How long the page may take for anything.
const BOUND: Duration = Duration::from_secs(15);

/// Puts a text in the place of what stands in a field, as one paste: the page renders itself anew for
/// each key that is pressed, which takes a busy machine longer than a hold lasts.
const PASTE: &str =
    "arguments[0].select(); document.execCommand('insertText', false, arguments[1])";

/// The page in a browser.
struct Page {
    browser: Client,
    driver: Child,
}

impl Page {
    async fn open(address: &str) -> anyhow::Result<Self> {
        let driver = Command::new("chromedriver")
            .arg("--port=9515")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("chromedriver is not there")?;
        // A container is no place for the browser's own sandbox, and has little shared memory.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-proxy-server",
            "--window-size=1400,1800",
        ];
        let options = json!({"binary": "/usr/bin/chromium", "args": arguments});
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let browser = eventually(BOUND, "a browser is there", async || {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            let builder = builder.capabilities(capabilities.clone());
            Ok(Some(builder.connect(DRIVER).await?))
        })
        .await?;
        browser.goto(address).await?;
        Ok(Self { browser, driver })
    }

    async fn close(mut self) -> anyhow::Result<()> {
        self.browser.close().await?;
        Ok(self.driver.kill().await?)
    }

    /// The element, once it is there.
    async fn find(&self, css: &str) -> anyhow::Result<fantoccini::elements::Element> {
        let wait = self.browser.wait().at_most(generous(BOUND));
        let found = wait.for_element(Locator::Css(css)).await;
        found.with_context(|| format!("no `{css}` on the page"))
    }

    async fn is_there(&self, css: &str) -> anyhow::Result<bool> {
        Ok(!self.browser.find_all(Locator::Css(css)).await?.is_empty())
    }

    /// Chooses a service's document.
    async fn choose(&self, service: &str) -> anyhow::Result<()> {
        let document = format!("/api/{service}/openapi.json");
        let option = format!("select#select:enabled option[value='{document}']");
        self.find(&option).await?.click().await?;
        Ok(())
    }

    async fn paste_into(&self, css: &str, text: &str) -> anyhow::Result<()> {
        let field = self.find(css).await?;
        field.click().await?;
        let arguments = vec![serde_json::to_value(field)?, json!(text)];
        self.browser.execute(PASTE, arguments).await?;
        Ok(())
    }

    /// Gives the token of a session, once for all documents.
    async fn authorize(&self, token: &str) -> anyhow::Result<()> {
        self.find(".auth-wrapper button.authorize")
            .await?
            .click()
            .await?;
        self.paste_into(".auth-container input", token).await?;
        self.find(".auth-container button.authorize")
            .await?
            .click()
            .await?;
        eventually(BOUND, "the dialogue is closed", async || {
            if self.is_there(".auth-container").await? {
                // It may close by itself in between.
                if let Ok(close) = self.browser.find(Locator::Css(".btn-done")).await {
                    let _ = close.click().await;
                }
                return Ok(None);
            }
            Ok(Some(()))
        })
        .await
    }

    /// Unfolds an operation, fills in these parameters, changes its example of a body, and executes
    /// it; gives the body of the answer, whose status must be this one.
    async fn execute(
        &self,
        operation: &str,
        parameters: &[(&str, &str)],
        change: impl Fn(&mut Value),
        wanted: u16,
    ) -> anyhow::Result<Value> {
        let block = format!(".opblock[id^='operations-'][id$='-{operation}']");
        let summary = self
            .find(&format!("{block} .opblock-summary-control"))
            .await?;
        if summary.attr("aria-expanded").await?.as_deref() != Some("true") {
            summary.click().await?;
        }
        let execute = format!("{block} button.execute");
        self.find(&execute).await?;
        for (name, value) in parameters {
            let field = format!("{block} tr[data-param-name='{name}'] input");
            self.paste_into(&field, value).await?;
        }
        let body = format!("{block} textarea.body-param__text");
        if self.is_there(&body).await? {
            let example = self.find(&body).await?.prop("value").await?;
            let example = example.with_context(|| format!("{operation} has no example"))?;
            let original: Value = serde_json::from_str(&example)
                .with_context(|| format!("the example of {operation}: {example}"))?;
            let mut changed = original.clone();
            change(&mut changed);
            if changed != original {
                self.paste_into(&body, &changed.to_string()).await?;
            }
        }
        let mut answer = self.answer_of(&block, &execute).await?;
        for _ in 1..TRIES {
            if answer.0 != 503 {
                break;
            }
            // A busy machine is no failure.
            tokio::time::sleep(Duration::from_millis(500)).await;
            answer = self.answer_of(&block, &execute).await?;
        }
        let (status, body) = answer;
        println!("{operation}: {status}");
        ensure!(status == wanted, "{operation}: {status} {body}");
        Ok(body)
    }

    /// Clicks on Execute, and reads the answer as it is shown.
    async fn answer_of(&self, block: &str, execute: &str) -> anyhow::Result<(u16, Value)> {
        let clear = format!("{block} button.btn-clear");
        if self.is_there(&clear).await? {
            self.find(&clear).await?.click().await?;
        }
        self.find(execute).await?.click().await?;
        let answer = format!("{block} .live-responses-table tbody");
        let status = self.find(&format!("{answer} .response-col_status")).await?;
        let status = status.text().await?;
        let digits = status.split_whitespace().next().unwrap_or_default();
        let digits = digits.parse::<u16>();
        let body = self
            .find(&format!("{answer} .response-col_description pre"))
            .await?;
        let body = body.prop("textContent").await?.unwrap_or_default();
        Ok((
            digits.with_context(|| format!("no status in `{status}`: {body}"))?,
            serde_json::from_str(&body).unwrap_or(Value::String(body)),
        ))
    }
}

fn as_it_is(_: &mut Value) {}

fn text(value: &Value) -> anyhow::Result<String> {
    let text = value.as_str().map(str::to_owned);
    text.with_context(|| format!("no text: {value}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn a_ticket_is_bought_on_the_api_page_by_clicking() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let page = Page::open(&format!("{}/api/docs/", stack.door.address())).await?;
    let session = page.execute("sign_in", &[], as_it_is, 201).await?;
    page.authorize(&text(&session["token"])?).await?;

    page.choose("catalog").await?;
    let events = [("city", "Vienna")];
    let events = page.execute("list_events", &events, as_it_is, 200).await?;
    let event = text(&events["items"][0]["id"])?;

    // The token counts for the other documents, and stays over a reload.
    page.choose("booking").await?;
    page.find("[id$='-place_hold']").await?;
    let of_this_event = |body: &mut Value| body["event_id"] = json!(event);
    let mut tries = 0;
    let order = loop {
        tries += 1;
        // A loaded page has new keys.
        page.browser.refresh().await?;
        let hold = page.execute("place_hold", &[], of_this_event, 201).await?;
        let of_this_hold = |body: &mut Value| body["hold_id"] = hold["id"].clone();
        let order = page.execute("place_order", &[], of_this_hold, 202).await;
        // On a busy machine the clicks may take longer than a hold of the tests lasts.
        let is_late = order
            .as_ref()
            .is_err_and(|error| error.to_string().contains("hold-expired"));
        if !is_late || tries == TRIES {
            break order?;
        }
    };
    let id = text(&order["id"])?;
    eventually(Duration::from_secs(20), "the order is paid", async || {
        let order = page
            .execute("read_order", &[("id", &id)], as_it_is, 200)
            .await?;
        Ok((order["state"] == "paid").then_some(()))
    })
    .await?;

    // What cannot be reached through the edge is not offered.
    page.choose("bank").await?;
    page.find("[id^='operations-'] .opblock-summary-control")
        .await?;
    eventually(BOUND, "the bank's operations are shown", async || {
        Ok((!page.is_there("[id$='-place_order']").await?).then_some(()))
    })
    .await?;
    page.find("[id^='operations-'] .opblock-summary-control")
        .await?
        .click()
        .await?;
    page.find(".opblock-body").await?;
    ensure!(
        !page.is_there("button.execute").await?,
        "the bank offers Execute"
    );
    page.close().await
}
