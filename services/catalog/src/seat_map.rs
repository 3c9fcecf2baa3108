//! The seat map: a drawing of the stage and the sections in front of it, as SVG.
//!
//! A section is one rectangle filled with a pattern of seats, so the drawing has the same few
//! kilobytes for ten seats and for twenty thousand, and each seat is a dot in its place. Sections
//! stand side by side while they fit, in the order in which the organiser named them.

use std::fmt::Write;

use messages::seating::Section;

use crate::event::Event;

/// From one seat to the next.
const PITCH: u32 = 12;
/// Room left and right of the seats for the names of the rows.
const SIDE: u32 = 30;
/// Room above the seats for the section's name and price.
const HEAD: u32 = 40;
/// Between sections, and around the drawing.
const GAP: u32 = 24;
/// Narrowest drawing; sections stand side by side up to this.
const WIDTH: u32 = 960;
/// Room for the title and the stage.
const TOP: u32 = 150;
/// Names are about this wide a character.
const CHARACTER: u32 = 9;

struct Placed<'a> {
    section: &'a Section,
    x: u32,
    y: u32,
    width: u32,
}

/// Draws the seats of an event.
pub fn draw(event: &Event) -> String {
    let widest = event
        .sections
        .iter()
        .map(width_of)
        .max()
        .unwrap_or_default();
    let width = WIDTH.max(widest) + 2 * GAP;
    let (placed, height) = place(&event.sections, width);
    let mut svg = String::with_capacity(1024 + 800 * placed.len());
    // Writing to a string does not fail.
    let _ = write_drawing(&mut svg, event, &placed, width, height);
    svg
}

fn width_of(section: &Section) -> u32 {
    let name = u32::try_from(section.name.chars().count()).unwrap_or(u32::MAX);
    let head = name.saturating_mul(CHARACTER).max(160);
    (section.seats_per_row * PITCH).max(head) + 2 * SIDE
}

fn height_of(section: &Section) -> u32 {
    section.rows * PITCH + HEAD
}

/// Places sections on shelves, each shelf in the middle; tells the height of it all.
fn place(sections: &[Section], width: u32) -> (Vec<Placed<'_>>, u32) {
    let mut shelves: Vec<(u32, Vec<&Section>)> = Vec::new();
    for section in sections {
        let wide = width_of(section);
        match shelves.last_mut() {
            Some((used, shelf)) if *used + GAP + wide <= width - 2 * GAP => {
                *used += GAP + wide;
                shelf.push(section);
            }
            _ => shelves.push((wide, vec![section])),
        }
    }
    let mut placed = Vec::with_capacity(sections.len());
    let mut y = TOP;
    for (used, shelf) in shelves {
        let mut x = (width - used) / 2;
        let height = shelf
            .iter()
            .map(|section| height_of(section))
            .max()
            .unwrap_or_default();
        for section in shelf {
            let width = width_of(section);
            placed.push(Placed {
                section,
                x,
                y,
                width,
            });
            x += width + GAP;
        }
        y += height + GAP;
    }
    (placed, y)
}

fn write_drawing(
    svg: &mut String,
    event: &Event,
    placed: &[Placed<'_>],
    width: u32,
    height: u32,
) -> std::fmt::Result {
    let middle = width / 2;
    let title = escape(&event.title);
    let venue = escape(&event.venue);
    write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" text-anchor=\"middle\">\
         <title>Seats of {title}</title>\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fbfaf7\"/>\
         <text x=\"{middle}\" y=\"34\" font-size=\"20\" fill=\"#222\">{title}</text>\
         <text x=\"{middle}\" y=\"56\" font-size=\"13\" fill=\"#666\">{venue}</text>\
         <path d=\"M{} 76h{}l-40 48h-{}z\" fill=\"#3b3a36\"/>\
         <text x=\"{middle}\" y=\"106\" font-size=\"15\" letter-spacing=\"4\" fill=\"#fff\">STAGE</text>",
        middle - 200,
        400,
        320,
    )?;
    for (index, place) in placed.iter().enumerate() {
        write_section(svg, index, place, &event.currency)?;
    }
    svg.write_str("</svg>\n")
}

fn write_section(
    svg: &mut String,
    index: usize,
    place: &Placed<'_>,
    currency: &str,
) -> std::fmt::Result {
    let section = place.section;
    let (rows, seats) = (section.rows, section.seats_per_row);
    let (wide, high) = (seats * PITCH, rows * PITCH);
    let left = (place.width - wide) / 2;
    let middle = place.width / 2;
    let name = escape(&section.name);
    let price = money::amount(section.price_minor, currency);
    // Neighbours get colours far apart on the wheel.
    let hue = (index * 137 + 210) % 360;
    write!(
        svg,
        "<g transform=\"translate({} {})\"><title>{name}: {rows} rows of {seats} seats, {price} {currency}</title>\
         <pattern id=\"s{index}\" x=\"{left}\" y=\"{HEAD}\" width=\"{PITCH}\" height=\"{PITCH}\" \
         patternUnits=\"userSpaceOnUse\">\
         <rect x=\"2\" y=\"2\" width=\"8\" height=\"8\" rx=\"3\" fill=\"hsl({hue} 55% 45%)\"/></pattern>\
         <text x=\"{middle}\" y=\"14\" font-size=\"14\" fill=\"#222\">{name}</text>\
         <text x=\"{middle}\" y=\"31\" font-size=\"12\" fill=\"#666\">{price} {currency}</text>\
         <rect x=\"{left}\" y=\"{HEAD}\" width=\"{wide}\" height=\"{high}\" fill=\"url(#s{index})\"/>",
        place.x, place.y,
    )?;
    // The first and the last row are named on both sides.
    for row in if rows == 1 { vec![1] } else { vec![1, rows] } {
        let y = HEAD + row * PITCH - 3;
        for x in [left.saturating_sub(SIDE / 2), left + wide + SIDE / 2] {
            write!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" font-size=\"9\" fill=\"#666\">{row}</text>"
            )?;
        }
    }
    svg.write_str("</g>")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::trial;

    fn section(name: &str, rows: u32, seats_per_row: u32) -> Section {
        Section {
            name: name.to_owned(),
            rows,
            seats_per_row,
            price_minor: 4550,
        }
    }

    fn event(sections: Vec<Section>) -> Event {
        let mut draft = trial::draft("Faro");
        draft.sections = sections;
        Event::create(Uuid::now_v7(), draft)
    }

    #[test]
    fn the_largest_house_is_a_few_kilobytes() {
        let sections = (0..20)
            .map(|n| section(&format!("Section {n}"), 10, 100))
            .collect();
        let svg = draw(&event(sections));
        assert!(svg.len() < 20_000, "{}", svg.len());
        assert_eq!(svg.matches("<pattern").count(), 20);
    }

    #[test]
    fn sections_do_not_overlap_and_stay_inside() {
        let sections = [
            ("a", 5, 200),
            ("b", 3, 10),
            ("c", 20, 10),
            ("d", 1, 1),
            ("e", 2, 30),
        ];
        let sections: Vec<_> = sections
            .iter()
            .map(|(n, r, s)| section(n, *r, *s))
            .collect();
        let width = WIDTH.max(sections.iter().map(width_of).max().unwrap()) + 2 * GAP;
        let (placed, height) = place(&sections, width);
        assert_eq!(placed.len(), sections.len());
        for (index, a) in placed.iter().enumerate() {
            assert!(a.x >= GAP && a.x + a.width <= width - GAP);
            assert!(a.y + height_of(a.section) <= height);
            for b in &placed[index + 1..] {
                let apart_x = a.x + a.width <= b.x || b.x + b.width <= a.x;
                let apart_y =
                    a.y + height_of(a.section) <= b.y || b.y + height_of(b.section) <= a.y;
                assert!(apart_x || apart_y);
            }
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_drawing() {
        let mut event = event(vec![section("</text><script>", 1, 1)]);
        event.title = "\"&<".to_owned();
        let svg = draw(&event);
        assert!(!svg.contains("<script"));
        assert!(svg.contains("&quot;&amp;&lt;"));
    }

    #[test]
    fn prices_are_written_as_people_read_them() {
        let mut event = event(vec![section("Stalls", 1, 1)]);
        for (currency, price) in [
            ("EUR", "45.50 EUR"),
            ("JPY", "4550 JPY"),
            ("KWD", "4.550 KWD"),
        ] {
            event.currency = currency.to_owned();
            let svg = draw(&event);
            assert_eq!(svg.matches(&format!(">{price}</text>")).count(), 1, "{svg}");
            assert!(svg.contains(&format!(", {price}</title>")), "{svg}");
        }
    }
}
