//! Rules for text that clients send.
//!
//! Control characters are refused, which keeps the zero byte, the one character that Postgres does
//! not store, away from it.

use problem::Problem;

/// Checks that `text` has 1 to `most` characters, none of them a control character.
///
/// # Errors
/// 422 that names `field`.
pub fn plain(field: impl Into<String>, text: &str, most: usize) -> Result<(), Problem> {
    if text.is_empty() || text.chars().count() > most {
        return Err(Problem::invalid(
            field,
            format!("this has 1 to {most} characters"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid(
            field,
            "control characters are not allowed",
        ));
    }
    Ok(())
}

/// Checks that people can read `raw` as one line (crate `text`) of at most `most` characters.
///
/// # Errors
/// 422 that names `field`.
pub fn line(field: impl Into<String>, raw: &str, most: usize) -> Result<(), Problem> {
    match ::text::line(raw) {
        Ok(line) if line.chars().count() <= most => Ok(()),
        Ok(_) => Err(Problem::invalid(
            field,
            format!("this has 1 to {most} characters"),
        )),
        Err(refused) => Err(Problem::invalid(field, refused.to_string())),
    }
}

/// Checks that `text` is a sandbox number: 16 digits.
///
/// # Errors
/// 422 that names `field`.
pub fn sandbox_number(field: &'static str, text: &str) -> Result<(), Problem> {
    if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err(Problem::invalid(field, "a sandbox number has 16 digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_length_and_no_control_characters() {
        for good in ["A", "Parkett links", "é", &"x".repeat(40)] {
            assert!(plain("section", good, 40).is_ok(), "{good:?}");
        }
        for bad in ["", "a\u{0}", "\n", "\u{7f}", &"x".repeat(41)] {
            assert!(plain("section", bad, 40).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_sandbox_number_has_sixteen_ascii_digits() {
        assert!(sandbox_number("card", "4242424242424242").is_ok());
        for bad in [
            "",
            "424242424242424",
            "42424242424242424",
            "4242 4242 4242 42",
            "４２４２",
        ] {
            let problem = sandbox_number("card", bad).unwrap_err();
            assert_eq!(problem.body().field.as_deref(), Some("card"), "{bad:?}");
        }
    }
}
