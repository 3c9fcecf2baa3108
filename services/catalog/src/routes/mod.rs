//! The endpoints, a file each.

mod create_event;
mod list_events;
mod my_event;
mod my_events;
mod popular;
pub(crate) mod publish_event;
mod read_event;
mod replace_event;
mod seat_map;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use problem::Problem;
use serde::Serialize;
use service::openapi::{Document, Operations};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::event::Event;
use crate::{Catalog, etag};

const DOCUMENT: Document<'_> = Document {
    name: "catalog",
    title: "Catalogue",
    description: "Events: browse, search by city and date, read, see the seats; organisers create, \
        change and publish. The demo event is in Vienna.",
    tags: &[
        ("events", "What is on sale, for everybody to see."),
        ("organisers", "An organiser's own events."),
    ],
    operations: Operations::AtTheEdge,
};

/// The routes for the world, with their documentation.
pub(crate) fn public(catalog: Arc<Catalog>) -> Router {
    service::openapi::documented(DOCUMENT, routes())
        .merge(service::openapi::page())
        .with_state(catalog)
}

fn routes() -> OpenApiRouter<Arc<Catalog>> {
    service::openapi::with_sessions()
        .routes(routes!(
            list_events::list_events,
            create_event::create_event
        ))
        .routes(routes!(
            read_event::read_event,
            replace_event::replace_event
        ))
        .routes(routes!(publish_event::publish_event))
        .routes(routes!(seat_map::seat_map))
        .routes(routes!(popular::popular))
        .routes(routes!(my_events::my_events))
        .routes(routes!(my_event::my_event))
}

/// JSON that is ready to be sent.
fn json(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// A document with its `ETag`, or 304 where the client has this version.
fn document(headers: &HeaderMap, version: u64, body: Bytes) -> Response {
    let mut response = if etag::is_known(headers, version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json(body)
    };
    response
        .headers_mut()
        .insert(header::ETAG, etag::of(version));
    response
}

/// An event as its organiser sees it.
fn own(headers: &HeaderMap, event: &Event) -> Result<Response, Problem> {
    Ok(document(headers, event.version, bytes(event)?))
}

fn bytes(value: &impl Serialize) -> Result<Bytes, Problem> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(Problem::internal)
}

/// How many entries a page has.
fn page_limit(limit: Option<u32>, usual: u32, most: u32) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::invalid(
            "limit",
            format!("a page has 1 to {most} entries"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_documents_what_it_may_answer() {
        // It panics where the document lacks something.
        let _: Router<Arc<Catalog>> = service::openapi::documented(DOCUMENT, routes());
        let document = serde_json::to_value(routes().split_for_parts().1).unwrap();
        let mut operations = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                operations += 1;
                let mut expected = vec!["400", "408", "413", "414", "429", "431", "500", "503"];
                if operation.get("security").is_some() {
                    expected.extend(["401", "403"]);
                }
                if path.contains('{') {
                    expected.push("404");
                }
                if operation.get("requestBody").is_some() {
                    expected.extend(["415", "422"]);
                }
                let answers = &operation["responses"];
                for status in expected {
                    assert!(answers[status].is_object(), "{method} {path} {status}");
                }
            }
        }
        assert_eq!(operations, 9);
    }
}
