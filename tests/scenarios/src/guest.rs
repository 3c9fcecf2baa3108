//! Somebody with an account, who signs in and out.

use anyhow::bail;
use client::{Budget, Client, Failure};
use faults::Container;
use serde_json::json;
use uuid::Uuid;

use crate::deadline::TRIES;
use crate::stack::Stack;

const PASSWORD: &str = "correct horse battery";

/// Somebody with an account, who is not signed in.
#[derive(Clone, Debug)]
pub struct Guest {
    visitor: Client,
    email: String,
}

impl Guest {
    pub async fn sign_up(stack: &Stack) -> anyhow::Result<Self> {
        let visitor = stack.visitor();
        let email = format!("guest-{}@crowd.example", Uuid::now_v7());
        visitor
            .sign_up(&email, PASSWORD, "Guest", "customer")
            .await?;
        Ok(Self { visitor, email })
    }

    pub fn email(&self) -> &str {
        &self.email
    }

    /// A client with a session of its own. An account has ten at most: the eleventh ends the first.
    pub async fn sign_in(&self, budget: Budget) -> Result<Client, Failure> {
        let visitor = self.visitor.clone().with_budget(budget);
        visitor.sign_in(&self.email, PASSWORD).await
    }

    /// Signs in from the address of this container, which has curl, and succeeds or tells why not. On a
    /// busy machine it is sent again where it was shed.
    pub async fn sign_in_from(&self, container: &Container) -> anyhow::Result<()> {
        let credentials = json!({"email": self.email, "password": PASSWORD}).to_string();
        let mut said = String::new();
        for _ in 0..TRIES {
            let sent = container
                .run(&[
                    "curl",
                    "--silent",
                    "--max-time",
                    "15",
                    "--write-out",
                    " %{http_code}",
                    "--header",
                    "Content-Type: application/json",
                    "--data",
                    &credentials,
                    "http://nginx:8080/api/identity/sessions",
                ])
                .await?;
            said = sent.text;
            match said.rsplit_once(' ') {
                Some((_, "201")) => return Ok(()),
                // No answer in time, or an honest one of a busy machine.
                Some((_, "000" | "503")) => {}
                _ => bail!("{said}"),
            }
        }
        bail!("shed {TRIES} times: {said}")
    }
}
