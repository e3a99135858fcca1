//! Inference code as one might have it lying around: an n-gram model of bytes. It knows nothing of `eft`.
use std::collections::BTreeMap;

/// Bytes are themselves; this begins and ends a text.
pub(crate) const END: u32 = 256;
/// How many symbols there are.
pub(crate) const SYMBOLS: usize = 257;
/// What every count is lowered by, for symbols that never followed.
const DISCOUNT: f32 = 0.9;

/// Predicts a symbol from the `order - 1` before it. What followed the longest known context is mixed with what
/// followed each shorter one (Kneser and Ney 1995).
#[derive(Clone)]
pub(crate) struct Ngram {
    order: usize,
    /// A trie of contexts; the root is the empty one.
    contexts: Vec<Context>,
}

/// What followed a context: for each symbol a count, and the index of the context made longer by it.
#[derive(Clone, Default)]
struct Context {
    next: BTreeMap<u32, (f32, usize)>,
}

/// What a model has read: for each symbol, and before the first, the known contexts that end there, shortest first.
/// It is what a cache of keys and values is to a transformer: reading on costs one step, and the end can be dropped.
#[derive(Clone)]
pub(crate) struct State(Vec<Vec<usize>>);

impl State {
    /// Nothing read.
    pub(crate) fn new() -> Self {
        Self(vec![vec![0]])
    }

    /// How many symbols were read.
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
    /// A model that knows nothing yet.
    pub(crate) fn new(order: usize) -> Self {
        Self { order, contexts: vec![Context::default()] }
    }

    /// The model after it has learnt these texts as well.
    pub(crate) fn trained<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        for text in texts {
            let mut state = State::new();
            self.read(&mut state, END);
            for symbol in text.bytes().map(u32::from).chain([END]) {
                for &context in state.contexts().iter().rev() {
                    let fresh = self.contexts.len();
                    let (count, longer) = self.contexts[context].next.entry(symbol).or_insert((0.0, fresh));
                    *count += 1.0;
                    if *longer != fresh {
                        // Shorter contexts count after how many longer ones a symbol was new, not how often it came.
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

    /// Log-probabilities of the symbol that comes next.
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
