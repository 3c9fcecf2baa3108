//! What may stand in the place of a key: a value, "there is no such thing", a lease or a fence.
//! The first byte tells which. A fence is followed by the tokens of the changes that it protects,
//! eight bytes each; only scripts in Redis write it ([`store`](crate::store)).

use bytes::Bytes;

const VALUE: u8 = b'V';
const NO_SUCH_THING: u8 = b'N';
const LEASE: u8 = b'L';
/// The scripts that write it spell it out.
#[cfg(test)]
const FENCE: u8 = b'F';

/// What was found in a key's place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A value.
    Value(Bytes),
    /// It is known that there is no such thing.
    NoSuchThing,
    /// Somebody else's lease, or the fence of a change.
    Taken,
    /// Nothing.
    Nothing,
}

impl Found {
    pub(crate) fn read(entry: Vec<u8>) -> Self {
        match entry.first() {
            Some(&VALUE) => Self::Value(Bytes::from(entry).slice(1..)),
            Some(&NO_SUCH_THING) => Self::NoSuchThing,
            Some(_) => Self::Taken,
            None => Self::Nothing,
        }
    }
}

pub(crate) fn value(value: Option<&Bytes>) -> Vec<u8> {
    let Some(value) = value else {
        return vec![NO_SUCH_THING];
    };
    let mut entry = Vec::with_capacity(value.len() + 1);
    entry.push(VALUE);
    entry.extend_from_slice(value);
    entry
}

pub(crate) fn lease(token: u64) -> [u8; 9] {
    let mut entry = [LEASE; 9];
    entry[1..].copy_from_slice(&token.to_be_bytes());
    entry
}

/// What a change writes into the fence, and takes out of it again.
pub(crate) fn owner(token: u64) -> [u8; 8] {
    token.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_entry_is_told_apart() {
        let bytes = Bytes::from_static(b"Vx");
        assert_eq!(Found::read(value(Some(&bytes))), Found::Value(bytes));
        assert_eq!(
            Found::read(value(Some(&Bytes::new()))),
            Found::Value(Bytes::new())
        );
        assert_eq!(Found::read(value(None)), Found::NoSuchThing);
        assert_eq!(Found::read(lease(u64::MAX).to_vec()), Found::Taken);
        let fence = [&[FENCE][..], &owner(1), &owner(u64::MAX)].concat();
        assert_eq!(Found::read(fence), Found::Taken);
        assert_eq!(Found::read(Vec::new()), Found::Nothing);
    }
}
