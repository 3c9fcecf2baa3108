//! Orders: seats that a customer buys.

pub mod cancel;
pub mod give_card;
pub mod list;
pub mod list_tickets;
pub mod place;
pub mod read;
