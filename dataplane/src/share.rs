//! Exact weighted shares. Being written.

/// Draws members by weight.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    weights: Box<[u32]>,
}

impl Share {
    pub(crate) fn new(weights: &[u32]) -> Self {
        Self {
            weights: weights.into(),
        }
    }

    pub(crate) fn draw(&mut self, _eligible: u64) -> Option<usize> {
        None
    }

    pub(crate) fn weights(&self) -> &[u32] {
        &self.weights
    }
}
