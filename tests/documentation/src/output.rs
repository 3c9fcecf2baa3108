//! Whether a command printed what the page says.

/// Compares line by line; `…` stands for anything within a line, a line of nothing but `…` for any
/// number of lines.
pub fn matches(expected: &[String], printed: &str) -> bool {
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    lines_match(expected, &printed)
}

fn lines_match(expected: &[String], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed.split_first().is_some_and(|(line, others)| {
            line_matches(first.trim_end(), line) && lines_match(rest, others)
        }),
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| printed.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn dots_stand_for_anything_within_a_line() {
        assert!(matches(&lines("a … c"), "a b c\n"));
        assert!(matches(&lines("…"), ""));
        assert!(matches(&lines("id …, state …"), "id 7, state paid"));
        assert!(!matches(&lines("a … c"), "a b d"));
        assert!(!matches(&lines("a"), "a b"));
        assert!(!matches(&lines("x…x"), "x"));
    }

    #[test]
    fn a_line_of_dots_stands_for_any_number_of_lines() {
        assert!(matches(&lines("a\n…\nd"), "a\nb\nc\nd\n"));
        assert!(matches(&lines("a\n…\nd"), "a\nd\n"));
        assert!(!matches(&lines("a\n…\nd"), "a\nb\nc\n"));
    }

    #[test]
    fn nothing_expected_means_nothing_printed() {
        assert!(matches(&[], "\n".trim()));
        assert!(!matches(&[], "a\n"));
    }
}
