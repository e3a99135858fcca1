//! Checks of KV caches that keep only what a sliding window can reach.
use eft_core::{Backend, EngineRow, RowFeed, Session, TokenId};

use super::goldens::Golden;
use super::{Verdict, require};
use crate::weights::Weights;
use crate::{Checkpoint, DecoderEngine, DecoderSpec, Nn, RawTensor};

/// Checkpoints with sliding windows of 6 tokens, in all layers and in every other layer.
const FAMILIES: [&str; 2] = ["mistral", "gemma2"];
/// A context of this many tokens, instead of 128.
const CONTEXT: usize = 4096;
const FREE_ROLLBACK: usize = 8;
/// The length of a text.
const LENGTH: usize = 900;
/// The largest number of tokens that a layer with a window has memory for, read in passes of 512 tokens, or one by one.
const MOST: [usize; 2] = [6 + FREE_ROLLBACK + 512, 6 + FREE_ROLLBACK + 64];

/// Checks long texts over caches of bounded size: that those of layers with a sliding window stop growing, and that the logits
/// are those of caches that keep everything, also after rollbacks far past what the caches keep, for rows that were
/// forked before, and for rows of different lengths.
///
/// # Errors
/// The first check that fails, in words.
pub fn check_windows<N: Nn>(nn: &N) -> Verdict<()> {
    FAMILIES.iter().try_for_each(|family| check(nn, family).map_err(|e| format!("{family}: {e}").into()))
}

/// A checkpoint with a longer context.
struct Longer(Checkpoint, DecoderSpec);

impl Weights for Longer {
    fn name(&self) -> std::borrow::Cow<'_, str> {
        self.0.name().into()
    }

    fn spec(&self) -> &DecoderSpec {
        &self.1
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> crate::Result<RawTensor<'_>> {
        self.0.tensor(name, shape)
    }

    fn part(&self, name: &str, index: usize, shape: &[usize]) -> crate::Result<RawTensor<'_>> {
        self.0.part(name, index, shape)
    }
}

fn check<N: Nn>(nn: &N, family: &str) -> Verdict<()> {
    let checkpoint = Checkpoint::open(Golden::family(family)?.folder())?;
    let spec = DecoderSpec { context: CONTEXT, ..checkpoint.spec().clone() };
    let weights = Longer(checkpoint, spec);
    let engine =
        |free| Ok::<_, crate::Error>(DecoderEngine::load(nn.clone(), &weights, None)?.free_rollback(free));
    let (bounded, unbounded) = (engine(FREE_ROLLBACK)?, engine(usize::MAX)?);
    let text = |row: usize| -> Vec<TokenId> {
        (0..LENGTH).map(|i| ((i * 7 + row * 13 + i / 90) % 96) as _).collect()
    };
    let open = |engine: &DecoderEngine<N>, prompts: [&[TokenId]; 2]| {
        let row = |tokens: &[TokenId]| EngineRow { adapter: None, tokens: tokens.into() };
        engine.session(&prompts.map(row))
    };
    // The last logits of rows with these texts, from caches that keep everything.
    let fresh = |texts: [&[TokenId]; 2]| {
        let (_, scores) = open(&unbounded, texts)?;
        nn.backend().download(&scores.last()?, scores.width())
    };
    let (long, other) = (text(0), text(1));
    let (mut session, scores) = open(&bounded, [&long, &other[..300]])?;
    let same = |what: &str, got: Vec<f32>, texts: [&[TokenId]; 2]| {
        let expected = fresh(texts)?;
        let far = got.iter().zip(&expected).find(|(a, b)| (*a - *b).abs() > 1e-3 || a.is_nan());
        require(far.is_none() && got.len() == expected.len(), || format!("{what}: {far:?}"))
    };
    let last = |scores: &eft_core::Scores<N::Backend>| nn.backend().download(&scores.last()?, scores.width());
    same("a long prompt", last(&scores)?, [&long, &other[..300]])?;
    let bound = |session: &crate::session::DecoderSession<N>, most: usize, read: usize| {
        let capacities = session.capacities(0);
        let layers = weights.1.layers.iter().zip(&capacities);
        let kept = |window: Option<usize>, capacity| match window {
            Some(_) => capacity <= most,
            None => capacity >= read,
        };
        let good = layers.clone().all(|(layer, capacity)| kept(layer.attention.window, *capacity));
        require(good, || format!("after {read} tokens, layers have memory for {capacities:?}"))
    };
    bound(&session, MOST[0], LENGTH)?;

    // Further than what is kept, to different lengths.
    session.rollback(&[700, 290])?;
    let scores = session.extend(&[RowFeed::last(vec![5, 6, 7]), RowFeed::last(vec![8])])?;
    let (mut a, mut b) = ([&long[..200], &[5, 6, 7]].concat(), [&other[..10], &[8]].concat());
    same("a deep rollback", last(&scores)?, [&a, &b])?;
    // Within what is kept, and at once with a row that is rolled back further.
    session.rollback(&[FREE_ROLLBACK, 0])?;
    a.truncate(203 - FREE_ROLLBACK);
    let scores = session.extend(&[RowFeed::last(vec![1]), RowFeed::last(long.clone())])?;
    a.push(1);
    b.extend(&long);
    same("a shallow rollback", last(&scores)?, [&a, &b])?;
    // A row that was rolled back far, and then forked.
    session.rollback(&[0, 900])?;
    session.select(&[1, 1])?;
    b.truncate(b.len() - 900);
    let scores = session.extend(&[RowFeed::last(vec![2]), RowFeed::last(vec![3])])?;
    let [left, right] = [2, 3].map(|token| [&b[..], &[token]].concat());
    same("a fork after a deep rollback", last(&scores)?, [&left, &right])?;

    let (mut session, mut scores) = open(&bounded, [&long[..1], &other[..1]])?;
    for (a, b) in long[1..].iter().zip(&other[1..]) {
        scores = session.extend(&[RowFeed::last(vec![*a]), RowFeed::last(vec![*b])])?;
    }
    same("single tokens", last(&scores)?, [&long, &other])?;
    bound(&session, MOST[1], LENGTH)
}
