//! Is a file a finished PDF, and of how many pages?

use std::{io, path::Path};

/// Whether the file begins and ends as a PDF does: browsers write them piece by piece.
pub fn finished(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|content| is_finished(&content))
}

/// Number of pages of a finished PDF, if they can be counted without unpacking it.
pub fn check(path: &Path) -> io::Result<Option<usize>> {
    let content = std::fs::read(path)?;
    if !is_finished(&content) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the printed file is not a whole PDF"));
    }
    Ok(pages(&content))
}

fn is_finished(content: &[u8]) -> bool {
    let tail = &content[content.len().saturating_sub(1024)..];
    content.starts_with(b"%PDF") && tail.windows(5).any(|window| window == b"%%EOF")
}

fn pages(content: &[u8]) -> Option<usize> {
    let count = content
        .windows(5)
        .enumerate()
        .filter(|(_, window)| window == b"/Type")
        .filter(|(at, _)| {
            let rest = content[at + 5..].iter().skip_while(|byte| byte.is_ascii_whitespace());
            let name: Vec<u8> = rest.take(6).copied().collect();
            name.starts_with(b"/Page") && !name.get(5).is_some_and(u8::is_ascii_alphabetic)
        })
        .count();
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_and_their_tree_is_not() {
        let pdf = b"%PDF-1.4\n<</Type /Pages /Count 2>> <</Type /Page\n>> <</Type/Page>> %%EOF\n";
        assert_eq!(pages(pdf), Some(2));
        assert!(is_finished(pdf));
    }

    #[test]
    fn half_a_file_is_not_finished() {
        assert!(!is_finished(b"%PDF-1.4\n<</Type /Page>>"));
        assert!(!is_finished(b"<html>%%EOF"));
    }
}
