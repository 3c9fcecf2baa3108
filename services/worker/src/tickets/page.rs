//! The page of a ticket: one sheet of A6 with its text and its QR code as vectors.

use pdf_writer::types::TextRenderingMode;
use pdf_writer::{Content, Filter, Finish, Pdf, Rect, Ref, Str, TextStr};

use super::fonts::{self, Fonts, Typesetter, deflate};
use super::lines::{self, Glyph};
use super::qr::Symbol;
use super::{Failure, Print};

/// A6 in points.
const WIDTH: f32 = 298.0;
const HEIGHT: f32 = 420.0;
const MARGIN: f32 = 24.0;
/// Side of the QR code with its quiet zone of four modules.
const CODE_SIDE: f32 = 220.0;
const QUIET: f32 = 4.0;
/// The lower end of the QR code with its quiet zone.
const CODE_BOTTOM: f32 = 44.0;
/// Where the first line is measured from, below the top.
const TOP: f32 = 18.0;
/// The baseline of the serial, above the bottom.
const SERIAL: f32 = 24.0;

/// A text on as many lines as it needs, and may have. They are below the text before it.
struct Block<'a> {
    text: &'a str,
    size: f32,
    /// From the baseline before to each of its own.
    leading: f32,
    most_lines: usize,
    is_bold: bool,
}

/// The PDF of a ticket.
///
/// # Errors
/// A font cannot be read.
pub(super) fn draw(print: &Print, symbol: &Symbol, fonts: &Fonts) -> Result<Vec<u8>, Failure> {
    let mut typesetter = fonts.typesetter()?;
    let packed = deflate(&lines_and_code(print, symbol, &mut typesetter))?;
    let mut numbers = (1..).map(Ref::new);
    let mut next = || numbers.next().unwrap_or(Ref::new(i32::MAX));
    let (catalog, pages, page, content, info) = (next(), next(), next(), next(), next());
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.pages(pages).kids([page]).count(1);
    let used = typesetter.embed(&mut pdf, &mut next)?;
    let mut sheet = pdf.page(page);
    sheet
        .media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT))
        .parent(pages)
        .contents(content);
    let mut resources = sheet.resources();
    resources.fonts().pairs(used);
    resources.finish();
    sheet.finish();
    pdf.stream(content, &packed).filter(Filter::FlateDecode);
    // The whole title, in whatever script: a viewer shows it with fonts of its own.
    pdf.document_info(info)
        .title(TextStr(&print.title))
        .producer(TextStr("Boxoffice"));
    Ok(pdf.finish())
}

fn lines_and_code(print: &Print, symbol: &Symbol, typesetter: &mut Typesetter<'_>) -> Vec<u8> {
    let when = print
        .starts_at
        .format("%A, %-d %B %Y, %H:%M UTC")
        .to_string();
    let seat = format!("row {}   seat {}", print.row_name, print.number);
    let amount = money::amount(print.price_minor, &print.currency);
    let price = format!("{} {amount}", print.currency);
    let serial = format!("{}   {price}", print.ticket);
    // With all their lines they end above the code. A section's name has 40 characters, and two lines
    // hold as many W; row and seat stand on a line of their own, where nothing cuts them.
    let blocks = [
        Block::new(&print.title, 15.0, 18.0, 2, true),
        Block::new(&print.venue, 10.0, 14.0, 2, false),
        Block::new(&when, 10.0, 15.0, 1, false),
        Block::new(&print.section, 12.0, 16.0, 2, true),
        Block::new(&seat, 12.0, 15.0, 1, true),
    ];
    let mut content = Content::new();
    let mut baseline = HEIGHT - TOP;
    for block in blocks {
        for line in block.lines(typesetter) {
            baseline -= block.leading;
            block.draw(&mut content, &line, baseline);
        }
    }
    let serial = Block::new(&serial, 7.0, 0.0, 1, false);
    for line in serial.lines(typesetter) {
        serial.draw(&mut content, &line, SERIAL);
    }
    draw_code(&mut content, symbol);
    content.finish().into_vec()
}

impl<'a> Block<'a> {
    fn new(text: &'a str, size: f32, leading: f32, most_lines: usize, is_bold: bool) -> Self {
        Self {
            text,
            size,
            leading,
            most_lines,
            is_bold,
        }
    }

    /// The text in lines that fit between the margins.
    fn lines(&self, typesetter: &mut Typesetter<'_>) -> Vec<Vec<Glyph>> {
        // Events of older versions may have other spellings, or what no event may have now.
        let spelled = text::line(self.text).unwrap_or_else(|_| self.text.to_owned());
        let glyphs = typesetter.set(&spelled);
        let ellipsis = typesetter.set("…");
        let room = (WIDTH - 2.0 * MARGIN) / self.size * fonts::EM;
        lines::wrap(&glyphs, room, self.most_lines, &ellipsis)
    }

    /// Draws one of its lines. Bold is the same font with its outlines drawn as well, which saves
    /// each page a second font.
    fn draw(&self, content: &mut Content, line: &[Glyph], baseline: f32) {
        if self.is_bold {
            content.set_text_rendering_mode(TextRenderingMode::FillStroke);
            content.set_line_width(self.size * 0.035);
        } else {
            content.set_text_rendering_mode(TextRenderingMode::Fill);
        }
        content.begin_text();
        content.next_line(MARGIN, baseline);
        for run in line.chunk_by(|left, right| left.font == right.font) {
            let ids: Vec<u8> = run
                .iter()
                .flat_map(|glyph| glyph.id.to_be_bytes())
                .collect();
            content.set_font(fonts::NAMES[run[0].font], self.size);
            content.show(Str(&ids));
        }
        content.end_text();
    }
}

#[allow(clippy::cast_precision_loss)] // a QR code has at most 177 modules a side
fn draw_code(content: &mut Content, symbol: &Symbol) {
    let module = CODE_SIDE / (symbol.width as f32 + 2.0 * QUIET);
    let left = (WIDTH - CODE_SIDE) / 2.0 + QUIET * module;
    let top = CODE_BOTTOM + CODE_SIDE - QUIET * module;
    content.save_state();
    // In units of modules from the top left corner, so that all numbers below are whole.
    content.transform([module, 0.0, 0.0, -module, left, top]);
    for run in &symbol.runs {
        content.rect(run.column as f32, run.row as f32, run.length as f32, 1.0);
    }
    content.fill_nonzero();
    content.restore_state();
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::sync::LazyLock;

    use chrono::Utc;
    use uuid::Uuid;

    use super::*;

    static FONTS: LazyLock<Fonts> = LazyLock::new(|| Fonts::read().unwrap());

    fn print(title: &str) -> Print {
        Print {
            ticket: Uuid::now_v7(),
            event: Uuid::now_v7(),
            title: title.to_owned(),
            venue: "Große Halle (links)".to_owned(),
            starts_at: Utc::now(),
            section: "Stalls".to_owned(),
            row_name: "12".to_owned(),
            number: 7,
            price_minor: 4505,
            currency: "EUR".to_owned(),
        }
    }

    fn pdf(print: &Print) -> Vec<u8> {
        draw(print, &Symbol::of(&"x".repeat(128)).unwrap(), &FONTS).unwrap()
    }

    /// What poppler, which shares nothing with this code, reads in a PDF.
    fn read(pdf: &[u8], options: &[&str]) -> String {
        let mut reader = Command::new("pdftotext")
            .args(["-enc", "UTF-8"])
            .args(options)
            .args(["-", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        reader.stdin.take().unwrap().write_all(pdf).unwrap();
        let read = reader.wait_with_output().unwrap();
        let complaints = String::from_utf8(read.stderr).unwrap();
        assert!(
            read.status.success() && complaints.is_empty(),
            "{complaints}"
        );
        String::from_utf8(read.stdout).unwrap()
    }

    #[test]
    fn a_ticket_is_a_whole_pdf_with_its_seat_and_price() {
        let print = print("Gala");
        let pdf = pdf(&print);
        assert!(pdf.starts_with(b"%PDF-1.") && pdf.trim_ascii_end().ends_with(b"%%EOF"));
        let text = read(&pdf, &["-layout"]);
        let serial = print.ticket.to_string();
        for printed in [
            "Gala",
            "Große Halle (links)",
            "Stalls",
            &serial,
            "EUR 45.05",
        ] {
            assert!(text.contains(printed), "{printed}: {text}");
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let seat = words.windows(4).any(|w| w == ["row", "12", "seat", "7"]);
        assert!(seat, "{text}");
        assert!(pdf.len() < 32_000, "{}", pdf.len());
    }

    #[test]
    fn many_scripts_are_printed_as_they_are_written() {
        let mut print = print("Łódź 東京 Привет");
        print.venue = "Ελλάδα 서울 Ñandú Հայաստան თბილისი".to_owned();
        print.section = "Ổ Cafe\u{301} ひらがな カタカナ €".to_owned();
        let text = read(&pdf(&print), &[]);
        let printed = [
            print.title.as_str(),
            &print.venue,
            "Ổ Café ひらがな カタカナ €",
        ]
        .join(" ");
        for word in printed.split(' ') {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!text.contains('?'), "{text}");
    }

    #[test]
    fn what_is_not_printed_shows_its_code_point() {
        let mut print = print("שלום 🎤");
        print.venue = "a\u{7}\u{202e}b\u{200b}c".to_owned();
        let text = read(&pdf(&print), &[]);
        for printed in ["[U+05E9]", "[U+1F3A4]", "a[U+0007]bc"] {
            assert!(text.contains(printed), "{printed}: {text}");
        }
        assert!(!text.contains('?'), "{text}");
    }

    #[test]
    fn long_text_stays_inside_the_page_and_off_the_code() {
        let wide = "W".repeat(120);
        let mut print = print(&wide);
        print.venue.clone_from(&wide);
        print.section = "W".repeat(40);
        let boxes = read(&pdf(&print), &["-bbox"]);
        let mut words = 0;
        for word in boxes.lines().filter(|line| line.contains("<word ")) {
            words += 1;
            let at = |name: &str| -> f32 {
                let after = word.split(&format!("{name}=\"")).nth(1).unwrap();
                after.split('"').next().unwrap().parse().unwrap()
            };
            assert!(at("xMin") >= MARGIN - 1.0, "{word}");
            assert!(at("xMax") <= WIDTH - MARGIN + 1.0, "{word}");
            let code = HEIGHT - CODE_BOTTOM - CODE_SIDE..=HEIGHT - CODE_BOTTOM;
            let baseline = at("yMin") + 0.7 * (at("yMax") - at("yMin"));
            assert!(!code.contains(&baseline), "{word}");
            assert!(at("yMin") >= 0.0 && at("yMax") <= HEIGHT, "{word}");
        }
        assert!(words > 10, "{boxes}");
        assert_eq!(boxes.matches('…').count(), 2, "title and venue: {boxes}");
        let text = read(&pdf(&print), &[]);
        assert!(text.contains("row 12") && text.contains("EUR 45.05"));
        let is_full = |line: &&str| !line.is_empty() && line.chars().all(|c| c == 'W');
        let letters: usize = text.lines().filter(is_full).map(str::len).sum();
        // The first lines of title and venue, and all of the section.
        assert_eq!(letters, 16 + 25 + 40, "{text}");
    }

    #[test]
    fn a_price_has_as_many_places_as_its_currency() {
        for (currency, price) in [("JPY", "JPY 4505"), ("KWD", "KWD 4.505")] {
            let mut print = print("Gala");
            print.currency = currency.to_owned();
            let text = read(&pdf(&print), &[]);
            assert!(text.contains(price), "{price}: {text}");
        }
    }
}
