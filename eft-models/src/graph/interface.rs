//! [`Graph`]: the interface that a tensor library implements to run exported decoders.
use eft_core::{Backend, Result};

/// A decoder as a pure function. Its caches are values: they never change, so several sessions may hold the same ones.
///
/// See the [module](crate::graph) for an example.
pub trait Graph: Send + Sync + Sized + 'static {
    /// The backend whose tensors the logits are.
    type Backend: Backend;

    /// Keys and values of all layers, for some rows and slots. A clone is another handle to the same values.
    type Caches: Clone + Send;

    /// Returns the backend.
    fn backend(&self) -> &Self::Backend;

    /// Returns the capabilities of the graph.
    fn caps(&self) -> GraphCaps;

    /// Runs one forward pass. `caches` is `None` if `input.slots` is 0.
    ///
    /// # Errors
    /// Failures of the library, and outputs of unexpected shapes.
    fn forward(&self, input: &ForwardInput, caches: Option<&Self::Caches>) -> Result<ForwardOutput<Self>>;

    /// Gathers slots of caches, which have `slots` slots, into new caches: a row for each selection. All selections
    /// are equally long.
    ///
    /// # Errors
    /// Failures of the library.
    fn gather(
        &self,
        caches: &Self::Caches,
        slots: usize,
        selections: &[SlotSelection],
    ) -> Result<Self::Caches>;
}

/// The capabilities of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphCaps {
    /// It has caches. Otherwise every pass is given all tokens.
    pub cached: bool,
    /// It has an attention mask.
    pub masked: bool,
    /// It takes batches of one row only.
    pub one_row: bool,
    /// The coarsest floating-point type that its activations and caches pass through.
    pub precision: Precision,
}

/// A floating-point type, which determines how far logits may differ by rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit.
    F32,
    /// 16-bit, IEEE 754.
    F16,
    /// 16-bit with the exponent range of 32-bit.
    BF16,
}

/// The input of a forward pass. Matrices are in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardInput {
    /// The number of rows in the batch.
    pub rows: usize,
    /// The number of new tokens in each row. Rows with fewer are padded at the end.
    pub tokens: usize,
    /// The number of slots that the caches have before the pass.
    pub slots: usize,
    /// Token ids, `rows × tokens`.
    pub ids: Vec<i64>,
    /// Attention mask, `rows × (slots + tokens)`: 1 for slots that the tokens of the row may attend to, as far as they
    /// precede the token; 0 for masked slots.
    pub mask: Vec<i64>,
    /// Positions, `rows × tokens`.
    pub positions: Vec<i64>,
    /// How many positions at the end of each row need logits.
    pub wanted: usize,
}

/// The output of a forward pass.
pub struct ForwardOutput<G: Graph> {
    /// Logits, and the number of positions of each row that they cover: the last ones, at least `wanted` of them. The
    /// tensor is (rows · positions) × vocabulary. `None` if none were wanted.
    pub logits: Option<(<G::Backend as Backend>::Tensor, usize)>,
    /// Caches of `slots + tokens` slots; `None` if the graph has no caches.
    pub caches: Option<G::Caches>,
}

/// The slots that a new row of the caches consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSelection {
    /// The row that the slots are taken from.
    pub row: usize,
    /// The slots, in their new order.
    pub slots: Vec<usize>,
}
