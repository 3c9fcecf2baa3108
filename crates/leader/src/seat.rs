//! The seat: one key in etcd, there while somebody holds it.
//!
//! Its create revision tells one holding from another, its lease frees it when its holder falls
//! silent, and its value says who leads.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use etcd_client::{Client, Compare, CompareOp, Error, PutOptions, Txn, TxnOp};
use serde::{Deserialize, Serialize};

/// Who leads, as the leader itself has put it on its seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The candidate's name.
    pub name: String,
    /// The fencing token of its term.
    pub token: i64,
    /// When its term began, by its own clock.
    pub since: DateTime<Utc>,
}

/// What stands on the seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Placard {
    /// Who took the seat.
    name: String,
    /// Absent until its term begins.
    term: Option<Beginning>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Beginning {
    token: i64,
    since: DateTime<Utc>,
}

/// The seat as etcd showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// etcd could not be asked for some time.
    Unknown,
    /// Free.
    Vacant {
        /// etcd's revision when it was read.
        revision: i64,
    },
    /// Held.
    Taken {
        /// etcd's revision when it was read.
        revision: i64,
        /// Tells this holding from others.
        create_revision: i64,
        /// Who leads, once its term has begun.
        leader: Option<Leader>,
    },
}

impl Seat {
    /// Whether this shows, and not just from earlier, that the holding `mine` is over.
    pub(crate) fn is_lost_by(&self, mine: i64) -> bool {
        match self {
            Self::Unknown => false,
            Self::Vacant { revision } => *revision >= mine,
            Self::Taken {
                revision,
                create_revision,
                ..
            } => *revision >= mine && *create_revision != mine,
        }
    }
}

/// The key of the election called `name`.
pub(crate) fn key(name: &str) -> String {
    format!("leader/{name}")
}

/// Reads the seat, as the majority of etcd's members has it.
pub(crate) async fn read(client: Arc<Client>, key: &str) -> Result<Seat, Error> {
    let answer = client.kv_client().get(key, None).await?;
    let revision = answer.header().map_or(0, |header| header.revision());
    let Some(kv) = answer.kvs().first() else {
        return Ok(Seat::Vacant { revision });
    };
    let leader = serde_json::from_slice::<Placard>(kv.value())
        .ok()
        .and_then(|placard| {
            placard.term.map(|term| Leader {
                name: placard.name,
                token: term.token,
                since: term.since,
            })
        });
    Ok(Seat::Taken {
        revision,
        create_revision: kv.create_revision(),
        leader,
    })
}

/// Takes the seat if it is free. Says the create revision of the holding, `None` if somebody else
/// holds it.
pub(crate) async fn take(
    client: Arc<Client>,
    key: &str,
    lease: i64,
    name: &str,
) -> Result<Option<i64>, Error> {
    let placard = encoded(&Placard {
        name: name.to_owned(),
        term: None,
    })?;
    let transaction = Txn::new()
        .when([Compare::version(key, CompareOp::Equal, 0)])
        .and_then([TxnOp::put(
            key,
            placard,
            Some(PutOptions::new().with_lease(lease)),
        )]);
    let answer = client.kv_client().txn(transaction).await?;
    Ok(answer
        .header()
        .filter(|_| answer.succeeded())
        .map(|header| header.revision()))
}

/// Reads the seat again and puts the leader's name on it, in one transaction. False if the holding
/// `mine` is over.
pub(crate) async fn announce(
    client: Arc<Client>,
    key: &str,
    mine: i64,
    lease: i64,
    leader: &Leader,
) -> Result<bool, Error> {
    let placard = encoded(&Placard {
        name: leader.name.clone(),
        term: Some(Beginning {
            token: leader.token,
            since: leader.since,
        }),
    })?;
    let transaction = Txn::new()
        .when([
            Compare::create_revision(key, CompareOp::Equal, mine),
            Compare::lease(key, CompareOp::Equal, lease),
        ])
        .and_then([TxnOp::put(
            key,
            placard,
            Some(PutOptions::new().with_lease(lease)),
        )]);
    Ok(client.kv_client().txn(transaction).await?.succeeded())
}

fn encoded(placard: &Placard) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(placard).map_err(|error| Error::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_look_at_the_seat_shows_that_it_is_lost() {
        let taken = |revision, create_revision| Seat::Taken {
            revision,
            create_revision,
            leader: None,
        };
        assert!(!Seat::Unknown.is_lost_by(7));
        assert!(
            !Seat::Vacant { revision: 6 }.is_lost_by(7),
            "read before it was taken"
        );
        assert!(Seat::Vacant { revision: 8 }.is_lost_by(7));
        assert!(!taken(9, 7).is_lost_by(7));
        assert!(taken(9, 8).is_lost_by(7));
        assert!(!taken(6, 3).is_lost_by(7), "a former holder, read before");
    }
}
