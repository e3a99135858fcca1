//! An n-gram model of bytes. It stands for inference code that you already have, and does not depend on `eft`.
use std::collections::BTreeMap;

/// The symbol that begins and ends a text. All other symbols are bytes.
pub(crate) const END: u32 = 256;
/// The number of symbols.
pub(crate) const SYMBOLS: usize = 257;
/// The amount that every count is lowered by, in favour of symbols that were never seen in the context.
const DISCOUNT: f32 = 0.9;

/// Predicts a symbol from the `order - 1` symbols before it. The counts of the longest known context are interpolated
/// with those of each shorter one (Kneser and Ney 1995).
#[derive(Clone)]
pub(crate) struct Ngram {
    order: usize,
    /// A trie of contexts. The root is the empty context.
    contexts: Vec<Context>,
}

/// For each symbol that followed a context: its count, and the index of the context that is longer by it.
#[derive(Clone, Default)]
struct Context {
    next: BTreeMap<u32, (f32, usize)>,
}

/// The state after some symbols: before the first symbol and after each, the known contexts that end there, shortest
/// first. It corresponds to the KV cache of a transformer: reading a symbol takes one step, and the last symbols can be
/// dropped.
#[derive(Clone)]
pub(crate) struct State(Vec<Vec<usize>>);

impl State {
    /// A state in which nothing was read.
    pub(crate) fn new() -> Self {
        Self(vec![vec![0]])
    }

    /// The number of symbols that were read.
    pub(crate) fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// Forgets the last `count` symbols.
    pub(crate) fn forget(&mut self, count: usize) {
        self.0.truncate(self.0.len() - count);
    }

    fn contexts(&self) -> &[usize] {
        &self.0[self.len()]
    }
}

impl Ngram {
    /// A model without training.
    pub(crate) fn new(order: usize) -> Self {
        Self { order, contexts: vec![Context::default()] }
    }

    /// Trains the model on texts, in addition to those that it was trained on before.
    pub(crate) fn trained<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        for text in texts {
            let mut state = State::new();
            self.read(&mut state, END);
            for symbol in text.bytes().map(u32::from).chain([END]) {
                for &context in state.contexts().iter().rev() {
                    let new = self.contexts.len();
                    let (count, longer) = self.contexts[context].next.entry(symbol).or_insert((0.0, new));
                    *count += 1.0;
                    if *longer != new {
                        // In a shorter context, a symbol counts once for each longer context that it followed.
                        break;
                    }
                    self.contexts.push(Context::default());
                }
                self.read(&mut state, symbol);
            }
        }
        self
    }

    /// Reads one symbol.
    pub(crate) fn read(&self, state: &mut State, symbol: u32) {
        let kept = state.contexts().iter().take(self.order - 1);
        let longer = kept.filter_map(|context| self.contexts[*context].next.get(&symbol));
        let contexts = [0].into_iter().chain(longer.map(|(_, longer)| *longer)).collect();
        state.0.push(contexts);
    }

    /// The log-probability of each symbol to come next.
    pub(crate) fn log_probs(&self, state: &State) -> Vec<f32> {
        let mut probs = vec![1.0 / SYMBOLS as f32; SYMBOLS];
        for &context in state.contexts() {
            let next = &self.contexts[context].next;
            let total: f32 = next.values().map(|(count, _)| count).sum();
            if total > 0.0 {
                probs.iter_mut().for_each(|p| *p *= DISCOUNT * next.len() as f32 / total);
                next.iter()
                    .for_each(|(symbol, (count, _))| probs[*symbol as usize] += (count - DISCOUNT) / total);
            }
        }
        probs.iter().map(|p| p.ln()).collect()
    }
}
