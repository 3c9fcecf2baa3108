//! The code on a ticket: who it lets in where, signed, so that a forged one is known without
//! looking anything up.
//!
//! It is the base64url text, without padding, of ticket id (16 bytes), event id (16 bytes) and the
//! Ed25519 signature of those 32 bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer;
pub use ed25519_dalek::SigningKey;
use uuid::Uuid;

/// Reads the signing key from its seed, 32 bytes as hexadecimal digits.
///
/// # Errors
/// Other text.
pub fn key_from_hex(seed: &str) -> anyhow::Result<SigningKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(seed, &mut bytes)
        .map_err(|error| anyhow::anyhow!("the ticket signing key is not 64 hex digits: {error}"))?;
    Ok(SigningKey::from_bytes(&bytes))
}

/// The code of a ticket.
#[must_use]
pub fn sign(ticket: Uuid, event: Uuid, key: &SigningKey) -> String {
    let mut bytes = [0; 96];
    bytes[..16].copy_from_slice(ticket.as_bytes());
    bytes[16..32].copy_from_slice(event.as_bytes());
    let signature = key.sign(&bytes[..32]);
    bytes[32..].copy_from_slice(&signature.to_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Verifier};

    use super::*;

    #[test]
    fn a_code_names_its_ticket_and_event_and_its_signature_holds() {
        let key = key_from_hex(&"07".repeat(32)).unwrap();
        let (ticket, event) = (Uuid::now_v7(), Uuid::now_v7());
        let code = sign(ticket, event, &key);
        assert_eq!(code.len(), 128);
        let bytes = URL_SAFE_NO_PAD.decode(code).unwrap();
        assert_eq!(Uuid::from_slice(&bytes[..16]).unwrap(), ticket);
        assert_eq!(Uuid::from_slice(&bytes[16..32]).unwrap(), event);
        let signature = Signature::from_slice(&bytes[32..]).unwrap();
        assert!(key.verifying_key().verify(&bytes[..32], &signature).is_ok());
        assert!(
            key.verifying_key()
                .verify(&bytes[1..33], &signature)
                .is_err()
        );
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        assert!(key_from_hex("0707").is_err());
        assert!(key_from_hex(&"zz".repeat(32)).is_err());
    }
}
