//! The one task that looks for the primary, and again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{RedisError, Role, cmd};
use tokio::sync::Notify;

use crate::connection::connect;
use crate::primary::{ANSWER_TIMEOUT, CONFIRMED_TIMEOUT, Inner, Link};
use crate::view::Sentinels;
use crate::{Address, metrics};

/// How often the sentinels are asked while the primary answers. It bounds for how long an old
/// primary is believed that was replaced while nobody asked it anything.
const EVERY: Duration = Duration::from_secs(1);
/// How often while there is none.
const EVERY_WHILE_AWAY: Duration = Duration::from_millis(100);
/// The least between two looks, whatever is lost in between.
const AT_LEAST: Duration = Duration::from_millis(20);

/// Keeps the link up to date until nobody uses it any more.
pub(crate) async fn follow(primary: Weak<Inner>, mut sentinels: Sentinels, lost: Arc<Notify>) {
    let mut former = None;
    let mut told = false;
    for number in 0.. {
        let Some(primary) = primary.upgrade() else {
            return;
        };
        let is_there = match look(&primary, &mut sentinels, &mut former, number).await {
            Ok(()) => true,
            Err(reason) => {
                if !told {
                    tracing::warn!(reason, "no primary of Redis can be used for now");
                }
                false
            }
        };
        told = !is_there;
        drop(primary);
        tokio::time::sleep(AT_LEAST).await;
        let pause = if is_there { EVERY } else { EVERY_WHILE_AWAY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lost.notified() => {}
        }
    }
}

/// Asks the sentinels, and makes sure that the link is one to the primary that they name. Where
/// none of them answers nothing can have changed, so a link that is good stays; none is made.
async fn look(
    primary: &Inner,
    sentinels: &mut Sentinels,
    former: &mut Option<Address>,
    number: u64,
) -> Result<(), String> {
    let view = sentinels.ask(primary.view().as_ref()).await;
    let named = view.as_ref().map(|view| view.primary.clone());
    if let Some(view) = view {
        primary.sees(view);
    }
    if let Some(mut link) = primary.link() {
        let is_named = named.as_ref().is_none_or(|named| *named == link.address);
        let judged = if is_named {
            says_primary(&mut link).await
        } else {
            Err("the sentinels name another".to_owned())
        };
        let judged = match judged {
            Ok(()) if primary.confirmation_was_late() => confirm_anew(primary, &link).await,
            judged => judged,
        };
        match judged {
            Ok(()) => return Ok(()),
            Err(reason) => primary.lose(link.number, &reason),
        }
    }
    let named = named.ok_or("no sentinel answers")?;
    let mut link = reach(&named, &primary.password, number)
        .await
        .map_err(|error| format!("{named}: {error}"))?;
    says_primary(&mut link).await?;
    tracing::info!(redis.node = %named, "Redis has a primary");
    if former.as_ref().is_some_and(|former| *former != named) {
        metrics::switched();
    }
    *former = Some(named);
    primary.take(link);
    Ok(())
}

async fn reach(address: &Address, password: &str, number: u64) -> Result<Link, RedisError> {
    let (asking, confirming) = tokio::try_join!(
        connect(address, password, ANSWER_TIMEOUT),
        connect(address, password, CONFIRMED_TIMEOUT)
    )?;
    Ok(Link {
        address: address.clone(),
        asking,
        confirming,
        number,
    })
}

/// Connects anew for confirmations. What waits for slow replicas on the old connection would hold
/// up every write after it, and a connection that died without a word would never confirm one.
async fn confirm_anew(primary: &Inner, link: &Link) -> Result<(), String> {
    let connection = connect(&link.address, &primary.password, CONFIRMED_TIMEOUT)
        .await
        .map_err(|error| format!("{}: {error}", link.address))?;
    primary.confirm_on(link.number, connection);
    Ok(())
}

/// Asks the node itself: the sentinels may be a moment behind, or ahead.
async fn says_primary(link: &mut Link) -> Result<(), String> {
    let role = cmd("ROLE");
    let asked = role.query_async(&mut link.asking);
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Ok(Role::Primary { .. })) => Ok(()),
        Ok(Ok(_)) => Err(format!("{} says that it is a replica", link.address)),
        Ok(Err(error)) => Err(format!("{}: {error}", link.address)),
        Err(_) => Err(format!("{} does not answer", link.address)),
    }
}
