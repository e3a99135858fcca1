use std::sync::Arc;

use super::END;
use super::settings::Work;
use super::walk::{Symbol, Walker};
use crate::backend::Backend;
use crate::{TokenId, Vocab};

/// What a source and its sessions share.
pub(super) struct Shared<B: Backend> {
    pub(super) backend: B,
    pub(super) vocab: Arc<Vocab>,
    pub(super) walker: Walker,
    /// The model's tokens for each id from [`END`] on.
    pub(super) controls: Vec<Vec<TokenId>>,
    pub(super) pruned: f64,
    /// If all sequences are followed, and not only canonical ones: the share below which they are dropped.
    pub(super) covering: Option<f64>,
    /// The least probability of bytes whose sequences are run before they are needed.
    pub(super) ahead: f64,
    pub(super) work: Work,
}

impl<B: Backend> Shared<B> {
    /// What a token of the source's vocabulary stands for.
    pub(super) fn symbol(&self, token: TokenId) -> Symbol {
        match u8::try_from(token) {
            Ok(byte) => Symbol::Byte(byte),
            // Of several tokens of one role, the first is read.
            Err(_) => Symbol::Control(self.controls[(token - END) as usize][0]),
        }
    }
}
