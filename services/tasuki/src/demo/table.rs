//! Text in columns, measured as a terminal shows it: a Japanese character takes two cells.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

const WIDTH_USUAL: usize = 160;
const WIDTH_MIN: usize = 60;

/// Columns of the terminal, from `COLUMNS`.
pub fn terminal_width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
    told.filter(|width| *width > 0).unwrap_or(WIDTH_USUAL).max(WIDTH_MIN)
}

/// The text in exactly `width` cells: cut with an ellipsis or filled with spaces.
pub fn cell(text: &str, width: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.width() <= width {
        return format!("{text}{}", " ".repeat(width - text.width()));
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        let cells = c.width().unwrap_or(0);
        if used + cells + 1 > width {
            break;
        }
        cut.push(c);
        used += cells;
    }
    if used < width {
        cut.push('…');
        used += 1;
    }
    format!("{cut}{}", " ".repeat(width.saturating_sub(used)))
}

/// Items one after the other, broken into lines of at most `width` cells, each line after `indent` spaces.
pub fn wrapped(items: &[String], separator: &str, indent: usize, width: usize) -> String {
    let mut lines = vec![String::new()];
    for (i, item) in items.iter().enumerate() {
        let last = i + 1 == items.len();
        let piece = if last { item.clone() } else { format!("{item}{separator}") };
        let full = lines
            .last()
            .is_some_and(|l| !l.is_empty() && indent + l.width() + piece.trim_end().width() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(&piece);
        }
    }
    let margin = " ".repeat(indent);
    lines.iter().map(|line| format!("{margin}{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_as_wide_as_asked_whatever_is_in_it() {
        for text in ["", "abc", "退院前カンファレンス", "a退院b", "…"] {
            for width in 1..24 {
                assert_eq!(cell(text, width).width(), width, "{text} in {width}");
            }
        }
        assert_eq!(cell("退院前", 6), "退院前");
        assert_eq!(cell("退院前カ", 6), "退院… ");
    }

    #[test]
    fn a_list_is_broken_between_its_items() {
        let items = ["退院", "入園", "就学"].map(str::to_owned);
        assert_eq!(wrapped(&items, "、", 2, 15), "  退院、入園、\n  就学\n");
    }
}
