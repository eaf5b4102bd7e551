//! Bytes that arrive in pieces and are kept. Must never keep much more memory than it has bytes: hyper cuts
//! its pieces out of buffers of 8 KiB, and a piece of one byte would keep all of its buffer.

use bytes::{Bytes, BytesMut};

/// A piece smaller than this is copied, so that its buffer can go; a larger one is at least half of its own.
const COPIED_BELOW_BYTES: usize = 4 << 10;

/// Pieces in order.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    kept: Vec<Bytes>,
    /// Small pieces that came after those, together.
    tail: BytesMut,
    length: usize,
}

impl Pieces {
    /// Adds the next piece. The first one is kept as it is: mostly it is the only one.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if self.kept.is_empty() || piece.len() >= COPIED_BELOW_BYTES {
            self.settle();
            self.kept.push(piece);
        } else {
            self.tail.extend_from_slice(&piece);
        }
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The pieces.
    pub(crate) fn into_vec(mut self) -> Vec<Bytes> {
        self.settle();
        self.kept
    }

    /// All bytes in one.
    pub(crate) fn joined(mut self) -> Bytes {
        self.settle();
        if self.kept.len() <= 1 {
            return self.kept.pop().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.length);
        for piece in &self.kept {
            joined.extend_from_slice(piece);
        }
        joined.freeze()
    }

    fn settle(&mut self) {
        if !self.tail.is_empty() {
            self.kept.push(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pushed(sizes: &[usize]) -> Pieces {
        let mut pieces = Pieces::default();
        for size in sizes {
            pieces.push(Bytes::from(vec![b'x'; *size]));
        }
        pieces
    }

    #[test]
    fn small_pieces_are_kept_together_and_large_ones_as_they_are() {
        let sizes = [1; 1000];
        assert_eq!(pushed(&sizes).into_vec().len(), 2);
        let sizes = [1, 8000, 1, 1, 8000];
        let kept: Vec<usize> = pushed(&sizes).into_vec().iter().map(Bytes::len).collect();
        assert_eq!(kept, [1, 8000, 2, 8000]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_moved(given in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..6)) {
            let fill = || {
                let mut pieces = Pieces::default();
                for piece in &given {
                    pieces.push(Bytes::from(piece.clone()));
                }
                pieces
            };
            let expected = given.concat();
            prop_assert_eq!(fill().len(), expected.len());
            prop_assert_eq!(fill().into_vec().concat(), expected.clone());
            prop_assert_eq!(fill().joined(), expected);
        }
    }
}
