//! The fields of requests: each can only be made from text that keeps its rule, so a handler never
//! sees one that breaks it. The rules stand in the API's description as patterns, too.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An e-mail address, as far as one can tell without writing to it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let good = text.len() <= 254
            && text.split_once('@').is_some_and(|(local, domain)| {
                (1..=64).contains(&local.len())
                    && local.bytes().all(|byte| {
                        byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte)
                    })
                    && domain.contains('.')
                    && domain.split('.').all(label)
            });
        if good {
            Ok(Self(text))
        } else {
            Err("an e-mail address such as ada@example.org is needed")
        }
    }
}

/// What a person or a company is called.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    pattern = r"^[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
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
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let good = (1..=100).contains(&text.chars().count())
            && !text.starts_with(char::is_whitespace)
            && !text.contains(char::is_control);
        if good {
            Ok(Self(text))
        } else {
            Err(
                "a name has 1 to 100 characters, begins with none that is blank and has no control characters",
            )
        }
    }
}

/// A password. It never shows itself in logs.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(min_length = 8, max_length = 128, example = "correct horse battery")]
pub(crate) struct Password(String);

impl Password {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl TryFrom<String> for Password {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if (8..=128).contains(&text.chars().count()) {
            Ok(Self(text))
        } else {
            Err("a password has 8 to 128 characters")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = |text: &str| Email::try_from(text.to_owned()).is_ok();
        for text in ["ada@example.org", "a+b@c.d", "o'neil@mail.cs.example.edu"] {
            assert!(good(text), "{text:?}");
        }
        let long = format!("a@{}.org", "x".repeat(64));
        for text in [
            "", "ada", "@a.b", "a@b", "a@.b", "a@b.", "a b@c.d", "a@b@c.d", "ä@b.c", "a\0@b.c",
            &long,
        ] {
            assert!(!good(text), "{text:?}");
        }
    }

    #[test]
    fn names() {
        let good = |text: &str| Name::try_from(text.to_owned()).is_ok();
        for text in ["Ada", "Ada Lovelace", "李", "O'Neil"] {
            assert!(good(text), "{text:?}");
        }
        for text in ["", " ", " Ada", "A\0", "A\n", "A\u{85}", &"n".repeat(101)] {
            assert!(!good(text), "{text:?}");
        }
    }

    #[test]
    fn a_password_never_shows_itself() {
        let password = Password::try_from("correct horse".to_owned()).unwrap();
        assert_eq!(format!("{password:?}"), "Password(…)");
        assert!(Password::try_from("short".to_owned()).is_err());
        assert!(Password::try_from("p".repeat(129)).is_err());
    }
}
