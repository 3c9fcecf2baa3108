//! Cursors: opaque to clients, the sort key of the last event of a page to us.
//!
//! A cursor names no partition, so that one which was tampered with cannot lead out of the list
//! that is asked for; one that cannot be read, or lies outside the dates asked for, is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use problem::Problem;
use uuid::Uuid;

use crate::item;

/// The place after an event in a list by start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByStart {
    /// Its start.
    pub starts_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

impl ByStart {
    /// The cursor as a client sees it.
    pub fn write(self) -> String {
        URL_SAFE_NO_PAD.encode(self.sort_key())
    }

    /// The sort key it stands for.
    pub fn sort_key(self) -> String {
        item::starts_key(self.starts_at, self.id)
    }

    /// Reads a cursor.
    pub fn read(text: &str) -> Result<Self, Problem> {
        let key = decode(text)?;
        let (starts_at, id) = key.split_once('#').ok_or_else(refused)?;
        let cursor = Self {
            starts_at: starts_at.parse().map_err(|_| refused())?,
            id: id.parse().map_err(|_| refused())?,
        };
        // Only the one way in which we write it.
        if cursor.sort_key() == key {
            Ok(cursor)
        } else {
            Err(refused())
        }
    }
}

/// The cursor after an event in a list by age, as a client sees it.
pub fn write_id(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.to_string())
}

/// Reads a cursor of a list by age.
pub fn read_id(text: &str) -> Result<Uuid, Problem> {
    let key = decode(text)?;
    let id = key.parse::<Uuid>().map_err(|_| refused())?;
    if id.to_string() == key {
        Ok(id)
    } else {
        Err(refused())
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    String::from_utf8(bytes).map_err(|_| refused())
}

/// 422 for a cursor that we did not give out for this list.
pub fn refused() -> Problem {
    Problem::invalid(
        "cursor",
        "this is no cursor of this list: take next_cursor of a page as it is",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_come_back_as_they_were(seconds in 0i64..4_000_000_000, id: u128) {
            let starts_at = DateTime::from_timestamp(seconds, 0).unwrap();
            let cursor = ByStart { starts_at, id: Uuid::from_u128(id) };
            prop_assert_eq!(ByStart::read(&cursor.write()).unwrap(), cursor);
            let id = Uuid::from_u128(id);
            prop_assert_eq!(read_id(&write_id(id)).unwrap(), id);
        }

        #[test]
        fn any_other_text_is_refused_and_the_field_named(text in ".{0,100}") {
            for problem in [ByStart::read(&text).err(), read_id(&text).err()] {
                prop_assert_eq!(problem.and_then(|p| p.body().field), Some("cursor".to_owned()));
            }
        }
    }
}
