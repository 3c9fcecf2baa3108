//! Who makes the event and lets people in.

use anyhow::Context;
use uuid::Uuid;

use super::password;
use client::Client;
use client::catalog::NewEvent;

/// A signed-in organiser.
#[derive(Clone, Debug)]
pub struct Organiser {
    /// The signed-in client.
    pub client: Client,
}

impl Organiser {
    /// Makes an organiser's account for this run and signs in.
    ///
    /// # Errors
    /// It could not be made.
    pub async fn sign_up(visitor: &Client, run: &str) -> anyhow::Result<Self> {
        let (email, password) = (format!("organiser-{run}@crowd.example"), password());
        visitor
            .sign_up(&email, &password, "Organiser", "organiser")
            .await
            .context("the organiser could not sign up")?;
        let client = visitor
            .sign_in(&email, &password)
            .await
            .context("the organiser could not sign in")?;
        Ok(Self { client })
    }

    /// Makes an event and puts it on sale.
    ///
    /// # Errors
    /// It could not be made.
    pub async fn open(&self, event: &NewEvent) -> anyhow::Result<Uuid> {
        let event = self
            .client
            .open_event(event)
            .await
            .context("the event could not be opened")?;
        Ok(event.id)
    }
}

/// Makes a customer's account for this run and signs in.
///
/// # Errors
/// It could not be made.
pub async fn customer(visitor: &Client, run: &str, number: u32) -> anyhow::Result<Client> {
    let (email, password) = (format!("customer-{number}-{run}@crowd.example"), password());
    let name = format!("Customer {number}");
    visitor
        .sign_up(&email, &password, &name, "customer")
        .await
        .with_context(|| format!("customer {number} could not sign up"))?;
    let client = visitor
        .sign_in(&email, &password)
        .await
        .with_context(|| format!("customer {number} could not sign in"))?;
    client
        .me()
        .await
        .with_context(|| format!("customer {number} has no account"))?;
    Ok(client)
}
