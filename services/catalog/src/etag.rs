//! A document's version as its `ETag`, and the conditions that requests make on it (RFC 9110, 13.1).
//!
//! A condition is `*` or a list of entity tags, on one line or on several. Nginx refuses a second
//! line with 400 (`docs/problems/bad-request.md`); a list on one line says the same.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use problem::Problem;

/// The `ETag` of a version.
pub fn of(version: u64) -> HeaderValue {
    // Digits between quotes are always a header value.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The versions that `If-Match` names.
#[derive(Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any version, as long as there is one.
    Any,
    /// What stands between the quotes of each strong tag. The comparison is strong (RFC 9110,
    /// 8.8.3.2), so a weak tag matches nothing.
    OneOf(Vec<String>),
}

impl IfMatch {
    /// Whether it names this version.
    pub fn names(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(&version.to_string()),
        }
    }
}

/// The versions that `If-Match` names.
///
/// # Errors
/// 428 where it is missing, 422 where it is neither `*` nor a list of entity tags.
pub fn if_match(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if-match-missing",
            "If-Match is missing",
            "say which version you change: send If-Match with the ETag that you read",
        )
        .field("If-Match"));
    }
    match condition(headers, header::IF_MATCH) {
        Some(Condition::Any) => Ok(IfMatch::Any),
        Some(Condition::Tags(tags)) if !tags.is_empty() => {
            let strong = tags.into_iter().filter(|tag| !tag.is_weak);
            Ok(IfMatch::OneOf(strong.map(|tag| tag.opaque).collect()))
        }
        _ => Err(Problem::invalid(
            "If-Match",
            "send the ETag that you read, such as \"3\"; several with commas in between, or *",
        )),
    }
}

/// Whether `If-None-Match` says that the client has this version. The comparison is weak; what cannot
/// be read counts as no condition.
pub fn is_known(headers: &HeaderMap, current: u64) -> bool {
    match condition(headers, header::IF_NONE_MATCH) {
        Some(Condition::Any) => true,
        Some(Condition::Tags(tags)) => {
            let current = current.to_string();
            tags.iter().any(|tag| tag.opaque == current)
        }
        None => false,
    }
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

enum Condition {
    Any,
    Tags(Vec<Tag>),
}

struct Tag {
    is_weak: bool,
    opaque: String,
}

/// What all lines of this header say together; nothing where there is none, or it cannot be read.
fn condition(headers: &HeaderMap, name: HeaderName) -> Option<Condition> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    if lines.is_empty() {
        return None;
    }
    // RFC 9110, 5.3: several lines are one list.
    let text = lines.join(",");
    if text.trim() == "*" {
        return Some(Condition::Any);
    }
    tags(&text).map(Condition::Tags)
}

/// The entity tags of a list. Elements may be empty (RFC 9110, 5.6.1.2), and a comma may stand within
/// the quotes.
fn tags(list: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(tags);
        }
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if opaque.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return None;
        }
        tags.push(Tag {
            is_weak,
            opaque: opaque.to_owned(),
        });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_static(line));
        }
        headers
    }

    fn named(lines: &[&'static str]) -> Result<IfMatch, Problem> {
        if_match(&headers(header::IF_MATCH, lines))
    }

    #[test]
    fn if_match_is_required_and_well_formed() {
        let missing = if_match(&HeaderMap::new()).unwrap_err();
        assert_eq!(missing.status(), StatusCode::PRECONDITION_REQUIRED);
        for bad in [
            "3",
            "\"3",
            "3\"",
            "w/\"3\"",
            "\"3\" \"4\"",
            "\"3\", 4",
            "*, \"3\"",
            "\"a b\"",
            "",
            ",",
        ] {
            let problem = named(&[bad]).unwrap_err();
            assert_eq!(problem.slug(), "invalid-request", "{bad}");
            assert_eq!(problem.body().field.as_deref(), Some("If-Match"), "{bad}");
        }
    }

    #[test]
    fn if_match_names_one_version_or_several_or_any() {
        let cases: [(&[&'static str], bool); 11] = [
            (&["\"3\""], true),
            (&["\"2\", \"3\""], true),
            (&[" \"2\" ,, \"3\","], true),
            (&["\"2\"", "\"3\""], true),
            (&["\"a,b\", \"3\""], true),
            (&["*"], true),
            (&["\"2\""], false),
            (&["\"a,3\""], false),
            // Another tag than ours, although it is the same number.
            (&["\"03\""], false),
            (&["\"+3\""], false),
            // A weak tag never matches here.
            (&["W/\"3\""], false),
        ];
        for (lines, names) in cases {
            assert_eq!(named(lines).unwrap().names(3), names, "{lines:?}");
        }
    }

    #[test]
    fn a_known_version_need_not_be_sent_again() {
        let cases: [(&[&'static str], bool); 7] = [
            (&["\"3\""], true),
            (&["\"2\", W/\"3\""], true),
            (&["\"2\"", "\"3\""], true),
            (&["*"], true),
            (&["\"2\""], false),
            (&["3"], false),
            (&[], false),
        ];
        for (lines, known) in cases {
            let headers = headers(header::IF_NONE_MATCH, lines);
            assert_eq!(is_known(&headers, 3), known, "{lines:?}");
        }
    }
}
