//! [`SharedCache`]: rows that share a set of caches, and run together.
use eft_core::{Backend, Result, RowFeed, TokenId};

use super::interface::{ForwardInput, ForwardOutput, Graph, SlotSelection};
use super::plan::CachePlan;
use crate::pass_logits::PassLogits;

/// Masked slots are removed only when there are more slots than twice the longest row plus this.
const SLACK: usize = 64;

/// Rows over one set of caches.
pub(super) struct SharedCache<G: Graph> {
    caches: Option<G::Caches>,
    /// The number of slots in the caches.
    slots: usize,
    /// For each row, the slots of its tokens, in the order of the tokens. All other slots are masked.
    rows: Vec<Vec<usize>>,
}

impl<G: Graph> Clone for SharedCache<G> {
    fn clone(&self) -> Self {
        Self { caches: self.caches.clone(), slots: self.slots, rows: self.rows.clone() }
    }
}

impl<G: Graph> SharedCache<G> {
    /// An empty cache for `rows` rows.
    pub(super) fn new(rows: usize) -> Self {
        Self { caches: None, slots: 0, rows: vec![Vec::new(); rows] }
    }

    /// The number of tokens in a row.
    pub(super) fn length(&self, row: usize) -> usize {
        self.rows[row].len()
    }

    /// Keeps the first `length` tokens of a row. The slots of the others become masked.
    pub(super) fn truncate(&mut self, row: usize, length: usize) {
        self.rows[row].truncate(length);
    }

    /// The number of tokens in the longest row.
    pub(super) fn longest(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// A cache of the given rows, with no more masked slots than their different lengths make necessary.
    pub(super) fn select(&self, graph: &G, rows: &[usize]) -> Result<Self> {
        let lengths: Vec<_> = rows.iter().map(|row| self.length(*row)).collect();
        let slots = lengths.iter().copied().max().unwrap_or(0);
        let Some(caches) = self.caches.as_ref().filter(|_| slots > 0) else {
            return Ok(Self::new(rows.len()));
        };
        let select = |row: &usize| {
            // Shorter rows are padded with the first slot, whatever it holds: it is masked there.
            let mut taken = self.rows[*row].clone();
            taken.resize(slots, 0);
            SlotSelection { row: *row, slots: taken }
        };
        let selections: Vec<_> = rows.iter().map(select).collect();
        let caches = Some(graph.gather(caches, self.slots, &selections)?);
        Ok(Self { caches, slots, rows: lengths.into_iter().map(|length| (0..length).collect()).collect() })
    }

    /// Feeds every row its tokens, in passes of at most `plan.max_tokens` tokens over all rows. After an error, some
    /// tokens may have been fed.
    pub(super) fn feed(
        &mut self,
        graph: &G,
        plan: CachePlan,
        feeds: &[&RowFeed],
    ) -> Result<Vec<PassLogits<G::Backend>>> {
        let max_tokens = (plan.max_tokens / self.rows.len().max(1)).max(1);
        let mut done = 0;
        let mut passes = Vec::new();
        let all = feeds.iter().map(|feed| feed.tokens.len()).max().unwrap_or(0);
        while done < all {
            let max_tokens = if plan.multi_token || self.longest() == 0 { max_tokens } else { 1 };
            let count = max_tokens.min(all - done);
            self.compact(graph, plan, count)?;
            let pieces: Vec<_> = feeds.iter().map(|feed| piece(&feed.tokens, done, count)).collect();
            // Wanted positions of a row, counted from the start of this pass.
            let wanted = |feed: &&RowFeed| {
                let first = feed.tokens.len() - feed.wanted;
                (first.max(done)..feed.tokens.len().min(done + count)).map(|position| position - done)
            };
            let keep = feeds.iter().filter_map(|feed| wanted(feed).next()).map(|first| count - first).max();
            let output = self.forward(graph, &pieces, keep.unwrap_or(0))?;
            if let Some((logits, kept)) = output {
                let owner = |row: usize, position: usize| (row, row * kept + position + kept - count);
                let rows = feeds.iter().enumerate();
                let owners = rows.flat_map(|(row, feed)| wanted(feed).map(move |p| owner(row, p))).collect();
                passes.push(PassLogits { logits, owners });
            }
            done += count;
        }
        Ok(passes)
    }

    /// Removes masked slots if there are many, or if the next pass of `tokens` tokens in each row needs their room.
    fn compact(&mut self, graph: &G, plan: CachePlan, tokens: usize) -> Result<()> {
        let longest = self.longest();
        let limit = if plan.masked_slots { 2 * longest + SLACK } else { longest };
        let limit = plan.max_slots.map_or(limit, |slots| limit.min(slots.saturating_sub(tokens)));
        if self.slots > limit.max(longest) {
            let rows: Vec<_> = (0..self.rows.len()).collect();
            *self = self.select(graph, &rows)?;
        }
        Ok(())
    }

    /// Runs one pass, which feeds each row its tokens. Rows with fewer tokens are padded with masked slots. Returns the
    /// logits, and the number of positions of each row that they cover.
    pub(super) fn forward(
        &mut self,
        graph: &G,
        fed: &[&[TokenId]],
        wanted: usize,
    ) -> Result<Option<(<G::Backend as Backend>::Tensor, usize)>> {
        let tokens = fed.iter().map(|fed| fed.len()).max().unwrap_or(0);
        let (rows, slots) = (self.rows.len(), self.slots);
        let total = slots + tokens;
        let mut mask = vec![0; rows * total];
        let (mut ids, mut positions) = (vec![0; rows * tokens], vec![0; rows * tokens]);
        for (row, fed) in fed.iter().enumerate() {
            let mask = &mut mask[row * total..][..total];
            self.rows[row].iter().for_each(|slot| mask[*slot] = 1);
            // Padding follows the tokens of its row, so they do not attend to it. In this pass it is not masked: it
            // must attend at least to itself, since a softmax over nothing would be NaN.
            mask[slots..].fill(1);
            for (index, token) in fed.iter().enumerate() {
                ids[row * tokens + index] = i64::from(*token);
                positions[row * tokens + index] = (self.rows[row].len() + index) as i64;
            }
        }
        let input = ForwardInput { rows, tokens, slots, ids, mask, positions, wanted };
        let ForwardOutput { logits, caches } = graph.forward(&input, self.caches.as_ref())?;
        self.caches = caches;
        self.slots = total;
        for (row, fed) in self.rows.iter_mut().zip(fed) {
            row.extend(slots..slots + fed.len());
        }
        Ok(logits)
    }
}

/// Up to `count` tokens from `start` on.
fn piece(tokens: &[TokenId], start: usize, count: usize) -> &[TokenId] {
    let end = tokens.len().min(start + count);
    &tokens[start.min(end)..end]
}
