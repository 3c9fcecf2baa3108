//! Seats as clients see them.

use problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text;

/// Where a seat is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Seat {
    /// Section.
    #[schema(example = "Stalls", min_length = 1, max_length = 40)]
    pub section: String,
    /// Row within the section.
    #[schema(example = "3", min_length = 1, max_length = 40)]
    pub row: String,
    /// Number within the row.
    #[schema(example = 12, minimum = 1)]
    pub number: i32,
}

impl Seat {
    /// Checks the rules for a seat's name.
    ///
    /// # Errors
    /// 422 that names the part of `field` at fault.
    pub fn check(&self, field: &str) -> Result<(), Problem> {
        text::plain(format!("{field}.section"), &self.section, 40)?;
        text::plain(format!("{field}.row"), &self.row, 40)?;
        if self.number < 1 {
            return Err(Problem::invalid(
                format!("{field}.number"),
                "seats are numbered from 1",
            ));
        }
        Ok(())
    }
}

/// A seat and the price that was frozen for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PricedSeat {
    /// Section.
    #[schema(example = "Stalls")]
    pub section: String,
    /// Row within the section.
    #[schema(example = "3")]
    pub row: String,
    /// Number within the row.
    #[schema(example = 12)]
    pub number: i32,
    /// Price in minor units.
    #[schema(example = 4500)]
    pub price_minor: i64,
}
