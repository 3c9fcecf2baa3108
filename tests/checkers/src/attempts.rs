//! The attempts of a history that a checker judges: those of one operation, those about one thing,
//! and those that were acknowledged, each with its answer.

use client::Operation;
use client::history::Record;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The attempts of `operation`.
pub(crate) fn of(history: &[Record], operation: Operation) -> impl Iterator<Item = &Record> {
    history
        .iter()
        .filter(move |record| record.operation == operation)
}

/// The attempts of `operation` whose path or body named `subject`.
pub(crate) fn about(
    history: &[Record],
    operation: Operation,
    subject: Uuid,
) -> impl Iterator<Item = &Record> {
    of(history, operation).filter(move |record| record.subject == Some(subject))
}

/// The acknowledged attempts of `operation`, each with its answer as `T`. An answer of another
/// shape is left out; the checker of promise 1 reports it where it answers a write.
pub(crate) fn acknowledged<T: DeserializeOwned>(
    history: &[Record],
    operation: Operation,
) -> impl Iterator<Item = (&Record, T)> {
    of(history, operation).filter_map(|record| Some((record, record.acknowledged()?)))
}
