//! A QR code as dark runs, ready to be drawn as rectangles.

use qrcode::types::QrError;
use qrcode::{Color, EcLevel, QrCode};

/// Dark modules side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Column of the first, from the left.
    pub(super) column: usize,
    /// Row, from the top.
    pub(super) row: usize,
    /// How many.
    pub(super) length: usize,
}

/// A QR code.
#[derive(Debug)]
pub(super) struct Symbol {
    /// Modules a side.
    pub(super) width: usize,
    /// Its dark runs, row by row.
    pub(super) runs: Vec<Run>,
}

impl Symbol {
    /// The symbol of a text, readable with a seventh of it damaged.
    pub(super) fn of(text: &str) -> Result<Self, QrError> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M)?;
        let width = code.width();
        let mut runs = Vec::new();
        for (row, colors) in code.to_colors().chunks(width).enumerate() {
            let mut column = 0;
            for run in colors.chunk_by(|left, right| left == right) {
                if run.first() == Some(&Color::Dark) {
                    runs.push(Run {
                        column,
                        row,
                        length: run.len(),
                    });
                }
                column += run.len();
            }
        }
        Ok(Self { width, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_the_dark_modules_of_the_code() {
        let text = "x".repeat(128);
        let symbol = Symbol::of(&text).unwrap();
        let code = QrCode::with_error_correction_level(&text, EcLevel::M).unwrap();
        let dark = code
            .to_colors()
            .iter()
            .filter(|color| **color == Color::Dark)
            .count();
        assert_eq!(
            symbol.runs.iter().map(|run| run.length).sum::<usize>(),
            dark
        );
        assert_eq!(
            symbol.runs[0],
            Run {
                column: 0,
                row: 0,
                length: 7
            },
            "the finder pattern"
        );
    }
}
