//! `GET /api/catalog/events`: events on sale, by city and date.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use problem::Problem;
use problem::extract::Query;
use problem::openapi::{Answers, DOOR};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::Catalog;
use crate::cursor::{self, ByStart};
use crate::event::{EventPage, to_the_second};
use crate::events::{LISTED_AFTER_START, Search};
use crate::item;

/// What is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// In this city, however it is spelled: case, spacing and Unicode normal form do not matter.
    #[param(min_length = 1, max_length = 60, example = "Vienna")]
    city: Option<String>,
    /// Not before this time (RFC 3339); without it, not before now. A day back at most.
    from: Option<DateTime<Utc>>,
    /// Not after this time (RFC 3339).
    to: Option<DateTime<Utc>>,
    /// Entries of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List events on sale, soonest first.
///
/// By city and date; may be a second old. Events that have begun are listed for a day where `from`
/// asks for them. Page by page: `next_cursor` of one page is the `cursor` of the next.
#[utoipa::path(
    get,
    path = "/api/catalog/events",
    operation_id = "list_events",
    tag = "events",
    params(Filter),
    responses(
        Answers<{ DOOR }>,
        (status = 200, description = "a page", body = EventPage),
        (status = 422, description = "invalid-request: a parameter breaks a rule", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn list_events(
    State(catalog): State<Arc<Catalog>>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let limit = super::page_limit(filter.limit, 20, 100)?;
    let city_key = filter.city.as_deref().map(city).transpose()?;
    let after = filter.cursor.as_deref().map(ByStart::read).transpose()?;
    let (from, to) = dates(&filter)?;
    let is_outside =
        |after: ByStart| from.is_some_and(|from| after.starts_at < from) || after.starts_at > to;
    if after.is_some_and(is_outside) {
        return Err(cursor::refused());
    }
    // All of the question, so that no two questions share an answer. The dates are as asked, not
    // as cut to what is listed, which moves with the clock.
    let name = format!(
        "{city_key:?}|{:?}|{:?}|{limit}|{}",
        filter.from.map(|time| time.timestamp()),
        filter.to.map(|time| time.timestamp()),
        filter.cursor.as_deref().unwrap_or_default(),
    );
    let load = async || {
        let now = to_the_second(Utc::now());
        let from = from.map_or(now, |from| from.max(now - LISTED_AFTER_START));
        if from > to {
            return Ok(EventPage {
                items: Vec::new(),
                next_cursor: None,
            });
        }
        // What the clock has overtaken since the page before is not listed any more.
        let after = after.filter(|after| after.starts_at >= from);
        let search = Search {
            city_key,
            from,
            to,
            limit,
            after,
        };
        catalog.events.search(&search).await
    };
    catalog.reads.list(&name, load).await.map(super::json)
}

/// The key of the city that is asked for.
fn city(city: &str) -> Result<String, Problem> {
    let line = text::line(city).map_err(|refused| Problem::invalid("city", refused.to_string()))?;
    if line.chars().count() > 60 {
        return Err(Problem::invalid("city", "a city has 1 to 60 characters"));
    }
    Ok(text::key(&line))
}

/// The dates asked for, within what sorts as text.
fn dates(filter: &Filter) -> Result<(Option<DateTime<Utc>>, DateTime<Utc>), Problem> {
    let latest = item::latest();
    for (field, date) in [("from", filter.from), ("to", filter.to)] {
        if date.is_some_and(|date| date < DateTime::UNIX_EPOCH || date > latest) {
            return Err(Problem::invalid(field, "a year from 1970 to 9999"));
        }
    }
    let from = filter.from.map(to_the_second);
    let to = to_the_second(filter.to.unwrap_or(latest));
    if from.is_some_and(|from| from > to) {
        return Err(Problem::invalid("to", "`to` is not before `from`"));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::event::Draft;
    use crate::trial::{self, As, Trial};

    async fn ids(trial: &Trial, query: &str) -> (Vec<String>, Option<String>) {
        let (status, page) = trial
            .get(&format!("/api/catalog/events?{query}"), As::Nobody)
            .await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        let ids = items
            .iter()
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, page["next_cursor"].as_str().map(str::to_owned))
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn pages_are_complete_in_order_and_without_duplicates() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let draft = trial::draft(&trial::city());
        let mut expected = Vec::new();
        for number in 0..7 {
            // Two at a time begin in the same second.
            let starts_at = draft.starts_at + TimeDelta::hours(number / 2);
            let id = trial
                .create(
                    who,
                    &Draft {
                        starts_at,
                        ..draft.clone()
                    },
                )
                .await;
            trial.put_on_sale(id).await;
            expected.push(id.to_string());
        }
        trial.create(who, &draft).await;
        let city = draft.city.to_uppercase().replace(' ', "%20");
        for limit in [1, 2, 3, 7, 100] {
            let (mut found, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let after = cursor
                    .map(|cursor| format!("&cursor={cursor}"))
                    .unwrap_or_default();
                let (page, next) = ids(&trial, &format!("city={city}&limit={limit}{after}")).await;
                assert!(!page.is_empty() && page.len() <= limit);
                found.extend(page);
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "limit {limit}, the draft left out");
        }
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn dates_are_inclusive_and_an_unknown_city_is_empty() {
        let trial = Trial::begin().await;
        let mut draft = trial::draft(&trial::city());
        // At a second of its own, for what is asked without a city.
        draft.starts_at += TimeDelta::seconds(i64::from(rand::random::<u32>() % 100_000_000));
        let id = trial.create(As::Organiser(Uuid::now_v7()), &draft).await;
        trial.put_on_sale(id).await;
        let city = draft.city.replace(' ', "%20");
        let at = |seconds| item::time(draft.starts_at + TimeDelta::seconds(seconds));
        let (now, before, after) = (at(0), at(-1), at(1));
        let count = async |query: String| ids(&trial, &query).await.0.len();
        assert_eq!(count(format!("city={city}&from={now}&to={now}")).await, 1);
        assert_eq!(count(format!("city={city}&to={before}")).await, 0);
        assert_eq!(count(format!("city={city}&from={after}")).await, 0);
        assert_eq!(count(format!("from={now}&to={now}&limit=100")).await, 1);
        assert_eq!(count("city=Nowhere%20at%20all".to_owned()).await, 0);
        let id = Uuid::now_v7();
        let overtaken = ByStart {
            starts_at: DateTime::UNIX_EPOCH,
            id,
        }
        .write();
        assert_eq!(count(format!("city={city}&cursor={overtaken}")).await, 1);
        assert_eq!(
            count(format!("city={city}&to=2001-01-01T00:00:00Z")).await,
            0
        );
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn a_city_is_found_however_it_is_typed() {
        let trial = Trial::begin().await;
        let number = Uuid::now_v7().simple();
        let stored = trial::draft(&format!("Zu\u{308}rich {number} "));
        let id = trial.create(As::Organiser(Uuid::now_v7()), &stored).await;
        trial.put_on_sale(id).await;
        let typed = ["Z%C3%BCrich", "Zu%CC%88rich", "Z%C3%9CRICH", "zU%CC%88RICH"];
        for city in typed {
            let (found, _) = ids(&trial, &format!("city={city}%20%20{number}")).await;
            assert_eq!(found, [id.to_string()], "{city}");
        }
        let (_, page) = trial
            .get(
                &format!("/api/catalog/events?city=Z%C3%BCrich%20{number}"),
                As::Nobody,
            )
            .await;
        assert_eq!(page["items"][0]["city"], format!("Zürich {number}"));
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn bad_parameters_are_named() {
        let trial = Trial::begin().await;
        let outside = ByStart {
            starts_at: DateTime::UNIX_EPOCH,
            id: Uuid::nil(),
        }
        .write();
        let cases = [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=x", "limit"),
            ("city=", "city"),
            ("city=%E2%80%8B", "city"),
            ("city=a%00", "city"),
            ("from=yesterday", "from"),
            ("from=%2B12000-01-01T00:00:00Z", "from"),
            ("from=2030-01-01T00:00:00Z&to=2029-01-01T00:00:00Z", "to"),
            ("cursor=abc", "cursor"),
            ("cursor=%FF", "cursor"),
            (
                &format!("from=2029-01-01T00:00:00Z&cursor={outside}"),
                "cursor",
            ),
            ("colour=red", "colour"),
        ];
        for (query, field) in cases {
            let (status, problem) = trial
                .get(&format!("/api/catalog/events?{query}"), As::Nobody)
                .await;
            assert_eq!(
                (status.as_u16(), &problem["field"]),
                (422, &field.into()),
                "{query}: {problem}"
            );
        }
    }
}
