//! How many messages of which type were passed on, and how many were not and why.

use crate::{message::Kind, rules::Reason};

const KINDS: usize = Kind::ALL.len();
const REASONS: usize = Reason::ALL.len();

/// Counters of one connection, since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    passed: [u32; KINDS],
    dropped: [[u32; REASONS]; KINDS],
}

impl Counts {
    pub(crate) fn pass(&mut self, kind: Kind) {
        let count = &mut self.passed[kind as usize];
        *count = count.saturating_add(1);
    }

    pub(crate) fn drop(&mut self, kind: Kind, reason: Reason) {
        let count = &mut self.dropped[kind as usize][reason as usize];
        *count = count.saturating_add(1);
    }

    /// Messages that were passed on, by type; only types of which there were any.
    pub fn passed(&self) -> impl Iterator<Item = (Kind, u32)> + '_ {
        Kind::ALL.into_iter().zip(self.passed).filter(|(_, count)| *count > 0)
    }

    /// Messages that were not, by type and reason; only those of which there were any.
    pub fn dropped(&self) -> impl Iterator<Item = (Kind, Reason, u32)> + '_ {
        let each = Kind::ALL.into_iter().zip(self.dropped);
        each.flat_map(|(kind, counts)| {
            Reason::ALL.into_iter().zip(counts).map(move |(reason, count)| (kind, reason, count))
        })
        .filter(|(_, _, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_and_every_reason_has_a_counter_of_its_own() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind:?}");
        }
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at, "{reason:?}");
        }
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS);
    }

    #[test]
    fn only_what_happened_is_told() {
        let mut counts = Counts::default();
        counts.pass(Kind::Key);
        counts.pass(Kind::Key);
        counts.drop(Kind::CutText, Reason::Size);
        assert_eq!(counts.passed().collect::<Vec<_>>(), [(Kind::Key, 2)]);
        assert_eq!(counts.dropped().collect::<Vec<_>>(), [(Kind::CutText, Reason::Size, 1)]);
    }
}
