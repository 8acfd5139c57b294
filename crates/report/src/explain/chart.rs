//! Bars of text, and paragraphs that fit a terminal.

/// As wide as a terminal may be counted on to be.
pub(super) const WIDTH: usize = 80;

/// A bar for a share between 0 and 1, `width` columns wide with its blanks. Anything above nothing shows.
pub(super) fn bar(share: f64, width: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    let filled = if share > 0.0 { filled.max(1) } else { filled };
    format!("{}{}", "#".repeat(filled), " ".repeat(width.saturating_sub(filled)))
}

/// Cuts a text to `width` columns.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Breaks a paragraph into lines of at most 80 columns: the first begins with `first`, the others with as many blanks.
/// A word that is longer stays whole.
pub(crate) fn wrap(first: &str, paragraph: &str) -> String {
    let indent = " ".repeat(first.chars().count());
    let mut text = first.to_owned();
    let mut column = indent.len();
    let mut fresh = true;
    for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if !fresh && column + 1 + length > WIDTH {
            text.push('\n');
            text.push_str(&indent);
            column = indent.len();
        } else if !fresh {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
        fresh = false;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_whatever_is_there() {
        assert_eq!(bar(0.0, 4), "    ");
        assert_eq!(bar(0.001, 4), "#   ");
        assert_eq!(bar(0.5, 4), "##  ");
        assert_eq!(bar(7.0, 4), "####");
    }

    #[test]
    fn paragraphs_are_indented_below_their_mark() {
        let text = wrap("- ", &"word ".repeat(30));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("  word")), "{text}");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
