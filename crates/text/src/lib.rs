//! One line of text that people read: a title, a name, a section, a city.
//!
//! Unicode has several spellings for what looks the same on a page, and characters that show nothing
//! or turn around what stands beside them. [`line()`] gives the one spelling in which a line is
//! stored, or says why it is refused. [`key()`] gives the form by which two lines are compared.
//!
//! Both rest on tables that the Unicode Consortium keeps stable: a character that has been assigned
//! never normalises or folds differently later, so keys may be stored.
//!
//! What this promises: a stored line is in [NFC](https://www.unicode.org/reports/tr15/), has no
//! space at its ends, shows something, and cannot change the direction of the text around it. Two
//! lines that differ in spelling, case, width, spacing or invisible characters have one key. What it
//! leaves to others: how long a line may be, and letters of different scripts that look alike.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::props::{
    DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, NoncharacterCodePoint,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Most combining marks in a row. No living script needs as many; without a limit they pile up over
/// the lines above and below.
pub const MOST_MARKS: usize = 8;

/// Why a line is refused: a sentence for the detail of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A control character, a line break, or a code point that never is a character.
    #[error("control characters and line breaks are not allowed")]
    Control,
    /// An embedding, override or isolate of the bidirectional algorithm.
    #[error("characters that change the direction of the text are not allowed")]
    Direction,
    /// Nothing that shows on a page.
    #[error("this needs at least one visible character")]
    Invisible,
    /// More combining marks in a row than [`MOST_MARKS`].
    #[error("at most {most} combining marks may follow one another", most = MOST_MARKS)]
    Marks,
}

/// The line as it is stored: in NFC, without white space at its ends.
///
/// # Errors
/// It has control characters, changes the direction of text, shows nothing, or piles up marks.
pub fn line(raw: &str) -> Result<String, Refused> {
    // Before the ends are trimmed: a line break is white space.
    if raw.chars().any(is_control) {
        return Err(Refused::Control);
    }
    if raw.chars().any(changes_direction) {
        return Err(Refused::Direction);
    }
    let line = ComposingNormalizerBorrowed::new_nfc().normalize(raw.trim());
    if !line.chars().any(is_visible) {
        return Err(Refused::Invisible);
    }
    let mut marks = 0;
    for character in line.chars() {
        if GeneralCategoryGroup::Mark.contains(category(character)) {
            marks += 1;
        } else {
            marks = 0;
        }
        if marks > MOST_MARKS {
            return Err(Refused::Marks);
        }
    }
    Ok(line.into_owned())
}

/// The form by which two lines are compared: without invisible characters, case-folded, in NFKC,
/// each white space inside as one space. Two lines with one key are the same to a reader.
///
/// It is a line's own key: `key(&key(line)) == key(line)`.
#[must_use]
pub fn key(line: &str) -> String {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let visible: String = line.chars().filter(|&c| !is_ignorable(c)).collect();
    // Folding may undo a normal form and the other way round. In this order, which is Unicode's for
    // compatibility caseless matching (The Unicode Standard, 3.13.5), a second round changes nothing.
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(&visible);
    let folded = CaseMapper::new().fold_string(&decomposed);
    let composed = nfkc.normalize(&folded);
    let folded = CaseMapper::new().fold_string(&composed);
    let composed = nfkc.normalize(&folded);
    composed.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a character shows nothing by itself and changes at most how others are drawn: zero-width
/// spaces and joiners, variation selectors, soft hyphens and their like.
#[must_use]
pub fn is_ignorable(character: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

fn category(character: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(character)
}

fn is_control(character: char) -> bool {
    let breaks_lines = [
        GeneralCategory::Control,
        GeneralCategory::LineSeparator,
        GeneralCategory::ParagraphSeparator,
    ];
    breaks_lines.contains(&category(character))
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(character)
}

/// Marks of direction (U+200E, U+200F, U+061C) are no such: they reach their neighbours only, and
/// text of two directions needs them.
fn changes_direction(character: char) -> bool {
    matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A mark shows only on what carries it.
fn is_visible(character: char) -> bool {
    let category = category(character);
    let shows = [
        GeneralCategoryGroup::Letter,
        GeneralCategoryGroup::Number,
        GeneralCategoryGroup::Punctuation,
        GeneralCategoryGroup::Symbol,
    ];
    shows.iter().any(|group| group.contains(category))
        && !is_ignorable(character)
        // A symbol by its category, and blank: the braille pattern without dots.
        && character != '\u{2800}'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_stored_in_one_spelling() {
        assert_eq!(line("Cafe\u{301}"), Ok("Café".to_owned()));
        assert_eq!(line("\u{a0} S \u{3000}"), Ok("S".to_owned()));
        assert_eq!(line("Łódź 東京 Привет"), Ok("Łódź 東京 Привет".to_owned()));
        // Text of right-to-left scripts may carry its marks, and emoji their joiners.
        for kept in ["שלום\u{200f}!", "👩\u{200d}🎤", "❤\u{fe0f}", "ไม่มีที่ว่าง"]
        {
            assert!(line(kept).is_ok(), "{kept:?}");
        }
    }

    #[test]
    fn what_nobody_can_read_is_refused() {
        let marks = |count| format!("a{}", "\u{323}".repeat(count));
        let cases = [
            ("a\nb", Refused::Control),
            ("a\n", Refused::Control),
            ("a\tb", Refused::Control),
            ("a\u{0}", Refused::Control),
            ("a\u{85}b", Refused::Control),
            ("a\u{2028}b", Refused::Control),
            ("a\u{ffff}", Refused::Control),
            ("a\u{fdd0}", Refused::Control),
            ("a\u{202e}b", Refused::Direction),
            ("\u{2066}a\u{2069}", Refused::Direction),
            ("", Refused::Invisible),
            (" \u{a0}\u{3000}", Refused::Invisible),
            ("\u{200b}\u{2060}\u{feff}", Refused::Invisible),
            ("\u{301}", Refused::Invisible),
            ("\u{3164}", Refused::Invisible),
            ("\u{2800}", Refused::Invisible),
        ];
        for (raw, why) in cases {
            assert_eq!(line(raw), Err(why), "{raw:?}");
        }
        // One of them is composed with its letter.
        assert!(line(&marks(MOST_MARKS + 1)).is_ok());
        assert_eq!(line(&marks(MOST_MARKS + 2)), Err(Refused::Marks));
    }

    #[test]
    fn two_that_look_the_same_have_one_key() {
        let same = [
            ("S", "S "),
            ("S", "s"),
            ("S", "S\u{200b}"),
            ("Café", "CAFE\u{301}"),
            ("Zürich", "ZU\u{308}RICH"),
            ("Weißenburg", "WEISSENBURG"),
            ("São  Paulo", "são\u{a0}paulo"),
            ("Section 1", "Ｓｅｃｔｉｏｎ　１"),
            ("ΟΔΟΣ", "οδος"),
        ];
        for (one, other) in same {
            assert_eq!(key(one), key(other), "{one:?} and {other:?}");
        }
        for (one, other) in [("S", "T"), ("Porto", "Porto Alegre"), ("Zürich", "Zurich")] {
            assert_ne!(key(one), key(other), "{one:?} and {other:?}");
        }
        // What was a key before this crate made them still is one.
        assert_eq!(key("São Paulo"), "são paulo");
    }

    proptest! {
        #[test]
        fn a_stored_line_is_stored_as_it_is(raw in any::<String>()) {
            if let Ok(stored) = line(&raw) {
                prop_assert_eq!(line(&stored), Ok(stored.clone()));
                prop_assert_eq!(key(&stored), key(&raw));
            }
        }

        #[test]
        fn a_key_is_its_own_key(raw in any::<String>()) {
            let key = super::key(&raw);
            prop_assert_eq!(super::key(&key), key);
        }

        #[test]
        fn spelling_does_not_tell_lines_apart(raw in "[a-zäöüßłźéñǆαωйё한京 ]{1,40}") {
            let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&raw);
            let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(&raw);
            prop_assert_eq!(key(&composed), key(&decomposed));
            prop_assert_eq!(key(&raw), key(&raw.to_uppercase()));
            prop_assert_eq!(line(&composed), line(&decomposed));
        }
    }
}
