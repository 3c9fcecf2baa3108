//! Currencies, and amounts as they are written.
//!
//! Amounts are whole numbers of minor units everywhere. How many minor units make one unit differs:
//! the yen has none, the Kuwaiti dinar has a thousand. ISO 4217 says so, in one table (the crate
//! `iso_currency`); whatever checks a code or writes an amount uses it through here.

use iso_currency::Currency;
use problem::Problem;

/// Checks that `code` is a currency that tickets can be sold in: one of ISO 4217 that is in use. Not
/// among them are metals, funds and codes for tests, and currencies that another has replaced.
///
/// # Errors
/// 422 that names `field`.
pub fn check(field: &'static str, code: &str) -> Result<(), Problem> {
    let in_use = |currency: Currency| {
        currency.exponent().is_some()
            && !currency.is_special()
            && !currency.is_fund()
            && currency.is_superseded().is_none()
    };
    if Currency::from_code(code).is_some_and(in_use) {
        Ok(())
    } else {
        Err(Problem::invalid(
            field,
            "a currency is the ISO 4217 code of one that is in use, such as EUR",
        ))
    }
}

/// An amount in units of its currency, without the code: `45.50` for 4550 cents. Where the code is
/// unknown the minor units are written as they are.
#[must_use]
pub fn amount(minor: i64, code: &str) -> String {
    let exponent = Currency::from_code(code).and_then(Currency::exponent);
    let places = exponent.map_or(0, usize::from);
    let sign = if minor < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", minor.unsigned_abs(), width = places + 1);
    match digits.split_at(digits.len() - places) {
        (units, "") => format!("{sign}{units}"),
        (units, part) => format!("{sign}{units}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_as_many_places_as_their_currency() {
        for (minor, code, written) in [
            (4550, "EUR", "45.50"),
            (5, "EUR", "0.05"),
            (0, "EUR", "0.00"),
            (-4550, "EUR", "-45.50"),
            (-5, "EUR", "-0.05"),
            (4550, "JPY", "4550"),
            (4550, "XAF", "4550"),
            (4550, "KWD", "4.550"),
            (1, "KWD", "0.001"),
            (45_500, "CLF", "4.5500"),
            (i64::MIN, "JPY", "-9223372036854775808"),
        ] {
            assert_eq!(amount(minor, code), written, "{minor} {code}");
        }
    }

    #[test]
    fn an_amount_of_an_unknown_currency_is_not_divided() {
        assert_eq!(amount(4550, "ZZZ"), "4550");
    }

    #[test]
    fn currencies_in_use_are_known_by_their_code() {
        for code in ["EUR", "USD", "JPY", "KWD", "XAF", "CHF"] {
            assert!(check("currency", code).is_ok(), "{code}");
        }
        for code in [
            "", "eur", "EU", "EURO", "ZZZ", "XXX", "XTS", "XAU", "CLF", "HRK", "EU\u{0}", "€",
        ] {
            let problem = check("currency", code).unwrap_err();
            assert_eq!(problem.status().as_u16(), 422, "{code:?}");
            assert_eq!(problem.body().field.as_deref(), Some("currency"));
        }
    }
}
