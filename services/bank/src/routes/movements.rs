//! `GET /v1/movements`: the books, page by page.

use axum::extract::State;
use messages::bank::Books;
use problem::Problem;
use problem::extract::{Json, Query};
use problem::openapi::{Answers, SESSION};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::clearing::Bank;

/// Most movements of a page.
const LARGEST_PAGE: u16 = 500;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// The movement after which the page begins: `next` of the page before.
    after: Option<Uuid>,
    /// Most movements of the page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
    /// Only movements of this order or settlement.
    reference: Option<Uuid>,
}

/// Read the books, oldest first.
///
/// Each movement of money is one line, declined ones as well. Ids grow in the order of the books, so
/// a page that was read stays as it is.
#[utoipa::path(
    get,
    path = "/v1/movements",
    operation_id = "list_movements",
    tag = "books",
    security(("api_key" = [])),
    params(Page),
    responses(
        Answers<{ SESSION }>,
        (status = 200, body = Books, description = "A page of the books"),
        (status = 422, body = problem::Body, content_type = "application/problem+json", description = "invalid-request"),
        (status = 503, body = problem::Body, content_type = "application/problem+json", description = "unavailable"),
    )
)]
pub(super) async fn list(
    State(bank): State<Bank>,
    Query(page): Query<Page>,
) -> Result<Json<Books>, Problem> {
    let limit = page.limit.unwrap_or(100);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid(
            "limit",
            format!("a page has 1 to {LARGEST_PAGE} movements"),
        ));
    }
    let after = page.after.unwrap_or_default();
    let and_one_more = i64::from(limit) + 1;
    let mut items = match page.reference {
        Some(reference) => bank.books.page_of(reference, after, and_one_more).await?,
        None => bank.books.page(after, and_one_more).await?,
    };
    let more = items.len() > usize::from(limit);
    items.truncate(usize::from(limit));
    let next = items
        .last()
        .filter(|_| more)
        .map(|movement| movement.id.to_string());
    Ok(Json(Books { items, next }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::routes::testing::TestBank;

    #[tokio::test]
    async fn pages_follow_one_another_oldest_first() {
        let bank = TestBank::open().await;
        let mut written = Vec::new();
        for number in 0..5 {
            let (_, made) = bank
                .charge(&number.to_string(), "4242424242424242", 100)
                .await;
            written.push(made);
        }
        let (mut read, mut after) = (Vec::new(), String::new());
        for _ in 0..3 {
            let (_, page) = bank.get(&format!("/v1/movements?limit=2{after}")).await;
            read.extend(page["items"].as_array().unwrap().clone());
            after = page["next"]
                .as_str()
                .map(|next| format!("&after={next}"))
                .unwrap_or_default();
        }
        assert_eq!(read, written);
        assert!(after.is_empty(), "the last page has no next");
    }

    #[tokio::test]
    async fn one_reference_alone_can_be_read() {
        let bank = TestBank::open().await;
        let (_, made) = bank.charge("a", "4242424242424242", 100).await;
        let mut other = crate::routes::testing::charge("4242424242424242", 200);
        other["reference"] = json!("0193b3a0-0000-7000-8000-00000000beef");
        bank.post("/v1/charges", "b", &other).await;
        let of = |reference: &str| format!("/v1/movements?reference={reference}");
        let (_, page) = bank.get(&of(made["reference"].as_str().unwrap())).await;
        assert_eq!(page["items"], json!([made]));
        let (_, page) = bank.get(&of("0193b3a0-0000-7000-8000-00000000dead")).await;
        assert_eq!(page["items"], json!([]));
    }

    #[tokio::test]
    async fn bad_parameters_are_named() {
        let bank = TestBank::open().await;
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("after=x", "after"),
            ("x=1", "x"),
        ] {
            let (status, problem) = bank.get(&format!("/v1/movements?{query}")).await;
            assert_eq!(
                (status.as_u16(), &problem["field"]),
                (422, &json!(field)),
                "{problem}"
            );
        }
    }
}
