//! The fields of requests: each can only be made from text that keeps its rule, so a handler never
//! sees one that breaks it. The rules stand in the API's description as patterns, too.

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The address of a new account, as far as one can tell without writing to it: a local part of atoms
/// with single dots between them, and a domain of labels that neither begin nor end with a hyphen, the
/// last of which begins with a letter, as every top-level domain does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    pattern = r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
    max_length = 254,
    example = "ada@example.org"
)]
pub(crate) struct NewEmail(String);

impl NewEmail {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NewEmail {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_of_local_part);
        let has_no_hyphen_outside = |label: &str| !label.starts_with('-') && !label.ends_with('-');
        let begins_with_letter = |label: &str| label.starts_with(|c: char| c.is_ascii_alphabetic());
        let good = is_address(&text)
            && text.split_once('@').is_some_and(|(local, domain)| {
                local.split('.').all(is_atom)
                    && domain.split('.').all(has_no_hyphen_outside)
                    && domain.rsplit('.').next().is_some_and(begins_with_letter)
            });
        if good {
            Ok(Self(text))
        } else {
            Err(ADDRESS_NEEDED)
        }
    }
}

/// The address that an account is signed in to with. Accounts are older than the rule of [`NewEmail`],
/// so this takes whatever one could be made with.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    pattern = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$",
    max_length = 254,
    example = "ada@example.org"
)]
pub(crate) struct Email(String);

impl Email {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_address(&text) {
            Ok(Self(text))
        } else {
            Err(ADDRESS_NEEDED)
        }
    }
}

const ADDRESS_NEEDED: &str = "an e-mail address such as ada@example.org is needed";

fn is_address(text: &str) -> bool {
    text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len())
                && local
                    .bytes()
                    .all(|byte| byte == b'.' || is_of_local_part(byte))
                && domain.contains('.')
                && domain.split('.').all(is_label)
        })
}

fn is_of_local_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What a person or a company is called: one line of text that shows something.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
    min_length = 1,
    max_length = 100,
    example = "Ada"
)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        let line = text::line(&raw).map_err(|refused| refused.to_string())?;
        if line.chars().count() <= 100 {
            Ok(Self(line))
        } else {
            Err("a name has 100 characters at most".to_owned())
        }
    }
}

/// The password of a new account, in NFC. A keyboard sends `é` as one code point or as two, and its
/// owner does not see which: both are the same password (RFC 8265, OpaqueString). It never shows
/// itself in logs.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(min_length = 8, max_length = 128, example = "correct horse battery")]
pub(crate) struct NewPassword(String);

impl NewPassword {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

impl TryFrom<String> for NewPassword {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        let nfc = nfc(&raw);
        if is_long_enough(&nfc) {
            Ok(Self(nfc))
        } else {
            Err(PASSWORD_NEEDED)
        }
    }
}

/// A password as it was typed. It never shows itself in logs.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(min_length = 8, max_length = 128, example = "correct horse battery")]
pub(crate) struct Password(String);

impl Password {
    /// What may have been hashed, each once: NFC, which new accounts have. Hashes that are older than
    /// that rule are of what the keyboard sent, which is what it sends now, or NFD.
    pub(crate) fn spellings(&self) -> Vec<String> {
        let nfd = DecomposingNormalizerBorrowed::new_nfd().normalize(&self.0);
        let mut spellings = vec![nfc(&self.0)];
        for older in [nfd.as_ref(), self.0.as_str()] {
            if spellings.iter().all(|spelling| spelling != older) {
                spellings.push(older.to_owned());
            }
        }
        spellings
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl From<NewPassword> for Password {
    fn from(new: NewPassword) -> Self {
        Self(new.0)
    }
}

impl TryFrom<String> for Password {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        // The length was once that of what the keyboard sent.
        if is_long_enough(&raw) || is_long_enough(&nfc(&raw)) {
            Ok(Self(raw))
        } else {
            Err(PASSWORD_NEEDED)
        }
    }
}

const PASSWORD_NEEDED: &str = "a password has 8 to 128 characters";

fn is_long_enough(text: &str) -> bool {
    (8..=128).contains(&text.chars().count())
}

fn nfc(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc()
        .normalize(text)
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let is_new = |text: &str| NewEmail::try_from(text.to_owned()).is_ok();
        let is_known = |text: &str| Email::try_from(text.to_owned()).is_ok();
        for text in [
            "ada@example.org",
            "a+b@c.d",
            "a.b.c@d.e",
            "o'neil@mail.cs.example.edu",
            "a@1.b2",
            "a@x--y.xn--p1ai",
        ] {
            assert!(is_new(text) && is_known(text), "{text:?}");
        }
        // An account of an earlier time may have such a one.
        for text in [
            "a..b@c.d", ".a@b.c", "a.@b.c", "a@-x.org", "a@x-.org", "a@x.-y", "a@1.2", "a@b.1c",
        ] {
            assert!(!is_new(text) && is_known(text), "{text:?}");
        }
        let long = format!("a@{}.org", "x".repeat(64));
        for text in [
            "", "ada", "@a.b", "a@b", "a@-x", "a@.b", "a@b.", "a b@c.d", "a@b@c.d", "ä@b.c",
            "a\0@b.c", &long,
        ] {
            assert!(!is_new(text) && !is_known(text), "{text:?}");
        }
    }

    #[test]
    fn names() {
        let name = |raw: &str| Name::try_from(raw.to_owned()).map(|name| name.0);
        for raw in ["Ada", "Ada Lovelace", "李", "O'Neil", "Zoë"] {
            assert_eq!(name(raw).as_deref(), Ok(raw));
        }
        assert_eq!(name(" Ada ").as_deref(), Ok("Ada"));
        assert_eq!(name("Zoe\u{308}").as_deref(), Ok("Zo\u{eb}"));
        for raw in [
            "",
            " ",
            "A\0",
            "A\n",
            "A\u{85}",
            "Ada\u{202e}",
            "\u{200b}\u{2060}",
            &"n".repeat(101),
        ] {
            assert!(name(raw).is_err(), "{raw:?}");
        }
    }

    /// The same word, composed and decomposed.
    const COMPOSED: &str = "caf\u{e9} caf\u{e9}";
    const DECOMPOSED: &str = "cafe\u{301} cafe\u{301}";

    #[test]
    fn a_password_is_the_same_however_its_letters_are_composed() {
        let new = |text: &str| NewPassword::try_from(text.to_owned()).unwrap().0;
        assert_eq!(new(DECOMPOSED), new(COMPOSED));
        let typed = |text: &str| Password::try_from(text.to_owned()).unwrap().spellings();
        assert_eq!(typed(COMPOSED), [COMPOSED, DECOMPOSED]);
        assert_eq!(typed(DECOMPOSED), [COMPOSED, DECOMPOSED]);
        assert_eq!(typed("correct horse"), ["correct horse"]);
        // Neither the one nor the other, as some keyboards send it.
        let mixed = "caf\u{e9} cafe\u{301}";
        assert_eq!(typed(mixed), [COMPOSED, DECOMPOSED, mixed]);
    }

    #[test]
    fn a_new_password_is_as_long_as_its_letters_composed() {
        // Seven letters, whatever the keyboard makes of them.
        for short in ["caf\u{e9}caf", "cafe\u{301}caf"] {
            assert!(NewPassword::try_from(short.to_owned()).is_err());
        }
        // What was long enough for an earlier account still signs in to it.
        assert!(Password::try_from("cafe\u{301}caf".to_owned()).is_ok());
        assert!(Password::try_from("short".to_owned()).is_err());
        for count in [128, 129] {
            let long = NewPassword::try_from("e\u{301}".repeat(count));
            assert_eq!(long.is_ok(), count == 128);
        }
        // Each way to type a good one is taken.
        assert!(Password::try_from("e\u{301}".repeat(128)).is_ok());
        assert!(Password::try_from("p".repeat(129)).is_err());
    }

    #[test]
    fn a_password_never_shows_itself() {
        let text = "correct horse".to_owned();
        let password = Password::try_from(text.clone()).unwrap();
        assert_eq!(format!("{password:?}"), "Password(…)");
        let password = NewPassword::try_from(text).unwrap();
        assert_eq!(format!("{password:?}"), "NewPassword(…)");
    }
}
