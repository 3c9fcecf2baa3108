//! Cursors of lists: the place where the last page ended, opaque to clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use problem::Problem;

/// Writes a place as a cursor.
pub fn encode<const N: usize>(place: [u8; N]) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// Reads a cursor that [`encode`] wrote.
///
/// # Errors
/// 422 that names the parameter, where it is not one of ours.
pub fn decode<const N: usize>(cursor: &str) -> Result<[u8; N], Problem> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| {
            Problem::invalid(
                "cursor",
                "pass the next_cursor of the page before, unchanged",
            )
        })
}

/// The size of a page: `asked`, or `default` where nothing was asked.
///
/// # Errors
/// 422 that names the parameter, where it is not within `1..=most`.
pub fn limit(asked: Option<u32>, default: u32, most: u32) -> Result<i64, Problem> {
    let limit = asked.unwrap_or(default);
    if (1..=most).contains(&limit) {
        Ok(limit.into())
    } else {
        Err(Problem::invalid(
            "limit",
            format!("a page has 1 to {most} items"),
        ))
    }
}

/// Cuts off what was read beyond `limit` and says where the page ended, if there is another one.
pub fn page<T, const N: usize>(
    items: &mut Vec<T>,
    limit: i64,
    place: impl FnOnce(&T) -> [u8; N],
) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if items.len() <= limit {
        return None;
    }
    items.truncate(limit);
    items.last().map(|last| encode(place(last)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_as_the_place_it_was_made_of(place: [u8; 16]) {
            prop_assert_eq!(decode::<16>(&encode(place)).unwrap(), place);
        }

        #[test]
        fn text_that_is_no_cursor_is_refused_and_never_panics(text: String) {
            if let Ok(place) = decode::<16>(&text) {
                prop_assert_eq!(encode(place), text);
            }
        }
    }

    #[test]
    fn a_bad_cursor_names_its_parameter() {
        let problem = decode::<16>("!").unwrap_err();
        assert_eq!(problem.status().as_u16(), 422);
        assert_eq!(problem.body().field.as_deref(), Some("cursor"));
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let place = |item: &i32| item.to_be_bytes();
        let mut items = vec![1, 2, 3];
        assert_eq!(page(&mut items, 3, place), None);
        assert_eq!(
            page(&mut items, 2, place),
            Some(encode(2_i32.to_be_bytes()))
        );
        assert_eq!(items, [1, 2]);
    }

    #[test]
    fn pages_have_a_limit() {
        assert_eq!(limit(None, 20, 100).unwrap(), 20);
        assert_eq!(limit(Some(100), 20, 100).unwrap(), 100);
        assert!(limit(Some(0), 20, 100).is_err());
        assert!(limit(Some(101), 20, 100).is_err());
    }
}
