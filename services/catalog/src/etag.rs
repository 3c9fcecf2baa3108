//! A document's version as its `ETag`, and the conditions that requests make on it.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use problem::Problem;

/// The `ETag` of a version.
pub fn of(version: u64) -> HeaderValue {
    // Digits between quotes are always a header value.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The versions that `If-Match` names. A weak tag counts as well: proxies make tags weak when they
/// compress, and our versions say the same of any encoding.
///
/// # Errors
/// 428 where it is missing, 422 where it cannot be read.
pub fn if_match(headers: &HeaderMap) -> Result<Vec<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if-match-missing",
            "If-Match is missing",
            "say which version you change: send If-Match with the ETag that you read",
        )
        .field("If-Match"));
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.split(',').map(version).collect())
        .ok_or_else(|| Problem::invalid("If-Match", "send the ETag that you read, such as \"3\""))
}

/// Whether `If-None-Match` says that the client has this version.
pub fn is_known(headers: &HeaderMap, current: u64) -> bool {
    headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| {
            text.split(',')
                .any(|tag| tag.trim() == "*" || version(tag) == Some(current))
        })
}

/// 412: the document has another version.
pub fn mismatch() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "version-mismatch",
        "Somebody changed it before you",
        "the event has another version than If-Match names: read it again and repeat your change",
    )
    .field("If-Match")
}

fn version(tag: &str) -> Option<u64> {
    let tag = tag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn if_match_is_required_and_read() {
        let missing = if_match(&HeaderMap::new()).unwrap_err();
        assert_eq!(missing.status(), StatusCode::PRECONDITION_REQUIRED);
        assert_eq!(if_match(&headers(header::IF_MATCH, "\"3\"")).unwrap(), [3]);
        assert_eq!(
            if_match(&headers(header::IF_MATCH, "W/\"3\", \"4\"")).unwrap(),
            [3, 4]
        );
        for bad in ["3", "*", "\"x\"", "\"3", ""] {
            let problem = if_match(&headers(header::IF_MATCH, bad)).unwrap_err();
            assert_eq!(problem.body().field.as_deref(), Some("If-Match"), "{bad}");
        }
    }

    #[test]
    fn a_known_version_need_not_be_sent_again() {
        assert!(is_known(
            &headers(header::IF_NONE_MATCH, "\"2\", W/\"3\""),
            3
        ));
        assert!(!is_known(&headers(header::IF_NONE_MATCH, "\"2\""), 3));
        assert!(!is_known(&HeaderMap::new(), 3));
    }
}
