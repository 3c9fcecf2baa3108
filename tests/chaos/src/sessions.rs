//! Sessions that were begun and ended while faults were made: a begun one goes on, and an ended
//! one never comes back.

use std::sync::{Mutex, PoisonError};

use serde_json::json;

use client::history::Record;
use client::{Ask, Budget, Client, Failure, Operation, Session};

/// Most sessions of each kind that are kept for the end.
const MOST: usize = 120;

/// How many accounts take turns. The eleventh session of an account ends its first, which is
/// nothing that a fault did: so each begins fewer than that while one fault lasts.
pub const ACCOUNTS: u32 = 32;

/// People who sign in and out all the time.
#[derive(Debug)]
pub struct Sessions {
    visitor: Client,
    emails: Vec<String>,
    password: String,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    begun: Vec<Session>,
    ended: Vec<Session>,
}

impl Sessions {
    /// Of the accounts with these addresses and this password, which are there.
    #[must_use]
    pub fn of(visitor: Client, emails: Vec<String>, password: String) -> Self {
        Self {
            visitor,
            emails,
            password,
            kept: Mutex::default(),
        }
    }

    /// Signs in for the so many-th time. Of two that follow each other, which are of one account,
    /// the first signs out again.
    ///
    /// # Errors
    /// A refusal, or no answer. Then nothing is kept: who had no answer knows nothing.
    pub async fn sign_in(&self, number: u64) -> Result<(), Failure> {
        let and_out = number.is_multiple_of(2);
        let email = &self.emails[(number / 2) as usize % self.emails.len()];
        let body = json!({"email": email, "password": self.password});
        let ask = Ask::post(Operation::SignIn, "/api/identity/sessions").json(body);
        let session: Session = self.visitor.ask_once(&ask, 0).await?.read()?;
        if and_out {
            let client = self.visitor.clone().with_session(session.clone());
            let ask = Ask::delete(Operation::SignOut, "/api/identity/sessions/current");
            client.ask_once(&ask, 0).await?;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let list = if and_out {
            &mut kept.ended
        } else {
            &mut kept.begun
        };
        if list.len() < MOST {
            list.push(session);
        }
        Ok(())
    }

    /// The sessions that were begun and go on, and those that were ended.
    #[must_use]
    pub fn kept(&self) -> [Vec<Session>; 2] {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        [kept.begun.clone(), kept.ended.clone()]
    }

    /// What is wrong with the sessions now, and with the checks in `records`, whose askers were
    /// all signed in. `quiet` is a visitor whose history nobody judges.
    pub async fn wrongs(&self, quiet: &Client, records: &[Record]) -> Vec<String> {
        let [begun, ended] = self.kept();
        let quiet = quiet.clone().with_budget(Budget::default());
        let mut wrongs = Vec::new();
        for session in begun {
            let me = quiet.clone().with_session(session).me().await;
            if let Err(failure) = me {
                wrongs.push(format!("a session that was begun is gone: {failure}"));
            }
        }
        for session in ended {
            let me = quiet.clone().with_session(session).me().await;
            if !matches!(&me, Err(failure) if failure.status() == Some(401)) {
                wrongs.push(format!("a session that was ended came back: {me:?}"));
            }
        }
        let turned_away = records.iter().filter(|one| one.status() == Some(401));
        wrongs.extend(turned_away.map(|one| {
            let operation = one.operation.as_str();
            format!(
                "somebody signed in was answered 401 at {}: {operation}",
                one.asked_at
            )
        }));
        wrongs
    }
}
