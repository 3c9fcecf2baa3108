//! Tickets as PDF.

pub mod read_pdf;
