//! Accounts and sessions.

use serde_json::json;

use super::{AccountView, Ask, Client, Failure, Operation, Session};

impl Client {
    /// Makes an account.
    ///
    /// # Errors
    /// A refusal (409 `email-taken`), or no answer.
    pub async fn sign_up(
        &self,
        email: &str,
        password: &str,
        name: &str,
        role: &str,
    ) -> Result<AccountView, Failure> {
        self.sign_up_with_key(self.next_key(), email, password, name, role)
            .await
    }

    /// Makes an account with a key of the caller's choice.
    ///
    /// # Errors
    /// A refusal (409 `email-taken`), or no answer.
    pub async fn sign_up_with_key(
        &self,
        key: String,
        email: &str,
        password: &str,
        name: &str,
        role: &str,
    ) -> Result<AccountView, Failure> {
        let body = json!({"email": email, "password": password, "name": name, "role": role});
        let ask = Ask::post(Operation::SignUp, "/api/identity/accounts")
            .key(key)
            .json(body);
        self.read(&ask).await
    }

    /// Opens a session: the same client, signed in.
    ///
    /// # Errors
    /// A refusal (401 `wrong-credentials`), or no answer.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Self, Failure> {
        let body = json!({"email": email, "password": password});
        let ask = Ask::post(Operation::SignIn, "/api/identity/sessions").json(body);
        let session: Session = self.read(&ask).await?;
        Ok(self.clone().with_session(session))
    }

    /// Ends the session.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn sign_out(&self) -> Result<(), Failure> {
        let ask = Ask::delete(Operation::SignOut, "/api/identity/sessions/current");
        self.insist(&ask).await.map(drop)
    }

    /// The account behind the session.
    ///
    /// # Errors
    /// A refusal (401), or no answer.
    pub async fn me(&self) -> Result<AccountView, Failure> {
        self.read(&Ask::get(
            Operation::ReadAccount,
            "/api/identity/accounts/me",
        ))
        .await
    }
}
