//! The page of a ticket: one sheet of A6 with its text and its QR code as vectors.

use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use super::Print;
use super::qr::Symbol;

/// A6 in points.
const WIDTH: f32 = 298.0;
const HEIGHT: f32 = 420.0;
const MARGIN: f32 = 24.0;
/// Side of the QR code with its quiet zone of four modules.
const CODE_SIDE: f32 = 220.0;
const QUIET: f32 = 4.0;

const REGULAR: Name = Name(b"F1");
const BOLD: Name = Name(b"F2");

/// The PDF of a ticket.
pub(super) fn draw(print: &Print, symbol: &Symbol) -> Vec<u8> {
    let mut numbers = (1..).map(Ref::new);
    let mut next = || numbers.next().unwrap_or(Ref::new(i32::MAX));
    let (catalog, pages, page, regular, bold, content, info) =
        (next(), next(), next(), next(), next(), next(), next());
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.pages(pages).kids([page]).count(1);
    let mut sheet = pdf.page(page);
    sheet
        .media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT))
        .parent(pages)
        .contents(content);
    sheet
        .resources()
        .fonts()
        .pair(REGULAR, regular)
        .pair(BOLD, bold);
    sheet.finish();
    for (font, name) in [
        (regular, Name(b"Helvetica")),
        (bold, Name(b"Helvetica-Bold")),
    ] {
        let mut font = pdf.type1_font(font);
        font.base_font(name)
            .encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    pdf.stream(content, &lines_and_code(print, symbol));
    pdf.document_info(info)
        .title(TextStr(&print.title))
        .producer(TextStr("Boxoffice"));
    pdf.finish()
}

fn lines_and_code(print: &Print, symbol: &Symbol) -> Vec<u8> {
    let when = print
        .starts_at
        .format("%A, %-d %B %Y, %H:%M UTC")
        .to_string();
    let seat = format!(
        "{}   row {}   seat {}",
        print.section, print.row_name, print.number
    );
    let price = format!(
        "{} {}.{:02}",
        print.currency,
        print.price_minor / 100,
        print.price_minor % 100
    );
    let serial = format!("{}   {price}", print.ticket);
    let mut content = Content::new();
    let mut line = |font: Name, size: f32, from_top: f32, text: &str| {
        content.begin_text();
        content.set_font(font, size);
        content.next_line(MARGIN, HEIGHT - from_top);
        // Helvetica is about half as wide as it is high.
        let fits = (WIDTH - 2.0 * MARGIN) / (size * 0.55);
        content.show(Str(&win_ansi(text, fits)));
        content.end_text();
    };
    line(BOLD, 15.0, 40.0, &print.title);
    line(REGULAR, 10.0, 58.0, &print.venue);
    line(REGULAR, 10.0, 73.0, &when);
    line(BOLD, 12.0, 98.0, &seat);
    line(REGULAR, 7.0, HEIGHT - 24.0, &serial);
    draw_code(&mut content, symbol);
    content.finish().to_vec()
}

#[allow(clippy::cast_precision_loss)] // a QR code has at most 177 modules a side
fn draw_code(content: &mut Content, symbol: &Symbol) {
    let module = CODE_SIDE / (symbol.width as f32 + 2.0 * QUIET);
    let left = (WIDTH - CODE_SIDE) / 2.0 + QUIET * module;
    let top = 44.0 + CODE_SIDE - QUIET * module;
    content.save_state();
    // In units of modules from the top left corner, so that all numbers below are whole.
    content.transform([module, 0.0, 0.0, -module, left, top]);
    for run in &symbol.runs {
        content.rect(run.column as f32, run.row as f32, run.length as f32, 1.0);
    }
    content.fill_nonzero();
    content.restore_state();
}

/// Text in the encoding of the page's fonts, cut to what fits on a line. What the encoding does
/// not have becomes a question mark.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and positive
fn win_ansi(text: &str, fits: f32) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.chars().map(win_ansi_byte).collect();
    let fits = fits as usize;
    if bytes.len() > fits {
        bytes.truncate(fits.saturating_sub(1));
        bytes.push(0x85);
    }
    bytes
}

fn win_ansi_byte(character: char) -> u8 {
    match character {
        ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(character)).unwrap_or(b'?'),
        '€' => 0x80,
        '…' => 0x85,
        'Š' => 0x8a,
        'Œ' => 0x8c,
        'Ž' => 0x8e,
        '‘' => 0x91,
        '’' => 0x92,
        '“' => 0x93,
        '”' => 0x94,
        '•' => 0x95,
        '–' => 0x96,
        '—' => 0x97,
        'š' => 0x9a,
        'œ' => 0x9c,
        'ž' => 0x9e,
        'Ÿ' => 0x9f,
        _ => b'?',
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use uuid::Uuid;

    use super::*;

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

    #[test]
    fn a_ticket_is_a_whole_pdf_with_its_seat_and_price() {
        let pdf = draw(&print("Gala"), &Symbol::of(&"x".repeat(128)).unwrap());
        let text = String::from_utf8_lossy(&pdf);
        assert!(text.starts_with("%PDF-1.") && text.trim_end().ends_with("%%EOF"));
        assert!(text.contains("row 12") && text.contains("EUR 45.05"));
        assert!(pdf.len() < 32_000, "{}", pdf.len());
    }

    #[test]
    fn text_of_any_kind_stays_inside_its_string() {
        let odd = "a ) ( \\ \u{0} \n 票 “quoted” ".repeat(40);
        let pdf = draw(&print(&odd), &Symbol::of("x").unwrap());
        let content = String::from_utf8_lossy(&pdf);
        assert_eq!(
            content.matches("BT\n").count(),
            content.matches("ET\n").count()
        );
        assert_eq!(win_ansi("票", 10.0), b"?");
        assert_eq!(win_ansi("Müller", 10.0), b"M\xfcller");
        assert_eq!(win_ansi("abcdef", 4.0), b"abc\x85");
    }
}
