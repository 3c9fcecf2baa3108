//! `POST /api/catalog/events/{id}/publish`: an organiser puts an event on sale.
//!
//! Three steps, each of which may be repeated: the document is marked as fixed, so that its seats
//! cannot change any more; `booking` puts the seats on sale; the document is marked as on sale. A
//! request that ends in the middle is repeated by the client and goes on where it was, unless the
//! event has begun meanwhile. Reading the document and the three steps take less, in all, than a
//! request may.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::Utc;
use messages::account::Account;
use problem::Problem;
use problem::extract::Path;
use problem::openapi::{Answers, DOOR, SESSION};
use uuid::Uuid;

use crate::event::{Event, State as Stand};
use crate::{Catalog, etag, failure};

/// How often a step is tried again because the organiser changed the text meanwhile.
const ATTEMPTS: u32 = 3;

/// How long a change of the document may take, all tries together: a little longer than one that
/// DynamoDB answers late, while the cache hangs.
const CHANGE_TIMEOUT: Duration = Duration::from_millis(1_300);

/// Put an event on sale.
///
/// For good; a repetition changes nothing. Its seats go to booking first, so it is on sale once this
/// is answered. A repetition before the event begins sends them again: booking lacks them after a
/// restore to a moment before the first time.
#[utoipa::path(
    post,
    path = "/api/catalog/events/{id}/publish",
    operation_id = "publish_event",
    tag = "organisers",
    params(("id" = Uuid, Path, description = "The `id` of an event of yours")),
    security(("session" = [])),
    responses(
        Answers<{ DOOR | SESSION }>,
        (status = 200, description = "on sale", body = Event, headers(("ETag" = String, description = "the version"))),
        (status = 403, description = "forbidden: only organisers", body = problem::Body, content_type = "application/problem+json"),
        (status = 404, description = "not-found: no such event of yours", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "event-began; seating-differs: booking has other seats for it", body = problem::Body, content_type = "application/problem+json"),
        (status = 412, description = "version-mismatch: it was being changed", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn publish_event(
    State(catalog): State<Arc<Catalog>>,
    account: Account,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    let account = account.organiser()?;
    let event = catalog.events.own(account.id, id).await?;
    if event.state == Stand::OnSale {
        if event.starts_at > Utc::now() {
            catalog.booking.put_seating(id, &event.seating()).await?;
        }
        catalog.reads.forget(id).await?;
        return super::own(&HeaderMap::new(), &event);
    }
    let event = mark_fixed(&catalog, event).await?;
    catalog.booking.put_seating(id, &event.seating()).await?;
    let event = mark_on_sale(&catalog, event).await?;
    super::own(&HeaderMap::new(), &event)
}

/// From now on the seats stay as they are: `booking` is about to be told.
pub(crate) async fn mark_fixed(catalog: &Catalog, event: Event) -> Result<Event, Problem> {
    if event.starts_at <= Utc::now() {
        return Err(Problem::conflict(
            "event-began",
            "The event has begun",
            "an event is put on sale before it begins",
        )
        .field("starts_at"));
    }
    if event.is_fixed {
        return Ok(event);
    }
    change(catalog, event, |event| event.is_fixed = true).await
}

/// `booking` sells it: now everybody may see it.
pub(crate) async fn mark_on_sale(catalog: &Catalog, event: Event) -> Result<Event, Problem> {
    change(catalog, event, |event| {
        event.is_fixed = true;
        event.state = Stand::OnSale;
    })
    .await
}

async fn change(
    catalog: &Catalog,
    event: Event,
    mark: impl Fn(&mut Event),
) -> Result<Event, Problem> {
    let changing = Box::pin(change_once_nobody_else_does(catalog, event, mark));
    tokio::time::timeout(CHANGE_TIMEOUT, changing)
        .await
        .unwrap_or_else(|_| Err(failure::away()))
}

async fn change_once_nobody_else_does(
    catalog: &Catalog,
    mut event: Event,
    mark: impl Fn(&mut Event),
) -> Result<Event, Problem> {
    let id = event.id;
    for _ in 0..ATTEMPTS {
        mark(&mut event);
        event.version += 1;
        if catalog
            .reads
            .changing(id, catalog.events.replace(&event))
            .await?
        {
            return Ok(event);
        }
        event = catalog.events.own(event.organiser_id, id).await?;
    }
    Err(etag::mismatch())
}

#[cfg(test)]
mod tests {
    use service::http::REQUEST_TIMEOUT;

    use super::*;
    use crate::booking::{ANSWER_TIMEOUT, CHOICE_TIMEOUT};
    use crate::table::OPERATION_TIMEOUT;
    use crate::trial::{self, As, Trial};

    #[test]
    fn its_steps_take_less_than_the_request_may() {
        assert!(cache::OPERATION_TIMEOUT + OPERATION_TIMEOUT < CHANGE_TIMEOUT);
        let seats = CHOICE_TIMEOUT + ANSWER_TIMEOUT;
        let steps = OPERATION_TIMEOUT + 2 * CHANGE_TIMEOUT + seats;
        assert!(steps < REQUEST_TIMEOUT, "{steps:?}");
    }

    fn path(id: Uuid) -> String {
        format!("/api/catalog/events/{id}/publish")
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn booking_being_away_is_503_and_leaves_a_draft_with_fixed_seats() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let mut draft = trial::draft(&trial::city());
        let id = trial.create(who, &draft).await;
        let (status, _) = trial.send("POST", &path(id), who, &[], &draft).await;
        assert_eq!(status, 503);
        let event = trial.catalog.events.get(id).await.unwrap().unwrap();
        assert_eq!(
            (event.state, event.is_fixed, event.version),
            (Stand::Draft, true, 2)
        );
        draft.sections.pop();
        let change = format!("/api/catalog/events/{id}");
        let (status, _) = trial
            .send("PUT", &change, who, &[("if-match", "\"2\"")], &draft)
            .await;
        assert_eq!(status, 409, "booking may know the seats");
        let (status, _) = trial.send("POST", &path(id), who, &[], &draft).await;
        assert_eq!(status, 503);
        let event = trial.catalog.events.get(id).await.unwrap().unwrap();
        assert_eq!(event.version, 2, "a repetition goes on where it was");
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn what_was_broken_off_is_not_finished_after_the_start() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let draft = trial::draft(&trial::city());
        for is_fixed in [false, true] {
            let id = trial.create(who, &draft).await;
            let mut event = trial.catalog.events.get(id).await.unwrap().unwrap();
            event.is_fixed = is_fixed;
            event.starts_at = Utc::now() - chrono::TimeDelta::seconds(1);
            event.version += 1;
            assert!(trial.catalog.events.replace(&event).await.unwrap());
            let (status, problem) = trial.send("POST", &path(id), who, &[], &draft).await;
            assert_eq!(
                (status.as_u16(), &problem["type"]),
                (409, &"/problems/event-began".into())
            );
            let event = trial.catalog.events.get(id).await.unwrap().unwrap();
            assert_eq!((event.state, event.is_fixed), (Stand::Draft, is_fixed));
        }
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn only_its_organiser_publishes_and_again_changes_nothing() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let draft = trial::draft(&trial::city());
        let id = trial.create(who, &draft).await;
        let stranger = As::Organiser(Uuid::now_v7());
        assert_eq!(
            trial.send("POST", &path(id), stranger, &[], &draft).await.0,
            404
        );
        trial.put_on_sale(id).await;
        let (status, _) = trial.send("POST", &path(id), who, &[], &draft).await;
        assert_eq!(status, 503, "booking is told again, and it is away");
        let mut event = trial.catalog.events.get(id).await.unwrap().unwrap();
        assert_eq!((event.state, event.version), (Stand::OnSale, 2));
        event.starts_at = Utc::now() - chrono::TimeDelta::seconds(1);
        event.version += 1;
        assert!(trial.catalog.events.replace(&event).await.unwrap());
        let (status, event) = trial.send("POST", &path(id), who, &[], &draft).await;
        assert_eq!(
            (status.as_u16(), &event["state"], &event["version"]),
            (200, &"on_sale".into(), &3.into()),
            "booking may have pruned what has begun"
        );
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn a_change_of_the_text_meanwhile_does_not_stop_it() {
        let trial = Trial::begin().await;
        let id = trial
            .create(As::Organiser(Uuid::now_v7()), &trial::draft("Faro"))
            .await;
        let event = trial.catalog.events.get(id).await.unwrap().unwrap();
        let fixed = mark_fixed(&trial.catalog, event).await.unwrap();
        let changed = Event {
            description: "Meanwhile".to_owned(),
            version: fixed.version + 1,
            ..fixed.clone()
        };
        assert!(trial.catalog.events.replace(&changed).await.unwrap());
        let on_sale = mark_on_sale(&trial.catalog, fixed).await.unwrap();
        assert_eq!(
            (on_sale.description.as_str(), on_sale.state),
            ("Meanwhile", Stand::OnSale)
        );
    }
}
