//! Inference code as one might have lying around: an n-gram model of bytes. It knows nothing of `eft`.
use std::collections::BTreeMap;

/// Bytes are themselves; this begins and ends a text.
pub(crate) const END: u32 = 256;
/// How many symbols there are.
pub(crate) const SYMBOLS: usize = 257;

/// Predicts a byte from the `order - 1` before it, mixing what it knows of the longest context it has seen with what
/// it knows of each shorter one (Witten and Bell 1991).
#[derive(Clone)]
pub(crate) struct Ngram {
    order: usize,
    /// A trie of contexts; the root is the empty one.
    nodes: Vec<Node>,
}

/// What followed a context: how often each symbol, and the context made longer by it.
#[derive(Clone, Default)]
struct Node {
    next: BTreeMap<u32, (f32, usize)>,
}

/// What the model has read: for each symbol, and before the first, the known contexts that ended there, shortest
/// first. As with a transformer's cache, reading on costs one step, and the past can be dropped from the end.
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

    /// Forgets all symbols but the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len + 1);
    }

    fn contexts(&self) -> &[usize] {
        &self.0[self.len()]
    }
}

impl Ngram {
    /// A model that knows nothing yet: of bigrams for order 2, and so on.
    pub(crate) fn new(order: usize) -> Self {
        Self { order, nodes: vec![Node::default()] }
    }

    /// The model after reading these texts, as if each had been there `times` times.
    pub(crate) fn trained<'a>(mut self, texts: impl IntoIterator<Item = &'a str>, times: u32) -> Self {
        for text in texts {
            let mut state = State::new();
            self.read(&mut state, END);
            for symbol in text.bytes().map(u32::from).chain([END]) {
                for &context in state.contexts() {
                    let fresh = self.nodes.len();
                    let (count, node) = self.nodes[context].next.entry(symbol).or_insert((0.0, fresh));
                    *count += times as f32;
                    if *node == fresh {
                        self.nodes.push(Node::default());
                    }
                }
                self.read(&mut state, symbol);
            }
        }
        self
    }

    /// Reads one symbol.
    pub(crate) fn read(&self, state: &mut State, symbol: u32) {
        let shorter = state.contexts().iter().take(self.order - 1);
        let longer = shorter.filter_map(|context| self.nodes[*context].next.get(&symbol)).map(|(_, node)| *node);
        let contexts = [0].into_iter().chain(longer).collect();
        state.0.push(contexts);
    }

    /// Log-probabilities of the symbol that comes next.
    pub(crate) fn log_probs(&self, state: &State) -> Vec<f32> {
        let mut probs = vec![1.0 / SYMBOLS as f32; SYMBOLS];
        for &context in state.contexts() {
            let next = &self.nodes[context].next;
            let (total, kinds) = (next.values().map(|(count, _)| count).sum::<f32>(), next.len() as f32);
            if total > 0.0 {
                probs.iter_mut().for_each(|p| *p *= kinds / (total + kinds));
                next.iter().for_each(|(symbol, (count, _))| probs[*symbol as usize] += count / (total + kinds));
            }
        }
        probs.iter().map(|p| p.ln()).collect()
    }
}
