//! The fonts of tickets: which characters they print, how wide each is, and the part of a font that a
//! page carries.
//!
//! Each character is looked for in two fonts, DejaVu Sans first: it has Latin, Greek, Cyrillic,
//! Armenian, Georgian and symbols; Droid Sans Fallback has Chinese, Japanese and Korean. A page
//! embeds the outlines that it uses and no others, and what each stands for, so that its text can be
//! searched and copied.
//!
//! Characters are set one by one from left to right. Scripts that are written from right to left, or
//! whose letters join or move, would come out wrong that way, whatever glyphs a font has. Their
//! characters, and those that neither font has, are printed by their code point, as `[U+0634]`: what
//! cannot be printed is seen, and never turns into something else.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use icu_properties::CodePointMapData;
use icu_properties::props::Script;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Filter, Finish, Name, Pdf, Rect, Ref, Str};
use subsetter::GlyphRemapper;
use ttf_parser::{Face, GlyphId};

use super::Failure;
use super::lines::Glyph;

/// A font as Debian packages it, in the image of the worker.
struct File {
    /// Its PostScript name.
    name: &'static str,
    path: &'static str,
}

const FILES: [File; 2] = [
    File {
        name: "DejaVuSans",
        path: "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    },
    File {
        name: "DroidSansFallback",
        path: "/usr/share/fonts-droid-fallback/truetype/DroidSansFallback.ttf",
    },
];

/// Under which name a page uses each font.
pub(super) const NAMES: [Name<'static>; FILES.len()] = [Name(b"F1"), Name(b"F2")];

/// The scripts whose characters can be set one by one from left to right. Common are digits,
/// punctuation and symbols; inherited are combining marks.
const SCRIPTS: [Script; 12] = [
    Script::Common,
    Script::Inherited,
    Script::Latin,
    Script::Greek,
    Script::Cyrillic,
    Script::Armenian,
    Script::Georgian,
    Script::Han,
    Script::Hiragana,
    Script::Katakana,
    Script::Bopomofo,
    Script::Hangul,
];

/// What a glyph is measured in: thousandths of the font's size.
pub(super) const EM: f32 = 1000.0;

/// The character collection of glyphs that are numbered by their place in the embedded font.
const COLLECTION: SystemInfo<'static> = SystemInfo {
    registry: Str(b"Adobe"),
    ordering: Str(b"Identity"),
    supplement: 0,
};

/// The fonts, read once for the life of the process: 4 MB.
#[derive(Clone)]
pub struct Fonts(Arc<[Vec<u8>; FILES.len()]>);

impl fmt::Debug for Fonts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fonts").finish_non_exhaustive()
    }
}

impl Fonts {
    /// Reads the fonts.
    ///
    /// # Errors
    /// One is not there or is no font.
    pub fn read() -> anyhow::Result<Self> {
        let read = |file: &File| {
            let font = std::fs::read(file.path).with_context(|| format!("font {}", file.path))?;
            Face::parse(&font, 0).with_context(|| format!("font {}", file.path))?;
            anyhow::Ok(font)
        };
        let [text, fallback] = &FILES;
        Ok(Self(Arc::new([read(text)?, read(fallback)?])))
    }

    /// What sets the text of one page.
    ///
    /// # Errors
    /// A font cannot be read.
    pub(super) fn typesetter(&self) -> Result<Typesetter<'_>, Failure> {
        let [text, fallback] = &*self.0;
        Ok(Typesetter([Part::of(text)?, Part::of(fallback)?]))
    }
}

/// Sets the text of one page, and keeps what it used of each font.
pub(super) struct Typesetter<'a>([Part<'a>; FILES.len()]);

impl Typesetter<'_> {
    /// The glyphs of a text.
    pub(super) fn set(&mut self, text: &str) -> Vec<Glyph> {
        let mut glyphs = Vec::new();
        for character in text.chars().filter(|&c| !text::is_ignorable(c)) {
            let script = CodePointMapData::<Script>::new().get(character);
            let glyph = SCRIPTS
                .contains(&script)
                .then(|| self.glyph(character))
                .flatten();
            if let Some(glyph) = glyph {
                glyphs.push(glyph);
            } else {
                let code = format!("[U+{:04X}]", u32::from(character));
                glyphs.extend(code.chars().filter_map(|digit| self.glyph(digit)));
            }
        }
        glyphs
    }

    fn glyph(&mut self, character: char) -> Option<Glyph> {
        let mut parts = self.0.iter_mut().enumerate();
        parts.find_map(|(font, part)| part.glyph(font, character))
    }

    /// Writes what was used of the fonts into the document; tells under which names.
    ///
    /// # Errors
    /// A font cannot be read.
    pub(super) fn embed(
        &self,
        pdf: &mut Pdf,
        next: &mut impl FnMut() -> Ref,
    ) -> Result<Vec<(Name<'static>, Ref)>, Failure> {
        let mut used = Vec::new();
        for ((part, file), name) in self.0.iter().zip(&FILES).zip(NAMES) {
            if !part.characters.is_empty() {
                used.push((name, part.embed(file.name, pdf, next)?));
            }
        }
        Ok(used)
    }
}

/// A font and what is used of it.
struct Part<'a> {
    data: &'a [u8],
    face: Face<'a>,
    /// The glyphs, numbered anew in the order of their use.
    glyphs: GlyphRemapper,
    /// What each new number stands for.
    characters: Vec<(u16, char)>,
}

impl<'a> Part<'a> {
    fn of(data: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self {
            data,
            face: Face::parse(data, 0).map_err(failed)?,
            glyphs: GlyphRemapper::new(),
            characters: Vec::new(),
        })
    }

    /// The glyph of a character in this font, which is the `font`th of the page.
    fn glyph(&mut self, font: usize, character: char) -> Option<Glyph> {
        // Glyph 0 is what a font shows for characters that it does not have.
        let glyph = self.face.glyph_index(character).filter(|id| id.0 != 0)?;
        let id = self.glyphs.get(glyph.0).unwrap_or_else(|| {
            let id = self.glyphs.remap(glyph.0);
            self.characters.push((id, character));
            id
        });
        Some(Glyph {
            font,
            id,
            width: self.width(glyph),
            is_space: character.is_whitespace(),
        })
    }

    fn width(&self, glyph: GlyphId) -> f32 {
        self.em(self.face.glyph_hor_advance(glyph).unwrap_or_default())
    }

    fn em(&self, units: impl Into<f32>) -> f32 {
        units.into() * EM / f32::from(self.face.units_per_em())
    }

    fn embed(
        &self,
        name: &str,
        pdf: &mut Pdf,
        next: &mut impl FnMut() -> Ref,
    ) -> Result<Ref, Failure> {
        let (font, cid_font, descriptor, file, unicode) = (next(), next(), next(), next(), next());
        // Six letters tell the part of a font from the whole.
        let name = format!("TICKET+{name}");
        let name = Name(name.as_bytes());
        pdf.type0_font(font)
            .base_font(name)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(cid_font)
            .to_unicode(unicode);
        let mut cid = pdf.cid_font(cid_font);
        cid.subtype(CidFontType::Type2)
            .base_font(name)
            .system_info(COLLECTION)
            .font_descriptor(descriptor)
            .cid_to_gid_map_predefined(Name(b"Identity"));
        let glyphs = self.glyphs.remapped_gids();
        cid.widths()
            .consecutive(0, glyphs.map(|glyph| self.width(GlyphId(glyph))));
        cid.finish();
        let face = &self.face;
        let bounds = face.global_bounding_box();
        pdf.font_descriptor(descriptor)
            .name(name)
            .flags(FontFlags::SYMBOLIC)
            .bbox(Rect::new(
                self.em(bounds.x_min),
                self.em(bounds.y_min),
                self.em(bounds.x_max),
                self.em(bounds.y_max),
            ))
            .italic_angle(0.0)
            .ascent(self.em(face.ascender()))
            .descent(self.em(face.descender()))
            .cap_height(self.em(face.capital_height().unwrap_or(face.ascender())))
            .stem_v(80.0)
            .font_file2(file);
        let outlines = subsetter::subset(self.data, 0, &self.glyphs).map_err(failed)?;
        let packed = deflate(&outlines)?;
        let mut stream = pdf.stream(file, &packed);
        stream.filter(Filter::FlateDecode);
        stream.pair(
            Name(b"Length1"),
            i32::try_from(outlines.len()).map_err(failed)?,
        );
        stream.finish();
        let mut map = UnicodeCmap::new(Name(b"Ticket"), COLLECTION);
        for (id, character) in &self.characters {
            map.pair(*id, *character);
        }
        let packed = deflate(map.finish().as_slice())?;
        pdf.cmap(unicode, &packed).filter(Filter::FlateDecode);
        Ok(font)
    }
}

/// Packs a stream of a document. A ticket is kept for long and read seldom, and half of a small part
/// of a font is its licence.
///
/// # Errors
/// None of its own.
pub(super) fn deflate(data: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(data).map_err(failed)?;
    packer.finish().map_err(failed)
}

fn failed(error: impl fmt::Display) -> Failure {
    Failure::Rendering(error.to_string())
}
