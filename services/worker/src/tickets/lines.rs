//! Lines of glyphs: where a text is broken and where it is cut, by the widths of its glyphs.

/// A character as it is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Glyph {
    /// Which of the page's fonts it is from.
    pub(super) font: usize,
    /// Its number in the part of that font that the page carries.
    pub(super) id: u16,
    /// How far it leads, in thousandths of the font's size.
    pub(super) width: f32,
    /// Whether a line may end in its place.
    pub(super) is_space: bool,
}

/// The lines of a text of which none is wider than `room`, in thousandths of the font's size; `most`
/// of them, and the last one ends in `ellipsis` where the text goes on.
///
/// A line ends at a space where there is one, else anywhere, as Chinese and Japanese do.
pub(super) fn wrap(
    glyphs: &[Glyph],
    room: f32,
    most: usize,
    ellipsis: &[Glyph],
) -> Vec<Vec<Glyph>> {
    let mut lines = Vec::new();
    let mut rest = trimmed(glyphs);
    while !rest.is_empty() && lines.len() < most {
        let fits = fitting(rest, room);
        let Some(first_beyond) = rest.get(fits) else {
            lines.push(rest.to_vec());
            break;
        };
        if lines.len() + 1 == most {
            let cut = &rest[..fitting(rest, room - width(ellipsis))];
            lines.push([trimmed(cut), ellipsis].concat());
            break;
        }
        let end = if first_beyond.is_space {
            fits
        } else {
            let space = rest[..fits].iter().rposition(|glyph| glyph.is_space);
            space.unwrap_or(fits)
        };
        let (line, after) = rest.split_at(end);
        lines.push(trimmed(line).to_vec());
        rest = trimmed(after);
    }
    lines
}

/// How many glyphs from the first on are no wider than `room`, and one at least. A combining mark has
/// no width, and so stays with its letter.
fn fitting(glyphs: &[Glyph], room: f32) -> usize {
    let mut end = 0.0;
    let fits = glyphs.iter().take_while(|glyph| {
        end += glyph.width;
        end <= room
    });
    fits.count().max(1)
}

fn width(glyphs: &[Glyph]) -> f32 {
    glyphs.iter().map(|glyph| glyph.width).sum()
}

/// Without spaces at the ends.
fn trimmed(glyphs: &[Glyph]) -> &[Glyph] {
    let is_letter = |glyph: &Glyph| !glyph.is_space;
    match glyphs.iter().position(is_letter) {
        Some(first) => {
            let last = glyphs.iter().rposition(is_letter).unwrap_or(first);
            &glyphs[first..=last]
        }
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each letter as wide as the font is high, a mark (`'`) without width.
    fn set(text: &str) -> Vec<Glyph> {
        let glyph = |character: char| Glyph {
            font: 0,
            id: u16::try_from(u32::from(character)).unwrap(),
            width: if character == '\'' { 0.0 } else { 1000.0 },
            is_space: character == ' ',
        };
        text.chars().map(glyph).collect()
    }

    fn wrapped(text: &str, letters: f32, most: usize) -> Vec<String> {
        let lines = wrap(&set(text), letters * 1000.0, most, &set("…"));
        let read = |line: &Vec<Glyph>| {
            let characters = line.iter().map(|glyph| u32::from(glyph.id));
            characters.filter_map(char::from_u32).collect()
        };
        lines.iter().map(read).collect()
    }

    #[test]
    fn lines_end_at_spaces_and_else_where_they_are_full() {
        assert_eq!(wrapped("", 5.0, 2), Vec::<String>::new());
        assert_eq!(wrapped(" ab ", 5.0, 2), ["ab"]);
        assert_eq!(wrapped("ab cd ef", 5.0, 2), ["ab cd", "ef"]);
        assert_eq!(wrapped("ab cd ef", 6.0, 2), ["ab cd", "ef"]);
        assert_eq!(wrapped("ab cd ef", 4.0, 3), ["ab", "cd", "ef"]);
        assert_eq!(wrapped("東京都千代田区", 4.0, 2), ["東京都千", "代田区"]);
        assert_eq!(wrapped("abc'd", 3.0, 2), ["abc'", "d"]);
    }

    #[test]
    fn what_has_no_room_ends_in_an_ellipsis() {
        assert_eq!(wrapped("abcdef", 4.0, 1), ["abc…"]);
        assert_eq!(wrapped("abc def", 5.0, 1), ["abc…"]);
        assert_eq!(wrapped("ab cd ef ghi", 5.0, 2), ["ab cd", "ef g…"]);
        assert_eq!(wrapped(&"W".repeat(60), 16.0, 2)[1].chars().count(), 16);
    }
}
