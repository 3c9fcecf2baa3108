//! The signed text in a ticket's QR code.
//!
//! A code is 128 characters of base64url without padding: the ticket's id (16 bytes), its event's
//! id (16 bytes), and the Ed25519 signature (64 bytes) over those 32 bytes. `worker` signs with the
//! secret key; here is only the public one, so this process can tell true tickets from forged ones
//! and cannot make any.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use uuid::Uuid;

/// Characters of a code.
pub const LENGTH: usize = 128;

/// The public key of tickets.
#[derive(Clone, Debug)]
pub struct TicketKey(VerifyingKey);

/// What a true code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The ticket.
    pub ticket_id: Uuid,
    /// The event it admits to.
    pub event_id: Uuid,
}

impl TicketKey {
    /// What the code says, if it was signed with the secret key.
    pub fn read(&self, code: &str) -> Option<Signed> {
        if code.len() != LENGTH {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(code).ok()?;
        let (said, signature) = bytes.split_first_chunk::<32>()?;
        let signature = Signature::from_bytes(signature.try_into().ok()?);
        self.0.verify_strict(said, &signature).ok()?;
        let (ticket_id, event_id) = said.split_at(16);
        Some(Signed {
            ticket_id: Uuid::from_slice(ticket_id).ok()?,
            event_id: Uuid::from_slice(event_id).ok()?,
        })
    }
}

impl FromStr for TicketKey {
    type Err = String;

    /// Reads the key from the file at `path`.
    fn from_str(path: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes)
            .map_err(|_| format!("{path}: a key is 64 hexadecimal digits"))?;
        let key = VerifyingKey::from_bytes(&bytes)
            .map_err(|_| format!("{path}: this is no Ed25519 public key"))?;
        Ok(Self(key))
    }
}

#[cfg(test)]
pub mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    fn secret() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    /// The public key that belongs to [`sign`].
    pub fn key() -> TicketKey {
        TicketKey(secret().verifying_key())
    }

    /// A true code.
    pub fn sign(ticket_id: Uuid, event_id: Uuid) -> String {
        sign_with(&secret(), ticket_id, event_id)
    }

    fn sign_with(secret: &SigningKey, ticket_id: Uuid, event_id: Uuid) -> String {
        let mut bytes = [ticket_id.into_bytes(), event_id.into_bytes()].concat();
        bytes.extend(secret.sign(&bytes).to_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    proptest! {
        #[test]
        fn a_true_code_reads_back(ticket: u128, event: u128) {
            let signed = Signed {
                ticket_id: Uuid::from_u128(ticket),
                event_id: Uuid::from_u128(event),
            };
            let code = sign(signed.ticket_id, signed.event_id);
            prop_assert_eq!(code.len(), LENGTH);
            prop_assert_eq!(key().read(&code), Some(signed));
        }

        #[test]
        fn a_code_with_one_other_character_is_forged(place in 0..LENGTH, other in "[A-Za-z0-9_-]") {
            let code = sign(Uuid::from_u128(1), Uuid::from_u128(2));
            let mut forged = code.clone();
            forged.replace_range(place..=place, &other);
            prop_assume!(forged != code);
            prop_assert_eq!(key().read(&forged), None);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            prop_assert_eq!(key().read(&text), None);
        }
    }

    #[test]
    fn a_code_signed_with_another_key_is_forged() {
        let other = SigningKey::from_bytes(&[8; 32]);
        let code = sign_with(&other, Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(key().read(&code), None);
    }
}
