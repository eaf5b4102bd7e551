//! The body of one attempt: the caller's bytes with the model's name replaced, never copied when large.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Up to here one copy is cheaper than writing pieces.
const COPY_UP_TO_BYTES: usize = 16 << 10;

/// Pieces to be written in order.
#[derive(Debug)]
pub(crate) struct RequestBody {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl RequestBody {
    /// The pieces of `body` with the bytes at `place` replaced by `replacement`.
    pub(crate) fn spliced(body: &[Bytes], place: &Range<usize>, replacement: &Bytes) -> Self {
        let given: usize = body.iter().map(Bytes::len).sum();
        let length = given - place.len() + replacement.len();
        let parts = cut(body, 0..place.start)
            .chain([(replacement, 0..replacement.len())])
            .chain(cut(body, place.end..given));
        let pieces = if length <= COPY_UP_TO_BYTES {
            let mut joined = BytesMut::with_capacity(length);
            for (piece, range) in parts {
                joined.extend_from_slice(piece.get(range).unwrap_or_default());
            }
            vec![joined.freeze()]
        } else {
            parts.map(|(piece, range)| piece.slice(range)).collect()
        };
        Self::of(pieces, length)
    }

    /// The pieces of `body` as they are.
    pub(crate) fn whole(body: &[Bytes]) -> Self {
        Self::of(body.to_vec(), body.iter().map(Bytes::len).sum())
    }

    fn of(pieces: Vec<Bytes>, length: usize) -> Self {
        Self {
            pieces: pieces.into_iter(),
            left: length as u64,
        }
    }
}

/// The parts of the pieces that lie in `range` of the whole, each in its piece.
fn cut(body: &[Bytes], range: Range<usize>) -> impl Iterator<Item = (&Bytes, Range<usize>)> {
    let mut start = 0;
    body.iter().filter_map(move |piece| {
        let begins = start;
        start += piece.len();
        let from = range.start.clamp(begins, start);
        let to = range.end.clamp(begins, start);
        (from < to).then(|| (piece, from - begins..to - begins))
    })
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.next();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(body: RequestBody) -> Vec<u8> {
        body.pieces.flatten().collect()
    }

    proptest! {
        #[test]
        fn only_the_place_is_replaced_however_the_body_is_cut(
            bytes in prop::collection::vec(any::<u8>(), 1..40_000),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            place in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            replacement in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut edges: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            edges.extend([0, bytes.len()]);
            edges.sort_unstable();
            let whole = Bytes::from(bytes.clone());
            let pieces: Vec<Bytes> =
                edges.windows(2).map(|edge| whole.slice(edge[0]..edge[1])).collect();
            let (one, other) = (place.0.index(bytes.len()), place.1.index(bytes.len()));
            let place = one.min(other)..one.max(other);
            let mut expected = bytes;
            expected.splice(place.clone(), replacement.iter().copied());
            let body = RequestBody::spliced(&pieces, &place, &Bytes::from(replacement));
            prop_assert_eq!(body.size_hint().exact(), Some(expected.len() as u64));
            prop_assert_eq!(joined(body), expected);
            prop_assert_eq!(joined(RequestBody::whole(&pieces)), whole.to_vec());
        }
    }
}
