//! A key in an answer, as servers send it that show a request's own headers: its letters are replaced by stars, one for one, so that
//! lengths stay what they were.

use bytes::Bytes;

/// Masks one key in pieces of an answer.
pub struct Mask {
    key: Vec<u8>,
    held: Vec<u8>,
}

impl Mask {
    /// For this key; shorter ones than six bytes are left alone.
    pub fn new(key: Option<&str>) -> Self {
        let key = key.filter(|key| key.len() >= 6).unwrap_or_default();
        Self { key: key.as_bytes().to_vec(), held: Vec::new() }
    }

    /// What can be passed on after this piece. An end that may be the beginning of the key is held back.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        if self.key.is_empty() {
            return piece;
        }
        self.held.extend_from_slice(&piece);
        let mut at = 0;
        while let Some(found) = find(&self.held[at..], &self.key) {
            self.held[at + found..at + found + self.key.len()].fill(b'*');
            at += found + self.key.len();
        }
        let most = self.held.len().min(self.key.len() - 1);
        let begun = (1..=most).rev().find(|length| self.held.ends_with(&self.key[..*length])).unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - begun);
        Bytes::from(std::mem::replace(&mut self.held, rest))
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.held))
    }
}

fn find(text: &[u8], key: &[u8]) -> Option<usize> {
    text.windows(key.len()).position(|window| window == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_masked_wherever_it_is_cut_and_nothing_else_changes() {
        let text = b"{\"authorization\": \"Bearer canary\", \"x\": \"can\"} canary";
        for size in 1..text.len() {
            let mut mask = Mask::new(Some("canary"));
            let mut passed = Vec::new();
            for piece in text.chunks(size) {
                passed.extend_from_slice(&mask.push(Bytes::copy_from_slice(piece)));
            }
            passed.extend_from_slice(&mask.finish());
            let expected = b"{\"authorization\": \"Bearer ******\", \"x\": \"can\"} ******";
            assert_eq!(passed, expected, "pieces of {size}");
        }
    }

    #[test]
    fn without_a_key_pieces_pass_as_they_are() {
        let mut mask = Mask::new(None);
        assert_eq!(mask.push(Bytes::from_static(b"abc")), "abc");
        assert!(mask.finish().is_empty());
    }
}
