//! What a route may answer beside what it is there for, for its OpenAPI document.
//!
//! A route names its parts as the first of its `responses`, such as
//! `Answers<{ DOOR | SESSION | DATABASE }>`; what it names after that takes the place of the same
//! status here, so a conflict of its own names `busy` as well.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

/// Behind the door: what Nginx answers in a service's place, and what every service answers that
/// is too busy or stops.
pub const DOOR: u8 = 1;
/// Needs a session.
pub const SESSION: u8 = 1 << 1;
/// Asks the database.
pub const DATABASE: u8 = 1 << 2;
/// Takes a JSON body.
pub const BODY: u8 = 1 << 3;
/// Takes an `Idempotency-Key`.
pub const KEY: u8 = 1 << 4;

/// The kinds of problems that a part brings with it.
const KINDS: [(u8, u16, &str); 16] = [
    (DOOR, 400, "bad-request"),
    (BODY, 400, "malformed-request"),
    (KEY, 400, "idempotency-key-missing"),
    (SESSION, 401, "unauthorized"),
    (DATABASE, 409, "busy (with Retry-After)"),
    (DOOR | BODY, 413, "body-too-large"),
    (DOOR, 414, "path-too-long"),
    (BODY, 415, "unsupported-media-type"),
    (BODY | KEY, 422, "invalid-request"),
    (KEY, 422, "idempotency-key-reused"),
    (DOOR, 408, "too-slow"),
    (DOOR, 429, "too-many-requests (with Retry-After)"),
    (DOOR, 431, "headers-too-large"),
    (u8::MAX, 500, "internal"),
    (DOOR, 503, "unavailable (with Retry-After)"),
    (DATABASE, 503, "unavailable (with Retry-After)"),
];

/// The answers of a route that is made of these parts.
#[derive(Clone, Copy, Debug)]
pub struct Answers<const PARTS: u8>;

impl<const PARTS: u8> IntoResponses for Answers<PARTS> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut answers: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for (parts, status, kind) in KINDS {
            let kinds = answers.entry(status).or_default();
            if parts & PARTS != 0 && !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        answers
            .into_iter()
            .filter(|(_, kinds)| !kinds.is_empty())
            .map(|(status, kinds)| (status.to_string(), problem(kinds.join(", ")).into()))
            .collect()
    }
}

fn problem(description: String) -> Response {
    let body = Ref::from_schema_name("Problem");
    ResponseBuilder::new()
        .description(description)
        .content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(body)).build(),
        )
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_the_kinds_of_all_parts_once() {
        let of = |answers: BTreeMap<String, RefOr<Response>>| -> BTreeMap<String, String> {
            let text = serde_json::to_value(answers).unwrap();
            let answers = text.as_object().unwrap().iter();
            answers
                .map(|(status, answer)| (status.clone(), answer["description"].to_string()))
                .collect()
        };
        let read = of(Answers::<{ DATABASE }>::responses());
        assert_eq!(read.keys().collect::<Vec<_>>(), ["409", "500", "503"]);
        let write = of(Answers::<{ DOOR | DATABASE | BODY | KEY }>::responses());
        assert_eq!(
            write["400"],
            "\"bad-request, malformed-request, idempotency-key-missing\""
        );
        assert_eq!(write["413"], "\"body-too-large\"");
        assert_eq!(write["503"], "\"unavailable (with Retry-After)\"");
        assert!(!write.contains_key("401"));
    }
}
