//! The settings of a [`Speculative`].
use std::sync::Arc;

use super::lookup::{Earlier, Lookups};
use super::scheduler::Memory;
use super::{Lookup, Speculative};
use crate::backend::Backend;
use crate::{Source, TokenId};

impl<B: Backend> Speculative<B> {
    /// Drafts with this source: a term of the target, any other source over the same tokens, or a single model with another
    /// tokenizer or over bytes, whose text the target's tokenizer encodes. A copy of a term with weights of fewer bits drafts faster than
    /// the term itself. The term must then score the drafted tokens too, which it need not do when it drafts; so a copy pays only if the
    /// term has 16 or 32 bits a weight.
    ///
    /// By default the draft is the term with a positive weight whose passes read the fewest bytes; of several, or if the sizes
    /// are not known, the one that is written last. The weight of a rule's part is multiplied by
    /// [`Rule::weight`](crate::Rule::weight), if the rule has one for it.
    pub fn draft(mut self, draft: &Source<B>) -> Self {
        self.draft = Some(draft.clone());
        self.model = true;
        self.memory = Memory::default();
        self
    }

    /// Drafts what followed the last tokens earlier, in the prompt or in the text, wherever they occurred there; elsewhere, the
    /// model drafts. A target without a term that can draft is drafted by lookups alone. If terms render a prompt differently,
    /// the longest rendering is searched. If the source renders prompts itself, only the text after the prompt is searched.
    /// Texts that were given to [`lookup_in`](Self::lookup_in) before are not searched any more.
    ///
    /// With adaptive lengths, what was found is left to the model where the model promises more tokens per second. With a
    /// fixed [`block`](Self::block), it is always used.
    pub fn lookup(mut self, lookup: Lookup) -> Self {
        self.lookup = Some(Lookups { lookup, earlier: None });
        self.memory = Memory::default();
        self
    }

    /// Looks up as [`lookup`](Self::lookup) does, and also in these texts, given as tokens of the target: earlier answers, the
    /// forms that answers are to have, or the documents that they quote. Of equally long runs of last tokens, one in the
    /// prompt or in the text counts before one in these texts, and a later text before an earlier one. He et al. 2023, *REST:
    /// retrieval-based speculative decoding*, arXiv 2311.08252.
    ///
    /// The texts are indexed at once, with up to six entries a token by default, for the runs of three to eight tokens before it.
    /// Clones share the index.
    ///
    /// ```
    /// use eft_core::speculate::Lookup;
    /// use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
    ///
    /// let vocab = Vocab::new("abcd", ["a", "b", "c", "d"])?;
    /// // Each letter is followed by the next one.
    /// let model = from_fn(Host, vocab, |ids| {
    ///     let next = (ids[ids.len() - 1] + 1) % 4;
    ///     Ok((0..4).map(|id| if id == next { 1.0 } else { 0.0 }).collect())
    /// });
    /// let answers = [[0, 1, 2, 3, 0, 1]];
    /// let speculative = model.speculate().lookup_in(Lookup::default(), answers).block(3);
    /// let mut text = speculative.generate([0, 1, 2], Decoding::from(Sampling::greedy()).max_tokens(4))?;
    /// text.by_ref().for_each(drop);
    /// assert_eq!(text.report().unwrap().tokens_per_pass(), Some(4.0));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn lookup_in<T: AsRef<[TokenId]>>(
        mut self,
        lookup: Lookup,
        texts: impl IntoIterator<Item = T>,
    ) -> Self {
        let earlier = Some(Arc::new(Earlier::new(lookup, texts)));
        self.lookup = Some(Lookups { lookup, earlier });
        self.memory = Memory::default();
        self
    }

    /// Drafts by [`lookup`](Self::lookup) alone, without a model.
    ///
    /// ```
    /// use eft_core::speculate::Lookup;
    /// use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = |name: &str| from_fn(Host, vocab.clone().named(name), |_| Ok(vec![0.0, 1.0]));
    /// let sum = model("large") + model("small");
    /// let speculative = sum.speculate().lookup(Lookup::default()).without_model().block(4);
    /// let mut text = speculative.generate([0], Decoding::from(Sampling::greedy()).max_tokens(8))?;
    /// assert_eq!(text.by_ref().count(), 8);
    /// let report = text.report().unwrap();
    /// // Four tokens are needed before three of them have occurred earlier.
    /// assert_eq!((report.plain_steps, report.looked_up, report.draft_passes), (4, 3, 0));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn without_model(mut self) -> Self {
        self.model = false;
        self.draft = None;
        self.memory = Memory::default();
        self
    }

    /// Drafts at most this many tokens at once; 16 by default.
    pub fn longest(mut self, tokens: usize) -> Self {
        self.longest = tokens;
        self
    }

    /// Always drafts this many tokens, whatever they cost and however few are accepted: for experiments, and for texts
    /// that must not depend on measured times. With 0, nothing is drafted.
    pub fn block(mut self, tokens: usize) -> Self {
        self.fixed = Some(tokens);
        self
    }

    /// Drafts only in steps of at most this many rows; by default in all. The steps of more rows are those of plain decoding:
    /// each row has its part in a pass of the target then, which is the better use of it.
    ///
    /// In a batch that requests [`join`](crate::decode::Batch::join), drafting ends when too many rows run, and begins again when few
    /// are left. Greedy texts, and with [`same_text`](Self::same_text) sampled ones, too, are the same in any case.
    ///
    /// ```
    /// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = from_fn(Host, vocab, |tokens| Ok(vec![0.0, (tokens.len() % 2) as f32]));
    /// let speculative = model.speculate().draft(&model).block(2).most_rows(1);
    /// let decoding = Decoding::from(Sampling::greedy()).max_tokens(6);
    /// for (prompts, blocks, plain_steps) in [(vec![[0]], 2, 0), (vec![[0], [1]], 0, 6)] {
    ///     let mut batch = speculative.generate_batch(prompts, &decoding)?;
    ///     batch.by_ref().for_each(drop);
    ///     let report = batch.report().unwrap();
    ///     assert_eq!((report.blocks, report.plain_steps), (blocks, plain_steps));
    /// }
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn most_rows(mut self, rows: usize) -> Self {
        self.most_rows = rows;
        self
    }

    /// Samples exactly the text that plain sampling gives: draft and target draw with the same random number, and a
    /// drafted token is accepted if both draw it. This accepts fewer tokens than speculative sampling does.
    pub fn same_text(mut self) -> Self {
        self.same_text = true;
        self.memory = Memory::default();
        self
    }
}
