use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use eft_core::search::ChunkBeamSearch;
use eft_core::{Prompt, Result};
use serde::{Deserialize, Serialize};

use super::refuses_prompt;

/// How wide a weak-to-strong search is: the paper's W, K and C. It prints as `4/4/5`.
///
/// Shapes are ordered by how many tokens they sample for a token of the result, `width · successors`; then by the beam,
/// and then by the chunk, of which a longer one asks the guide less often. So the smaller of two shapes is the cheaper one.
///
/// ```
/// use eft_eval::sweep::Shape;
///
/// let paper = Shape { width: 4, successors: 4, chunk: 5 };
/// assert_eq!(paper.to_string(), "4/4/5");
/// assert!(Shape { width: 2, successors: 2, chunk: 30 } < paper);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// How many texts are kept after each round: W.
    pub width: usize,
    /// In how many ways each of them is extended: K.
    pub successors: usize,
    /// By how many tokens it is extended in a round: C.
    pub chunk: usize,
}

impl Shape {
    /// Best-of-n: `texts` whole texts, of which the guide chooses one.
    #[must_use]
    pub fn best_of(texts: usize) -> Self {
        Self { width: 1, successors: texts, chunk: usize::MAX }
    }

    /// Returns a search with this shape.
    pub fn apply<'a>(&self, search: ChunkBeamSearch<'a>) -> ChunkBeamSearch<'a> {
        search.width(self.width).successors(self.successors).chunk(self.chunk)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { width: 1, successors, chunk: usize::MAX } => write!(f, "best of {successors}"),
            Self { width, successors, chunk: usize::MAX } => write!(f, "{width}/{successors}/whole"),
            Self { width, successors, chunk } => write!(f, "{width}/{successors}/{chunk}"),
        }
    }
}

impl PartialOrd for Shape {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Shape {
    fn cmp(&self, other: &Self) -> Ordering {
        let cost = |shape: &Self| {
            let rows = shape.width.saturating_mul(shape.successors);
            (rows, shape.width, std::cmp::Reverse(shape.chunk))
        };
        cost(self).cmp(&cost(other))
    }
}

/// A text that a search has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Searched {
    /// The best text.
    pub text: String,
    /// The score that the guide gives it.
    pub guide: f64,
    /// How many tokens the base has sampled for it.
    pub drawn: usize,
}

/// A text that was found, or the reason why its prompt was refused.
pub type SearchedText = Result<Searched, Arc<eft_core::Error>>;

/// Searches for the best text of each prompt with each shape. Returns for each shape a text for each prompt.
///
/// `search` makes the search of the prompt with an index, of which the shape is then set: its base, its guide and how the
/// base samples. Give each prompt a seed of its own, since prompts with one seed draw the same random numbers, and each
/// shape of a prompt the same one. To choose a shape, make a [`Part`](super::Part) of the scores on validation items and
/// another of those on test items, and call [`choose`](super::choose()).
///
/// ```
/// use eft_core::search::{ChunkBeamSearch, ImplicitReward};
/// use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
/// use eft_eval::stats::{Bootstrap, Clusters};
/// use eft_eval::sweep::{Part, Shape, choose, search};
///
/// let vocab = Vocab::new("abc", ["a", "b", "</s>"])?.with_eos([2])?;
/// let model = |logits: [f32; 3]| from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec()));
/// let (large, tuned, small) = (model([2.0, 0.0, -9.0]), model([0.0, 2.0, 0.0]), model([0.0, 0.0, 0.0]));
///
/// let shapes = [(1, 1, 1), (4, 4, 1)].map(|(width, successors, chunk)| Shape { width, successors, chunk });
/// let part = |prompts: [Vec<u32>; 2]| -> eft_core::Result<Part> {
///     let found = search(&shapes, prompts, |index| {
///         let decoding = Decoding::from(Sampling::default().seed(index as u64)).max_tokens(3);
///         ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &small)).decoding(decoding)
///     })?;
///     let letters = |text: &str| text.matches('b').count() as f64;
///     let of_shape = |texts: &Vec<_>| texts.iter().map(|text: &eft_eval::sweep::SearchedText| {
///         text.as_ref().map_or(0.0, |found| letters(&found.text))
///     }).collect();
///     Ok(Part { scores: found.iter().map(of_shape).collect(), clusters: Clusters::each(2) })
/// };
/// let choice = choose(&shapes, &part([vec![0], vec![1]])?, &part([vec![0, 1], vec![1, 1]])?, &Bootstrap::default());
/// assert_eq!(choice.unwrap().value().to_string(), "4/4/1");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// The errors of [`ChunkBeamSearch::run`]. A prompt that the models refuse does not fail the others: its texts are errors.
pub fn search<'a, P: Into<Prompt>>(
    shapes: &[Shape],
    prompts: impl IntoIterator<Item = P>,
    search: impl Fn(usize) -> ChunkBeamSearch<'a>,
) -> Result<Vec<Vec<SearchedText>>> {
    let prompts: Vec<Prompt> = prompts.into_iter().map(Into::into).collect();
    let run = |shape: &Shape, (index, prompt): (usize, &Prompt)| match shape
        .apply(search(index))
        .run(prompt.clone())
    {
        Ok(found) => {
            let best = found.best();
            let text = best.continuation.to_text();
            Ok(Ok(Searched { text, guide: best.score, drawn: found.drawn }))
        }
        Err(error) if refuses_prompt(&error) => Ok(Err(Arc::new(error))),
        Err(error) => Err(error),
    };
    let of_shape = |shape| prompts.iter().enumerate().map(|prompt| run(shape, prompt)).collect();
    shapes.iter().map(of_shape).collect()
}
