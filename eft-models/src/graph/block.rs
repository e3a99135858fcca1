//! [`Block`]: rows that share caches, and run together.
use eft_core::{Backend, Result, RowFeed, TokenId};

use super::scored::Part;
use super::{Graph, Pass, Passed, Picked};

/// Holes are left alone until there are more slots than twice the longest row and this.
const SLACK: usize = 64;

/// Rows over one set of caches.
pub(super) struct Block<G: Graph> {
    caches: Option<G::Caches>,
    /// Slots that the caches have.
    slots: usize,
    /// For each row, the slots of its tokens in their order. The others are holes.
    rows: Vec<Vec<usize>>,
}

impl<G: Graph> Clone for Block<G> {
    fn clone(&self) -> Self {
        Self { caches: self.caches.clone(), slots: self.slots, rows: self.rows.clone() }
    }
}

/// How a block is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// Whether the model leaves out holes.
    pub(super) holes: bool,
    /// Whether several tokens may follow those of a cache at once.
    pub(super) several: bool,
    /// Slots that the model has room for: tables may be as long as its context.
    pub(super) room: Option<usize>,
    /// Tokens of one pass at most, over all rows: what bounds the memory that activations and logits take.
    pub(super) most: usize,
}

impl<G: Graph> Block<G> {
    /// Of so many rows, without tokens.
    pub(super) fn new(rows: usize) -> Self {
        Self { caches: None, slots: 0, rows: vec![Vec::new(); rows] }
    }

    pub(super) fn length(&self, row: usize) -> usize {
        self.rows[row].len()
    }

    /// Forgets all but the first tokens of a row.
    pub(super) fn truncate(&mut self, row: usize, length: usize) {
        self.rows[row].truncate(length);
    }

    pub(super) fn longest(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// A block of these rows, without more holes than their lengths make necessary.
    pub(super) fn select(&self, graph: &G, rows: &[usize]) -> Result<Self> {
        let lengths: Vec<_> = rows.iter().map(|row| self.length(*row)).collect();
        let slots = lengths.iter().copied().max().unwrap_or(0);
        let Some(caches) = self.caches.as_ref().filter(|_| slots > 0) else {
            return Ok(Self::new(rows.len()));
        };
        let pick = |row: &usize| {
            // Shorter rows are filled up with whatever lies in the first slot.
            let mut taken = self.rows[*row].clone();
            taken.resize(slots, 0);
            Picked { row: *row, slots: taken }
        };
        let picked: Vec<_> = rows.iter().map(pick).collect();
        let caches = Some(graph.gather(caches, self.slots, &picked)?);
        Ok(Self { caches, slots, rows: lengths.into_iter().map(|length| (0..length).collect()).collect() })
    }

    /// Feeds every row its tokens, in pieces of at most so many tokens of all rows together. On an error, some
    /// tokens may have been fed.
    pub(super) fn feed(&mut self, graph: &G, way: Way, feeds: &[&RowFeed]) -> Result<Vec<Part<G>>> {
        let most = (way.most / self.rows.len().max(1)).max(1);
        let mut done = 0;
        let mut parts = Vec::new();
        let all = feeds.iter().map(|feed| feed.tokens.len()).max().unwrap_or(0);
        while done < all {
            let most = if way.several || self.longest() == 0 { most } else { 1 };
            let count = most.min(all - done);
            self.tidy(graph, way, count)?;
            let pieces: Vec<_> = feeds.iter().map(|feed| piece(&feed.tokens, done, count)).collect();
            let wanted = |feed: &&RowFeed| {
                let first = feed.tokens.len() - feed.wanted;
                (first.max(done)..feed.tokens.len().min(done + count)).map(|position| position - done)
            };
            let keep = feeds.iter().filter_map(|feed| wanted(feed).next()).map(|first| count - first).max();
            let passed = self.pass(graph, &pieces, keep.unwrap_or(0))?;
            if let Some((logits, kept)) = passed {
                let position = |row: usize, position: usize| (row, row * kept + position + kept - count);
                let rows = feeds.iter().enumerate();
                let owners =
                    rows.flat_map(|(row, feed)| wanted(feed).map(move |p| position(row, p))).collect();
                parts.push(Part { logits, owners });
            }
            done += count;
        }
        Ok(parts)
    }

    /// Makes the next pass, of so many tokens a row, possible or cheaper.
    fn tidy(&mut self, graph: &G, way: Way, tokens: usize) -> Result<()> {
        let longest = self.longest();
        let most = if way.holes { 2 * longest + SLACK } else { longest };
        let most = way.room.map_or(most, |room| most.min(room.saturating_sub(tokens)));
        if self.slots > most.max(longest) {
            let rows: Vec<_> = (0..self.rows.len()).collect();
            *self = self.select(graph, &rows)?;
        }
        Ok(())
    }

    /// One pass: each row is fed its tokens, and shorter rows are filled up with holes.
    pub(super) fn pass(
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
            // What fills up a row comes behind its tokens, so they do not see it. It sees something, at least
            // itself: a softmax of nothing would be NaN.
            mask[slots..].fill(1);
            for (index, token) in fed.iter().enumerate() {
                ids[row * tokens + index] = i64::from(*token);
                positions[row * tokens + index] = (self.rows[row].len() + index) as i64;
            }
        }
        let pass = Pass { rows, tokens, slots, ids, mask, positions, wanted };
        let Passed { logits, caches } = graph.pass(&pass, self.caches.as_ref())?;
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
