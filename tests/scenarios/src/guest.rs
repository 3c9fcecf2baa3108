//! Somebody with an account, who signs in and out.

use client::{Budget, Client, Failure};
use uuid::Uuid;

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
}
