//! [`Host`]: the backend for scores in main memory.
//!
//! It is the reference for other backends, and fast enough to decode with. An operation reads each row once or twice,
//! in parallel over rows and over chunks of a row, and never sorts a row. Chunks have a fixed size, so results are
//! bitwise the same for any number of threads.
//!
//! ```
//! use eft_core::host::HostTensor;
//! use eft_core::{Backend, Filter, Host, ScoreRow};
//! use ndarray::array;
//!
//! let host = Host;
//! let scores = HostTensor::from(array![[2.0f32, 0.0, 1.0, -3.0]]);
//! let nucleus = Filter { top_p: Some(0.8), ..Filter::default() };
//! let kept = host.filter(&[ScoreRow::new(&scores, 0)], &nucleus, 4)?;
//! assert_eq!(host.download(&[ScoreRow::new(&kept, 0)], 4)?, [2.0, f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY]);
//! assert_eq!(host.draw(&[ScoreRow::new(&kept, 0)], &[0.99], 4)?[0].token, 2);
//! # Ok::<(), eft_core::Error>(())
//! ```
mod choose;
mod clamp;
mod draw;
mod edit;
mod filter;
mod linear;
pub mod math;
mod nucleus;
mod order;
mod parallel;
mod pool;
mod residual;
mod softmax;
pub(crate) mod summary;
mod tensor;
pub(crate) mod vector;

pub use tensor::{Host, HostTensor};

use crate::backend::{Backend, Edit, Filter, Pick, Pool, ScoreRow, Term, check_upload};
use crate::{Result, TokenId};

impl Backend for Host {
    type Tensor = HostTensor;

    const NAME: &'static str = "host";

    fn shape(&self, tensor: &HostTensor) -> (usize, usize) {
        tensor.shape()
    }

    fn shallow_clone(&self, tensor: &HostTensor) -> HostTensor {
        tensor.clone()
    }

    fn upload(&self, scores: &[f32], width: usize) -> Result<HostTensor> {
        check_upload(scores, width)?;
        HostTensor::from_rows(scores.to_vec(), width)
    }

    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        linear::download(self, rows, width)
    }

    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<HostTensor> {
        linear::linear(self, terms, width)
    }

    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<HostTensor> {
        softmax::log_softmax(self, rows, width)
    }

    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<HostTensor> {
        pool::pool(self, terms, pool, width)
    }

    fn clamp(&self, rows: &[ScoreRow<'_, Self>], low: f32, high: f32, width: usize) -> Result<HostTensor> {
        clamp::clamp(self, rows, low, high, width)
    }

    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<HostTensor> {
        filter::filter(self, rows, filter, width)
    }

    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<HostTensor> {
        choose::choose(self, kept, inside, outside, width)
    }

    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<HostTensor> {
        edit::edit(self, rows, edits, width)
    }

    fn residual(
        &self,
        target: &[ScoreRow<'_, Self>],
        draft: &[ScoreRow<'_, Self>],
        width: usize,
    ) -> Result<HostTensor> {
        residual::residual(self, target, draft, width)
    }

    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>> {
        softmax::argmax(self, rows, width)
    }

    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
        draw::draw(self, rows, uniforms, width)
    }

    fn log_probs(
        &self,
        rows: &[ScoreRow<'_, Self>],
        tokens: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Vec<Vec<f32>>> {
        softmax::log_probs(self, rows, tokens, width)
    }

    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
        order::top(self, rows, k, width)
    }

    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        softmax::log_normalizers(self, rows, width)
    }
}
