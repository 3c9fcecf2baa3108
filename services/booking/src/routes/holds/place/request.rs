//! What a client asks for.

use std::collections::HashSet;

use problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::holds::MAX_SEATS;
use crate::seats::Seat;
use crate::text;

/// Either `seats` or `best`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceHold {
    /// The event.
    pub event_id: Uuid,
    /// Seats by name, at most 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 1, max_items = 10)]
    pub seats: Option<Vec<Seat>>,
    /// The best free seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub best: Option<Best>,
}

/// How many seats, and where.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// How many, at most 10.
    #[schema(example = 2, minimum = 1, maximum = 10)]
    pub count: i64,
    /// Only in this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Stalls", min_length = 1, max_length = 40)]
    pub section: Option<String>,
}

/// A request that keeps the rules.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// These seats, all different.
    Named(Vec<Seat>),
    /// So many of the best free ones.
    Best(Best),
}

impl Wanted {
    /// How many seats.
    pub fn count(&self) -> i64 {
        match self {
            Self::Named(seats) => i64::try_from(seats.len()).unwrap_or(i64::MAX),
            Self::Best(best) => best.count,
        }
    }

    /// The field that says how many.
    pub fn count_field(&self) -> &'static str {
        match self {
            Self::Named(_) => "seats",
            Self::Best(_) => "best.count",
        }
    }
}

impl PlaceHold {
    /// Checks the rules.
    ///
    /// # Errors
    /// 422 that names the field at fault.
    pub fn checked(self) -> Result<Wanted, Problem> {
        match (self.seats, self.best) {
            (Some(seats), None) => {
                if seats.is_empty() || seats.len() > MAX_SEATS {
                    return Err(Problem::invalid("seats", "a hold has 1 to 10 seats"));
                }
                let mut seen = HashSet::new();
                for (place, seat) in seats.iter().enumerate() {
                    seat.check(&format!("seats[{place}]"))?;
                    if !seen.insert(seat) {
                        return Err(Problem::invalid(
                            format!("seats[{place}]"),
                            "this seat is named twice",
                        ));
                    }
                }
                Ok(Wanted::Named(seats))
            }
            (None, Some(best)) => {
                if !(1..=10).contains(&best.count) {
                    return Err(Problem::invalid("best.count", "a hold has 1 to 10 seats"));
                }
                if let Some(section) = &best.section {
                    text::plain("best.section", section, 40)?;
                }
                Ok(Wanted::Best(best))
            }
            _ => Err(Problem::invalid(
                "seats",
                "give either seats or best, and not both",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(json: &str) -> Option<String> {
        let request: PlaceHold = problem::extract::from_slice(
            json.replace('@', r#""event_id":"00000000-0000-7000-8000-000000000000""#)
                .as_bytes(),
        )
        .unwrap();
        request
            .checked()
            .err()
            .and_then(|problem| problem.body().field)
    }

    #[test]
    fn a_request_names_seats_or_asks_for_the_best_ones() {
        assert_eq!(field(r#"{@,"best":{"count":10}}"#), None);
        assert_eq!(
            field(r#"{@,"seats":[{"section":"A","row":"1","number":1}]}"#),
            None
        );
        assert_eq!(field("{@}").as_deref(), Some("seats"));
        assert_eq!(
            field(r#"{@,"seats":[],"best":{"count":1}}"#).as_deref(),
            Some("seats")
        );
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (json, expected) in [
            (r#"{@,"seats":[]}"#, "seats"),
            (r#"{@,"best":{"count":0}}"#, "best.count"),
            (r#"{@,"best":{"count":11}}"#, "best.count"),
            (r#"{@,"best":{"count":1,"section":""}}"#, "best.section"),
            (
                r#"{@,"seats":[{"section":"A","row":"","number":1}]}"#,
                "seats[0].row",
            ),
            (
                r#"{@,"seats":[{"section":"A","row":"1","number":0}]}"#,
                "seats[0].number",
            ),
            (
                r#"{@,"seats":[{"section":"\u0000","row":"1","number":1}]}"#,
                "seats[0].section",
            ),
            (
                r#"{@,"seats":[{"section":"A","row":"1","number":1},{"section":"A","row":"1","number":1}]}"#,
                "seats[1]",
            ),
        ] {
            assert_eq!(field(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn eleven_seats_are_too_many() {
        let seat = |number| Seat {
            section: "A".to_owned(),
            row: "1".to_owned(),
            number,
        };
        let request = |count| PlaceHold {
            event_id: Uuid::nil(),
            seats: Some((1..=count).map(seat).collect()),
            best: None,
        };
        assert!(request(10).checked().is_ok());
        assert!(request(11).checked().is_err());
    }
}
